//! Anti-entropy without a log: what a replica lacks follows from what each side has seen and has
//! alive.
//!
//! Two round trips make two replicas equal, whatever happened since they last met:
//!
//! 1. A sends its [`summary`](crate::Replicated::summary): its context and, for each range of 1,024
//!    events of a replica, a hash of those that are alive. B answers with its own summary, in which
//!    the ranges that differ are spelled out
//!    ([`summary_against`](crate::Replicated::summary_against)), and with the delta of everything
//!    that A has not seen.
//! 2. A answers in the same way, now exactly: with [`delta_since`](crate::Replicated::delta_since)
//!    for B and with its own live events in those ranges. B replies with the removals that A lacks.
//!
//! Exchanging what is alive per range instead of keeping a log of removals is the idea of Gonçalves
//! et al., "`DottedDB`", SRDS 2017.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::causal::live_dots;
use crate::codec::{DecodeError, Limits, Reader, Tag, VERSION, Writer};
use crate::{Causal, CausalContext, Crdt, Delta, Dot, ReplicaId, Undotted, bugs};

/// The number of events that one hash stands for.
const RANGE: u64 = 1024;

/// A short description of what a replica knows. Encoded, it takes a few bytes per replica, and 9
/// for each range of 1,024 events in which something is alive.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    context: CausalContext,
    /// In an answer, the events that the asker had seen. Where its hashes agreed, the answer holds
    /// for those events alone, because the asker may have seen more since.
    asked: Option<CausalContext>,
    /// A hash of everything that has no dots; in an answer, of what came with the events that both
    /// have seen.
    undotted: u64,
    /// What is alive, per range. In a range that is not listed, nothing is.
    ranges: BTreeMap<(ReplicaId, u64), Alive>,
    /// A hash of the whole value, if every byte of it is understood.
    content: Option<u64>,
    /// Whether the receiver should send its whole state in any case.
    whole: bool,
}

/// How two replicas relate to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// They have seen the same events and hold the same values.
    Equal,
    /// One of them knows something that the other does not: they must synchronise.
    Apart,
    /// They have seen the same events and have the same alive, but hold different values. No
    /// history does that: an id is used twice, or a disk has lied. Synchronising does not repair
    /// it. Find the id, let one side continue under the next incarnation, and write again what only
    /// that side has.
    Forked,
}

/// What is alive in a range.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Alive {
    /// By hash.
    Hash([u8; 8]),
    /// Exactly: runs of (gap, length - 1).
    Dots(Vec<(u16, u16)>),
}

/// Events that are so widely known that nothing they have ended can still arrive. Tombstones for
/// those can be forgotten.
///
/// It is not enough that every replica has *seen* a removal. A later removal can end an earlier one
/// without ending the addition that the earlier one had ended. A replica that has heard only of the
/// later one has seen both removals and still holds the element. So this is computed from
/// [summaries](crate::Replicated::stable), which say what is alive.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stable(CausalContext);

impl Stable {
    /// These events, unchecked. For protocols that know that the events are stable by other means,
    /// and for tests.
    pub fn unchecked(events: CausalContext) -> Self {
        Self(events)
    }

    /// Whether the event is one of them.
    pub fn contains(&self, dot: Dot) -> bool {
        self.0.contains(dot)
    }
}

impl Summary {
    /// The summary as bytes: canonical, with version and tag like a value.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(&CausalContext::new());
        out.byte(VERSION);
        out.tag(&Tag::summary());
        out.value(self);
        out.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// The bytes are not a summary. No bytes make this panic.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes, &CausalContext::new(), Limits::default())?;
        let version = input.byte()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        input.expect_tag(&Tag::summary())?;
        let summary: Self = input.value()?;
        input.finish()?;
        if summary.encode() == bytes {
            Ok(summary)
        } else {
            Err(DecodeError::NotCanonical)
        }
    }
}

