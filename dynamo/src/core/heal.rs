//! What nobody waits for: telling what has been seen, sending what others lack.

use std::collections::BTreeMap;

use quorate_control::topology::{Epoch, KeyspaceId, Partition, Phase};
use quorate_crdt::{NodeId, Now};

use super::fill::Pull;
use super::hints::Hints;
use super::wake::{Waking, former_lives};
use super::{At, Dynamo};
use crate::planted;
use crate::protocol::{Effect, Message, Place, Seen};
use crate::replica::{Delta, Range, Replica};

/// A replica that has nothing new to tell still tells it every so many ticks, for those that missed it.
const TICKS_BETWEEN_REMINDERS: u64 = 10;
/// Repair sent to one replica in answer to one report, in chunks.
const REPAIR_CHUNKS: usize = 8;

/// State of the healings of one core.
#[derive(Debug, Default)]
pub(super) struct Healing {
    ticks: u64,
    /// What each node was last told of each replica: events seen, placement, whether it was being filled and partial.
    told: BTreeMap<(NodeId, At), (u64, Epoch, bool, bool)>,
    /// Partitions being streamed to this node.
    pub(super) pulls: BTreeMap<At, Pull>,
    /// The number of the last stream.
    pub(super) streams: u64,
    /// What is kept for absent primaries.
    pub(super) hints: Hints,
    /// Replicas whose memory nobody has confirmed yet.
    pub(super) waking: Waking,
}

impl Healing {
    pub(super) fn forget_told(&mut self, node: NodeId) {
        self.told.retain(|(held, _), _| *held != node);
    }

    /// A replica has gone: nothing is streamed to it, and nobody has been told of it.
    pub(super) fn forget_place(&mut self, at: At) {
        self.pulls.remove(&at);
        self.waking.forget(at);
        self.told.retain(|(_, held), _| *held != at);
    }
}

impl Dynamo {
    /// Every tick: forget what all know, tell what has been seen, go on with what is being filled or leaves, report finished moves.
    pub(super) fn on_anti_entropy(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.healing.ticks += 1;
        let reminder = self.healing.ticks.is_multiple_of(TICKS_BETWEEN_REMINDERS);
        let mut reports: BTreeMap<NodeId, Vec<Seen>> = BTreeMap::new();
        let places: Vec<At> = self.replicas.keys().copied().collect();
        for at in places {
            let Some(placement) = self.routes.placement(at.0, at.1).cloned() else { continue };
            let others = self.others(at);
            let Some(replica) = self.replicas.get_mut(&at) else { continue };
            let before = (replica.recent_count(), replica.residual_count());
            replica.tick(&others, self.config.recent_max);
            if before != (replica.recent_count(), replica.residual_count()) {
                self.dirty.insert(at);
            }
            let leaving = self.is_leaving(at);
            if !leaving {
                self.settle_lost(at, (&others, placement.epoch));
                self.go_on_streaming(now, at, effects);
                self.go_on_mending(now, at, effects);
                self.go_on_filling(now, at, &placement, effects);
            }
            let (helper, urgent) = self.helper(at, &others);
            for node in others {
                if !self.routes.reachable(node) {
                    continue;
                }
                let asks = helper == Some(node) || planted::EVERYBODY_HELPS.is_planted();
                let remind = reminder || leaving || (asks && urgent) || self.healing.waking.awaits(at, node);
                self.tell(at, placement.epoch, node, (remind, asks), &mut reports);
            }
        }
        for (to, all) in reports {
            effects.push(Effect::Send { to, message: Message::Seen(all) });
        }
        self.forget_beyond_bound();
        self.hand_off_late(effects);
        self.let_go();
        self.wake(now, effects);
        self.report_moves(effects);
    }

    /// What is remembered event by event is bounded over all partitions, whoever is away and for how long: those with the most forget first.
    fn forget_beyond_bound(&mut self) {
        let sizes: Vec<usize> = self.replicas.values().map(Replica::recent_bytes).collect();
        if planted::RECENT_BOUNDED_BY_PARTITION.is_planted() {
            return;
        }
        let Some(each) = share(sizes, self.config.recent_bytes_max) else { return };
        for (at, replica) in &mut self.replicas {
            if replica.forget_beyond(each) {
                self.dirty.insert(*at);
            }
        }
    }

    /// What a replica of this node knows to be lost is declared seen.
    fn settle_lost(&mut self, at: At, (others, epoch): (&[NodeId], Epoch)) {
        if self.replicas.get_mut(&at).is_some_and(|replica| replica.settle_lost(others, epoch)) {
            self.dirty.insert(at);
        }
    }

    /// Whom of `others` a replica asks for what it lacks, and whether it is known to lack something: then it asks each tick until that has
    /// come. One at a time, or all would send the same; another each tick, or one that cannot help would be waited for.
    fn helper(&self, at: At, others: &[NodeId]) -> (Option<NodeId>, bool) {
        let Some(replica) = self.replicas.get(&at) else { return (None, false) };
        let reachable: Vec<NodeId> = others.iter().copied().filter(|node| self.routes.reachable(*node)).collect();
        let ahead: Vec<NodeId> = reachable.iter().copied().filter(|node| replica.lacks_some_of(*node)).collect();
        let from = if ahead.is_empty() { &reachable } else { &ahead };
        let turn = if planted::ONE_HELPER_FOR_EVER.is_planted() { 0 } else { self.healing.ticks };
        let helper = (!from.is_empty()).then(|| from[(turn % from.len() as u64) as usize]);
        (helper, !ahead.is_empty())
    }

