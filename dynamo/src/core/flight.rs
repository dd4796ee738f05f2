//! Requests in flight, as values.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use quorate_crdt::{CausalContext, NodeId};

use super::forwards::Forwards;
use super::ledger::Ledger;
use super::turns::Turns;
use super::{At, Outcome, Seat};
use crate::consistency::Consistency;
use crate::op::{Answer, Reply, Request, RequestError};
use crate::planted;
use crate::protocol::{FlightId, Place, Refusal, Ticket};
use crate::replica::{Delta, Range};

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
    /// Bytes that it brought, and those of the list that it may be answered with.
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

#[derive(Debug)]
struct Held {
    flight: Flight,
    stage: Stage,
}

impl Held {
    /// When somebody must look at it.
    fn due(&self) -> Duration {
        self.flight.hedge.at.min(self.flight.deadline)
    }
}

/// All requests in flight at one core, and when to look at each.
///
/// **Invariants:** every flight is in the queue at or before its hedge time and deadline. A flight
/// is taken out only by [`Dynamo::resume`](super::Dynamo::resume), which must say what becomes of
/// it.
#[derive(Debug)]
pub(super) struct Flights {
    core: u8,
    life: u64,
    /// Boxed: the nodes of the tree would be pages.
    by_number: BTreeMap<u64, Box<Held>>,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    last: u64,
    /// What all of them brought.
    bytes: usize,
    pub(super) owed: Owed,
    pub(super) turns: Turns,
    /// What others have handed to this core.
    pub(super) forwards: Forwards,
}

