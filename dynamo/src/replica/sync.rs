//! Healing between replicas of one partition: who lacks what, what can be forgotten, and filling an empty replica.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_control::topology::Epoch;
use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};

use super::Replica;
use super::delta::Delta;
use super::range::Range;

/// Up to this many bytes, a range is sent whole rather than as what is lacking of it.
const RANGE_BYTES_SMALL: usize = 64 * 1024;
/// The most that is sent in one answer; below the transport's frame limit.
const RANGE_BYTES_MAX: usize = 24 * 1024 * 1024;
/// Rough cost of one event on the wire beside its rows.
const EVENT_BYTES: usize = 16;

/// What another primary last said that it knows.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) replica: ReplicaId,
    pub(super) context: CausalContext,
    pub(super) digest: u128,
    pub(super) filling: bool,
    /// The newest placement under which it has spoken, and what it said first under that. Whoever has this has all that was written under
    /// older placements; what came later comes by itself.
    pub(super) first: (Epoch, CausalContext),
}

/// What a replica with another context lacks.
#[derive(Clone, Debug)]
pub struct Missing {
    /// To join there. Not everything, if it is much: ask again.
    pub deltas: Vec<Delta>,
    /// Some of what it lacks is no longer known event by event: it must be streamed the partition.
    pub behind: bool,
}

/// A slice of the partition, for filling a replica.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Everything live in the slice.
    pub delta: Delta,
    /// The last key of the slice, to go on after; `None` when the slice reaches the end.
    pub next: Option<Bytes>,
}

impl Replica {
    /// Anti-entropy: what a replica that has seen `context` lacks, found in `recent`, in deltas of about `chunk_bytes`, `chunks` of them at the most.
    pub fn missing_at(&self, context: &CausalContext, chunk_bytes: usize, chunks: usize) -> Missing {
        self.missing_of(&self.context, context, (chunk_bytes, chunks))
    }

    /// As [`missing_at`](Self::missing_at), without the events newer than the last tick: they are probably on their way.
    pub fn overdue_at(&self, context: &CausalContext, chunk_bytes: usize, chunks: usize) -> Missing {
        self.missing_of(&self.quiet, context, (chunk_bytes, chunks))
    }

    fn missing_of(&self, known: &CausalContext, context: &CausalContext, (chunk_bytes, chunks): (usize, usize)) -> Missing {
        let events_max = chunk_bytes.saturating_mul(chunks) / EVENT_BYTES;
        let mut by_range: BTreeMap<&Range, Vec<Dot>> = BTreeMap::new();
        for dot in known.missing(context).take(events_max) {
            let Some(range) = self.recent.get(&dot) else { return Missing { deltas: Vec::new(), behind: true } };
            by_range.entry(range).or_default().push(dot);
        }
        let mut deltas = Vec::new();
        let mut group = Vec::new();
        let mut budget = chunk_bytes;
        for (range, dots) in by_range {
            let bytes = self.rows.bytes_in(range, budget);
            if bytes > budget && !group.is_empty() {
                deltas.push(self.capture(std::mem::take(&mut group)));
                budget = chunk_bytes;
            }
            if deltas.len() >= chunks {
                break;
            }
            budget = budget.saturating_sub(bytes);
            group.push((range.clone(), dots));
        }
        if !group.is_empty() {
            deltas.push(self.capture(group));
        }
        Missing { deltas, behind: false }
    }

    /// What another replica needs to have what this one has in `ranges`: everything live there, or, if that is much and the other's context
    /// is known, only the events it lacks. `None` if even that is too much for one message; anti-entropy will heal it.
    pub fn difference(&self, ranges: &[Range], context: Option<&CausalContext>) -> Option<Delta> {
        let bytes: usize = ranges.iter().map(|range| self.rows.bytes_in(range, RANGE_BYTES_MAX)).sum();
        let whole = || self.capture(ranges.iter().map(|range| (range.clone(), Vec::new())).collect());
        if bytes <= RANGE_BYTES_SMALL {
            return Some(whole());
        }
        let mut lacking: BTreeMap<&Range, Vec<Dot>> = BTreeMap::new();
        for dot in context.into_iter().flat_map(|context| self.context.missing(context)) {
            let Some(range) = self.recent.get(&dot) else { return (bytes <= RANGE_BYTES_MAX).then(whole) };
            if ranges.iter().any(|asked| asked.clip(range).is_some()) {
                lacking.entry(range).or_default().push(dot);
            }
        }
        if context.is_none() {
            return (bytes <= RANGE_BYTES_MAX).then(whole);
        }
        let bytes: usize = lacking.keys().map(|range| self.rows.bytes_in(range, RANGE_BYTES_MAX)).sum();
        (bytes <= RANGE_BYTES_MAX).then(|| self.capture(lacking.into_iter().map(|(range, dots)| (range.clone(), dots)).collect()))
    }

    /// The context to ask with, so that others answer only what is lacking: worth its bytes when the ranges are large.
    pub fn context_for(&self, ranges: &[Range]) -> Option<CausalContext> {
        let large = ranges.iter().any(|range| self.rows.bytes_in(range, RANGE_BYTES_SMALL) > RANGE_BYTES_SMALL);
        large.then(|| self.context.clone())
    }

