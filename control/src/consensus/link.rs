//! The way to other nodes of the group, which the node's driver provides.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use quorate_crdt::NodeId;

/// The way to other nodes.
///
/// **Law:** an answer comes from the node that was called, over a channel on which that node has
/// proved its identity. Requests and answers have up to 64 MiB. No call holds up another:
/// otherwise a snapshot would hold up heartbeats.
pub trait Link: Send + Sync + 'static {
    /// The round trips to the other nodes, as last measured. Those of which nothing is known are
    /// left out.
    fn round_trips(&self) -> Vec<(NodeId, Duration)>;

    /// Sends `request` to `to`, where
    /// [`Consensus::serve`](crate::consensus::Consensus::serve) answers it. Ends after
    /// `timeout` at the latest.
    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, LinkError>> + Send>>;
}

/// There is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The request has certainly not reached the node.
    #[error("the node cannot be reached")]
    Unreachable,
    /// The request may have reached the node, and the node may act on it.
    #[error("the node did not answer in time")]
    TimedOut,
}
