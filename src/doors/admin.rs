//! The door for changes to the cluster: keyspaces and join tokens.

use std::sync::Arc;
use std::time::Duration;

use quorate_control::state::PARTITIONS_MAX;
use quorate_control::topology::{KeyspaceId, Replication};
use quorate_dynamo::consistency::Consistency;

use super::data::Pending;

/// What a face needs to administer the cluster. Every call goes through the control group, so it
/// needs its quorum.
pub trait Admin: Send + Sync + 'static {
    /// Makes a join token that admits `uses` nodes and is invalid after `expires`.
    fn create_token(&self, uses: u32, expires: Duration) -> Pending<Result<String, AdminError>>;

    /// Makes a keyspace and places its partitions.
    fn create_keyspace(&self, spec: KeyspaceSpec) -> Pending<Result<KeyspaceId, AdminError>>;
}

/// Whether a keyspace may have the name: it stands in paths, tables and metrics without quoting,
/// and `SELECT` takes digits for a number.
pub fn is_keyspace_name(name: &str) -> bool {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    plain && (1..=64).contains(&name.len()) && !name.bytes().all(|byte| byte.is_ascii_digit())
}

/// A keyspace to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceSpec {
    /// Its name, unique in the cluster.
    pub name: Arc<str>,
    /// How many replicas each datacenter holds.
    pub replication: Replication,
    /// The number of partitions, a power of two; `None` takes the node's default.
    pub partitions: Option<u16>,
    /// The level of a read that names none; `None` takes that of the keyspace `default`.
    pub read: Option<Consistency>,
    /// The level of a write that names none; `None` takes that of the keyspace `default`.
    pub write: Option<Consistency>,
}

/// Why an administrative request failed. Unless the variant says otherwise, nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The control group has no leader that this node can reach.
    #[error(
        "the control group has no quorum; try again when a majority of its voters can be reached"
    )]
    NoQuorum,
    /// The control group did not answer in time; the change may still happen.
    #[error("the control group did not answer in time; the change may still happen")]
    TimedOut,
    /// The name is in use.
    #[error("a keyspace with this name exists already")]
    Exists,
    /// The name is empty, too long, contains something other than letters, digits, `-` and `_`, or
    /// could be taken for a number.
    #[error("a keyspace name has 1 to 64 letters, digits, - or _, and is not just digits")]
    BadName,
    /// The number of partitions is not a power of two, or out of bounds.
    #[error(
        "the number of partitions must be a power of two from 1 to {PARTITIONS_MAX}, not {partitions}"
    )]
    BadPartitions {
        /// What was asked for.
        partitions: u16,
    },
    /// A datacenter has too few nodes, or none, for the replicas it is to hold.
    #[error("a datacenter with {nodes} nodes cannot hold {replicas} replicas")]
    TooFewNodes {
        /// Replicas it is to hold.
        replicas: u8,
        /// Nodes it has.
        nodes: u32,
    },
    /// A token must admit at least one node and be valid for at least a second.
    #[error("a token must admit at least one node and be valid for at least one second")]
    BadToken,
    /// The node is stopping; the change may still happen.
    #[error("the node is stopping")]
    Stopping,
}

#[cfg(test)]
mod tests;
