//! What a face needs to change the cluster: keyspaces and join tokens.

use std::sync::Arc;
use std::time::Duration;

use quorate_control::topology::PARTITIONS_MAX;
use quorate_control::topology::{KeyspaceId, Replication};
use quorate_dynamo::consistency::Consistency;

use super::data::Pending;

/// What a face needs to administer the cluster. Every call goes through the control group, so it
/// needs its quorum.
pub trait Admin: Send + Sync + 'static {
    /// Makes a join token that admits `uses` nodes and is worth nothing after `expires`.
    fn create_token(&self, uses: u32, expires: Duration) -> Pending<Result<String, AdminError>>;

    /// Makes a keyspace and places its partitions.
    fn create_keyspace(&self, spec: KeyspaceSpec) -> Pending<Result<KeyspaceId, AdminError>>;
}

/// A keyspace to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceSpec {
    /// Its name, unique in the cluster.
    pub name: Arc<str>,
    /// How many replicas each datacenter holds.
    pub replication: Replication,
    /// How many partitions, a power of two; `None` takes the node's default.
    pub partitions: Option<u16>,
    /// The level of a read that names none; `None` takes that of the keyspace `default`.
    pub read: Option<Consistency>,
    /// The level of a write that names none; `None` takes that of the keyspace `default`.
    pub write: Option<Consistency>,
}

/// An administrative request that was not done. Unless the variant says otherwise, nothing has
/// changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The control group has no leader that this node can reach.
    #[error("the control group has no quorum")]
    NoQuorum,
    /// The control group did not answer in time; the change may still happen.
    #[error("the control group did not answer in time; the change may still happen")]
    TimedOut,
    /// The name is taken.
    #[error("a keyspace of this name exists")]
    Exists,
    /// The name is empty, too long, holds something else than letters, digits, `-` and `_`, or
    /// would be taken for a number.
    #[error("a name is 1 to 64 letters, digits, - or _, and not digits alone")]
    BadName,
    /// The number of partitions is no power of two, or out of bounds.
    #[error(
        "{partitions} is not a number of partitions: a power of two from 1 to {PARTITIONS_MAX}"
    )]
    BadPartitions {
        /// What was asked for.
        partitions: u16,
    },
    /// A datacenter has too few nodes, or none, for the replicas it shall hold.
    #[error("a datacenter has {nodes} nodes but shall hold {replicas} replicas")]
    TooFewNodes {
        /// Replicas it shall hold.
        replicas: u8,
        /// Nodes it has.
        nodes: u32,
    },
    /// A token must admit at least one node and live for at least a second.
    #[error("a token admits at least one node and lives at least one second")]
    BadToken,
    /// The node is stopping; the change may still happen.
    #[error("the node is stopping")]
    Stopping,
}

#[cfg(test)]
mod tests;
