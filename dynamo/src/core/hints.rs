//! Hints: deltas kept for primaries that cannot be reached, by nodes that do not hold the
//! partition.

use std::collections::BTreeMap;

use quorate_control::topology::Topology;
use quorate_crdt::{NodeId, ReplicaId};

use crate::planted;
use crate::replica::{Delta, Replica};
use crate::seen::At;

/// All hints of a core. For each unreachable primary of a partition there is a replica that never
/// writes, so that many deltas of one range become one.
#[derive(Debug, Default)]
pub(super) struct Hints {
    kept: BTreeMap<(NodeId, At), Replica>,
    /// The memory that all of them take.
    bytes: usize,
}

impl Hints {
    pub(super) fn join(&mut self, owner: NodeId, at: At, never: ReplicaId, delta: &Delta) {
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

    /// Roughly the bytes of memory that all hints take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops hints for nodes that no longer hold the partition.
    pub(super) fn drop_those_of_strangers(&mut self, topology: &Topology) {
        drop(self.take(|owner, (keyspace, partition)| {
            let placement = topology
                .keyspaces
                .get(&keyspace)
                .and_then(|keyspace| keyspace.placement(partition));
            placement.is_none_or(|placement| !placement.holds(owner))
        }));
    }

    /// The nodes for which hints are kept, once per partition.
    pub(super) fn owners(&self) -> impl Iterator<Item = NodeId> {
        self.kept.keys().map(|(owner, _)| *owner)
    }

    /// The memory that all of them take, counted anew.
    pub(super) fn weights(&self) -> usize {
        self.kept.values().map(Replica::held_bytes).sum()
    }

    /// Takes out the hints for which `choose` holds.
    pub(super) fn take(&mut self, choose: impl Fn(NodeId, At) -> bool) -> Vec<(At, Replica)> {
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
