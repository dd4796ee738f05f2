//! Everything the control group has decided, and how to look at it. The other files of this folder
//! change it, one subject each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_crdt::{NodeId, PublicKey, Secret};
use serde::{Deserialize, Serialize};

use super::command::{CommandRefusal, TokenId};
use super::placement::place;
use crate::planted::{PLACE_BY_OWN_NUMBER, WITNESS_HOLDS};
use crate::topology::{
    ClusterId, Epoch, Keyspace, KeyspaceId, NodeInfo, Partition, Placement, Replication, Timing,
    Topology,
};

/// Everything the control group has decided. [`apply`](Self::apply) is the only way to change it.
///
/// **Law:** the state is a function of the commands and their log indices alone: no clock, no
/// randomness, no iteration over a hash map. A refused command changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlState {
    pub(super) topology: Arc<Topology>,
    pub(super) tokens: BTreeMap<TokenId, Token>,
    /// Nodes that are being removed. They stay in the topology while partitions move away from
    /// them.
    pub(super) leaving: BTreeSet<NodeId>,
    /// Members that hold nothing and do not vote until an administrator says otherwise.
    pub(super) drained: BTreeSet<NodeId>,
    /// Nodes whose store may forget what it has synchronised.
    pub(super) volatile: BTreeSet<NodeId>,
    /// The number by which a node is placed, where it is not its own: that of the node whose place
    /// it took, which may have taken it from another.
    pub(super) seats: BTreeMap<NodeId, NodeId>,
    /// The last number given to a node.
    pub(super) last_node: u64,
    /// The next number for a keyspace; `None` when all have been given out.
    pub(super) next_keyspace: Option<u32>,
}

/// A join token as the state keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What tells whether a newcomer holds the token.
    pub verifier: Secret,
    /// How many more nodes it admits; `None` means any number.
    pub uses_left: Option<u32>,
    /// The Unix time in milliseconds from which it admits nobody; `None` means it never expires.
    pub expires_ms: Option<u64>,
}

impl Default for ControlState {
    /// Before the founding: a topology of epoch 0 and cluster 0 without nodes and keyspaces.
    fn default() -> Self {
        let topology = Topology {
            cluster: ClusterId(0),
            epoch: Epoch(0),
            nodes: BTreeMap::new(),
            keyspaces: BTreeMap::new(),
            users: BTreeMap::new(),
            timing: Timing::default(),
        };
        Self {
            topology: Arc::new(topology),
            tokens: BTreeMap::new(),
            leaving: BTreeSet::new(),
            drained: BTreeSet::new(),
            volatile: BTreeSet::new(),
            seats: BTreeMap::new(),
            last_node: 0,
            next_keyspace: Some(1),
        }
    }
}

impl ControlState {
    /// What every node routes by. A cheap clone; it never changes once handed out.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// Whether the cluster has been founded.
    pub fn founded(&self) -> bool {
        self.last_node > 0
    }

    /// All join tokens, including used-up and expired ones.
    pub fn tokens(&self) -> &BTreeMap<TokenId, Token> {
        &self.tokens
    }

    /// Nodes on their way out: still in the topology, but nothing new is placed on them.
    pub fn leaving(&self) -> &BTreeSet<NodeId> {
        &self.leaving
    }

    /// Members that are to hold nothing. They stay, and may be let hold partitions again.
    pub fn drained(&self) -> &BTreeSet<NodeId> {
        &self.drained
    }

    /// Whether nothing is placed on the node any more: it is on its way out, or drained.
    pub fn is_withdrawn(&self, node: NodeId) -> bool {
        self.leaving.contains(&node) || self.drained.contains(&node)
    }

    /// Nodes whose store cannot promise that a vote survives a power loss. They vote only if nobody
    /// else can.
    pub fn volatile(&self) -> &BTreeSet<NodeId> {
        &self.volatile
    }

    /// The member that has this key, unless it is on its way out.
    pub fn admitted_as(&self, key: &PublicKey) -> Option<NodeId> {
        let node = self.topology.node_of(key)?;
        (!self.leaving.contains(&node)).then_some(node)
    }

    pub(super) fn known(&self, node: NodeId) -> Result<&NodeInfo, CommandRefusal> {
        self.topology
            .nodes
            .get(&node)
            .ok_or(CommandRefusal::UnknownNode { node })
    }

    pub(super) fn keyspace(&self, keyspace: KeyspaceId) -> Result<&Keyspace, CommandRefusal> {
        self.topology
            .keyspaces
            .get(&keyspace)
            .ok_or(CommandRefusal::UnknownKeyspace { keyspace })
    }

    pub(super) fn topology_mut(&mut self) -> &mut Topology {
        Arc::make_mut(&mut self.topology)
    }

    /// Nodes that partitions may be placed on: a witness holds none.
    pub(super) fn housing(&self) -> impl Iterator<Item = (NodeId, &NodeInfo)> + Clone {
        let holds = |info: &NodeInfo| !info.witness || WITNESS_HOLDS.is_planted();
        self.staying().filter(move |(_, info)| holds(info))
    }

    /// Nodes that are to stay, and to do what they are there for.
    pub(super) fn staying(&self) -> impl Iterator<Item = (NodeId, &NodeInfo)> + Clone {
        self.topology
            .nodes
            .iter()
            .filter(|(node, _)| !self.is_withdrawn(**node))
            .map(|(&node, info)| (node, info))
    }

    /// The nodes that should hold the partition. A node that took another's place is placed as that
    /// one was, so that no other replica moves.
    pub(super) fn home(
        &self,
        replication: &Replication,
        keyspace: KeyspaceId,
        partition: Partition,
    ) -> Vec<NodeId> {
        let seat = |node: NodeId| match self.seats.get(&node) {
            Some(&seat) if !PLACE_BY_OWN_NUMBER.is_planted() => seat,
            _ => node,
        };
        let seated: BTreeMap<_, _> = self.housing().map(|(node, _)| (seat(node), node)).collect();
        let nodes = self.housing().map(|(node, info)| (seat(node), info));
        let chosen = place(nodes, replication, keyspace, partition);
        chosen
            .iter()
            .filter_map(|seat| seated.get(seat).copied())
            .collect()
    }

    /// All placements of all keyspaces, to change.
    pub(super) fn placements_mut(&mut self) -> impl Iterator<Item = &mut Placement> {
        self.topology_mut()
            .keyspaces
            .values_mut()
            .flat_map(|keyspace| &mut keyspace.placement)
    }

    /// Removes leaving nodes that hold nothing any more from the topology. Until then they stay in
    /// it, because moves read from them.
    pub(super) fn dismiss_leavers(&mut self) {
        let free: Vec<_> = self
            .leaving
            .iter()
            .copied()
            .filter(|&node| !self.holds_anything(node))
            .collect();
        for node in free {
            self.leaving.remove(&node);
            self.drained.remove(&node);
            self.volatile.remove(&node);
            self.seats.remove(&node);
            self.topology_mut().nodes.remove(&node);
        }
    }

    fn holds_anything(&self, node: NodeId) -> bool {
        self.topology
            .keyspaces
            .values()
            .flat_map(|keyspace| &keyspace.placement)
            .any(|placement| placement.holds(node))
    }
}
