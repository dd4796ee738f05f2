//! What the control group has decided about nodes, keyspaces and placement: plain data that every
//! node routes by. It knows no commands; the state machine changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_crdt::{NodeId, PublicKey};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::planted::REMOVED_KEY_CONNECTS;

mod access;
mod ids;
mod limits;
mod split;
mod timing;
mod users;

pub use ids::{ClusterId, DEFAULT_KEYSPACE, Epoch, FencingToken, KeyspaceId, LogIndex, Partition};
pub use limits::{
    DEFAULT_PARTITIONS, NAME_BYTES_MAX, PARTITIONS_MAX, is_address, is_keyspace_name, is_name,
    is_partition_count,
};
pub use split::{Minority, NoSplitPolicy, SplitPolicy};
pub use timing::Timing;
pub use users::{Caller, DEFAULT_USER, Denied, PasswordHash, Right, Role, User, is_user_name};

#[cfg(test)]
mod tests;

/// The name of a datacenter: a failure domain that holds racks. Replicas are counted per
/// datacenter.
pub type Datacenter = Arc<str>;

/// Everything a node must know to route a request. It never changes once published, and is shared
/// as `Arc<Topology>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The cluster this is the topology of.
    pub cluster: ClusterId,
    /// Its version.
    pub epoch: Epoch,
    /// All admitted nodes, including those that are being removed.
    pub nodes: BTreeMap<NodeId, NodeInfo>,
    /// All keyspaces.
    pub keyspaces: BTreeMap<KeyspaceId, Keyspace>,
    /// All users, by name.
    pub users: BTreeMap<Arc<str>, User>,
    /// The pace of the Raft groups.
    pub timing: Timing,
}

/// An admitted node: its place in the cluster and its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// The operator's name for it, unique in the cluster; see [`is_name`].
    pub name: Arc<str>,
    /// Its datacenter.
    pub datacenter: Datacenter,
    /// Its rack within the datacenter.
    pub rack: Arc<str>,
    /// Where other nodes reach it, `host:port`; see [`is_address`].
    pub quic: Arc<str>,
    /// Whoever proves that it holds the private half is this node. No two nodes have the same.
    pub key: PublicKey,
    /// The key that it is about to show instead. Until it has said that it shows no other, both are
    /// its own.
    pub next_key: Option<PublicKey>,
    /// Whether it votes in the control group. Nodes that do not vote are learners.
    pub voter: bool,
    /// Whether it is there to vote only: it holds no partitions and no hints, and leads a group
    /// only until somebody else can.
    pub witness: bool,
}

/// A named set of keys with its own replication and default levels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyspace {
    /// Its name, unique in the cluster; see [`is_keyspace_name`].
    pub name: Arc<str>,
    /// How many replicas each datacenter holds.
    pub replication: Replication,
    /// The level of a read that names none, for example `LOCAL_QUORUM`; `dynamo::Consistency`
    /// parses it.
    pub read: Arc<str>,
    /// The level of a write that names none.
    pub write: Arc<str>,
    /// What the smaller side of a split may do.
    pub split: SplitPolicy,
    /// The nodes that hold each partition, by partition number. Its length is the number of
    /// partitions, a power of two.
    pub placement: Vec<Placement>,
}

/// How many replicas of each partition a datacenter holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Replication {
    /// Up to [`AUTO_REPLICAS_MAX`] per datacenter; the number grows as nodes join.
    Auto,
    /// Exactly these, if there are enough nodes. A datacenter that is not named holds none.
    Fixed(BTreeMap<Datacenter, u8>),
}

/// How many replicas [`Replication::Auto`] puts into a datacenter that has the nodes for them. The
/// default of Cassandra and Riak.
pub const AUTO_REPLICAS_MAX: usize = 3;

/// The replicas of one partition, and its move, if it is moving.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The epoch at which this placement last changed. A replica refuses requests for the
    /// partition that carry an older one.
    pub epoch: Epoch,
    /// The primaries, in preference order.
    pub replicas: Vec<NodeId>,
    /// Where the partition is going; `None` when it is stable.
    pub transition: Option<Transition>,
}

/// A partition on its way from `Placement::replicas` to `to`. Writes need a quorum in both sets
/// until the move is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The primaries after the move, in preference order.
    pub to: Vec<NodeId>,
    /// How far the move has come.
    pub phase: Phase,
    /// The nodes that have reported this phase done.
    pub done: BTreeSet<NodeId>,
}

/// The phases of a move between two stable placements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Write both sets, read the old one, while the new replicas are filled.
    ///
    /// Every member of `to` reports once it has joined everything that all live members of
    /// `replicas` (at least a majority in each datacenter) had after they knew this epoch.
    Copying,
    /// Write both sets, read the new one, until nobody reads the old one any more.
    ///
    /// Every member of `replicas` reports once it refuses all requests for the partition that carry
    /// an older epoch.
    Switching,
}

