//! Healing between the replicas of a partition: who lacks what, what can be forgotten, and the
//! pieces that fill an empty replica.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use quorate_control::topology::Epoch;
use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};

use super::Replica;
use super::delta::{Chunk, Delta, Missing, Part};
use super::heard::Heard;
use super::range::{Cut, Range};
use super::shut::Shut;
use crate::planted;
use crate::seen::Seen;

/// A range up to this size is sent whole; of a larger one only what the other side lacks.
const RANGE_BYTES_SMALL: usize = 64 * 1024;
/// The most that one answer to a waiting question may carry. Half of the message limit, because the
/// wire cost of rows is only estimated. What nobody waits for is sent in pieces.
const RANGE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A range of at least this many chunks is streamed in pieces. Guess: far below what a message may
/// carry.
const LARGE_CHUNKS: usize = 4;
/// Roughly what one event costs on the wire beside its rows.
const EVENT_BYTES: usize = 3;

/// Captures what another replica lacks, each range under the events that concern it.
///
/// A delta speaks under a context, and whoever has not seen all of that remembers it for every row
/// of the delta, until it has. If all that is told were told under all that the sender has seen, a
/// replica that had missed n events would remember most of n events for each of n rows. But the
/// sender knows the range of every event that it tells of. So each delta names, of those events,
/// only the ones that touch its own ranges.
struct Telling<'a> {
    replica: &'a Replica,
    /// What the other replica lacks, as far as it is remembered where it lies.
    events: CausalContext,
    /// What this replica has seen beside those events.
    rest: CausalContext,
    /// The slices that the events affect.
    slices: Vec<(&'a Range, Vec<Dot>)>,
}

impl<'a> Telling<'a> {
    fn new(replica: &'a Replica, events: &CausalContext) -> Self {
        let events = if planted::TOLD_UNDER_EVERYTHING.is_planted() {
            CausalContext::new()
        } else {
            replica.recent.remembered_of(events)
        };
        let ranges = replica.recent.ranges_of(&events, None);
        let slices = ranges
            .filter(|(range, _)| matches!(range, Range::Slice { .. }))
            .collect();
        Self {
            replica,
            rest: replica.context.without(&events),
            slices,
            events,
        }
    }

