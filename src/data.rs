//! The one door between the faces (RESP, HTTP, CLI, Rust) and a node's data plane.

use std::sync::Arc;
use std::time::Duration;

use quorate_control::state::PARTITIONS_MAX;
use quorate_control::topology::{KeyspaceId, Replication, Topology};
use quorate_crdt::NodeId;
use quorate_dynamo::consistency::Consistency;
use quorate_dynamo::op::{Answer, Receipt, Request, RequestError};
use tokio::sync::oneshot;

/// The answer to come. A dropped sender means that the node is stopping.
pub type Pending<T> = oneshot::Receiver<T>;

/// What a face needs of a node. Cheap to clone behind an [`Arc`], callable from any task.
pub trait Data: Send + Sync + 'static {
    /// Hands the request to the shard that owns its partition, at once: requests that one task
    /// submits for one key are executed in the order of submission. The receiver gets the answer;
    /// it never waits much longer than the request's own timeout.
    fn submit(&self, request: Request) -> Pending<Result<Answer, RequestError>>;

    /// How many replicas besides the executing one are known to have every event of `receipts` (the
    /// least over them), as soon as that is at least `replicas` or `timeout` is over.
    fn wait(&self, receipts: Vec<Receipt>, replicas: u32, timeout: Duration) -> Pending<u32>;

    /// What the node knows of the cluster now.
    fn topology(&self) -> Arc<Topology>;

    /// The node behind this door.
    fn node(&self) -> NodeId;

    /// The document behind `quorate status` and `GET /v1/status`, as JSON text.
    fn status(&self) -> Pending<String>;

    /// Metrics in Prometheus text form.
    fn metrics(&self) -> String;

    /// Whether the node can serve: it has a topology that holds itself and its partitions are
    /// loaded.
    fn ready(&self) -> bool;
}

/// How faces call a node: its name and its datacenter, or its number if the topology does not hold
/// it.
pub fn name_of(node: NodeId, topology: &Topology) -> String {
    topology.nodes.get(&node).map_or_else(
        || format!("n{node}"),
        |info| format!("{}@{}", info.name, info.datacenter),
    )
}

/// What a face needs to administer the cluster. Every call goes through the control group, so it
/// needs its quorum.
pub trait Admin: Send + Sync + 'static {
    /// Makes a join token that admits `uses` nodes and is worth nothing after `expires`.
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