    /// Another primary has told what it has seen. A replica that starts a new life is taken at its new word, however little that is.
    pub fn hear(&mut self, node: NodeId, seen: &crate::protocol::Seen) {
        self.heed(&seen.context);
        let mut heard = Heard {
            replica: seen.replica,
            context: seen.context.clone(),
            digest: seen.digest,
            filling: seen.filling,
            first: (seen.place.epoch, seen.context.clone()),
        };
        if let Some(held) = self.heard.remove(&node).filter(|held| held.replica == seen.replica) {
            heard.context.union(&held.context);
            if held.first.0 >= seen.place.epoch {
                heard.first = held.first;
            }
        }
        self.heard.insert(node, heard);
    }

    /// The replica `replica` on `node` has acknowledged these events.
    pub fn acknowledged(&mut self, node: NodeId, replica: ReplicaId, events: &CausalContext) {
        if let Some(heard) = self.heard.get_mut(&node).filter(|heard| heard.replica == replica) {
            heard.context.union(events);
        }
    }

    /// A delta from the primary on `node` has said that it has seen this.
    pub fn overheard(&mut self, node: NodeId, context: &CausalContext) {
        if let Some(heard) = self.heard.get_mut(&node) {
            heard.context.union(context);
        }
    }

    /// Whether `node` is known to have the event.
    pub fn knows(&self, node: NodeId, dot: Dot) -> bool {
        self.heard.get(&node).is_some_and(|heard| heard.context.contains(dot))
    }

    /// Whether this replica has all that `node` had when it first spoke at `epoch` or later.
    pub fn has_all_of(&self, node: NodeId, epoch: Epoch) -> bool {
        self.heard.get(&node).is_some_and(|heard| heard.first.0 >= epoch && self.context.covers(&heard.first.1))
    }

    /// Whether `node`, which is not being filled, has said at `epoch` or later that it has seen all of `context`.
    pub fn has_told_all(&self, node: NodeId, epoch: Epoch, context: &CausalContext) -> bool {
        self.heard.get(&node).is_some_and(|heard| heard.first.0 >= epoch && !heard.filling && heard.context.covers(context))
    }

    /// Whether `node` has said something that this replica has not seen.
    pub fn lacks_some_of(&self, node: NodeId) -> bool {
        self.heard.get(&node).is_some_and(|heard| !self.context.covers(&heard.context))
    }

    /// Whether `node` has said that it is still being filled.
    pub fn heard_filling(&self, node: NodeId) -> bool {
        self.heard.get(&node).is_some_and(|heard| heard.filling)
    }

    /// Whether `node` has told exactly this context but another digest: a bug or bit rot.
    pub fn contradicts(&self, node: NodeId) -> bool {
        self.residuals.len() == 0
            && self
                .heard
                .get(&node)
                .is_some_and(|heard| heard.digest != self.rows.digest() && heard.context == self.context && !heard.filling)
    }

    /// One tick: forgets the events that all of `others` (the other primaries) know, and the residuals that are covered.
    pub fn tick(&mut self, others: &[NodeId], recent_max: usize) {
        self.heard.retain(|node, _| others.contains(node));
        self.strip();
        let stable: Vec<(ReplicaId, u64)> = self.context.replicas().map(|replica| (replica, self.stable_prefix(replica, others))).collect();
        for (replica, counter) in stable {
            self.forget(Dot::new(replica, 0), Dot::new(replica, counter));
        }
        while self.recent.len() > recent_max {
            let Some((dot, _)) = self.recent.pop_first() else { break };
            self.journal.forget(dot);
        }
        self.quiet.clone_from(&self.context);
    }

    /// How far everybody's knowledge of `replica`'s events reaches without a gap.
    fn stable_prefix(&self, replica: ReplicaId, others: &[NodeId]) -> u64 {
        let known = |node: &NodeId| self.heard.get(node).map_or(0, |heard| heard.context.prefix(replica));
        others.iter().map(known).min().unwrap_or(u64::MAX).min(self.context.prefix(replica))
    }

    fn forget(&mut self, from: Dot, to: Dot) {
        if from > to {
            return;
        }
        let dots: Vec<Dot> = self.recent.range(from..=to).map(|(dot, _)| *dot).collect();
        for dot in dots {
            self.recent.remove(&dot);
            self.journal.forget(dot);
        }
    }

    /// The slice after key `after`, about `bytes_max` bytes of it (one key at least).
    pub fn chunk(&self, after: Option<&Bytes>, bytes_max: usize) -> Chunk {
        let mut budget = bytes_max;
        let mut keys = self.rows.keys_after(after);
        let mut next = None;
        for (key, rows) in keys.by_ref() {
            budget = budget.saturating_sub(rows.bytes(key, budget));
            if budget == 0 {
                next = Some(key.clone());
                break;
            }
        }
        let next = next.filter(|_| keys.next().is_some());
        let slice = Range::Slice { after: after.cloned(), through: next.clone() };
        Chunk { delta: self.delta(slice), next }
    }

    /// Starts to be filled: until [`adopt`](Self::adopt), the replica is neither read nor copied from.
    pub fn start_filling(&mut self) {
        self.filling = true;
        self.journal.touch();
    }

    /// Every slice of a replica that had seen `context` at the start has been joined: now all of it is known here.
    pub fn adopt(&mut self, context: &CausalContext) {
        self.context.union(context);
        self.journal.touch();
        self.strip();
    }

    /// The replica may be read and copied from.
    pub fn finish_filling(&mut self) {
        self.filling = false;
        self.journal.touch();
    }
}
