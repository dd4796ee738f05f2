//! What nobody waits for: telling what has been seen, sending what others lack, filling replicas, hints.

use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::quorum::majority;
use quorate_control::topology::{Epoch, KeyspaceId, Partition, Phase, Placement};
use quorate_crdt::{CausalContext, NodeId, Now, ReplicaId};

use super::Dynamo;
use crate::protocol::{Effect, Message, Place, Seen};
use crate::replica::{Delta, Replica};

/// A replica that has nothing new to tell still tells it every so many ticks, for those that missed it.
const TICKS_BETWEEN_REMINDERS: u64 = 10;
/// How long a chunk may take before another source is tried.
const PULL_PATIENCE: Duration = Duration::from_secs(2);
/// Repair sent to one replica in answer to one report, in chunks.
const REPAIR_CHUNKS: usize = 8;

type At = (KeyspaceId, Partition);

/// State of the healings of one core.
#[derive(Debug, Default)]
pub(super) struct Healing {
    ticks: u64,
    /// What each node was last told of each replica: events seen, placement, whether it was being filled.
    told: BTreeMap<(NodeId, At), (u64, Epoch, bool)>,
    /// Partitions being streamed to this node.
    pulls: BTreeMap<At, Pull>,
    /// What is kept for absent primaries.
    hints: BTreeMap<(NodeId, At), Hint>,
}

/// What is kept for an absent primary of one partition: a replica that never writes, so that many deltas of one range become
/// one, and how many bytes were put into it.
#[derive(Debug)]
struct Hint {
    kept: Replica,
    bytes: usize,
}

#[derive(Debug)]
struct Pull {
    source: NodeId,
    /// The replica that is streamed, and what it had seen at the start.
    from: Option<(ReplicaId, CausalContext)>,
    after: Option<Bytes>,
    asked_at: Duration,
}

impl Healing {
    pub(super) fn forget_told(&mut self, node: NodeId) {
        self.told.retain(|(held, _), _| *held != node);
    }

    pub(super) fn hint_bytes(&self) -> usize {
        self.hints.values().map(|hint| hint.bytes).sum()
    }
}

impl Dynamo {
    /// Makes the replicas that this core should hold by the topology and discards those it should not.
    pub(super) fn place_replicas(&mut self, now: Now) {
        let Some(topology) = self.routes.topology().cloned() else { return };
        let first = !self.standing.started;
        for (keyspace, info) in &topology.keyspaces {
            for (partition, placement) in info.partitions() {
                if self.seat.owns(partition) && placement.holds(self.seat.me) && !self.replicas.contains_key(&(*keyspace, partition)) {
                    self.make_replica((*keyspace, partition), placement, first, now);
                }
            }
        }
        let gone: Vec<At> = self
            .replicas
            .keys()
            .copied()
            .filter(|(keyspace, partition)| {
                !self.routes.placement(*keyspace, *partition).is_some_and(|placement| placement.holds(self.seat.me))
            })
            .collect();
        for at in gone {
            self.healing.pulls.remove(&at);
            self.dirty.remove(&at);
            if let Some(replica) = self.replicas.remove(&at) {
                replica.erase(&mut self.erased);
            }
        }
    }

    fn make_replica(&mut self, at: At, placement: &Placement, first: bool, now: Now) {
        let mut replica = Replica::new(ReplicaId::new(self.seat.me, self.seat.incarnation));
        if self.config.persist {
            replica.persist_as(at.0, at.1);
        }
        let newcomer = !placement.replicas.contains(&self.seat.me);
        let lost = first && self.seat.restarted && placement.holders().len() > 1;
        if newcomer || lost {
            replica.start_filling();
        }
        self.replicas.insert(at, replica);
        self.dirty.insert(at);
        self.pull_for_filling(at, now);
    }

