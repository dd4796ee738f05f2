//! The work that no client waits for: replicas report what they have seen, forget what all know,
//! and ask for what they lack.

use std::collections::BTreeMap;

use quorate_control::topology::{Epoch, KeyspaceId, Partition, Phase, Placement};
use quorate_crdt::{NodeId, Now};

use super::Dynamo;
use super::healing::Report;
use super::wake::former_lives;
use crate::planted;
use crate::protocol::{Effect, Message, Place, Seen};
use crate::replica::Replica;
use crate::seen::At;

/// After this many ticks a replica repeats its report even if there is nothing new, for nodes that
/// missed it.
const TICKS_BETWEEN_REMINDERS: u64 = 10;

/// How many rows of a partition, in which removals under locks have left something, a tick looks
/// at. Guess: a removed key costs some microseconds.
const MARKS_AT_ONCE: usize = 256;

impl Dynamo {
    /// Each tick: forgets what all holders know, reports what has been seen, continues what is
    /// being filled or is leaving, and reports finished moves.
    pub(super) fn on_anti_entropy(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.healing.ticks += 1;
        let reminder = self.healing.ticks.is_multiple_of(TICKS_BETWEEN_REMINDERS);
        let mut reports: BTreeMap<NodeId, Vec<Seen>> = BTreeMap::new();
        if planted::TICK_BEYOND_BOUND.is_planted() {
            self.forget_beyond_bound();
        }
        let places: Vec<At> = self.replicas.keys().copied().collect();
        for at in places {
            let Some(placement) = self.routes.placement(at).cloned() else {
                continue;
            };
            let others = self.others(at);
            let Some(replica) = self.replicas.get_mut(&at) else {
                continue;
            };
            let before = (replica.recent_count(), replica.residual_count());
            replica.tick(&others);
            if before != (replica.recent_count(), replica.residual_count()) {
                self.dirty.insert(at);
            }
            let leaving = self.is_leaving(at);
            let mut helped = false;
            if !leaving {
                self.settle_lost(at, &others, placement.epoch);
                self.forget_marks(at, &placement, &others);
                self.go_on_streaming(at, effects);
                self.go_on_mending(at, effects);
                self.go_on_filling(at, &placement, effects);
                helped = self.go_on_asking(now, at, effects);
            }
            // While many events are arriving, the context is fragmented and long. It is reported
            // when that is over, or with the reminders.
            for node in others {
                if !self.routes.reachable(node) {
                    continue;
                }
                let remind = reminder || leaving || self.healing.waking.awaits(at, node);
                if remind || !helped {
                    self.tell(at, placement.epoch, node, remind, &mut reports);
                }
            }
        }
        for (to, all) in reports {
            effects.push(Effect::Send {
                to,
                message: Message::Seen(all),
            });
        }
        self.ask_in_line(effects);
        self.hand_off_late(effects);
        self.let_go();
        self.wake(now, effects);
        self.look_after_waiters(now, effects);
        self.report_moves(effects);
    }

    /// Bounds what is remembered event by event, per partition and over all of them, whoever is
    /// away and for however long. The partitions with the most events forget first.
    pub(super) fn forget_beyond_bound(&mut self) {
        let sizes: Vec<usize> = self.replicas.values().map(Replica::recent_bytes).collect();
        let bytes_max = if planted::RECENT_BOUNDED_BY_PARTITION.is_planted() {
            usize::MAX
        } else {
            self.config.recent.bytes_max
        };
        let each = share(sizes, bytes_max).unwrap_or(usize::MAX);
        for (at, replica) in &mut self.replicas {
            if replica.forget_beyond(self.config.recent.events_max, each) {
                self.dirty.insert(*at);
            }
        }
    }

    /// Declares events seen that a replica of this node knows to be lost.
    fn settle_lost(&mut self, at: At, others: &[NodeId], epoch: Epoch) {
        let topology = self.routes.topology();
        let is_member = |node| topology.is_some_and(|topology| topology.nodes.contains_key(&node));
        if self
            .replicas
            .get_mut(&at)
            .is_some_and(|replica| replica.settle_lost(others, epoch, is_member))
        {
            self.dirty.insert(at);
        }
    }

    /// Drops what removals under locks have left. The first holder that can be reached does it for
    /// all.
    fn forget_marks(&mut self, at: At, placement: &Placement, others: &[NodeId]) {
        let guarded = self.replicas.get(&at).is_some_and(Replica::is_guarded);
        if !guarded || planted::MARKS_KEPT.is_planted() {
            return;
        }
        let mut near = placement.readers().flatten();
        let first = near.find(|node| self.routes.reachable(**node));
        let able = first == Some(&self.seat.me) && !self.healing.waking.contains(at);
        if !able || !self.may_issue(at) {
            return;
        }
        if let Some(replica) = self.replicas.get_mut(&at).filter(|held| held.vouches())
            && replica.forget_marks(others, placement.epoch, MARKS_AT_ONCE)
        {
            self.dirty.insert(at);
            self.note_remains(at);
        }
    }

