//! How nodes talk: what a network gives to a node, and what a node gives to its network. `quic`
//! implements [`Transport`] over real sockets, the simulator implements it in virtual time; neither
//! is visible to the cores.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use quorate_crdt::NodeId;
use serde::{Deserialize, Serialize};

use crate::token::{TokenId, TokenSecret};

/// What a frame is for. Each class is one ordered stream per peer, so that a large repair never
/// delays a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Consensus and calls: written first.
    Control = 0,
    /// Client requests and their replication.
    Data = 1,
    /// Anti-entropy, handoff and bootstrap: written when nothing else waits.
    Repair = 2,
}

impl Class {
    /// All classes, highest priority first.
    pub const ALL: [Self; 3] = [Self::Control, Self::Data, Self::Repair];
}

/// An answer that comes later. It owns what it needs and may be awaited on any thread.
pub type Reply<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The node's way to other nodes.
///
/// **Law:** no method blocks. Nothing here is reliable: a frame that was accepted is lost when the
/// connection breaks, and the protocols above repair that. Frames to one peer in one class arrive
/// in order, without duplicates, and with no gap before the last one that arrives on that
/// connection.
pub trait Transport: Send + Sync + 'static {
    /// Queues `frame` for `to`. `false`: not connected, the outbox of this class is full, or the
    /// frame is longer than [`MESSAGE_BYTES_MAX`](crate::wire::MESSAGE_BYTES_MAX); then nothing was
    /// queued. Its length decides nothing else: a frame that is longer than
    /// [`FRAME_BYTES_MAX`](crate::wire::FRAME_BYTES_MAX) travels in parts and arrives whole, and
    /// holds up its own class only.
    fn send(&self, to: NodeId, class: Class, frame: Bytes) -> bool;

    /// Bytes that were taken for `to` in this class and have not left yet; 0 when it is not
    /// connected. What may be left out while much waits, a node leaves out by this.
    fn backlog(&self, to: NodeId, class: Class) -> usize;

    /// Sends `payload` outside of all order, if it fits one packet (at most [`DATAGRAM_BYTES_MAX`])
    /// and `to` is connected; otherwise it is dropped.
    fn datagram(&self, to: NodeId, payload: Bytes);

    /// Sends `request` in [`Class::Control`] and waits for the peer's answer, at most for
    /// `timeout`.
    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        timeout: Duration,
    ) -> Reply<Result<Bytes, CallError>>;

    /// Replaces the nodes that may be connected and where they listen. Connections to nodes not
    /// named are closed; nodes named are dialled, for ever, with growing pauses. The node's own
    /// entry is ignored.
    fn set_peers(&self, peers: BTreeMap<NodeId, SocketAddr>);

    /// The smoothed round-trip time to `to`, while it is connected.
    fn rtt(&self, to: NodeId) -> Option<Duration>;

    /// Whether a connection to `to` is up. What is true now may be false when the caller acts on
    /// it.
    fn connected(&self, to: NodeId) -> bool;
}

/// The node, as its transport sees it. No method blocks.
pub trait Inbound: Send + Sync + 'static {
    /// Frames of one class in the order sent: as many as one read brought, at least one.
    fn frames(&self, from: NodeId, class: Class, frames: Vec<Bytes>);

    /// An unordered payload; `from` is proved by its certificate, as for all that arrives here.
    fn datagram(&self, from: NodeId, payload: Bytes);

    /// A call. The answer goes back whenever the reply resolves, in any order among calls.
    fn call(&self, from: NodeId, request: Bytes) -> Reply<Bytes>;

    /// A newcomer without a certificate asks to be let in. The implementation checks the token, and
    /// uses it up in the same committed step in which it admits the node.
    fn join(&self, request: JoinRequest) -> Reply<Result<JoinGrant, JoinRefusal>>;

    /// Whether `node` is in the topology. Asked before a connection of that node is given any byte.
    fn admits(&self, node: NodeId) -> bool;

    /// The connection to `peer` came up or went down. Alternates, beginning with up; comes before
    /// the first frame of a connection and after its last.
    fn connection(&self, peer: NodeId, up: bool);
}

/// The longest payload of [`Transport::datagram`] in bytes: fits one QUIC packet of the smallest
/// size every path must carry (1200).
pub const DATAGRAM_BYTES_MAX: usize = 1100;

/// Why a call has no answer. Except for `NotConnected`, `Overloaded` and `TooLarge` the peer may
/// have acted on it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// There was no connection; nothing was sent.
    #[error("node {0} is not connected")]
    NotConnected(NodeId),
    /// The outbox was full; nothing was sent.
    #[error("the outbox for node {0} is full")]
    Overloaded(NodeId),
    /// The request is longer than a message may be; nothing was sent.
    #[error("a request of {bytes} bytes is longer than a message may be")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The connection broke before the answer came.
    #[error("the connection to node {0} broke before its answer came")]
    Disconnected(NodeId),
    /// No answer in time.
    #[error("node {node} did not answer within {after:?}")]
    TimedOut {
        /// Who was asked.
        node: NodeId,
        /// How long the caller waited.
        after: Duration,
    },
}

/// What a newcomer says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Which token it holds.
    pub token: TokenId,
    /// The proof that it holds it.
    pub secret: TokenSecret,
    /// The operator's name for it; unique in the cluster.
    pub name: Arc<str>,
    /// Its datacenter.
    pub datacenter: Arc<str>,
    /// Its rack within the datacenter.
    pub rack: Arc<str>,
    /// Where other nodes reach it.
    pub quic: SocketAddr,
    /// Drawn at random before it asks for the first time, and kept: a newcomer that asks again gets
    /// the same answer.
    pub instance: u128,
}

/// What the control plane answers when it admits a newcomer. Only `node` and `topology` travel to
/// it; the authority stays here and signs its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinGrant {
    /// The newcomer's identifier, allocated for it.
    pub node: NodeId,
    /// The cluster's certificate authority, as `ClusterAuthority::to_secret` wrote it.
    pub authority: Secret,
    /// The topology that contains the newcomer; opaque to this crate.
    pub topology: Bytes,
}

/// Why a newcomer was not admitted. The cluster is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum JoinRefusal {
    /// No such token, or the secret is not the token's (a guesser is not told which).
    #[error("the join token is not known to this cluster")]
    UnknownToken,
    /// The token's time is over.
    #[error("the join token has expired")]
    Expired,
    /// The token has admitted as many nodes as it may.
    #[error("the join token is used up")]
    UsedUp,
    /// A member has this name.
    #[error("another member has this name")]
    NameTaken,
    /// The control group has no leader at the moment; the same token may be tried again.
    #[error("the control group cannot decide now")]
    NotReady,
}

/// Bytes that must not be printed. Equality takes time that depends on the length only.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secret(Bytes);

impl Secret {
    /// Takes charge of `bytes`.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for storing and signing.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .zip(other.0.iter())
                .fold(0, |diff, (a, b)| diff | (a ^ b))
                == 0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}
