//! Healing between replicas of one partition: who lacks what, what can be forgotten, and filling an
//! empty replica.

use std::collections::BTreeMap;

use quorate_control::topology::Epoch;
use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};

use super::Replica;
use super::delta::{Chunk, Delta, Missing};
use super::heard::Heard;
use super::range::{Cut, Range};
use crate::planted;
use crate::seen::Seen;

/// Up to this many bytes, a range is sent whole rather than as what is lacking of it.
const RANGE_BYTES_SMALL: usize = 64 * 1024;
/// The most that is sent in one answer to a question that somebody waits for. Half of what a
/// message may be, since what rows cost on the wire is counted roughly. What nobody waits for comes
/// in pieces.
const RANGE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// From so many chunks on, a range is streamed in pieces. Guess: far below what a message may
/// carry.
const LARGE_CHUNKS: usize = 4;
/// Rough cost of one event on the wire beside its rows.
const EVENT_BYTES: usize = 3;

impl Replica {
    /// What a replica that has seen `context` lacks.
    pub fn missing_at(
        &self,
        context: &CausalContext,
        chunk_bytes: usize,
        chunks: usize,
    ) -> Missing {
        self.missing_of(&self.context.without(context), None, chunk_bytes, chunks)
    }

    /// What of `events` this replica has, found in `recent`: range by range, each with all of the
    /// events that lie in it, so that no row comes twice; after the range `after`, in deltas of
    /// about `chunk_bytes`, `chunks` of them at the most.
    pub fn missing_of(
        &self,
        events: &CausalContext,
        after: Option<&Range>,
        chunk_bytes: usize,
        chunks: usize,
    ) -> Missing {
        let events = events.intersection(&self.context);
        let mut missing = Missing::default();
        if after.is_none() && !self.recent.has_all(&events) {
            missing.behind = Some(Range::ALL);
            return missing;
        }
        let large = chunk_bytes.saturating_mul(LARGE_CHUNKS);
        let (mut group, mut budget) = (Vec::new(), chunk_bytes);
        let mut last = None;
        for (range, dots) in self.recent.ranges_of(&events, after) {
            if !matches!(range, Range::Row(_)) && self.rows.bytes_in(range, large) > large {
                missing.behind.get_or_insert_with(|| range.clone());
                last = Some(range);
                continue;
            }
            let bytes = self
                .rows
                .bytes_in(range, budget)
                .saturating_add(dots.len() * EVENT_BYTES);
            // However small the bound was chosen, one range goes, or nothing ever would.
            if planted::BOUND_OF_NOTHING.is_planted() && bytes > chunk_bytes {
                continue;
            }
            if bytes > budget && !group.is_empty() {
                missing
                    .deltas
                    .push(self.capture(std::mem::take(&mut group)));
                budget = chunk_bytes;
            }
            if missing.deltas.len() >= chunks {
                missing.next = last.cloned();
                break;
            }
            budget = budget.saturating_sub(bytes);
            group.push((range.clone(), dots));
            last = Some(range);
        }
        if !group.is_empty() {
            missing.deltas.push(self.capture(group));
        }
        missing
    }

