//! What is left when a majority of the voters is lost for good: the one change of the state that is
//! not a [`Command`](super::command::Command), because nobody is there who could agree on one.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate_crdt::NodeId;

use super::decided::ControlState;
use super::placement::place;
use crate::topology::{Epoch, KeyspaceId, LogIndex, Partition, Replication};

/// What a recovery gives up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenUp {
    /// The names of the nodes that are lost.
    pub nodes: Vec<Arc<str>>,
    /// Keyspaces with partitions that no node that is left held, and how many. These begin empty.
    pub emptied: Vec<(Arc<str>, usize)>,
    /// Keyspaces whose datacenters are all lost. Their replication is automatic from now on.
    pub moved: Vec<Arc<str>>,
}

impl ControlState {
    /// Goes on without the nodes outside `kept`, all of which are lost: `survivor` votes, and the
    /// others of `kept` as far as they are eligible. `index` must be beyond everything that the
    /// lost ones can have decided, so that nothing of theirs is mistaken for newer.
    pub fn go_on_without_others(
        &mut self,
        index: LogIndex,
        survivor: NodeId,
        kept: &BTreeSet<NodeId>,
    ) -> GivenUp {
        let epoch = Epoch(index.0);
        let others: Vec<NodeId> = self
            .topology
            .nodes
            .keys()
            .copied()
            .filter(|&node| node != survivor && !kept.contains(&node))
            .collect();
        let is_left = |node: &NodeId| !others.contains(node);
        let mut given_up = GivenUp::default();
        for keyspace in self.topology.keyspaces.values() {
            let bare =
                |placement: &&crate::topology::Placement| !placement.holders().iter().any(is_left);
            let count = keyspace.placement.iter().filter(bare).count();
            if count > 0 {
                given_up.emptied.push((Arc::clone(&keyspace.name), count));
            }
        }
        // Before anything is placed: a survivor that was being drained or removed is needed now.
        self.drained.clear();
        self.leaving.clear();
        if let Some(info) = self.topology_mut().nodes.get_mut(&survivor) {
            // Also one that was there to vote only: somebody has to hold the data.
            info.witness = false;
        }
        for &node in &others {
            if let Some(info) = self.topology.nodes.get(&node) {
                given_up.nodes.push(Arc::clone(&info.name));
            }
            self.leaving.insert(node);
        }
        given_up.moved = self.rehouse();
        for &node in &others {
            self.strip(epoch, node);
        }
        for (&node, info) in &mut self.topology_mut().nodes {
            info.voter = node == survivor;
        }
        self.choose_voters();
        self.retarget_all(epoch);
        self.dismiss_leavers();
        self.topology_mut().epoch = epoch;
        given_up
    }

    /// Lets keyspaces that no node may hold any more be held by all. Returns their names.
    fn rehouse(&mut self) -> Vec<Arc<str>> {
        let homeless = |(&id, keyspace): (&KeyspaceId, &crate::topology::Keyspace)| {
            place(self.housing(), &keyspace.replication, id, Partition(0))
                .is_empty()
                .then_some(id)
        };
        let homeless: Vec<_> = self
            .topology
            .keyspaces
            .iter()
            .filter_map(homeless)
            .collect();
        let mut names = Vec::new();
        for id in homeless {
            if let Some(keyspace) = self.topology_mut().keyspaces.get_mut(&id) {
                keyspace.replication = Replication::Auto;
                names.push(Arc::clone(&keyspace.name));
            }
        }
        names
    }
}