    /// Reports what a replica has seen, unless `to` was told just that and need not be reminded.
    fn tell(&mut self, at: At, epoch: Epoch, to: NodeId, (remind, asks): (bool, bool), reports: &mut BTreeMap<NodeId, Vec<Seen>>) {
        let Some(replica) = self.replicas.get(&at) else { return };
        let state = (replica.context().event_count(), epoch, replica.filling(), replica.is_partial());
        let told = self.healing.told.insert((to, at), state);
        if remind || told != Some(state) {
            reports.entry(to).or_default().push(Seen {
                place: Place { keyspace: at.0, partition: at.1, epoch },
                replica: replica.id(),
                context: replica.context().clone(),
                beyond: replica.beyond(),
                digest: replica.digest(),
                filling: replica.filling(),
                partial: replica.is_partial(),
                exact: replica.is_exact(),
                asks: asks && (!self.standing.disk_full || planted::FULL_DISK_TAKES_REPAIRS.is_planted()),
                waking: self.healing.waking.awaits(at, to),
            });
        }
    }

    /// Another node has told what its replicas have seen: send what they lack. One that leaves lacks nothing, but must learn what is known here.
    pub(super) fn on_seen(&mut self, now: Now, from: NodeId, all: Vec<Seen>, effects: &mut Vec<Effect>) {
        let mut answers = BTreeMap::new();
        for seen in all {
            let at = (seen.place.keyspace, seen.place.partition);
            let Some(replica) = self.replicas.get_mut(&at) else { continue };
            let (filling, former) = (replica.filling(), replica.hear(from, &seen));
            if replica.filling() != filling {
                self.dirty.insert(at);
            }
            if replica.is_spent() {
                self.standing.renewal.want();
            }
            self.counters.digest_mismatches += u64::from(replica.compare(from, &seen));
            let Some(epoch) = self.routes.placement(at.0, at.1).map(|placement| placement.epoch) else { continue };
            if self.others(at).contains(&from) {
                effects.extend(former.map(|events| former_lives(from, &seen, events)));
                if seen.asks {
                    self.send_missing(from, &seen, effects);
                }
            } else {
                self.tell(at, epoch, from, (true, true), &mut answers);
                self.healing.told.remove(&(from, at));
            }
        }
        for (to, all) in answers {
            effects.push(Effect::Send { to, message: Message::Seen(all) });
        }
        self.let_go();
        self.look_after_waiters(now, effects);
    }

    fn send_missing(&mut self, to: NodeId, seen: &Seen, effects: &mut Vec<Effect>) {
        let replica = self.replicas.get(&(seen.place.keyspace, seen.place.partition)).filter(|replica| !replica.is_outvoted());
        let Some(replica) = replica else { return };
        let missing = replica.overdue_at(&seen.context, self.config.chunk_bytes, REPAIR_CHUNKS);
        let place = seen.place;
        // One that is being filled pulls by itself what it lacks of the whole.
        if let Some(range) = missing.behind.filter(|range| *range != Range::ALL || !seen.filling) {
            effects.push(Effect::Send { to, message: Message::Behind { place, range } });
        }
        self.counters.repairs_sent += missing.deltas.len() as u64;
        effects.extend(missing.deltas.into_iter().map(|delta| Effect::Send { to, message: Message::Repair { place, delta } }));
    }

    pub(super) fn on_repair(&mut self, now: Now, from: NodeId, place: Place, delta: &Delta) {
        let room = self.has_room_for(place, delta) || planted::FULL_DISK_TAKES_REPAIRS.is_planted();
        if room && self.join(now, place, delta) {
            self.counters.repairs_joined += 1;
            if let Some(replica) = self.replica_mut(place) {
                replica.overheard(from, delta);
            }
        }
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
                Phase::Copying => transition.to.contains(&self.seat.me) && !replica.filling() && self.has_caught_up(*at, placement),
                Phase::Switching => self.may_leave(*at, placement, &transition.to),
            };
            if ready {
                done.entry(at.0).or_default().push((at.1, placement.epoch));
            }
        }
        effects.extend(done.into_iter().map(|(keyspace, partitions)| Effect::Report { keyspace, partitions }));
    }
}

/// How much each may have so that all together have at most `max`; `None`: all may keep what they have.
fn share(mut sizes: Vec<usize>, max: usize) -> Option<usize> {
    sizes.sort_unstable();
    let mut left = max;
    for (at, size) in sizes.iter().enumerate() {
        let each = left / (sizes.len() - at);
        if *size > each {
            return Some(each);
        }
        left -= size;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn the_largest_go_down_first() {
        assert_eq!(share(vec![100, 10, 50], 100), Some(45), "10 and twice 45");
        assert_eq!(share(vec![40, 60], 100), None);
        assert_eq!(share(vec![40, 61], 100), Some(60));
        assert_eq!(share(vec![7, 7], 0), Some(0));
        assert_eq!(share(Vec::new(), 0), None);
    }
}
