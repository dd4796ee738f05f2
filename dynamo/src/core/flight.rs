//! Requests in flight, as values.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_control::quorum::{Group, Tally};
use quorate_crdt::{CausalContext, NodeId};

use crate::consistency::Consistency;
use crate::op::{Answer, Reply, Request, RequestError};
use crate::protocol::{FlightId, Place, Ticket};
use crate::replica::{Delta, Range};

/// Who is waiting for the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client of this node.
    Client(Ticket),
    /// A node that forwarded its client's request.
    Node(NodeId, FlightId),
    /// Nobody: the reaper.
    Nobody,
}

/// One request on its way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) origin: Origin,
    pub(super) request: Request,
    pub(super) place: Place,
    pub(super) level: Consistency,
    pub(super) deadline: Duration,
    /// When to ask further replicas, or ask again; `None` once that has been done.
    pub(super) hedge_at: Option<Duration>,
    /// Whether a change of the topology has already made it start again.
    pub(super) retried: bool,
    pub(super) stage: Stage,
}

/// How far a request is.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Collecting what others have.
    Reading(Reading),
    /// Replicas that gave the answer a reader is about to get are being brought up to it.
    Repairing(Repairing),
    /// Applied here; collecting acknowledgements.
    Writing(Writing),
    /// Being executed by this primary.
    Forwarded(NodeId),
    /// Refused by a newer topology; starts again when it arrives.
    Parked,
}

#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) ranges: Vec<Range>,
    /// Digest of the ranges here when the others were asked.
    pub(super) digest: u128,
    /// The answer at that time: good if enough others have the same. `None` for a mutation that must first see what they have.
    pub(super) eager: Option<Result<Reply, RequestError>>,
    pub(super) groups: Vec<Group>,
    pub(super) tally: Tally,
    pub(super) asked: Vec<NodeId>,
    /// What each of those that answered has: its digest, and its context if it told.
    pub(super) told: Vec<(NodeId, u128, Option<CausalContext>)>,
}

#[derive(Clone, Debug)]
pub(super) struct Repairing {
    pub(super) reply: Result<Reply, RequestError>,
    pub(super) delta: Arc<Delta>,
    pub(super) tally: Tally,
}

#[derive(Clone, Debug)]
pub(super) struct Writing {
    /// What the client will be told; `None` once it has been.
    pub(super) answer: Option<Answer>,
    pub(super) delta: Arc<Delta>,
    /// The events of the write, which an acknowledgement is about.
    pub(super) events: CausalContext,
    pub(super) tally: Tally,
    /// Writers that have not acknowledged.
    pub(super) owing: Vec<NodeId>,
}

/// All requests in flight at one core.
#[derive(Debug, Default)]
pub(super) struct Flights {
    by_id: BTreeMap<FlightId, Flight>,
    last: u64,
}

impl Flights {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// A new id of this core.
    pub(super) fn name(&mut self, core: u8) -> FlightId {
        self.last = (self.last + 1) & 0x00ff_ffff_ffff_ffff;
        FlightId(u64::from(core) << 56 | self.last)
    }

    pub(super) fn insert(&mut self, id: FlightId, flight: Flight) {
        self.by_id.insert(id, flight);
    }

    pub(super) fn get_mut(&mut self, id: FlightId) -> Option<&mut Flight> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: FlightId) -> Option<Flight> {
        self.by_id.remove(&id)
    }

    /// Ids of the flights for which `choose` holds, oldest first.
    pub(super) fn select(&self, choose: impl Fn(&Flight) -> bool) -> Vec<FlightId> {
        self.by_id.iter().filter(|(_, flight)| choose(flight)).map(|(id, _)| *id).collect()
    }
}
