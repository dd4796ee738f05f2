//! What the control plane has decided about nodes, keyspaces and placement. Plain data; `state` changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use quorate_crdt::NodeId;
use serde::{Deserialize, Serialize};

/// The version of the [`Topology`]: the Raft log index of the command that last changed it. Strictly increasing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

/// Everything a node must know to route a request. Immutable once published; shared as `Arc<Topology>`.
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
    /// The level of a read that names none, as text that `dynamo::Consistency` parses, for example `LOCAL_QUORUM`.
    pub read: Arc<str>,
    /// The level of a write that names none.
    pub write: Arc<str>,
    /// Who holds each partition, by partition number; its length is the number of partitions, a power of two.
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
    /// The epoch at which this placement last changed: what requests for the partition are fenced by.
    pub epoch: Epoch,
    /// The primaries, in preference order.
    pub replicas: Vec<NodeId>,
    /// Where the partition is going.
    pub transition: Option<Transition>,
}

/// A partition on its way from `Placement::replicas` to `to`. Writes need a quorum in both sets all the way.
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
    Copying,
    /// Write both sets, read the new one; waiting until nobody reads the old one any more.
    Switching,
}