    /// What another replica needs to have what this one has in `ranges`: everything live there, or,
    /// if that is much and the other's context is known, only the events it lacks. `None` if even
    /// that is too much for one message; anti-entropy will heal it.
    pub fn difference(&self, ranges: &[Range], context: Option<&CausalContext>) -> Option<Delta> {
        let most = if planted::RANGES_FIT_A_FRAME.is_planted() {
            24 * 1024 * 1024
        } else {
            RANGE_BYTES_MAX
        };
        let bytes: usize = ranges
            .iter()
            .map(|range| self.rows.bytes_in(range, most))
            .sum();
        let whole = || {
            self.capture(
                ranges
                    .iter()
                    .map(|range| (range.clone(), Vec::new()))
                    .collect(),
            )
        };
        if bytes <= RANGE_BYTES_SMALL {
            return Some(whole());
        }
        // What is known of a range only is not among the events that are gone through here.
        let has =
            |residual: &CausalContext| context.is_some_and(|context| context.covers(residual));
        let known_in_part = ranges.iter().any(|range| {
            !self
                .residuals
                .within(range)
                .iter()
                .all(|residual| has(&residual.context))
        });
        if known_in_part && !planted::RESIDUALS_UNSAID.is_planted() {
            return (bytes <= most).then(whole);
        }
        let mut lacking: BTreeMap<&Range, Vec<Dot>> = BTreeMap::new();
        for dot in context
            .into_iter()
            .flat_map(|context| self.context.missing(context))
        {
            let Some(range) = self.recent.get(&dot) else {
                return (bytes <= most).then(whole);
            };
            if ranges.iter().any(|asked| asked.clip(range).is_some()) {
                lacking.entry(range).or_default().push(dot);
            }
        }
        if context.is_none() {
            return (bytes <= most).then(whole);
        }
        let bytes: usize = lacking
            .keys()
            .map(|range| self.rows.bytes_in(range, most))
            .sum();
        (bytes <= most).then(|| {
            self.capture(
                lacking
                    .into_iter()
                    .map(|(range, dots)| (range.clone(), dots))
                    .collect(),
            )
        })
    }

    /// The context to ask with, so that others answer only what is lacking: worth its bytes when
    /// the ranges are large.
    pub fn context_for(&self, ranges: &[Range]) -> Option<CausalContext> {
        let large = ranges
            .iter()
            .any(|range| self.rows.bytes_in(range, RANGE_BYTES_SMALL) > RANGE_BYTES_SMALL);
        large.then(|| self.context.clone())
    }

    /// Another primary has told what it has seen. A replica that starts a new life is taken at its
    /// new word, however little that is; it must be told what its former lives had said if it asks,
    /// and for as long as it has not seen that. This returns it.
    pub fn hear(&mut self, node: NodeId, seen: &Seen) -> Option<CausalContext> {
        self.heed(&seen.context);
        self.heed_former_lives(&seen.context);
        let mut heard = Heard {
            replica: seen.replica,
            context: seen.context.clone(),
            beyond: seen.beyond.clone(),
            filling: seen.filling,
            first: (!seen.partial).then(|| (seen.place.epoch, seen.context.clone())),
            forgotten: CausalContext::new(),
        };
        if let Some(held) = self.heard.remove(&node) {
            heard.follow(held, seen.place.epoch);
        }
        let untold = (seen.waking || !heard.forgotten.is_empty()).then(|| heard.forgotten.clone());
        self.heard.insert(node, heard);
        untold
    }

    /// The replica `replica` on `node` has acknowledged these events.
    pub fn acknowledged(&mut self, node: NodeId, replica: ReplicaId, events: &CausalContext) {
        if let Some(heard) = self
            .heard
            .get_mut(&node)
            .filter(|heard| heard.replica == replica)
        {
            heard.context.union(events);
        }
    }

    /// A delta has come from the primary on `node`, and says what that had seen; in the life that
    /// it was in then, which may be over.
    pub fn overheard(&mut self, node: NodeId, delta: &Delta) {
        let same = |heard: &&mut Heard| {
            heard.replica == delta.replica || planted::FORMER_LIFE_VOUCHES.is_planted()
        };
        if let Some(heard) = self.heard.get_mut(&node).filter(same) {
            heard.context.union(&delta.context);
        }
    }

    /// Whether the replica that has last spoken for `node` is this one.
    pub fn has_heard(&self, node: NodeId, replica: ReplicaId) -> bool {
        self.heard
            .get(&node)
            .is_some_and(|heard| heard.replica == replica)
    }

    /// Whether `node` is known to have the event.
    pub fn knows(&self, node: NodeId, dot: Dot) -> bool {
        self.heard
            .get(&node)
            .is_some_and(|heard| heard.context.contains(dot))
    }

    /// Whether this replica has all that `node` had when it first spoke at `epoch` or later.
    pub fn has_all_of(&self, node: NodeId, epoch: Epoch) -> bool {
        let heard = self.heard.get(&node).and_then(|heard| heard.first.as_ref());
        heard.is_some_and(|(since, context)| *since >= epoch && self.context.covers(context))
    }

