//! Turns a request into a flight: limits, placement, level, and who executes it.

use std::time::Duration;

use quorate_control::quorum::{Unsatisfiable, Verdict};
use quorate_crdt::{Dot, NodeId, Now};

use super::clocks::base_of;
use super::fencing::check_claim;
use super::flight::{Flight, Hedge, Next, Origin, Outcome, Stage, Until};
use super::ledger::Ledger;
use super::{Dynamo, limits};
use crate::consistency::Consistency;
use crate::op::{Mutation, Op, PartitionOp, Request, RequestError};
use crate::planted;
use crate::preference::{Access, groups};
use crate::protocol::{Effect, FlightId, Message, Place, Refusal, Ticket};
use crate::replica::Replica;
use crate::value;

/// A request that is about to be executed or forwarded.
pub(super) struct Start {
    origin: Origin,
    request: Request,
    /// The placement that the forwarding node assumes.
    assumed: Option<Place>,
    retried: bool,
    executed: Option<Dot>,
    /// Primaries that were tried in vain.
    tried: Vec<NodeId>,
    /// When the client gives up; `None` if that counts from now.
    deadline: Option<Duration>,
    /// Its position in the order; `None` if it has just come and is behind all others.
    turn: Option<u64>,
    last: Option<FlightId>,
}

impl Start {
    fn new(origin: Origin, request: Request) -> Self {
        Self {
            origin,
            request,
            assumed: None,
            retried: false,
            executed: None,
            tried: Vec::new(),
            deadline: None,
            turn: None,
            last: None,
        }
    }

    fn client(ticket: Ticket, request: Request) -> Self {
        Self::new(Origin::Client(ticket), request)
    }

    pub(super) fn forwarded(from: NodeId, id: FlightId, place: Place, request: Request) -> Self {
        Self {
            assumed: Some(place),
            ..Self::new(Origin::Node(from, id), request)
        }
    }

    pub(super) fn nobody(request: Request) -> Self {
        Self::new(Origin::Nobody, request)
    }

    /// Starts a flight again. This happens only once.
    fn again(flight: Flight, tried: Vec<NodeId>) -> Self {
        Self {
            retried: true,
            executed: flight.executed,
            tried,
            deadline: Some(flight.deadline),
            turn: Some(flight.turn),
            last: flight.last,
            ..Self::new(flight.origin, flight.request)
        }
    }
}

impl Dynamo {
    /// A client of this node asks.
    pub(super) fn on_request(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: Request,
        effects: &mut Vec<Effect>,
    ) {
        self.start(now, Start::client(ticket, request), effects);
    }

    pub(super) fn start(&mut self, now: Now, start: Start, effects: &mut Vec<Effect>) {
        let Start {
            origin,
            request,
            assumed,
            retried,
            executed,
            tried,
            deadline,
            turn,
            last,
        } = start;
        let level = self.routes.level(&request, request.op.writes());
        match self.admit(&request, level) {
            Err(error) => self.reply(origin, told(executed, level, Err(error)), effects),
            Ok(place) => {
                let deadline =
                    deadline.unwrap_or_else(|| now.monotonic.saturating_add(request.timeout));
                let turn = turn.unwrap_or_else(|| self.flights.turns.draw());
                let weight = request.op.weight();
                let hedge = Hedge {
                    at: deadline,
                    patience: self.config.hedge_after,
                };
                let mut flight = Flight {
                    origin,
                    request,
                    place,
                    level,
                    deadline,
                    turn,
                    hedge,
                    weight,
                    retried,
                    executed,
                    last,
                };
                let next = self.begin(now, &mut flight, assumed, &tried, effects);
                self.conclude(now, flight, next.into(), effects);
            }
        }
        self.keep_sweeping(effects);
    }

    /// The place of the request, if it can be accepted.
    fn admit(&self, request: &Request, level: Consistency) -> Result<Place, RequestError> {
        limits::check(&request.op, self.config.limits)?;
        check_claim(request, level)?;
        let takes_none = matches!(request.op, Op::Mutate(_, Mutation::GetDelete));
        if request
            .id
            .as_ref()
            .is_some_and(|id| takes_none || !id.is_valid())
        {
            return Err(RequestError::BadRequestId);
        }
        let held = self.flights.len()
            + if planted::ANSWERED_WRITES_HOLD_FLIGHTS.is_planted() {
                self.flights.owed.len()
            } else {
                0
            };
        let heavy = !self.has_room_in_flight(request.op.weight());
        if held >= self.config.flights_max || (held > 0 && heavy) {
            return Err(RequestError::Overloaded);
        }
        self.routes.place(request)
    }

