//! Anti-entropy without a log: what one replica lacks of another follows from what each has seen and what is alive.
//!
//! Two round trips bring two replicas together, whatever happened since they last met:
//!
//! 1. A sends its [`summary`](crate::Replicated::summary): its context, and for each range of 1,024 events of a replica a
//!    hash of those that are alive. B answers with its own, in which the ranges that differ are spelled out
//!    ([`summary_against`](crate::Replicated::summary_against)), and with the delta of what A has never seen.
//! 2. A answers the same way, now exactly: with [`delta_since`](crate::Replicated::delta_since) for B and its own live
//!    events in those ranges, to which B answers with the removals that A lacks.
//!
//! The idea of exchanging what is alive per range in place of a log of removals: Gonçalves et al., "`DottedDB`", SRDS 2017.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::causal::live_dots;
use crate::codec::{DecodeError, Limits, Reader, Writer};
use crate::{Causal, CausalContext, Crdt, Delta, ReplicaId, Undotted};

/// How many events one hash stands for.
const RANGE: u64 = 1024;

/// What a replica knows, briefly. As bytes: a few per replica, and 9 for each range of 1,024 events in which something is
/// alive.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    context: CausalContext,
    /// A hash of all that has no dots; in an answer, of what came with the events that both have seen.
    undotted: u64,
    /// What is alive, per range; nothing in a range that is not listed.
    ranges: BTreeMap<(ReplicaId, u64), Alive>,
}

/// What is alive in a range.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Alive {
    /// By hash.
    Hash([u8; 8]),
    /// Exactly: runs of (gap, length - 1).
    Dots(Vec<(u16, u16)>),
}

impl Summary {
    /// The summary as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(&CausalContext::new());
        out.value(self);
        out.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// Anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes, &CausalContext::new(), Limits::default())?;
        let summary = input.value()?;
        input.finish()?;
        Ok(summary)
    }
}

impl<T: Crdt> Causal<T> {
    /// See [`Replicated::summary`](crate::Replicated::summary).
    pub fn summary(&self) -> Summary {
        let ranges = by_range(&live_dots(&self.value)).into_iter().map(|(range, dots)| (range, Alive::Hash(hash(&dots)))).collect();
        Summary { context: self.context.clone(), undotted: self.undotted(Undotted::Kept), ranges }
    }

    /// See [`Replicated::summary_against`](crate::Replicated::summary_against).
    pub fn summary_against(&self, theirs: &Summary) -> Summary {
        let mut mine = by_range(&live_dots(&self.value));
        // A range where nothing is alive here is spelled out as well if something is there.
        for range in theirs.ranges.keys() {
            mine.entry(*range).or_default();
        }
        let ranges = mine.into_iter().map(|(range, dots)| {
            // What is new here they will get in any case: only what they know is compared.
            let alive = match theirs.ranges.get(&range).filter(|alive| alive.is(&dots.intersection(&theirs.context))) {
                Some(agreed) => agreed.clone(),
                None => Alive::Dots(runs(range, &dots)),
            };
            (range, alive)
        });
        Summary { context: self.context.clone(), undotted: self.undotted(Undotted::Within(&theirs.context)), ranges: ranges.collect() }
    }

    /// See [`Replicated::delta_since`](crate::Replicated::delta_since).
    #[must_use]
    pub fn delta_since(&self, theirs: &Summary) -> Delta<T> {
        let live = live_dots(&self.value);
        let unknown = self.context.without(&theirs.context);
        let (mut send, mut covers) = (live.intersection(&unknown), unknown);
        let mine = by_range(&live);
        for (&range, alive) in &theirs.ranges {
            let here = mine.get(&range).cloned().unwrap_or_default();
            match alive {
                alive if alive.is(&here) || alive.is(&here.intersection(&theirs.context)) => {}
                // What is alive there, known here and not alive here was removed.
                Alive::Dots(there) => {
                    covers.union(&dots(range, there).intersection(&self.context).without(&live));
                }
                // All that is known of the range: more than is needed, and never less.
                Alive::Hash(_) => {
                    let known = whole(range).intersection(&self.context);
                    send.union(&here);
                    covers.union(&known);
                }
            }
        }
        // Who has all that came with the events that it has seen lacks only what came with others.
        let agreed = theirs.undotted == self.undotted(Undotted::Within(&theirs.context));
        let undotted = if agreed { Undotted::Beyond(&theirs.context) } else { Undotted::Kept };
        Delta { value: self.value.part(&send, undotted), context: covers }
    }

    /// 128 bits that differ whenever the states differ, up to collisions of xxh3: of the canonical bytes. O(state).
    pub fn digest(&self) -> u128 {
        xxhash_rust::xxh3::xxh3_128(&self.encode())
    }

    fn undotted(&self, which: Undotted<'_>) -> u64 {
        let nothing = CausalContext::new();
        let mut out = Writer::new(&nothing);
        self.value.part(&nothing, which).encode(&mut out);
        xxh3_64(&out.finish())
    }
}

impl Alive {
    fn is(&self, dots_here: &CausalContext) -> bool {
        match self {
            Self::Hash(theirs) => *theirs == hash(dots_here),
            Self::Dots(there) => {
                let Some((replica, run)) = dots_here.runs().next() else { return there.is_empty() };
                *there == runs((replica, run.start() / RANGE), dots_here)
            }
        }
    }
}

/// The dots by replica and range.
fn by_range(live: &CausalContext) -> BTreeMap<(ReplicaId, u64), CausalContext> {
    let mut ranges: BTreeMap<(ReplicaId, u64), CausalContext> = BTreeMap::new();
    for (replica, run) in live.runs() {
        let mut first = *run.start();
        while first <= *run.end() {
            let range = first / RANGE;
            let last = (range * RANGE + (RANGE - 1)).min(*run.end());
            ranges.entry((replica, range)).or_default().insert_run(replica, first, last);
            first = last + 1;
        }
    }
    ranges
}

fn whole((replica, range): (ReplicaId, u64)) -> CausalContext {
    let mut all = CausalContext::new();
    if let Some(first) = range.checked_mul(RANGE) {
        all.insert_run(replica, first, first + (RANGE - 1));
    }
    all
}

fn hash(dots: &CausalContext) -> [u8; 8] {
    let mut out = Writer::new(&CausalContext::new());
    for (_, run) in dots.runs() {
        out.number(*run.start());
        out.number(run.end() - run.start());
    }
    xxh3_64(&out.finish()).to_le_bytes()
}

fn runs((_, range): (ReplicaId, u64), dots: &CausalContext) -> Vec<(u16, u16)> {
    // A forged range may lie beyond all counters; nothing is alive in it.
    let mut end = range.saturating_mul(RANGE);
    dots.runs()
        .map(|(_, run)| {
            let gap = (run.start() - end) as u16;
            end = run.end() + 1;
            (gap, (run.end() - run.start()) as u16)
        })
        .collect()
}

fn dots((replica, range): (ReplicaId, u64), runs: &[(u16, u16)]) -> CausalContext {
    let mut dots = CausalContext::new();
    let Some(mut end) = range.checked_mul(RANGE) else { return dots };
    for &(gap, more) in runs {
        let first = end.saturating_add(u64::from(gap));
        let last = first.saturating_add(u64::from(more));
        dots.insert_run(replica, first, last);
        end = last.saturating_add(1);
    }
    // What a forged run claims beyond the range is not believed.
    dots.intersection(&whole((replica, range)))
}
