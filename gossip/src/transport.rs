//! What a node needs from its network ([`Transport`]), and what a network needs from its node
//! ([`Inbound`]). `quic` implements [`Transport`] over real sockets, and the simulator in virtual
//! time. The cores see neither.

use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quorate_crdt::{NodeId, PublicKey, Secret};
use serde::{Deserialize, Serialize};

/// What a frame is for. Each class has its own ordered stream to each peer, so a large repair never
/// delays a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Consensus and calls. Written first.
    Control = 0,
    /// Client requests and their replication.
    Data = 1,
    /// Anti-entropy, handoff and bootstrap. Written when nothing else waits.
    Repair = 2,
}

impl Class {
    /// All classes, highest priority first.
    pub const ALL: [Self; 3] = [Self::Control, Self::Data, Self::Repair];
}

/// An answer that comes later. It owns what it needs and may be awaited on any thread.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The node's way to other nodes.
///
/// **Laws:** no method blocks. Nothing is reliable: if the connection breaks, frames that were
/// accepted are lost, and the protocols above repair that. The frames to one peer in one class
/// arrive in order and without duplicates, and on one connection there is no gap before the last
/// frame that arrives.
pub trait Transport: Send + Sync + 'static {
    /// Queues `frame` for `to`. Returns `false`, with nothing queued, if the node is not connected,
    /// the outbox of this class is full, or the frame is longer than
    /// [`MESSAGE_BYTES_MAX`](crate::wire::MESSAGE_BYTES_MAX). A frame that is longer than
    /// [`FRAME_BYTES_MAX`](crate::wire::FRAME_BYTES_MAX) travels in parts and arrives whole; it
    /// holds up only its own class.
    fn send(&self, to: NodeId, class: Class, frame: Bytes) -> bool;

    /// Bytes that were accepted for `to` in this class and have not left yet; 0 if it is not
    /// connected. While much waits, a node uses this to hold back what can wait.
    fn backlog(&self, to: NodeId, class: Class) -> usize;

    /// Sends `payload` unordered, if it fits one packet (at most [`DATAGRAM_BYTES_MAX`]) and `to`
    /// is connected. Otherwise drops it.
    fn datagram(&self, to: NodeId, payload: Bytes);

    /// Sends `request` in [`Class::Control`] and waits for the peer's answer, for `timeout` at
    /// most.
    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        timeout: Duration,
    ) -> Later<Result<Bytes, CallError>>;

    /// Replaces the list of nodes that may be connected, with their addresses as `host:port`.
    /// Connections to other nodes are closed, and so are those on which a key was shown that is not
    /// its [member's](Inbound::member) any more; others stay. Listed nodes are looked for again and
    /// again, with growing pauses, where they were last found and at their addresses. The node's
    /// own entry is ignored.
    fn set_peers(&self, peers: BTreeMap<NodeId, Arc<str>>);

    /// Where the nodes are that this one is connected with, as `host:port`.
    fn met(&self) -> BTreeMap<NodeId, Arc<str>>;

    /// Looks for the listed nodes at these addresses as well, each of which a member has met there.
    /// A later address of a node replaces an earlier one.
    fn hear(&self, met: BTreeMap<NodeId, Arc<str>>);

    /// The smoothed round-trip time to `to`, while it is connected.
    fn rtt(&self, to: NodeId) -> Option<Duration>;

    /// Whether a connection to `to` is up. It may be down by the time the caller acts on the
    /// answer.
    fn connected(&self, to: NodeId) -> bool;
}

/// The node, as its transport sees it. No method blocks.
pub trait Inbound: Send + Sync + 'static {
    /// Takes frames of one class in the order they were sent: as many as one read brought, at least
    /// one.
    fn frames(&self, from: NodeId, class: Class, frames: Vec<Bytes>);

    /// Takes an unordered payload. `from` has proved itself by its key, as for everything that
    /// arrives here.
    fn datagram(&self, from: NodeId, payload: Bytes);

    /// Takes a call. The answer is sent when the result resolves; calls may be answered in any
    /// order.
    fn call(&self, from: NodeId, request: Bytes) -> Later<Bytes>;

    /// What the cluster keeps of the join token of this number; `None` if there is no such token.
    /// With it the transport finds out whether a newcomer holds the token, before anything else is
    /// done for it.
    fn token(&self, id: u64) -> Option<Secret>;

    /// Takes the request of a newcomer that has proved that it holds the token of the request and
    /// the private half of `key`. The implementation uses the token up in the same committed step
    /// that admits the node.
    fn join(&self, key: PublicKey, request: JoinRequest) -> Later<Result<JoinGrant, JoinRefusal>>;

    /// The node of the topology that has this key. Asked before a connection of whoever holds the
    /// key may send or receive anything.
    fn member(&self, key: &PublicKey) -> Option<NodeId>;

    /// Learns that the connection to `peer` came up or went down. The two alternate, beginning with
    /// up. Up comes before the first frame of a connection, down after the last.
    fn connection(&self, peer: NodeId, up: bool);
}