impl<T: Crdt> Causal<T> {
    /// See [`Replicated::summary`](crate::Replicated::summary).
    pub fn summary(&self) -> Summary {
        let ranges = by_range(&live_dots(&self.value))
            .into_iter()
            .map(|(range, dots)| (range, Alive::Hash(hash(&dots))))
            .collect();
        self.summary_of(None, Undotted::Kept, ranges)
    }

    /// See [`Replicated::summary_against`](crate::Replicated::summary_against).
    pub fn summary_against(&self, theirs: &Summary) -> Summary {
        let mut mine = by_range(&live_dots(&self.value));
        // A range in which nothing is alive here is spelled out as well if something is alive
        // there.
        for range in theirs.ranges.keys() {
            mine.entry(*range).or_default();
        }
        let ranges = mine.into_iter().map(|(range, dots)| {
            // They get what is new here in any case: only what they know is compared.
            let alive = match theirs
                .ranges
                .get(&range)
                .filter(|alive| alive.is(&dots.intersection(&theirs.context)))
            {
                Some(agreed) => agreed.clone(),
                None => Alive::Dots(runs(range.1, &dots)),
            };
            (range, alive)
        });
        let asked = (!bugs::STALE_ANSWER.is_planted()).then(|| theirs.context.clone());
        self.summary_of(asked, Undotted::Within(&theirs.context), ranges.collect())
    }

    fn summary_of(
        &self,
        asked: Option<CausalContext>,
        which: Undotted<'_>,
        ranges: BTreeMap<(ReplicaId, u64), Alive>,
    ) -> Summary {
        let (content, whole) = (self.content_hash(), self.value.wants_whole());
        Summary {
            context: self.context.clone(),
            asked,
            undotted: self.undotted(which),
            ranges,
            content,
            whole,
        }
    }

    /// See [`Replicated::delta_since`](crate::Replicated::delta_since).
    #[must_use]
    pub fn delta_since(&self, theirs: &Summary) -> Delta<T> {
        // A state that no history explains is sent as a whole, so that whatever can merge does.
        if self.compare(theirs) == Standing::Forked || theirs.whole {
            return self.clone();
        }
        let live = live_dots(&self.value);
        let unknown = self.context.without(&theirs.context);
        let nothing_new = unknown.is_empty();
        let (mut send, mut covers) = (live.intersection(&unknown), unknown);
        let mine = by_range(&live);
        for (&range, alive) in &theirs.ranges {
            let here = mine.get(&range).cloned().unwrap_or_default();
            let known = here.intersection(&theirs.context);
            match alive {
                // We agreed about what they knew of what I knew when I asked.
                Alive::Hash(_)
                    if theirs
                        .asked
                        .as_ref()
                        .is_some_and(|asked| alive.is(&known.intersection(asked))) => {}
                alive if theirs.asked.is_none() && (alive.is(&here) || alive.is(&known)) => {}
                // What is alive there, and known but not alive here, was removed.
                Alive::Dots(there) => {
                    covers.union(
                        &dots(range.0, range.1, there)
                            .intersection(&self.context)
                            .without(&live),
                    );
                }
                // Everything known in the range: more than is needed, never less.
                Alive::Hash(_) => {
                    send.union(&here);
                    covers.union(&whole(range.0, range.1).intersection(&self.context));
                }
            }
        }
        if let Some(asked) = &theirs.asked {
            // They may still hold what I have heard of since I asked, even if it has ended.
            covers.union(
                &theirs
                    .context
                    .without(asked)
                    .intersection(&self.context)
                    .without(&live),
            );
        }
        // A replica that has seen an event has what came with it. But the places of what ends now
        // are sent again: a replica that does not know the type relies on a message to include
        // everything about the events that it covers.
        let seen = theirs.context.without(&covers);
        let agreed =
            nothing_new || theirs.undotted == self.undotted(Undotted::Within(&theirs.context));
        let undotted = if agreed {
            Undotted::Beyond(&seen)
        } else {
            Undotted::Since(&seen)
        };
        Delta {
            value: self.value.part(&send, undotted),
            context: covers,
        }
    }