    /// Whether this many more bytes may be in flight.
    pub(super) fn has_room_in_flight(&self, bytes: usize) -> bool {
        self.flights.bytes() + bytes <= self.config.flight_bytes_max
            || planted::FLIGHTS_UNWEIGHED.is_planted()
    }

    /// The first step of a request of which nothing has been done yet.
    pub(super) fn begin(
        &mut self,
        now: Now,
        flight: &mut Flight,
        assumed: Option<Place>,
        tried: &[NodeId],
        effects: &mut Vec<Effect>,
    ) -> Result<Next, RequestError> {
        let place = flight.place;
        if assumed.is_some_and(|assumed| assumed.epoch != place.epoch) {
            self.counters.epoch_refused += 1;
            return Ok(Next::GiveBack(Refusal::Epoch(place.epoch)));
        }
        if let Some(offset_ms) = self.clocks.off().filter(|_| flight.request.op.names_time()) {
            self.counters.drift_refused += 1;
            return Err(RequestError::Clock { offset_ms });
        }
        if self.must_wait_for_clock(now, flight) {
            return Ok(Next::Wait(
                self.flights.name(flight),
                Stage::Parked(Until::Timed(base_of(now))),
            ));
        }
        let executes = self.executes(place, &flight.request.op);
        // A mutation that is executed here may have to look at what other replicas have, and does
        // so while it waits for its turn.
        if !(executes && flight.request.op.writes()) && self.is_behind(flight) {
            return Ok(self.wait_for_turn(flight));
        }
        if !executes {
            if flight.executed.is_some() {
                // Another replica may not have seen what was executed here, and would count twice.
                return Err(RequestError::Moving);
            }
            return self.forward(now, flight, tried, effects);
        }
        if flight.request.claim.is_some()
            && let Some(next) = self.enter(now, flight)?
        {
            return Ok(next);
        }
        match &flight.request.op {
            Op::Query(..) => self.start_query(now, flight, effects),
            Op::Mutate(..) | Op::Partition(_, PartitionOp::Clear) => {
                self.start_mutation(now, flight, effects)
            }
            Op::Partition(_, op) => {
                let replica = self.replica(place).ok_or(RequestError::Moving)?;
                let reply = value::partition(replica, op, now.unix_millis);
                Ok(Next::Done(Ok(reply.into())))
            }
        }
    }

    /// Continues a flight. This is the only way to take out a waiting flight, and `go_on` must say
    /// what becomes of it.
    pub(super) fn resume(
        &mut self,
        now: Now,
        id: FlightId,
        effects: &mut Vec<Effect>,
        go_on: impl FnOnce(&mut Self, &mut Flight, Stage, &mut Vec<Effect>) -> Next,
    ) {
        let Some((mut flight, stage)) = self.flights.take(id) else {
            return;
        };
        let next = go_on(self, &mut flight, stage, effects);
        self.conclude(now, flight, next, effects);
    }

    fn conclude(&mut self, now: Now, flight: Flight, next: Next, effects: &mut Vec<Effect>) {
        match next {
            Next::Done(outcome) => {
                let outcome = told(flight.executed, flight.level, outcome);
                self.reply(flight.origin, outcome, effects);
            }
            Next::Wait(id, stage) => self.flights.insert(id, flight, stage),
            Next::Again(tried) => self.start(now, Start::again(flight, tried), effects),
            Next::GiveBack(reason) => match flight.origin {
                Origin::Node(to, id) if flight.executed.is_none() => {
                    self.tell_back(to, id, Message::Refused { id, reason }, effects);
                }
                _ => {
                    let moving = Err(RequestError::Moving);
                    let outcome = told(flight.executed, flight.level, moving);
                    self.reply(flight.origin, outcome, effects);
                }
            },
        }
    }

    /// Whether this node has a replica that can execute the request. An operation on the whole
    /// partition asks no other replica, so it needs one whose word counts by itself.
    pub(super) fn executes(&self, place: Place, op: &Op) -> bool {
        let scans = matches!(op, Op::Partition(_, op) if *op != PartitionOp::Clear);
        let able = self.replica(place).is_some_and(|replica| {
            if scans {
                replica.vouches()
            } else {
                replica.serves()
            }
        });
        able && self
            .routes
            .placement_of(place)
            .is_some_and(|placement| self.routes.executes(placement))
    }

