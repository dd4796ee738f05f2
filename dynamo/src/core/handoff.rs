//! Keeps hints for primaries that cannot be reached, and hands them over when they can be.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate_control::topology::Epoch;
use quorate_crdt::{CausalContext, NodeId, ReplicaId};

use super::Dynamo;
use crate::planted;
use crate::protocol::{Effect, Message, Place};
use crate::replica::Delta;

impl Dynamo {
    /// Keeps a delta that an unreachable primary must join.
    pub(super) fn on_hint(&mut self, owner: NodeId, place: Place, delta: &Arc<Delta>) {
        if self.healing.hints.bytes() + delta.bytes() > self.config.hint_bytes_max {
            self.counters.hints.dropped += 1;
            return;
        }
        let at = place.at();
        self.healing
            .hints
            .join(owner, at, ReplicaId::new(self.seat.me, 0), delta);
        // Its size is known only after it was joined. Everything kept for the same replica is
        // dropped with it.
        if self.healing.hints.bytes() > self.config.hint_bytes_max {
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

    /// Each tick: hands over hints whose owner is already reachable. They came after the owner was
    /// back, or before this node knew that it had been away.
    pub(super) fn hand_off_late(&mut self, effects: &mut Vec<Effect>) {
        if planted::HINTS_WAIT_FOR_A_RETURN.is_planted() {
            return;
        }
        let owners = self.healing.hints.owners();
        let back: BTreeSet<NodeId> = owners
            .filter(|owner| self.routes.reachable(*owner))
            .collect();
        for owner in back {
            self.hand_off(owner, effects);
        }
    }

    /// Hands over the hints for a primary that is back. Anti-entropy heals what is lost on the way.
    pub(super) fn hand_off(&mut self, owner: NodeId, effects: &mut Vec<Effect>) {
        for (at, kept) in self.healing.hints.take(|node, _| node == owner) {
            let epoch = self
                .routes
                .placement(at)
                .map_or(Epoch::default(), |placement| placement.epoch);
            let place = Place::new(at, epoch);
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
