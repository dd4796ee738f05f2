//! What the control plane has decided about nodes, keyspaces and placement. Plain data; `state`
//! changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use quorate_crdt::NodeId;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

#[cfg(test)]
mod tests;

/// The version of the [`Topology`]: the Raft log index of the command that last changed it.
/// Strictly increasing.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

/// Names a cluster for ever: drawn at random when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

/// A failure domain that holds racks; replicas are counted per datacenter.
pub type Datacenter = Arc<str>;

/// Names a keyspace; the default keyspace is 0. `SELECT n` takes this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyspaceId(pub u32);

/// One of a keyspace's fixed 2^k hash slices, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Partition(pub u16);

/// Everything a node must know to route a request. Immutable once published; shared as
/// `Arc<Topology>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The cluster this is the topology of.
    pub cluster: ClusterId,
    /// The version of this topology.
    pub epoch: Epoch,
    /// All admitted nodes.
    pub nodes: BTreeMap<NodeId, NodeInfo>,
    /// All keyspaces.
    pub keyspaces: BTreeMap<KeyspaceId, Keyspace>,
}

/// An admitted node: where it stands and where it listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// The operator's name for it, unique in the cluster.
    pub name: Arc<str>,
    /// Its datacenter.
    pub datacenter: Datacenter,
    /// Its rack within the datacenter.
    pub rack: Arc<str>,
    /// Where other nodes reach it.
    pub quic: SocketAddr,
    /// Whether it votes in the control group; the others are learners.
    pub voter: bool,
}

/// A named set of keys with its own replication and default levels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyspace {
    /// Its name, unique in the cluster.
    pub name: Arc<str>,
    /// How many replicas each datacenter holds.
    pub replication: Replication,
    /// The level of a read that names none, as text that `dynamo::Consistency` parses, for example
    /// `LOCAL_QUORUM`.
    pub read: Arc<str>,
    /// The level of a write that names none.
    pub write: Arc<str>,
    /// Who holds each partition, by partition number; its length is the number of partitions, a
    /// power of two.
    pub placement: Vec<Placement>,
}

/// How many replicas of each partition a datacenter holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Replication {
    /// Up to three per datacenter, growing as nodes join.
    Auto,
    /// Exactly these; a datacenter that is not named holds none.
    Fixed(BTreeMap<Datacenter, u8>),
}

/// The replicas of one partition, and the move they are in, if any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The epoch at which this placement last changed: what requests for the partition are fenced
    /// by.
    pub epoch: Epoch,
    /// The primaries, in preference order.
    pub replicas: Vec<NodeId>,
    /// Where the partition is going.
    pub transition: Option<Transition>,
}

/// A partition on its way from `Placement::replicas` to `to`. Writes need a quorum in both sets all
/// the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The primaries after the move, in preference order.
    pub to: Vec<NodeId>,
    /// How far the move is.
    pub phase: Phase,
    /// The nodes that have reported this phase done.
    pub done: BTreeSet<NodeId>,
}

/// The phases of a move between two stable placements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Write both sets, read the old one; new replicas are being filled.
    ///
    /// Every member of `to` reports, each when it has joined what all live members of `replicas`
    /// (at least a majority in each datacenter) had after they knew this epoch.
    Copying,
    /// Write both sets, read the new one; waiting until nobody reads the old one any more.
    ///
    /// Every member of `replicas` reports, each when it refuses all requests for the partition that
    /// carry an older epoch.
    Switching,
}

/// One or two replica sets. A quorum of a request must be reached in each of them.
pub type Groups<'a> =
    std::iter::Chain<std::iter::Once<&'a [NodeId]>, std::option::IntoIter<&'a [NodeId]>>;

impl Topology {
    /// The node that the operator calls `name`, if it is admitted.
    pub fn node_named(&self, name: &str) -> Option<(NodeId, &NodeInfo)> {
        self.nodes
            .iter()
            .find(|(_, info)| &*info.name == name)
            .map(|(&node, info)| (node, info))
    }