impl Flights {
    pub(super) fn new(seat: &Seat) -> Self {
        let (by_number, queue) = (BTreeMap::new(), BinaryHeap::new());
        let (owed, turns, forwards) = (Owed::default(), Turns::default(), Forwards::default());
        Self {
            core: seat.core,
            life: seat.life,
            by_number,
            queue,
            last: 0,
            bytes: 0,
            owed,
            turns,
            forwards,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Bytes that the requests in flight have brought.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same, counted anew.
    pub(super) fn weights(&self) -> usize {
        self.by_number.values().map(|held| held.flight.weight).sum()
    }

    /// How many of them a client of this node waits for.
    pub(super) fn of_clients(&self) -> usize {
        self.by_number
            .values()
            .filter(|held| matches!(held.flight.origin, Origin::Client(_)))
            .count()
    }

    /// A name for a new question of this flight.
    pub(super) fn name(&mut self, flight: &mut Flight) -> FlightId {
        if let Some(last) = flight
            .last
            .filter(|_| planted::SAME_OF_AN_EARLIER_ROUND.is_planted())
        {
            return last;
        }
        let name = self.new_name();
        *flight.last.insert(name)
    }

    /// A name for a question that belongs to no request.
    pub(super) fn new_name(&mut self) -> FlightId {
        self.last += 1;
        FlightId {
            core: self.core,
            life: self.life,
            number: self.last,
        }
    }

    /// Whether the name was given by this core in this life.
    pub(super) fn is_mine(&self, id: FlightId) -> bool {
        id.core == self.core
            && (id.life == self.life || planted::FLIGHT_ID_WITHOUT_LIFE.is_planted())
    }

    pub(super) fn insert(&mut self, id: FlightId, flight: Flight, stage: Stage) {
        self.bytes += flight.weight;
        self.turns.enter(&flight, &stage, id.number);
        let held = Box::new(Held { flight, stage });
        self.queue.push(Reverse((held.due(), id.number)));
        self.by_number.insert(id.number, held);
    }

    pub(super) fn get(&self, id: FlightId) -> Option<(&Flight, &Stage)> {
        let held = self
            .by_number
            .get(&id.number)
            .filter(|_| self.is_mine(id))?;
        Some((&held.flight, &held.stage))
    }

    pub(super) fn get_mut(&mut self, id: FlightId) -> Option<(&Flight, &mut Stage)> {
        let mine = self.is_mine(id);
        let held = self.by_number.get_mut(&id.number).filter(|_| mine)?;
        Some((&held.flight, &mut held.stage))
    }

    pub(super) fn take(&mut self, id: FlightId) -> Option<(Flight, Stage)> {
        let held = self
            .is_mine(id)
            .then(|| self.by_number.remove(&id.number))
            .flatten()?;
        self.bytes -= held.flight.weight;
        self.turns.leave(&held.flight, &held.stage);
        if self.by_number.is_empty() {
            self.queue.clear();
        }
        Some((held.flight, held.stage))
    }

    /// Names of the flights for which `choose` holds, oldest first.
    pub(super) fn select(&self, choose: impl Fn(&Flight) -> bool) -> Vec<FlightId> {
        let chosen = self
            .by_number
            .iter()
            .filter(|(_, held)| choose(&held.flight));
        chosen
            .map(|(number, _)| FlightId {
                core: self.core,
                life: self.life,
                number: *number,
            })
            .collect()
    }

    /// The name of one that waits for its turn, which has come.
    pub(super) fn whose_turn(&mut self) -> Option<FlightId> {
        let number = self.turns.next()?;
        Some(FlightId {
            core: self.core,
            life: self.life,
            number,
        })
    }

    /// Names of the flights that wait for this before they can do anything, oldest first.
    pub(super) fn parked(&self, choose: impl Fn(&Until) -> bool) -> Vec<FlightId> {
        let chosen = self
            .by_number
            .iter()
            .filter(|(_, held)| matches!(&held.stage, Stage::Parked(until) if choose(until)));
        chosen
            .map(|(number, _)| FlightId {
                core: self.core,
                life: self.life,
                number: *number,
            })
            .collect()
    }

    /// Names of the flights past their hedge time or deadline, in the order of those times. Costs
    /// what is due, not what is in flight.
    pub(super) fn due(&mut self, now: Duration) -> Vec<FlightId> {
        let mut due = Vec::new();
        while let Some(Reverse((at, number))) = self
            .queue
            .peek()
            .copied()
            .filter(|Reverse((at, _))| *at <= now)
        {
            self.queue.pop();
            let id = FlightId {
                core: self.core,
                life: self.life,
                number,
            };
            // An entry of another time was left by an earlier stage of the flight, or by a flight
            // that is gone.
            if self
                .by_number
                .get(&number)
                .is_some_and(|held| held.due() == at)
                && due.last() != Some(&id)
            {
                due.push(id);
            }
        }
        due
    }
}

/// Acknowledgements that nobody waits for any more: of writes that have been answered. They are
/// worth knowing for `WAIT` and for forgetting events; what is not known here, anti-entropy tells.
/// Bounded: the oldest is dropped.
#[derive(Debug, Default)]
pub(super) struct Owed {
    by_number: BTreeMap<u64, Debt>,
}

/// Who still owes the acknowledgement of one write.
#[derive(Debug)]
pub(super) struct Debt {
    pub(super) place: Place,
    pub(super) events: CausalContext,
    pub(super) owing: Vec<NodeId>,
}

impl Owed {
    pub(super) fn remember(&mut self, id: FlightId, debt: Debt, max: usize) {
        if debt.owing.is_empty() {
            return;
        }
        self.by_number.insert(id.number, debt);
        while self.by_number.len() > max {
            self.by_number.pop_first();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// `node` has acknowledged the write; returns its place and events if it owed that.
    pub(super) fn paid(&mut self, id: FlightId, node: NodeId) -> Option<(Place, CausalContext)> {
        let debt = self.by_number.get_mut(&id.number)?;
        let at = debt.owing.iter().position(|owing| *owing == node)?;
        debt.owing.swap_remove(at);
        if !debt.owing.is_empty() {
            return Some((debt.place, debt.events.clone()));
        }
        self.by_number
            .remove(&id.number)
            .map(|debt| (debt.place, debt.events))
    }
}
