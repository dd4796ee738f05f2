//! One request in flight: who waits for it, how far it is, and what it waits for.

use std::sync::Arc;
use std::time::Duration;

use quorate_crdt::{CausalContext, Dot, NodeId};

use super::ledger::Ledger;
use crate::consistency::Consistency;
use crate::fence::Claim;
use crate::op::{Answer, Reply, Request, RequestError};
use crate::protocol::{FlightId, Look, Place, Refusal, Ticket};
use crate::replica::{Delta, Range};
use crate::seen::At;

/// The outcome of a request, as its client is told.
pub(super) type Outcome = Result<Answer, RequestError>;

/// Who waits for the outcome. It cannot be copied: whoever holds it owes exactly one answer.
#[derive(Debug)]
pub(super) enum Origin {
    /// A client of this node.
    Client(Ticket),
    /// A node that forwarded its client's request.
    Node(NodeId, FlightId),
    /// Nobody: the reaper's own requests.
    Nobody,
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) origin: Origin,
    pub(super) request: Request,
    pub(super) place: Place,
    pub(super) level: Consistency,
    pub(super) deadline: Duration,
    /// Its position among all requests that have come. It does not change when the flight is
    /// renamed.
    pub(super) turn: u64,
    pub(super) hedge: Hedge,
    /// The bytes that it brought, and those of the list that it may be answered with.
    pub(super) weight: usize,
    /// Whether it has already started again once.
    pub(super) retried: bool,
    /// The event with which it was executed before it started again. The other replicas were told
    /// of it, so it may be applied, whatever becomes of the second try.
    pub(super) executed: Option<Dot>,
    /// Its last name. Kept for a planted bug only: every new question takes a new name.
    pub(super) last: Option<FlightId>,
}

impl Flight {
    /// Whether another node may execute the request although this one may have been executed: it
    /// changes nothing.
    pub(super) fn may_run_twice(&self) -> bool {
        !self.request.op.writes() && self.request.claim.is_none()
    }
}

/// When to ask further replicas, or the same again, and how long to wait after that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hedge {
    pub(super) at: Duration,
    pub(super) patience: Duration,
}

/// What becomes of a flight that was taken up. Everything that is done with a flight ends in one of
/// these, so none ends without an answer.
#[derive(Debug)]
#[must_use = "somebody waits for this request"]
#[allow(
    clippy::large_enum_variant,
    reason = "made and taken apart within one call"
)]
pub(super) enum Next {
    /// It ends with this outcome.
    Done(Outcome),
    /// It waits for answers under this name, at most until its deadline.
    Wait(FlightId, Stage),
    /// It starts again, without these nodes. This happens only once.
    Again(Vec<NodeId>),
    /// It goes back to the node that forwarded it; nothing was done.
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
    /// Collecting what other replicas have.
    Reading(Reading),
    /// Bringing other replicas up to the answer that the reader is about to get.
    Repairing(Repairing),
    /// Applied here, and collecting acknowledgements.
    Writing(Writing),
    /// Handed to a primary, which executes it.
    Forwarded(Handed),
    /// Nothing has been done yet; it continues when this has come.
    Parked(Until),
}

/// To whom a request was handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handed {
    pub(super) to: NodeId,
    /// The life of that node at the time, if known.
    pub(super) life: Option<u64>,
    /// This node's wall clock at the time.
    pub(super) unix_millis: u64,
}

/// What a request waits for before anything can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// The newer topology because of which it was refused.
    Placed,
    /// A new life for its replica.
    Renewed,
    /// What other nodes remember of this replica's former lives.
    Awake(At),
    /// Other nodes' time. Holds this node's wall clock minus its monotonic one when the request
    /// came.
    Timed(i64),
    /// Its turn: earlier requests for the same key must be executed first. Holds the ranges in
    /// which it has meanwhile looked at what other replicas have.
    Turn(Vec<Range>),
}

#[derive(Debug)]
pub(super) struct Reading {
    pub(super) ranges: Vec<Range>,
    /// Digest of the ranges here when the others were asked.
    pub(super) digest: u128,
    /// The answer at that time; it is good if enough others have the same. `None` for a mutation
    /// that must first see what others have.
    pub(super) eager: Option<Result<Reply, RequestError>>,
    /// Counts the answers for the level.
    pub(super) ledger: Ledger,
    /// Counts the answers of those that must answer as well.
    pub(super) beside: Beside,
    /// What each replica that answered has.
    pub(super) told: Vec<(NodeId, Told)>,
}

/// Who must answer a read beside the replicas of its level.
#[derive(Debug, Default)]
pub(super) enum Beside {
    #[default]
    Nobody,
    /// While the partition is copied: the replicas that later reads will ask. They, too, must have
    /// what is returned.
    Later(Ledger),
    /// For a whole collection under a token: the holders that have not said that they admit nothing
    /// lower. See [`Replica::open_at`](crate::replica::Replica::open_at).
    Open(Ledger),
}

impl Beside {
    pub(super) fn ledger(&self) -> Option<&Ledger> {
        match self {
            Self::Nobody => None,
            Self::Later(ledger) | Self::Open(ledger) => Some(ledger),
        }
    }

    pub(super) fn ledger_mut(&mut self) -> Option<&mut Ledger> {
        match self {
            Self::Nobody => None,
            Self::Later(ledger) | Self::Open(ledger) => Some(ledger),
        }
    }
}

/// What a replica said it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Its digest of the ranges; `None` if it is still being filled.
    pub(super) digest: Option<u128>,
    /// Its context, if it sent one.
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
    /// The events of the write, which every acknowledgement confirms.
    pub(super) events: CausalContext,
    /// This node's wall clock when it stamped the write.
    pub(super) stamped_at: Option<u64>,
    /// Whether it adds to a key without having seen what others hold.
    pub(super) adds: bool,
    /// Whether what it puts may be hidden behind something that this node has not seen.
    pub(super) hides: bool,
    pub(super) claim: Option<Claim>,
    pub(super) ledger: Ledger,
}

/// What travels with a write: see [`Message::Write`](crate::protocol::Message::Write).
#[derive(Clone, Copy)]
pub(super) struct Sent<'a> {
    pub(super) delta: &'a Delta,
    pub(super) stamped_at: Option<u64>,
    pub(super) adds: bool,
    pub(super) hides: bool,
    pub(super) claim: Option<Claim>,
}

/// What travels with a read: see [`Message::Read`](crate::protocol::Message::Read).
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) ranges: &'a [Range],
    pub(super) digest: u128,
    pub(super) context: Option<&'a CausalContext>,
    pub(super) look: Option<&'a Look>,
}