    /// Where `node` stands, if it is admitted.
    pub fn datacenter_of(&self, node: NodeId) -> Option<&Datacenter> {
        self.nodes.get(&node).map(|info| &info.datacenter)
    }

    /// The keyspace called `name`, if there is one.
    pub fn keyspace_named(&self, name: &str) -> Option<(KeyspaceId, &Keyspace)> {
        self.keyspaces
            .iter()
            .find(|(_, keyspace)| &*keyspace.name == name)
            .map(|(&id, keyspace)| (id, keyspace))
    }

    /// The voters of the control group, as decided; the group itself follows within a few round
    /// trips.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> {
        self.nodes
            .iter()
            .filter(|(_, info)| info.voter)
            .map(|(&node, _)| node)
    }

    /// Every datacenter that has a node, in the order of their names.
    pub fn datacenters(&self) -> BTreeSet<&Datacenter> {
        self.nodes.values().map(|info| &info.datacenter).collect()
    }
}

impl Keyspace {
    /// How many partitions the keyspace has: a power of two, at most
    /// [`PARTITIONS_MAX`](crate::state::PARTITIONS_MAX), fixed when the keyspace is created.
    pub fn partition_count(&self) -> usize {
        self.placement.len()
    }

    /// Who holds `partition`; `None` if the keyspace has no such partition.
    pub fn placement(&self, partition: Partition) -> Option<&Placement> {
        self.placement.get(usize::from(partition.0))
    }

    /// The slice that holds `key`: the top bits of its XXH3-64 hash (seed 0). Part of the storage
    /// format; it never changes.
    pub fn partition_of(&self, key: &[u8]) -> Partition {
        Partition(match self.partition_count().trailing_zeros() {
            0 => 0,
            bits => (xxh3_64(key) >> (64 - bits)) as u16,
        })
    }

    /// All partitions, in order.
    pub fn partitions(&self) -> impl Iterator<Item = (Partition, &Placement)> {
        (0u16..).map(Partition).zip(&self.placement)
    }
}

impl Placement {
    /// A placement that is not moving.
    pub fn stable(epoch: Epoch, replicas: Vec<NodeId>) -> Self {
        Self {
            epoch,
            replicas,
            transition: None,
        }
    }

    /// The set that reads count in: the old one until the new one has been filled, then the new
    /// one. Always one set.
    pub fn readers(&self) -> Groups<'_> {
        let set = match &self.transition {
            Some(Transition {
                to,
                phase: Phase::Switching,
                ..
            }) => to,
            _ => &self.replicas,
        };
        std::iter::once(set.as_slice()).chain(None)
    }

    /// The sets that writes count in: both of them all the way through a move. So every write
    /// quorum intersects every read quorum of the phase before, of this phase and of the phase
    /// after, whichever of them a reader still believes in.
    pub fn writers(&self) -> Groups<'_> {
        std::iter::once(self.replicas.as_slice()).chain(
            self.transition
                .as_ref()
                .map(|transition| transition.to.as_slice()),
        )
    }

    /// Every node that keeps a copy now: the replicas, then those the partition is going to, each
    /// once.
    pub fn holders(&self) -> Vec<NodeId> {
        let mut holders = self.replicas.clone();
        for node in self.transition.iter().flat_map(|transition| &transition.to) {
            if !holders.contains(node) {
                holders.push(*node);
            }
        }
        holders
    }

    /// The phase that `node` has still to report done, if any. Reported again after a restart, in
    /// case the report was lost.
    pub fn owes(&self, node: NodeId) -> Option<Phase> {
        let transition = self
            .transition
            .as_ref()
            .filter(|transition| !transition.done.contains(&node))?;
        let asked = match transition.phase {
            Phase::Copying => &transition.to,
            Phase::Switching => &self.replicas,
        };
        asked.contains(&node).then_some(transition.phase)
    }

    /// Whether `node` keeps a copy now.
    pub fn holds(&self, node: NodeId) -> bool {
        self.writers().any(|set| set.contains(&node))
    }
}
