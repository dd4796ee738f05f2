//! Hints: what absent primaries must join, kept by nodes that are none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_control::topology::{Epoch, Topology};
use quorate_crdt::{CausalContext, NodeId, ReplicaId};

use super::heal::Healing;
use super::{At, Dynamo};
use crate::planted;
use crate::protocol::{Effect, Message, Place};
use crate::replica::{Delta, Replica};

/// All hints of a core: for each absent primary of a partition a replica that never writes, so that
/// many deltas of one range become one.
#[derive(Debug, Default)]
pub(super) struct Hints {
    kept: BTreeMap<(NodeId, At), Replica>,
    /// What all of them take.
    bytes: usize,
}

impl Hints {
    fn join(&mut self, owner: NodeId, at: At, never: ReplicaId, delta: &Delta) {
        let kept = self
            .kept
            .entry((owner, at))
            .or_insert_with(|| Replica::new(never));
        let before = kept.held_bytes();
        kept.join(delta);
        if planted::HINTS_UNCOUNTED.is_planted() {
            self.bytes += delta
                .parts
                .iter()
                .flat_map(|part| &part.rows)
                .map(|(name, _)| name.key.len())
                .sum::<usize>();
            return;
        }
        self.bytes = (self.bytes + kept.held_bytes()).saturating_sub(before);
    }

    /// What all of them take, counted anew.
    pub(super) fn weights(&self) -> usize {
        self.kept.values().map(Replica::held_bytes).sum()
    }

    /// Takes out the hints for which `choose` holds.
    fn take(&mut self, choose: impl Fn(NodeId, At) -> bool) -> Vec<(At, Replica)> {
        let names: Vec<(NodeId, At)> = self
            .kept
            .keys()
            .copied()
            .filter(|(owner, at)| choose(*owner, *at))
            .collect();
        let taken: Vec<(At, Replica)> = names
            .into_iter()
            .filter_map(|name| Some((name.1, self.kept.remove(&name)?)))
            .collect();
        let bytes: usize = taken.iter().map(|(_, kept)| kept.held_bytes()).sum();
        self.bytes = if self.kept.is_empty() {
            0
        } else {
            self.bytes.saturating_sub(bytes)
        };
        taken
    }
}

impl Healing {
    /// Roughly the bytes of memory that all hints take.
    pub(super) fn hint_bytes(&self) -> usize {
        self.hints.bytes
    }

    /// Hints for nodes that no longer hold the partition will never be asked for.
    pub(super) fn drop_hints_of_strangers(&mut self, topology: &Topology) {
        drop(self.hints.take(|owner, (keyspace, partition)| {
            let placement = topology
                .keyspaces
                .get(&keyspace)
                .and_then(|keyspace| keyspace.placement(partition));
            placement.is_none_or(|placement| !placement.holds(owner))
        }));
    }
}

impl Dynamo {
    /// Keeps what an absent primary must join.
    pub(super) fn on_hint(&mut self, owner: NodeId, place: Place, delta: &Arc<Delta>) {
        if self.healing.hint_bytes() + delta.bytes() > self.config.hint_bytes_max {
            self.counters.hints.dropped += 1;
            return;
        }
        let at = (place.keyspace, place.partition);
        self.healing
            .hints
            .join(owner, at, ReplicaId::new(self.seat.me, 0), delta);
        // What it takes once it is joined is known only now. What was kept for the same replica
        // before goes with it.
        if self.healing.hint_bytes() > self.config.hint_bytes_max {
            drop(
                self.healing
                    .hints
                    .take(|node, place| (node, place) == (owner, at)),
            );
            self.counters.hints.dropped += 1;
            return;
        }
        self.counters.hints.kept += 1;
    }

    /// Each tick: a hint for a primary that can be reached came after that was back, or before this
    /// node knew that it was away.
    pub(super) fn hand_off_late(&mut self, effects: &mut Vec<Effect>) {
        if planted::HINTS_WAIT_FOR_A_RETURN.is_planted() {
            return;
        }
        let owners = self.healing.hints.kept.keys().map(|(owner, _)| *owner);
        let back: BTreeSet<NodeId> = owners
            .filter(|owner| self.routes.reachable(*owner))
            .collect();
        for owner in back {
            self.hand_off(owner, effects);
        }
    }

    /// The primary is back: it gets what was kept for it. What is lost on the way, anti-entropy
    /// heals.
    pub(super) fn hand_off(&mut self, owner: NodeId, effects: &mut Vec<Effect>) {
        for (at, kept) in self.healing.hints.take(|node, _| node == owner) {
            let epoch = self
                .routes
                .placement(at.0, at.1)
                .map_or(Epoch::default(), |placement| placement.epoch);
            let place = Place {
                keyspace: at.0,
                partition: at.1,
                epoch,
            };
            for delta in kept
                .missing_at(&CausalContext::new(), self.config.chunk_bytes, usize::MAX)
                .deltas
            {
                effects.push(Effect::Send {
                    to: owner,
                    message: Message::Repair {
                        place,
                        delta,
                        answers: None,
                    },
                });
            }
        }
    }
}