    /// Whether `node`, which is not being filled, has said at `epoch` or later that it has seen all
    /// of `context`.
    pub fn has_told_all(&self, node: NodeId, epoch: Epoch, context: &CausalContext) -> bool {
        self.heard.get(&node).is_some_and(|heard| {
            let spoke = heard
                .first
                .as_ref()
                .is_some_and(|(since, _)| *since >= epoch);
            spoke && !heard.filling && heard.context.covers(context)
        })
    }

    /// Whether `replica` on `node` has never spoken since this replica began to listen.
    pub fn is_new(&self, node: NodeId, replica: ReplicaId) -> bool {
        self.heard
            .get(&node)
            .is_none_or(|heard| heard.replica != replica)
    }

    /// Whether `node` has said something that this replica has not seen.
    pub fn lacks_some_of(&self, node: NodeId) -> bool {
        self.heard
            .get(&node)
            .is_some_and(|heard| !self.context.covers(&heard.context))
    }

    /// Those that have said something that this replica has not seen.
    pub fn ahead(&self) -> impl Iterator<Item = NodeId> {
        self.heard
            .iter()
            .filter(|(_, heard)| !self.context.covers(&heard.context))
            .map(|(node, _)| *node)
    }

    /// What `node` has said that this replica has not seen.
    pub fn lacking_of(&self, node: NodeId) -> CausalContext {
        self.heard
            .get(&node)
            .map(|heard| heard.context.without(&self.context))
            .unwrap_or_default()
    }

    /// Whether `node` has said that it is still being filled.
    pub fn heard_filling(&self, node: NodeId) -> bool {
        self.heard.get(&node).is_some_and(|heard| heard.filling)
    }

    /// One tick: forgets the events that all of `others` (the other primaries) know, and the
    /// residuals that are covered.
    pub fn tick(&mut self, others: &[NodeId]) {
        // One that leaves is heard as long as it has something that is lacking here.
        self.recent.alone = others.is_empty();
        self.heard
            .retain(|node, heard| others.contains(node) || !self.context.covers(&heard.context));
        self.judge(others);
        self.strip();
        let mut known_by_all = self.context.clone();
        for other in others {
            known_by_all = self
                .heard
                .get(other)
                .map(|heard| known_by_all.intersection(&heard.context))
                .unwrap_or_default();
        }
        for dot in self.recent.forget_known(known_by_all) {
            self.journal.forget(dot);
        }
    }

    /// Bytes of the events that are remembered one by one.
    pub fn recent_bytes(&self) -> usize {
        self.recent.bytes()
    }

    /// Forgets the oldest events beyond so many and so many bytes. Returns whether there were any.
    pub fn forget_beyond(&mut self, max: usize, bytes_max: usize) -> bool {
        let gone = self.recent.forget_oldest(max, bytes_max);
        for dot in &gone {
            self.journal.forget(*dot);
        }
        !gone.is_empty()
    }

    /// The piece of `range` after a cut, about `bytes_max` bytes of it (one row at least).
    pub fn chunk(&self, range: &Range, after: Option<&Cut>, bytes_max: usize) -> Chunk {
        let Range::Slice {
            after: from,
            through,
        } = range.as_slice()
        else {
            unreachable!("invariant: rows are not streamed")
        };
        let after = after.cloned().or(from);
        let rest = Range::Slice {
            after: after.clone(),
            through,
        };
        let next = self.rows.end_of_piece(&rest, bytes_max);
        let piece = match &next {
            Some(next) => Range::Slice {
                after,
                through: Some(next.clone()),
            },
            None => rest,
        };
        let settled = if next.is_none() && *range != Range::ALL {
            self.recent.within(range)
        } else {
            Vec::new()
        };
        Chunk {
            delta: self.delta(piece),
            next,
            settled,
        }
    }

    /// Starts to be filled: until [`finish_filling`](Self::finish_filling), the replica is not
    /// read.
    pub fn start_filling(&mut self) {
        self.filling = true;
        self.journal.touch();
    }

    /// The replica may be read.
    pub fn finish_filling(&mut self) {
        self.filling = false;
        self.journal.touch();
    }
}