    /// Adds a replica's report for `to`, unless it was told exactly this and needs no reminder.
    fn tell(
        &mut self,
        at: At,
        epoch: Epoch,
        to: NodeId,
        remind: bool,
        reports: &mut BTreeMap<NodeId, Vec<Seen>>,
    ) {
        let Some(replica) = self.replicas.get(&at) else {
            return;
        };
        let raised = if replica.is_fenced() {
            replica.fences().raised()
        } else {
            0
        };
        let state = Report {
            events: replica.context().event_count(),
            epoch,
            filling: replica.filling(),
            partial: replica.is_partial(),
            raised,
        };
        let told = self.healing.told.insert((to, at), state);
        if remind || told != Some(state) {
            reports.entry(to).or_default().push(Seen {
                place: Place::new(at, epoch),
                replica: replica.id(),
                context: replica.context().clone(),
                beyond: replica.beyond(),
                digest: replica.digest(),
                filling: replica.filling(),
                partial: replica.is_partial(),
                exact: replica.is_exact(),
                waking: self.healing.waking.awaits(at, to),
                former: replica.former().clone(),
                to: replica.heard_of(to),
                fencing: replica.fencing(),
            });
        }
    }

    /// Another node reports what its replicas have seen. One that leaves asks for nothing, but must
    /// learn what is known here.
    pub(super) fn on_seen(
        &mut self,
        now: Now,
        from: NodeId,
        all: Vec<Seen>,
        effects: &mut Vec<Effect>,
    ) {
        let mut answers = BTreeMap::new();
        for seen in all {
            let at = seen.place.at();
            let Some(replica) = self.replicas.get_mut(&at) else {
                continue;
            };
            if replica.is_former(from, seen.replica) {
                continue;
            }
            let new = replica.is_new(from, seen.replica);
            let filling = replica.filling();
            let lost = if self.seat.restarted {
                planted::WIPE_LOSES_FENCE.is_planted()
            } else {
                planted::STREAM_LOSES_FENCE.is_planted()
            };
            let fencing = seen.fencing.as_ref().filter(|_| !lost);
            if fencing.is_some_and(|fencing| replica.join_fences(&fencing.fences)) {
                self.dirty.insert(at);
            }
            let former = replica.hear(from, &seen);
            if replica.filling() != filling {
                self.dirty.insert(at);
            }
            if replica.is_spent() {
                self.places.renewal.want();
            }
            self.counters.digest_mismatches += u64::from(replica.compare(from, &seen));
            self.may_have_spread(now, at, effects);
            let Some(epoch) = self.routes.placement(at).map(|placement| placement.epoch) else {
                continue;
            };
            // A node that begins to listen, or has begun a new life, may have lost what it had.
            // Neither waits for the other's next tick.
            if new {
                self.want_at_once(now, at, from, effects);
            }
            let leaves = !self.others(at).contains(&from);
            if new || leaves {
                self.tell(at, epoch, from, true, &mut answers);
            }
            if leaves {
                self.healing.told.remove(&(from, at));
            } else {
                effects.extend(former.map(|events| former_lives(from, &seen, events)));
            }
        }
        for (to, all) in answers {
            effects.push(Effect::Send {
                to,
                message: Message::Seen(all),
            });
        }
        self.let_go();
    }

    /// Tells the control plane which phases of moves this node has finished. Repeated each tick
    /// until the topology shows it.
    fn report_moves(&self, effects: &mut Vec<Effect>) {
        let mut done: BTreeMap<KeyspaceId, Vec<(Partition, Epoch)>> = BTreeMap::new();
        for (at, replica) in &self.replicas {
            let Some(placement) = self.routes.placement(*at) else {
                continue;
            };
            let Some(transition) = placement
                .transition
                .as_ref()
                .filter(|transition| !transition.done.contains(&self.seat.me))
            else {
                continue;
            };
            let ready = match transition.phase {
                Phase::Copying => {
                    transition.to.contains(&self.seat.me)
                        && !replica.filling()
                        && self.has_caught_up(*at, placement)
                }
                Phase::Switching => self.may_leave(*at, placement, &transition.to),
            };
            if ready {
                done.entry(at.0).or_default().push((at.1, placement.epoch));
            }
        }
        effects.extend(
            done.into_iter()
                .map(|(keyspace, partitions)| Effect::Report {
                    keyspace,
                    partitions,
                }),
        );
    }
}

/// The most that each may keep so that all together stay within `max`; `None` if they already do.
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