    /// Whether the replica here counts only as part of a majority.
    fn doubts(&self, place: Place) -> bool {
        self.replica(place).is_some_and(Replica::is_doubted)
            && !planted::DOUBT_ASKS_NOBODY.is_planted()
    }

    /// Too few replicas can be reached; or the replica here is in quarantine and does not count
    /// without them.
    pub(super) fn unavailable(
        &self,
        flight: &Flight,
        required: u32,
        alive: u32,
        missing: Vec<NodeId>,
    ) -> RequestError {
        let level = flight.level;
        if self
            .replica(flight.place)
            .is_none_or(|replica| !replica.is_quarantined())
        {
            return RequestError::Unavailable {
                level,
                required,
                alive,
                missing,
            };
        }
        let refused = vec![(self.seat.me, Refusal::Quarantined)];
        RequestError::Refused {
            level,
            acked: 0,
            required,
            refused,
            missing,
            may_be_applied: false,
        }
    }

    /// The ledger for a question at `level`. This node is counted in, unreachable nodes are counted
    /// out.
    ///
    /// # Errors
    /// `Unsatisfiable` if the topology can never satisfy the level; `Unavailable` if too few
    /// replicas can be reached now.
    pub(super) fn ledger(
        &self,
        flight: &Flight,
        level: Consistency,
        access: Access,
    ) -> Result<Ledger, RequestError> {
        let topology = self.routes.topology().ok_or(RequestError::Moving)?;
        let placement = self
            .routes
            .placement_of(flight.place)
            .ok_or(RequestError::Moving)?;
        let home = &flight.request.datacenter;
        let access = if flight.request.claim.is_some() && planted::JOINT_IGNORED.is_planted() {
            Access::Read
        } else {
            access
        };
        let mut wanted = groups(level, access, placement, topology, home);
        if access == Access::Read && self.doubts(flight.place) {
            wanted.extend(groups(
                Consistency::Quorum,
                access,
                placement,
                topology,
                home,
            ));
        }
        let unsatisfiable = |e: Unsatisfiable| RequestError::Unsatisfiable {
            level,
            required: e.needed as u32,
            replicas: e.members as u32,
        };
        let mut ledger = Ledger::new(wanted).map_err(unsatisfiable)?;
        if self.routes.all_reachable() {
            ledger.has(self.seat.me);
            return Ok(ledger);
        }
        for node in ledger
            .open()
            .into_iter()
            .filter(|node| !self.routes.reachable(*node))
        {
            ledger.lost(node);
        }
        if ledger.verdict() == Verdict::Impossible {
            // The error reports the group that is furthest from what it needs.
            let worst = ledger.groups().iter().max_by_key(|group| {
                let alive = group
                    .members
                    .iter()
                    .filter(|node| self.routes.reachable(**node))
                    .count();
                group.needed.saturating_sub(alive)
            });
            let members = worst.map_or(&[][..], |group| &group.members);
            let missing: Vec<NodeId> = members
                .iter()
                .copied()
                .filter(|node| !self.routes.reachable(*node))
                .collect();
            let alive = (members.len() - missing.len()) as u32;
            let required = worst.map_or(0, |group| group.needed) as u32;
            return Err(self.unavailable(flight, required, alive, missing));
        }
        ledger.has(self.seat.me);
        Ok(ledger)
    }

    /// Gives the outcome to whoever waits for it.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "the one answer uses up the one who waits"
    )]
    fn reply(&mut self, origin: Origin, outcome: Outcome, effects: &mut Vec<Effect>) {
        match origin {
            Origin::Client(ticket) => effects.push(Effect::Reply {
                ticket,
                result: outcome,
            }),
            Origin::Node(to, id) => self.tell_back(
                to,
                id,
                Message::Forwarded {
                    id,
                    result: outcome,
                },
                effects,
            ),
            Origin::Nobody => {}
        }
    }
}

/// The outcome as it may be told: once the request has been executed, no error claims that nothing
/// was applied.
fn told(executed: Option<Dot>, level: Consistency, outcome: Outcome) -> Outcome {
    if executed.is_none() || planted::EXECUTION_DENIED.is_planted() {
        return outcome;
    }
    outcome.map_err(|error| error.after_execution(level))
}