/// One or two replica sets. A request needs its quorum in each of them.
pub type Groups<'a> =
    std::iter::Chain<std::iter::Once<&'a [NodeId]>, std::option::IntoIter<&'a [NodeId]>>;

impl Replication {
    /// How many replicas of each partition `datacenter` holds when it has `nodes` nodes; never more
    /// than that.
    pub fn replicas_in(&self, datacenter: &Datacenter, nodes: usize) -> usize {
        let wanted = match self {
            Self::Auto => AUTO_REPLICAS_MAX,
            Self::Fixed(replicas) => replicas.get(datacenter).copied().map_or(0, usize::from),
        };
        wanted.min(nodes)
    }
}

impl NodeInfo {
    /// Whether whoever holds the private half of `key` is this node.
    pub fn has_key(&self, key: &PublicKey) -> bool {
        self.key == *key || self.next_key.as_ref() == Some(key)
    }
}

impl Topology {
    /// The admitted node of this name.
    pub fn node_named(&self, name: &str) -> Option<(NodeId, &NodeInfo)> {
        self.nodes
            .iter()
            .find(|(_, info)| &*info.name == name)
            .map(|(&node, info)| (node, info))
    }

    /// The admitted node that has this key.
    pub fn node_of(&self, key: &PublicKey) -> Option<NodeId> {
        self.nodes
            .iter()
            .find(|(_, info)| info.has_key(key) || REMOVED_KEY_CONNECTS.is_planted())
            .map(|(&node, _)| node)
    }

    /// The datacenter of `node`, if it is admitted.
    pub fn datacenter_of(&self, node: NodeId) -> Option<&Datacenter> {
        self.nodes.get(&node).map(|info| &info.datacenter)
    }

    /// The keyspace of this name.
    pub fn keyspace_named(&self, name: &str) -> Option<(KeyspaceId, &Keyspace)> {
        self.keyspaces
            .iter()
            .find(|(_, keyspace)| &*keyspace.name == name)
            .map(|(&id, keyspace)| (id, keyspace))
    }

    /// How many partitions a keyspace has that is created without a number: as many as `default`,
    /// for which the founder of the cluster chose. `None` before the cluster is founded.
    pub fn usual_partitions(&self) -> Option<u16> {
        let default = self.keyspaces.get(&DEFAULT_KEYSPACE)?;
        u16::try_from(default.partition_count()).ok()
    }

    /// The voters of the control group, as decided. The group itself follows within a few round
    /// trips.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> {
        self.nodes
            .iter()
            .filter(|(_, info)| info.voter)
            .map(|(&node, _)| node)
    }

    /// Every datacenter that has a node, sorted by name.
    pub fn datacenters(&self) -> BTreeSet<&Datacenter> {
        self.nodes.values().map(|info| &info.datacenter).collect()
    }
}

impl Keyspace {
    /// How many partitions the keyspace has: a power of two, at most [`PARTITIONS_MAX`], fixed when
    /// the keyspace is created.
    pub fn partition_count(&self) -> usize {
        self.placement.len()
    }

    /// The nodes that hold `partition`; `None` if the keyspace has no such partition.
    pub fn placement(&self, partition: Partition) -> Option<&Placement> {
        self.placement.get(usize::from(partition.0))
    }

    /// The partition of `key`: the top bits of the key's XXH3-64 hash (seed 0). Part of the storage
    /// format, so it never changes.
    pub fn partition_of(&self, key: &[u8]) -> Partition {
        Partition(match self.partition_count().trailing_zeros() {
            0 => 0,
            bits => (xxh3_64(key) >> (64 - bits)) as u16,
        })
    }

    /// All partitions in ascending order.
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

    /// The set that reads count in: the old one until the new one is filled, then the new one.
    /// Always one set.
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

    /// The sets that writes count in: both of them throughout a move. So every write quorum
    /// intersects every read quorum of the previous, this and the next phase, whichever of these a
    /// reader still believes in.
    pub fn writers(&self) -> Groups<'_> {
        std::iter::once(self.replicas.as_slice()).chain(
            self.transition
                .as_ref()
                .map(|transition| transition.to.as_slice()),
        )
    }

    /// Every node that keeps a copy now, each once: the replicas, then the nodes that the partition
    /// is going to.
    pub fn holders(&self) -> Vec<NodeId> {
        let mut holders = self.replicas.clone();
        for node in self.transition.iter().flat_map(|transition| &transition.to) {
            if !holders.contains(node) {
                holders.push(*node);
            }
        }
        holders
    }

    /// The phase that `node` has yet to report done, if any. A node reports again after a restart,
    /// in case the report was lost.
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
