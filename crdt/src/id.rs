//! Identifiers of nodes, replicas and events, which every other module uses.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A member of the cluster. The control plane allocates ids and never reuses one. Without a
/// cluster, pick any number that no other writer of the same data uses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

/// One writer of dots: a node in one of its lives.
///
/// **Invariant:** two different histories never share a `ReplicaId`. A node whose last stop was not
/// provably complete continues under the next incarnation, because it may have issued dots that it
/// has forgotten.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaId {
    /// The node that writes.
    pub node: NodeId,
    /// The number of the node's life, from 0.
    pub incarnation: u32,
}

/// One event: the `counter`-th of `replica`. At their origin, counters start at 1 and have no gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// The replica that issued it.
    pub replica: ReplicaId,
    /// Its number among the events of that replica, from 1.
    pub counter: u64,
}

impl ReplicaId {
    /// The writer `node` in its life `incarnation`.
    pub const fn new(node: NodeId, incarnation: u32) -> Self {
        Self { node, incarnation }
    }
}

impl Dot {
    /// The `counter`-th event of `replica`.
    pub const fn new(replica: ReplicaId, counter: u64) -> Self {
        Self { replica, counter }
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}.{}", self.node.0, self.incarnation)
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}#{}", self.replica, self.counter)
    }
}
