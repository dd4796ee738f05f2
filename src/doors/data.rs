//! Requests in, answers out: the way into the data plane.

use std::sync::Arc;
use std::time::Duration;

use quorate_control::topology::Topology;
use quorate_crdt::NodeId;
use quorate_dynamo::op::{Answer, Receipt, Request, RequestError};
use tokio::sync::oneshot;

use super::{Room, Status};

/// The answer to come. A dropped sender means that the node is stopping.
pub type Pending<T> = oneshot::Receiver<T>;

/// What a face needs of a node. Cheap to clone behind an [`Arc`], callable from any task.
pub trait Data: Send + Sync + 'static {
    /// Hands the request to the shard that owns its partition, at once: requests that one task
    /// submits for one key are executed in the order of submission. The receiver gets the answer;
    /// it never waits much longer than the request's own timeout.
    fn submit(&self, request: Request) -> Pending<Result<Answer, RequestError>>;

    /// As [`submit`](Self::submit), for one of several requests of a client that may read slowly:
    /// the answer counts in `room` from the moment it is given, and the caller takes it out again.
    /// A read whose answer finds no room is refused with [`RequestError::Overloaded`], and
    /// [`Room::was_refused`] says that it may be asked for again.
    fn submit_into(
        &self,
        request: Request,
        room: &Arc<Room>,
    ) -> Pending<Result<Answer, RequestError>>;

    /// How many replicas besides the executing one are known to have every event of `receipts` (the
    /// least over them), as soon as that is at least `replicas` or `timeout` is over.
    fn wait(&self, receipts: Vec<Receipt>, replicas: u32, timeout: Duration) -> Pending<u32>;

    /// What the node knows of the cluster now.
    fn topology(&self) -> Arc<Topology>;

    /// The node behind this door.
    fn node(&self) -> NodeId;

    /// What the node knows of the cluster: `quorate status` and `GET /v1/status`.
    fn status(&self) -> Pending<Status>;

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
