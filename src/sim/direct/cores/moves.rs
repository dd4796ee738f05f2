//! Changes of the topology under running cores.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate_control::topology::{Epoch, Phase, Placement, Topology, Transition};
use quorate_crdt::NodeId;
use quorate_dynamo::protocol::Input;

use super::Cores;

impl Cores {
    pub(in crate::sim::direct) fn set_topology(&mut self, change: impl FnOnce(&mut Topology)) {
        change(&mut self.topology);
        self.topology.epoch.0 += 1;
        for at in self.at.keys().copied().collect::<Vec<_>>() {
            self.input(at.0, Input::Topology(Arc::new(self.topology.clone())));
        }
    }

    pub(in crate::sim::direct) fn set_placement(&mut self, change: impl FnOnce(&mut Placement)) {
        self.set_topology(|topology| {
            let epoch = Epoch(topology.epoch.0 + 1);
            for placement in topology
                .keyspaces
                .values_mut()
                .flat_map(|keyspace| keyspace.placement.iter_mut())
            {
                placement.epoch = epoch;
            }
            let first = topology
                .keyspaces
                .values_mut()
                .next()
                .and_then(|keyspace| keyspace.placement.first_mut());
            if let Some(placement) = first {
                change(placement);
            }
        });
    }

    /// Starts moving the partition to `to`.
    pub(in crate::sim::direct) fn begin_move(&mut self, to: &[u64]) {
        let to = to.iter().map(|n| NodeId(*n)).collect();
        self.set_placement(|placement| {
            placement.transition = Some(Transition {
                to,
                phase: Phase::Copying,
                done: BTreeSet::new(),
            });
        });
    }

    /// Takes the move to its last phase; if `ends`, completes it.
    pub(in crate::sim::direct) fn switch(&mut self, ends: bool) {
        self.set_placement(|placement| {
            let Some(transition) = placement.transition.as_mut() else {
                return;
            };
            transition.phase = Phase::Switching;
            if ends {
                *placement = Placement::stable(placement.epoch, transition.to.clone());
            }
        });
    }
}
