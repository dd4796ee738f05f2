//! Dots as numbers: the rank of a dot in a sorted set takes fewer bytes than the dot.

use alloc::vec::Vec;

use super::context::CausalContext;
use crate::{Dot, ReplicaId};

/// The dots of a set in ascending order; each is known by its rank.
///
/// **Law:** `nth` and `rank` are inverses, and both are monotone. A number below [`len`](Self::len)
/// always names a dot of the set, which is why bytes that contain ranks cannot name an event that
/// their context has not seen.
#[derive(Clone, Debug, Default)]
pub struct Ranks {
    spans: Vec<Span>,
    len: u128,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    replica: ReplicaId,
    first: u64,
    last: u64,
    before: u128,
}

impl Ranks {
    /// The ranks of the dots of `set`. A rank has 128 bits, because a forged set can claim more
    /// than 2^64 events, and what was accepted must be encoded again.
    pub fn of(set: &CausalContext) -> Self {
        let mut ranks = Self::default();
        for (replica, run) in set.runs() {
            ranks.spans.push(Span {
                replica,
                first: *run.start(),
                last: *run.end(),
                before: ranks.len,
            });
            ranks.len += u128::from(run.end() - run.start()) + 1;
        }
        ranks
    }

    /// How many dots the set has.
    pub fn len(&self) -> u128 {
        self.len
    }

    /// How many runs the dots form.
    pub(crate) fn runs_len(&self) -> usize {
        self.spans.len()
    }

    /// Whether the set has no dots.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The rank of the dot, from 0. O(log runs).
    pub fn rank(&self, dot: Dot) -> Option<u128> {
        let at = self
            .spans
            .partition_point(|span| (span.replica, span.last) < (dot.replica, dot.counter));
        let span = self
            .spans
            .get(at)
            .filter(|span| span.replica == dot.replica && span.first <= dot.counter)?;
        Some(span.before + u128::from(dot.counter - span.first))
    }

    /// The dot with that rank. O(log runs).
    pub fn nth(&self, rank: u128) -> Option<Dot> {
        let at = self
            .spans
            .partition_point(|span| span.before <= rank)
            .checked_sub(1)?;
        let span = self.spans[at];
        let counter = u64::try_from(u128::from(span.first) + (rank - span.before))
            .ok()
            .filter(|&counter| counter <= span.last)?;
        Some(Dot::new(span.replica, counter))
    }

    /// Inserts the dots with ranks `first..=last` into a set; ranks beyond the end are ignored.
    pub(crate) fn insert_range(&self, first: u128, last: u128, into: &mut CausalContext) {
        let from = self
            .spans
            .partition_point(|span| span.before <= first)
            .saturating_sub(1);
        for span in &self.spans[from..] {
            if span.before > last {
                break;
            }
            let length = u128::from(span.last - span.first);
            // Both lie within the span.
            let start = span.first + first.saturating_sub(span.before) as u64;
            let end = span.first + (last - span.before).min(length) as u64;
            into.insert_run(span.replica, start, end);
        }
    }
}