    /// See [`Replicated::compare`](crate::Replicated::compare).
    pub fn compare(&self, theirs: &Summary) -> Standing {
        // A removal is no event of its own, so the live dots must be the same, too.
        let mine = by_range(&live_dots(&self.value));
        let alive_alike = mine.len()
            == theirs
                .ranges
                .values()
                .filter(|alive| **alive != Alive::Dots(Vec::new()))
                .count()
            && mine
                .iter()
                .all(|(range, here)| theirs.ranges.get(range).is_some_and(|alive| alive.is(here)));
        if self.context != theirs.context || !alive_alike {
            return Standing::Apart;
        }
        match (self.content_hash(), theirs.content) {
            (Some(mine), Some(theirs)) if mine != theirs => Standing::Forked,
            _ => Standing::Equal,
        }
    }

    /// See [`Replicated::stable`](crate::Replicated::stable).
    pub fn stable(&self, others: &[Summary]) -> Stable {
        let mine = by_range(&live_dots(&self.value));
        let nothing = CausalContext::new();
        let mut stable = self.context.clone();
        for theirs in others {
            let agrees = |range: &(ReplicaId, u64)| {
                let here = mine
                    .get(range)
                    .unwrap_or(&nothing)
                    .intersection(&theirs.context);
                theirs
                    .ranges
                    .get(range)
                    .map_or(here.is_empty(), |alive| alive.is(&here))
            };
            let holds_the_same = mine.keys().chain(theirs.ranges.keys()).all(agrees)
                || bugs::EARLY_FORGET.is_planted();
            if theirs.asked.is_some() || !self.context.covers(&theirs.context) || !holds_the_same {
                return Stable::default();
            }
            stable = stable.intersection(&theirs.context);
        }
        Stable(stable)
    }

    /// 128 bits that differ whenever the states differ, up to collisions of xxh3: the hash of the
    /// canonical bytes. O(state).
    pub fn digest(&self) -> u128 {
        xxhash_rust::xxh3::xxh3_128(&self.encode())
    }

    /// A hash of the value without its context, if every byte of it is understood.
    fn content_hash(&self) -> Option<u64> {
        let mut out = Writer::new(&live_dots(&self.value));
        self.value.encode(&mut out);
        (!self.value.is_opaque()).then(|| xxh3_64(&out.finish()))
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
                let Some((_, run)) = dots_here.runs().next() else {
                    return there.is_empty();
                };
                *there == runs(run.start() / RANGE, dots_here)
            }
        }
    }
}

/// The dots, by replica and range.
fn by_range(live: &CausalContext) -> BTreeMap<(ReplicaId, u64), CausalContext> {
    let mut ranges: BTreeMap<(ReplicaId, u64), CausalContext> = BTreeMap::new();
    for (replica, run) in live.runs() {
        let mut first = *run.start();
        while first <= *run.end() {
            let range = first / RANGE;
            let last = (range * RANGE + (RANGE - 1)).min(*run.end());
            ranges
                .entry((replica, range))
                .or_default()
                .insert_run(replica, first, last);
            first = last + 1;
        }
    }
    ranges
}

fn whole(replica: ReplicaId, range: u64) -> CausalContext {
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

fn runs(range: u64, dots: &CausalContext) -> Vec<(u16, u16)> {
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

fn dots(replica: ReplicaId, range: u64, runs: &[(u16, u16)]) -> CausalContext {
    let mut dots = CausalContext::new();
    let Some(mut end) = range.checked_mul(RANGE) else {
        return dots;
    };
    for &(gap, more) in runs {
        let first = end.saturating_add(u64::from(gap));
        let last = first.saturating_add(u64::from(more));
        dots.insert_run(replica, first, last);
        end = last.saturating_add(1);
    }
    // Dots that a forged run claims beyond the range are ignored.
    dots.intersection(&whole(replica, range))
}
