//! Dots as numbers: the place of each in a sorted set, which takes fewer bytes than the dot.

use alloc::vec::Vec;

use super::CausalContext;
use crate::{Dot, ReplicaId};

/// The dots of a set in ascending order, each known by its place.
///
/// **Law:** `nth` and `rank` are inverses, and both are monotone. A number below [`len`](Self::len) always names a dot of
/// the set, which is why bytes that hold ranks cannot name an event that their context has not seen.
#[derive(Clone, Debug, Default)]
pub struct Ranks {
    spans: Vec<Span>,
    len: u64,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    replica: ReplicaId,
    first: u64,
    last: u64,
    before: u64,
}

impl Ranks {
    /// The ranks of the dots of `set`; `None` if there are more than 2^63 of them, as only a forged set has.
    pub fn of(set: &CausalContext) -> Option<Self> {
        let mut ranks = Self::default();
        for (replica, run) in set.runs() {
            ranks.spans.push(Span { replica, first: *run.start(), last: *run.end(), before: ranks.len });
            ranks.len = ranks.len.checked_add(run.end() - run.start() + 1).filter(|&len| len <= u64::MAX >> 1)?;
        }
        Some(ranks)
    }

    /// How many dots there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The place of the dot, from 0. O(log runs).
    pub fn rank(&self, dot: Dot) -> Option<u64> {
        let at = self.spans.partition_point(|span| (span.replica, span.last) < (dot.replica, dot.counter));
        let span = self.spans.get(at).filter(|span| span.replica == dot.replica && span.first <= dot.counter)?;
        Some(span.before + (dot.counter - span.first))
    }

    /// The dot at that place. O(log runs).
    pub fn nth(&self, rank: u64) -> Option<Dot> {
        let at = self.spans.partition_point(|span| span.before <= rank).checked_sub(1)?;
        let span = self.spans[at];
        let counter = span.first.checked_add(rank - span.before).filter(|&counter| counter <= span.last)?;
        Some(Dot::new(span.replica, counter))
    }

    /// The dots at the places `first..=last` as runs; what lies beyond the end is left out.
    pub(crate) fn insert_range(&self, first: u64, last: u64, into: &mut CausalContext) {
        let from = self.spans.partition_point(|span| span.before <= first).saturating_sub(1);
        for span in &self.spans[from..] {
            if span.before > last {
                break;
            }
            let start = span.first + first.saturating_sub(span.before);
            let end = span.last.min(span.first + (last - span.before).min(span.last - span.first));
            into.insert_run(span.replica, start, end);
        }
    }
}