    /// Every tick: forget what all know, tell what has been seen, go on with what is being filled, report finished moves.
    pub(super) fn on_anti_entropy(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.healing.ticks += 1;
        let reminder = self.healing.ticks.is_multiple_of(TICKS_BETWEEN_REMINDERS);
        let mut reports: BTreeMap<NodeId, Vec<Seen>> = BTreeMap::new();
        let places: Vec<At> = self.replicas.keys().copied().collect();
        for at in places {
            let Some(placement) = self.routes.placement(at.0, at.1).cloned() else { continue };
            let others: Vec<NodeId> = placement.holders().into_iter().filter(|node| *node != self.seat.me).collect();
            let Some(replica) = self.replicas.get_mut(&at) else { continue };
            let before = (replica.recent_count(), replica.residual_count());
            replica.tick(&others, self.config.recent_max);
            if before != (replica.recent_count(), replica.residual_count()) {
                self.dirty.insert(at);
            }
            self.go_on_filling(at, &placement, now, effects);
            self.tell(at, placement.epoch, &others, reminder, &mut reports);
        }
        for (to, all) in reports {
            effects.push(Effect::Send { to, message: Message::Seen(all) });
        }
        self.report_moves(effects);
    }

    fn tell(&mut self, at: At, epoch: Epoch, others: &[NodeId], reminder: bool, reports: &mut BTreeMap<NodeId, Vec<Seen>>) {
        let Some(replica) = self.replicas.get(&at) else { return };
        let state = (replica.context().event_count(), epoch, replica.filling());
        for node in others.iter().copied().filter(|node| self.routes.reachable(*node)) {
            let told = self.healing.told.insert((node, at), state);
            if reminder || told != Some(state) {
                reports.entry(node).or_default().push(Seen {
                    place: Place { keyspace: at.0, partition: at.1, epoch },
                    replica: replica.id(),
                    context: replica.context().clone(),
                    digest: replica.digest(),
                    filling: replica.filling(),
                });
            }
        }
    }

    /// Another node has told what its replicas have seen: send what they lack.
    pub(super) fn on_seen(&mut self, now: Now, from: NodeId, all: Vec<Seen>, effects: &mut Vec<Effect>) {
        for seen in all {
            let at = (seen.place.keyspace, seen.place.partition);
            let Some(replica) = self.replicas.get_mut(&at) else { continue };
            replica.hear(from, &seen);
            if seen.context.max(replica.id()) > replica.context().max(replica.id())
                && !std::mem::replace(&mut self.standing.writes.forgetful, true)
            {
                effects.push(Effect::Amnesia);
            }
            self.counters.digest_mismatches += u64::from(replica.contradicts(from));
            if !replica.filling() {
                self.send_missing(from, &seen, effects);
            }
        }
        self.look_after_waiters(now, effects);
    }

    fn send_missing(&mut self, to: NodeId, seen: &Seen, effects: &mut Vec<Effect>) {
        let Some(replica) = self.replicas.get(&(seen.place.keyspace, seen.place.partition)) else { return };
        let missing = replica.overdue_at(&seen.context, self.config.chunk_bytes, REPAIR_CHUNKS);
        let place = seen.place;
        if missing.behind && !seen.filling {
            effects.push(Effect::Send { to, message: Message::Behind { place } });
        }
        self.counters.repairs_sent += missing.deltas.len() as u64;
        effects.extend(missing.deltas.into_iter().map(|delta| Effect::Send { to, message: Message::Repair { place, delta } }));
    }

    pub(super) fn on_repair(&mut self, now: Now, from: NodeId, place: Place, delta: &Delta) {
        if self.join(now, place, delta) {
            self.counters.repairs_joined += 1;
            if let Some(replica) = self.replica_mut(place) {
                replica.overheard(from, &delta.context);
            }
        }
    }

    /// This node lacks what `from` no longer knows event by event.
    pub(super) fn on_behind(&mut self, now: Now, from: NodeId, place: Place, effects: &mut Vec<Effect>) {
        let at = (place.keyspace, place.partition);
        if !self.replicas.contains_key(&at) {
            return;
        }
        if let btree_map::Entry::Vacant(free) = self.healing.pulls.entry(at) {
            free.insert(Pull { source: from, from: None, after: None, asked_at: now.monotonic });
            effects.push(Effect::Send { to: from, message: Message::Pull { place, after: None } });
        }
    }