    fn capture(&self, group: Vec<(Range, Vec<Dot>)>) -> Delta {
        if matches!(group.as_slice(), [(Range::Slice { .. }, _)]) {
            return self.replica.capture(group);
        }
        let mut touching = Vec::new();
        for (range, dots) in &group {
            touching.extend_from_slice(dots);
            let recent = &self.replica.recent;
            touching.extend(recent.beside(range, &self.events, &self.slices));
        }
        let mut delta = self.replica.capture(group);
        touching.extend(delta.parts.iter().flat_map(Part::events));
        touching.sort_unstable();
        delta.context = self.rest.clone();
        delta.context.union(&touching.into_iter().collect());
        delta
    }
}

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

    /// What this replica has of `events`, found through `recent`. Each range comes once, with all
    /// of the events that lie in it. It starts after the range `after` and makes at most `chunks`
    /// deltas of about `chunk_bytes`.
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
        let telling = Telling::new(self, &events);
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
            // However small the bound, one range must go, or nothing ever would.
            if planted::BOUND_OF_NOTHING.is_planted() && bytes > chunk_bytes {
                continue;
            }
            let alone = |group: &[(Range, Vec<Dot>)]| {
                matches!(range, Range::Slice { .. }) || matches!(group, [(Range::Slice { .. }, _)])
            };
            if !group.is_empty() && (bytes > budget || alone(&group)) {
                missing
                    .deltas
                    .push(telling.capture(std::mem::take(&mut group)));
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
            missing.deltas.push(telling.capture(group));
        }
        missing
    }

    /// What another replica needs in order to have what this one has in `ranges`: everything live
    /// there or, if that is much and the other's context is known, only the events that it lacks.
    /// `None` if even that is too much for one message; anti-entropy then heals it.
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
        // Events known in part of the partition only are not among those listed below.
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

    /// The context to ask with. It is worth its bytes only if the ranges are large: the others then
    /// answer only with what is lacking.
    pub fn context_for(&self, ranges: &[Range]) -> Option<CausalContext> {
        let large = ranges
            .iter()
            .any(|range| self.rows.bytes_in(range, RANGE_BYTES_SMALL) > RANGE_BYTES_SMALL);
        large.then(|| self.context.clone())
    }

    /// Takes the report of another primary. If that replica has started a new life, its new word
    /// counts, however little it says. Returns what its former lives had reported and it has not
    /// seen, if it must be told: because it asks, or as long as it lacks any of it.
    pub fn hear(&mut self, node: NodeId, seen: &Seen) -> Option<CausalContext> {
        self.heed(&seen.context);
        self.heed_former_lives(&seen.context);
        let to_this_life = seen.to == Some(self.id) || planted::OLD_LIFE.is_planted();
        let mut heard = Heard {
            replica: seen.replica,
            context: seen.context.clone(),
            beyond: seen.beyond.clone(),
            filling: seen.filling,
            first: (!seen.partial && to_this_life)
                .then(|| (seen.place.epoch, seen.context.clone())),
            forgotten: CausalContext::new(),
            former: Vec::new(),
            shut: Shut::said(seen),
        };
        if let Some(mut held) = self.heard.remove(&node) {
            if let Some(shut) = &mut held.shut {
                shut.look(&self.context);
            }
            heard.follow(held, seen.place.epoch, &seen.former);
        }
        if let Some(shut) = &mut heard.shut {
            shut.look(&self.context);
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

    /// Learns from a delta what the primary on `node` had seen. This counts only if it is still in
    /// the life in which it sent the delta.
    pub fn overheard(&mut self, node: NodeId, delta: &Delta) {
        let same = |heard: &&mut Heard| {
            heard.replica == delta.replica || planted::FORMER_LIFE_VOUCHES.is_planted()
        };
        if let Some(heard) = self.heard.get_mut(&node).filter(same) {
            heard.context.union(&delta.context);
        }
    }

    /// The replica that has last reported from `node`.
    pub fn heard_of(&self, node: NodeId) -> Option<ReplicaId> {
        self.heard.get(&node).map(|heard| heard.replica)
    }

    /// Whether the last report from `node` was by this replica.
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

    /// Whether this replica has everything that `node` had at its first report under `epoch` or
    /// later.
    pub fn has_all_of(&self, node: NodeId, epoch: Epoch) -> bool {
        let heard = self.heard.get(&node).and_then(|heard| heard.first.as_ref());
        heard.is_some_and(|(since, context)| *since >= epoch && self.context.covers(context))
    }

    /// Whether `node` is not being filled and has reported, under `epoch` or later, that it has
    /// seen all of `context`.
    pub fn has_told_all(&self, node: NodeId, epoch: Epoch, context: &CausalContext) -> bool {
        self.heard.get(&node).is_some_and(|heard| {
            let spoke = heard
                .first
                .as_ref()
                .is_some_and(|(since, _)| *since >= epoch);
            spoke && !heard.filling && heard.context.covers(context)
        })
    }

    /// Whether `replica` on `node` has not reported before.
    pub fn is_new(&self, node: NodeId, replica: ReplicaId) -> bool {
        self.heard
            .get(&node)
            .is_none_or(|heard| heard.replica != replica)
    }

    /// Whether `node` has reported something that this replica has not seen.
    pub fn lacks_some_of(&self, node: NodeId) -> bool {
        self.heard
            .get(&node)
            .is_some_and(|heard| !self.context.covers(&heard.context))
    }

    /// The nodes that have reported something that this replica has not seen.
    pub fn ahead(&self) -> impl Iterator<Item = NodeId> {
        self.heard
            .iter()
            .filter(|(_, heard)| !self.context.covers(&heard.context))
            .map(|(node, _)| *node)
    }

    /// What `node` has reported and this replica has not seen.
    pub fn lacking_of(&self, node: NodeId) -> CausalContext {
        self.heard
            .get(&node)
            .map(|heard| heard.context.without(&self.context))
            .unwrap_or_default()
    }

    /// Whether `node` has reported that it is still being filled.
    pub fn heard_filling(&self, node: NodeId) -> bool {
        self.heard.get(&node).is_some_and(|heard| heard.filling)
    }

    /// One tick: forgets the events that all of `others` (the other primaries) know, and residuals
    /// that are covered.
    pub fn tick(&mut self, others: &[NodeId]) {
        // A node that leaves stays heard for as long as it has something that this replica lacks.
        self.recent.alone = others.is_empty();
        self.heard
            .retain(|node, heard| others.contains(node) || !self.context.covers(&heard.context));
        for shut in self
            .heard
            .values_mut()
            .filter_map(|heard| heard.shut.as_mut())
        {
            shut.look(&self.context);
        }
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

    /// Roughly the memory of the events that are remembered one by one.
    pub fn recent_bytes(&self) -> usize {
        self.recent.bytes()
    }

    /// Forgets the oldest events beyond `max` events or `bytes_max` bytes. Returns whether there
    /// were any.
    pub fn forget_beyond(&mut self, max: usize, bytes_max: usize) -> bool {
        let gone = self.recent.forget_oldest(max, bytes_max);
        for dot in &gone {
            self.journal.forget(*dot);
        }
        !gone.is_empty()
    }

    /// The piece of `range` after a cut: about `bytes_max` bytes, but at least one row.
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

    /// The replica is being filled from now on, and not read until
    /// [`finish_filling`](Self::finish_filling).
    pub fn start_filling(&mut self) {
        self.filling = true;
        self.journal.touch();
    }

    /// The replica has been filled and may be read.
    pub fn finish_filling(&mut self) {
        self.filling = false;
        self.journal.touch();
    }
}
