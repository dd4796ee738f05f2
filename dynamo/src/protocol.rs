//! The five nouns of the data plane's core: [`Config`], [`Input`], [`Message`], [`Timer`] and
//! [`Effect`]. Its one verb is [`Dynamo::handle`](crate::Dynamo::handle).

mod config;
mod message;

use std::sync::Arc;
use std::time::Duration;

use quorate_control::topology::{Epoch, KeyspaceId, Partition, Topology};
use quorate_crdt::NodeId;
use serde::{Deserialize, Serialize};

pub use crate::names::{FlightId, RequestId, Ticket};
use crate::op::{Answer, Receipt, Request, RequestError};
pub use crate::refusal::Refusal;
pub use crate::seen::{At, Fencing, Place, Seen};
pub use config::{Config, RecentBounds, Removal};
pub use message::{Answers, Ask, Attempt, Look, Message, Piece, Purpose, Route, StreamId, Then};

/// What can happen to a core.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client's request. Answered by exactly one [`Effect::Reply`], at the latest a little after
    /// the request's timeout.
    Request {
        /// Comes back in the reply.
        ticket: Ticket,
        /// The request.
        request: Request,
    },
    /// A client waits until other replicas have its writes. Answered by exactly one
    /// [`Effect::Waited`].
    Wait {
        /// Comes back in the answer.
        ticket: Ticket,
        /// The writes, all to partitions that this core owns.
        receipts: Vec<Receipt>,
        /// How many other replicas must have them.
        replicas: u32,
        /// How long the client waits.
        timeout: Duration,
    },
    /// A message from another core.
    Message {
        /// The node that sent it, as the transport authenticated it.
        from: NodeId,
        /// The message.
        message: Message,
    },
    /// A timer that [`Effect::Arm`] set has fired.
    Timer(Timer),
    /// A decision of the control plane. The first input of every core is one of these.
    Topology(Arc<Topology>),
    /// The failure detector's news about a node. A node counts as reachable until the detector says
    /// otherwise.
    Reachable {
        /// The node.
        node: NodeId,
        /// Whether it can be reached.
        up: bool,
    },
    /// The transport's estimate of a round trip.
    RoundTrip {
        /// The node at the other end.
        node: NodeId,
        /// The estimate.
        rtt: Duration,
    },
    /// Whether the disk is too full for writes.
    DiskFull(bool),
    /// The oldest fencing token under which any lock is still held, or the next one if none is. It
    /// never falls. Lower tokens are refused, and what was remembered to refuse them is dropped.
    Floor(u64),
    /// The answer to [`Effect::NewLife`]: a life number that was never used before.
    Incarnation(u32),
}

/// The timers that a core sets with [`Effect::Arm`] and gets back as [`Input::Timer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Check requests that are due for a hedge or past their deadline.
    Sweep,
    /// Tell the other replicas what has been seen, and forget what all of them know.
    AntiEntropy,
    /// Remove expired keys.
    Reap,
    /// Delete more of the removed rows that still lie on disk.
    Remains,
}

/// What the driver must do, in order, once the batch's changes are durable.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send a message to another node. It may be lost.
    Send {
        /// The receiving node.
        to: NodeId,
        /// The message.
        message: Message,
    },
    /// Answer a client.
    Reply {
        /// The ticket of the request.
        ticket: Ticket,
        /// The answer.
        result: Result<Answer, RequestError>,
    },
    /// Answer an [`Input::Wait`].
    Waited {
        /// The ticket of the wait.
        ticket: Ticket,
        /// How many replicas besides the executing one have all of the writes.
        replicas: u32,
    },
    /// Fire a timer once.
    Arm {
        /// After how long.
        after: Duration,
        /// The timer to give back.
        timer: Timer,
    },
    /// Tell the control plane that this node has finished a phase of a move
    /// (`Command::ReportMove`). Repeated until the topology shows it.
    Report {
        /// The keyspace that moves.
        keyspace: KeyspaceId,
        /// The partitions, each with the placement epoch that the report is about.
        partitions: Vec<(Partition, Epoch)>,
    },
    /// A replica may no longer issue events under its id: draw a new life number and answer with
    /// [`Input::Incarnation`]. Writes to the replica wait for it.
    NewLife,
    /// For the log: the clock of a node, possibly this one, now differs from the others' by more
    /// than the bound, or is right again. Only core 0 of a node reports it, once per change.
    ClockOff {
        /// The node whose clock it is.
        node: NodeId,
        /// How many milliseconds it is ahead (negative: behind); `None` if it is right again.
        offset_ms: Option<i64>,
    },
}

/// Figures of one partition replica, for `status` and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaSummary {
    /// The keyspace.
    pub keyspace: KeyspaceId,
    /// The partition.
    pub partition: Partition,
    /// Live rows.
    pub rows: u64,
    /// Roughly the bytes of memory that it takes.
    pub bytes: u64,
    /// Events that some primary may not know yet.
    pub recent: u64,
    /// Ranges in which the replica knows more than its context says.
    pub residuals: u64,
    /// Hash of the context: equal contexts have equal hashes.
    pub context: u128,
    /// Digest of the live rows.
    pub digest: u128,
    /// Whether it is still being filled.
    pub filling: bool,
    /// Whether the replica differs from another holder with an equal context and no majority agrees
    /// with it. Then its word alone does not count.
    pub quarantined: bool,
}