    pub(super) fn on_pull(&mut self, from: NodeId, place: Place, after: Option<&Bytes>, effects: &mut Vec<Effect>) {
        let Some(replica) = self.replicas.get(&(place.keyspace, place.partition)).filter(|replica| !replica.filling()) else { return };
        let chunk = replica.chunk(after, self.config.chunk_bytes);
        let message = Message::Chunk { place, replica: replica.id(), delta: chunk.delta, next: chunk.next };
        effects.push(Effect::Send { to: from, message });
    }

    pub(super) fn on_chunk(
        &mut self,
        now: Now,
        (from, replica): (NodeId, ReplicaId),
        place: Place,
        (delta, next): (&Delta, Option<Bytes>),
        effects: &mut Vec<Effect>,
    ) {
        let at = (place.keyspace, place.partition);
        let Some(pull) = self.healing.pulls.get_mut(&at).filter(|pull| pull.source == from) else { return };
        let (streamed, context) = pull.from.get_or_insert_with(|| (replica, delta.context.clone()));
        if *streamed != replica {
            *pull = Pull { source: from, from: None, after: None, asked_at: now.monotonic };
            effects.push(Effect::Send { to: from, message: Message::Pull { place, after: None } });
            return;
        }
        let context = context.clone();
        pull.after.clone_from(&next);
        pull.asked_at = now.monotonic;
        if !self.join(now, place, delta) {
            self.healing.pulls.remove(&at);
            return;
        }
        if next.is_some() {
            effects.push(Effect::Send { to: from, message: Message::Pull { place, after: next } });
            return;
        }
        self.healing.pulls.remove(&at);
        self.counters.streams += 1;
        if let Some(held) = self.replica_mut(place) {
            held.adopt(&context);
        }
        if let Some(placement) = self.routes.placement(place.keyspace, place.partition).cloned() {
            self.go_on_filling(at, &placement, now, effects);
        }
    }

    /// A replica being filled is ready when no stream is under way and it has seen all that the replicas read until now had seen when they last
    /// spoke under this placement: every one that can be reached, and a majority in each datacenter, since a write may have been acknowledged there alone.
    fn go_on_filling(&mut self, at: At, placement: &Placement, now: Now, effects: &mut Vec<Effect>) {
        if !self.replicas.get(&at).is_some_and(Replica::filling) {
            return;
        }
        let late = self
            .healing
            .pulls
            .get(&at)
            .is_some_and(|pull| now.monotonic.saturating_sub(pull.asked_at) > PULL_PATIENCE || !self.routes.reachable(pull.source));
        if late {
            self.healing.pulls.remove(&at);
        }
        if self.healing.pulls.contains_key(&at) {
            return;
        }
        if self.caught_up(at, placement) || self.all_are_filling(at, placement) {
            self.dirty.insert(at);
            if let Some(replica) = self.replicas.get_mut(&at) {
                replica.finish_filling();
            }
            return;
        }
        self.pull_for_filling(at, now);
        if let Some(pull) = self.healing.pulls.get(&at) {
            let place = Place { keyspace: at.0, partition: at.1, epoch: placement.epoch };
            effects.push(Effect::Send { to: pull.source, message: Message::Pull { place, after: None } });
        }
    }

    fn pull_for_filling(&mut self, at: At, now: Now) {
        let Some(placement) = self.routes.placement(at.0, at.1) else { return };
        let Some(replica) = self.replicas.get(&at).filter(|replica| replica.filling()) else { return };
        let fit = |node: &NodeId| {
            let source = placement.replicas.contains(node) && *node != self.seat.me && self.routes.reachable(*node);
            source && !replica.unfit_source(*node) && !replica.is_ahead_of(*node, Epoch(0))
        };
        let source = self.routes.preference(placement).primaries.into_iter().find(fit);
        if let Some(source) = source {
            self.healing.pulls.insert(at, Pull { source, from: None, after: None, asked_at: now.monotonic });
        }
    }