/// The longest payload of [`Transport::datagram`] in bytes. It fits one QUIC packet of the smallest
/// size that every path must carry (1200 bytes).
pub const DATAGRAM_BYTES_MAX: usize = 1100;

/// Why a call has no answer. The peer may have acted on the request, except for `NotConnected`,
/// `Overloaded` and `TooLarge`.
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
        /// The length of the request.
        bytes: usize,
    },
    /// The connection broke before the answer came.
    #[error("the connection to node {0} broke before its answer came")]
    Disconnected(NodeId),
    /// No answer came in time.
    #[error("node {node} did not answer within {after:?}")]
    TimedOut {
        /// The node that was asked.
        node: NodeId,
        /// How long the caller waited.
        after: Duration,
    },
}

/// What a newcomer says about itself. Its key is not in it: the connection proves that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The number of its token: [`JoinToken::id`](crate::token::JoinToken::id).
    pub token: u64,
    /// The operator's name for it; unique in the cluster.
    pub name: Arc<str>,
    /// Its datacenter.
    pub datacenter: Arc<str>,
    /// Its rack within the datacenter.
    pub rack: Arc<str>,
    /// Where other nodes reach it, `host:port`.
    pub quic: Arc<str>,
    /// Whether its store promises that what it has synchronised survives a power loss. Other nodes
    /// vote only if nobody else can.
    pub durable: bool,
    /// Whether it is there to vote only.
    pub witness: bool,
    /// The name of the dead member whose place it takes.
    pub replaces: Option<Arc<str>>,
    /// What it could not start without.
    pub expects: Expected,
}

/// What the configuration of a newcomer takes for granted about its cluster. Where that is not so,
/// the node would not start, so it is not admitted: a member that does not run counts against
/// majorities all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// How many partitions the keyspace `default` has; `None` if any number will do.
    pub partitions: Option<u16>,
    /// That the cluster has users: other machines reach the node's client ports, and nothing else
    /// asks who comes.
    pub users: bool,
}

/// What a newcomer is told when it is admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinGrant {
    /// Its number.
    pub node: NodeId,
    /// A topology that contains it; opaque to this crate.
    pub topology: Bytes,
}

/// Why a newcomer was not admitted. The cluster is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum JoinRefusal {
    /// The token is for another cluster than the one that was asked.
    #[error("the join token is for another cluster; this one is {cluster:032x}")]
    OtherCluster {
        /// The cluster that was asked.
        cluster: u128,
    },
    /// There is no such token, or the newcomer does not hold its secret. The answer does not say
    /// which, so that a guesser learns nothing.
    #[error("the join token is not known to this cluster")]
    UnknownToken,
    /// The token has expired.
    #[error("the join token has expired")]
    Expired,
    /// The token has admitted as many nodes as it may.
    #[error("the join token is used up")]
    UsedUp,
    /// Another member has this name.
    #[error("another member has this name")]
    NameTaken,
    /// No member has the name of the one to be replaced.
    #[error("no member has the name given with --replace: `quorate node list` shows the names")]
    NothingToReplace,
    /// A member reaches the node to be replaced.
    #[error(
        "the node to be replaced still answers a member: stop it first, and make sure that it does not start again"
    )]
    StillAnswers,
    /// The node to be replaced is in another datacenter.
    #[error(
        "the node to be replaced is in another datacenter: join with its --datacenter, as `quorate node list` shows it"
    )]
    OtherDatacenter,
    /// Of the newcomer and the node to be replaced one is a witness.
    #[error(
        "of the newcomer and the node to be replaced one is a witness and the other is not: give --witness for both or for neither"
    )]
    OtherKind,
    /// It was told another number of partitions than the cluster has.
    #[error(
        "the keyspaces of this cluster have {partitions} partitions, and the newcomer was told {told}: leave --partitions out, or give the same number"
    )]
    OtherPartitions {
        /// How many the keyspace `default` has.
        partitions: u16,
        /// The number that the newcomer was told.
        told: u16,
    },
    /// The address that it tells is not a host and a port.
    #[error("the address is not a host and a port")]
    BadAddress,
    /// The newcomer expects that the cluster has users.
    #[error(
        "other machines can reach a client port of this node, and the cluster has no users: set a password (QUORATE_PASSWORD), make a user first (quorate user create), or say --insecure"
    )]
    NoUsers,
    /// The control group has no leader at the moment. The newcomer may try again with the same
    /// token.
    #[error("the control group cannot decide now")]
    NotReady,
}
