//! Requests in flight, as values.

use std::sync::Arc;
use std::time::Duration;

use quorate_crdt::{CausalContext, NodeId};

use super::ledger::Ledger;
use super::places::At;
use crate::consistency::Consistency;
use crate::op::{Answer, Reply, Request, RequestError};
use crate::protocol::{FlightId, Place, Refusal, Ticket};
use crate::replica::{Delta, Range};

/// What becomes of a request, as its client is told.
pub(super) type Outcome = Result<Answer, RequestError>;

/// Who is waiting for the outcome. It cannot be copied: whoever holds it owes the one answer.
#[derive(Debug)]
pub(super) enum Origin {
    /// A client of this node.
    Client(Ticket),
    /// A node that forwarded its client's request.
    Node(NodeId, FlightId),
    /// Nobody: the reaper.
    Nobody,
}

/// One request on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) origin: Origin,
    pub(super) request: Request,
    pub(super) place: Place,
    pub(super) level: Consistency,
    pub(super) deadline: Duration,
    /// Its place among all that have come: it stays the same, whatever the flight is called.
    pub(super) turn: u64,
    pub(super) hedge: Hedge,
    /// Bytes that it brought.
    pub(super) weight: usize,
    /// Whether a change of the topology has already made it start again.
    pub(super) retried: bool,
    /// Its name until now. Kept for a planted bug: a new question takes a new name.
    pub(super) last: Option<FlightId>,
}

/// When to ask further replicas, or ask again, and how long to wait after that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hedge {
    pub(super) at: Duration,
    pub(super) patience: Duration,
}

/// What becomes of a request that somebody looked at. Whatever is done with a flight ends in one of
/// these, so none ends without an answer.
#[derive(Debug)]
#[must_use = "somebody waits for this request"]
#[allow(
    clippy::large_enum_variant,
    reason = "made and taken apart within one call"
)]
pub(super) enum Next {
    /// Whoever waits is told.
    Done(Outcome),
    /// It waits for answers under this name, at the latest until its deadline.
    Wait(FlightId, Stage),
    /// It starts again, for the only time, without these nodes.
    Again(Vec<NodeId>),
    /// It is given back to the node that forwarded it; nothing was done.
    GiveBack(Refusal),
}

impl From<Result<Next, RequestError>> for Next {
    fn from(result: Result<Self, RequestError>) -> Self {
        result.unwrap_or_else(|error| Self::Done(Err(error)))
    }
}

/// How far a request is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Collecting what others have.
    Reading(Reading),
    /// Replicas that gave the answer a reader is about to get are being brought up to it.
    Repairing(Repairing),
    /// Applied here; collecting acknowledgements.
    Writing(Writing),
    /// Being executed by a primary.
    Forwarded(Handed),
    /// Nothing was done; it goes on when this has come.
    Parked(Until),
}

/// To whom a request was handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handed {
    pub(super) to: NodeId,
    /// The life that node was in then, as far as is known.
    pub(super) life: Option<u64>,
    /// When, by this node's wall clock.
    pub(super) unix_millis: u64,
}

/// What a request waits for before it can do anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// The newer topology by which it was refused.
    Placed,
    /// The new life that its replica needs.
    Renewed,
    /// What others remember of this replica's former lives.
    Awake(At),
    /// Others have told the time; with what this node's wall clock said beyond its monotonic one
    /// when the request came.
    Timed(i64),
    /// The execution of what came earlier for the same key; with what it has looked at meanwhile of
    /// what others have.
    Turn(Vec<Range>),
}

#[derive(Debug)]
pub(super) struct Reading {
    pub(super) ranges: Vec<Range>,
    /// Digest of the ranges here when the others were asked.
    pub(super) digest: u128,
    /// The answer at that time: good if enough others have the same. `None` for a mutation that
    /// must first see what they have.
    pub(super) eager: Option<Result<Reply, RequestError>>,
    /// Whose answers the level counts.
    pub(super) ledger: Ledger,
    /// While a partition is copied: those that later reads will count. What is returned must be
    /// there too.
    pub(super) later: Option<Ledger>,
    /// What each of those that answered has.
    pub(super) told: Vec<(NodeId, Told)>,
}

/// What a replica said that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Its digest of the ranges; `None` from one that is still being filled.
    pub(super) digest: Option<u128>,
    /// Its context, if it told.
    pub(super) context: Option<CausalContext>,
}

#[derive(Debug)]
pub(super) struct Repairing {
    pub(super) reply: Result<Reply, RequestError>,
    pub(super) delta: Arc<Delta>,
    pub(super) ledger: Ledger,
}

#[derive(Debug)]
pub(super) struct Writing {
    /// What the client will be told.
    pub(super) answer: Answer,
    pub(super) delta: Arc<Delta>,
    /// The events of the write, which an acknowledgement is about.
    pub(super) events: CausalContext,
    /// This node's wall clock when it stamped the write.
    pub(super) stamped_at: Option<u64>,
    /// Whether it adds to a key what was not looked at with others.
    pub(super) adds: bool,
    pub(super) ledger: Ledger,
}

/// What the coordinator of a write sends with it: see
/// [`Message::Write`](crate::protocol::Message::Write).
#[derive(Clone, Copy)]
pub(super) struct Sent<'a> {
    pub(super) delta: &'a Delta,
    pub(super) stamped_at: Option<u64>,
    pub(super) adds: bool,
}