    /// Whether this replica has all that the old replicas had.
    fn caught_up(&self, at: At, placement: &Placement) -> bool {
        let (Some(replica), Some(topology)) = (self.replicas.get(&at), self.routes.topology()) else { return false };
        let mut by_datacenter: BTreeMap<_, (usize, usize)> = BTreeMap::new();
        for node in placement.replicas.iter().filter(|node| **node != self.seat.me) {
            let ahead = replica.is_ahead_of(*node, placement.epoch);
            if !ahead && self.routes.reachable(*node) {
                return false;
            }
            let (known, all) = by_datacenter.entry(topology.datacenter_of(*node)).or_default();
            *known += usize::from(ahead);
            *all += 1;
        }
        by_datacenter.values().all(|(known, all)| *known >= majority(*all))
    }

    /// Every replica has lost its disk: the one with the least id starts over, rather than all waiting for each other.
    fn all_are_filling(&self, at: At, placement: &Placement) -> bool {
        let Some(replica) = self.replicas.get(&at) else { return false };
        let holders = placement.holders();
        let least = holders.iter().min() == Some(&self.seat.me);
        least && holders.iter().filter(|node| **node != self.seat.me).all(|node| replica.heard_filling(*node))
    }

    /// Tells the control plane which phases of moves are done here; again each tick until the topology shows it.
    fn report_moves(&self, effects: &mut Vec<Effect>) {
        let mut done: BTreeMap<KeyspaceId, Vec<(Partition, Epoch)>> = BTreeMap::new();
        for (at, replica) in &self.replicas {
            let Some(placement) = self.routes.placement(at.0, at.1) else { continue };
            let Some(transition) = placement.transition.as_ref().filter(|transition| !transition.done.contains(&self.seat.me)) else {
                continue;
            };
            let ready = match transition.phase {
                Phase::Copying => transition.to.contains(&self.seat.me) && !replica.filling() && self.caught_up(*at, placement),
                Phase::Switching => true,
            };
            if ready {
                done.entry(at.0).or_default().push((at.1, placement.epoch));
            }
        }
        effects.extend(done.into_iter().map(|(keyspace, partitions)| Effect::Report { keyspace, partitions }));
    }

    /// Keeps what an absent primary must join.
    pub(super) fn on_hint(&mut self, owner: NodeId, place: Place, delta: &Arc<Delta>) {
        let bytes: usize = delta.parts.iter().flat_map(|part| &part.rows).map(|(name, _)| 128 + name.key.len() + name.field.len()).sum();
        if self.healing.hint_bytes() + bytes > self.config.hint_bytes_max {
            self.counters.hints_dropped += 1;
            return;
        }
        self.counters.hints += 1;
        let never = ReplicaId::new(self.seat.me, 0);
        let nothing = || Hint { kept: Replica::new(never), bytes: 0 };
        let hint = self.healing.hints.entry((owner, (place.keyspace, place.partition))).or_insert_with(nothing);
        hint.bytes += bytes;
        hint.kept.join(delta);
    }

    /// The primary is back: it gets what was kept for it. What is lost on the way, anti-entropy heals.
    pub(super) fn hand_off(&mut self, owner: NodeId, effects: &mut Vec<Effect>) {
        let (theirs, others) =
            std::mem::take(&mut self.healing.hints).into_iter().partition::<BTreeMap<_, _>, _>(|((node, _), _)| *node == owner);
        self.healing.hints = others;
        for ((_, at), Hint { kept, .. }) in theirs {
            let epoch = self.routes.placement(at.0, at.1).map_or(Epoch::default(), |placement| placement.epoch);
            let place = Place { keyspace: at.0, partition: at.1, epoch };
            for delta in kept.missing_at(&CausalContext::new(), self.config.chunk_bytes, usize::MAX).deltas {
                effects.push(Effect::Send { to: owner, message: Message::Repair { place, delta } });
            }
        }
    }
}
