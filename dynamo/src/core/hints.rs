//! Hints: what absent primaries must join, kept by nodes that are none.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_control::topology::{Epoch, Topology};
use quorate_crdt::{CausalContext, NodeId, ReplicaId};

use super::heal::Healing;
use super::{At, Dynamo};
use crate::protocol::{Effect, Message, Place};
use crate::replica::{Delta, Replica};

/// What is kept for an absent primary of one partition: a replica that never writes, so that many deltas of one range become
/// one, and how many bytes were put into it.
#[derive(Debug)]
pub(super) struct Hint {
    kept: Replica,
    bytes: usize,
}

/// All hints of a core.
pub(super) type Hints = BTreeMap<(NodeId, At), Hint>;

impl Healing {
    pub(super) fn hint_bytes(&self) -> usize {
        self.hints.values().map(|hint| hint.bytes).sum()
    }

    /// Hints for nodes that no longer hold the partition will never be asked for.
    pub(super) fn drop_hints_of_strangers(&mut self, topology: &Topology) {
        self.hints.retain(|(owner, (keyspace, partition)), _| {
            let placement = topology.keyspaces.get(keyspace).and_then(|keyspace| keyspace.placement(*partition));
            placement.is_some_and(|placement| placement.holds(*owner))
        });
    }
}

impl Dynamo {
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
