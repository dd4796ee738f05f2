//! The door to the data plane: takes requests and gives answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::{KeyspaceId, Topology};
use quorate_crdt::NodeId;
use quorate_dynamo::op::{Answer, Receipt, Request, RequestError};

use super::{AdminError, Coordinator, Explanation, Pending, Room, Shortfall, Status};

/// The longest time that a client may give a request. Until it is over, a request that nobody can
/// answer holds one of the places of requests in flight.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_mins(1);

/// What a face needs from a node. Cheap to clone behind an [`Arc`], callable from any task.
pub trait Data: Send + Sync + 'static {
    /// Hands the request at once to the shard that owns its partition. Requests that one task
    /// submits for one key are executed in the order of submission. The answer never takes much
    /// longer than the request's own timeout.
    fn submit(&self, request: Request) -> Pending<Result<Answer, RequestError>>;

    /// Like [`submit`](Self::submit), for one of several requests of a client that may read slowly.
    /// The answer counts in `room` from the moment it is given, and the caller takes it out again.
    /// A read whose answer finds no room is refused with [`RequestError::Overloaded`], and
    /// [`Room::was_refused`] says that it may be asked for again.
    fn submit_into(
        &self,
        request: Request,
        room: &Arc<Room>,
    ) -> Pending<Result<Answer, RequestError>>;

    /// How many replicas besides the executing one are known to have every event of `receipts` (the
    /// minimum over them). Answers as soon as that is at least `replicas`, or after `timeout`.
    fn wait(&self, receipts: Vec<Receipt>, replicas: u32, timeout: Duration) -> Pending<u32>;

    /// The keyspace of this name. If there is none, it is made like `default`, which needs the
    /// quorum of the control group.
    fn open_keyspace(&self, name: &str) -> Pending<Result<KeyspaceId, AdminError>>;

    /// The door to locks and their like.
    fn coordinator(&self) -> Arc<dyn Coordinator>;

    /// The topology that the node acts on.
    fn topology(&self) -> Arc<Topology>;

    /// The number of the node behind this door.
    fn node(&self) -> NodeId;

    /// What the node knows about the cluster: `quorate status` and `GET /v1/status`.
    fn status(&self) -> Pending<Status>;

    /// Where a key lies, and what every replica holds of it: `quorate explain`. `None` if there is
    /// no such keyspace.
    fn explain(&self, keyspace: KeyspaceId, key: Bytes) -> Pending<Option<Explanation>>;

    /// Metrics in the text form of `OpenMetrics`.
    fn metrics(&self) -> String;

    /// Whether the node serves: it is in its own topology, and its partitions are loaded.
    fn ready(&self) -> bool;

    /// A keyspace that cannot be served at its default level now, because too few replicas can be
    /// reached. A node that serves may have one: other levels still work.
    fn shortfall(&self) -> Option<Shortfall>;
}

/// How faces name a node: `name@datacenter`, or its number if the topology does not have it.
pub fn name_of(node: NodeId, topology: &Topology) -> String {
    topology.nodes.get(&node).map_or_else(
        || format!("n{node}"),
        |info| format!("{}@{}", info.name, info.datacenter),
    )
}

/// The operator's name of a node, where its datacenter stands beside it; its number if the topology
/// does not have it.
pub fn short_name_of(node: NodeId, topology: &Topology) -> String {
    let info = topology.nodes.get(&node);
    info.map_or_else(|| format!("n{node}"), |info| info.name.to_string())
}
