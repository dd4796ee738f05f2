//! From a request to a flight: limits, placement, level, and who executes it.

use std::time::Duration;

use quorate_control::quorum::{Unsatisfiable, Verdict};
use quorate_crdt::{NodeId, Now};

use super::clocks::base_of;
use super::flight::{Flight, Handed, Hedge, Next, Origin, Stage, Until};
use super::forwards::{Arrival, Copy};
use super::ledger::Ledger;
use super::{Dynamo, Outcome, limits};
use crate::consistency::Consistency;
use crate::op::{Answer, Mutation, Op, PartitionOp, Request, RequestError};
use crate::planted;
use crate::preference::{Access, groups};
use crate::protocol::{Attempt, Effect, FlightId, Message, Place, Refusal, Ticket};
use crate::replica::Replica;
use crate::value;

/// A request about to be executed or forwarded.
pub(super) struct Start {
    origin: Origin,
    request: Request,
    /// The place that the forwarding node believes in.
    fence: Option<Place>,
    retried: bool,
    /// Primaries that have been tried in vain.
    tried: Vec<NodeId>,
    /// When the client gives up; `None`: count from now.
    deadline: Option<Duration>,
    /// `None`: it comes now, after all others.
    turn: Option<u64>,
    last: Option<FlightId>,
}

impl Start {
    fn new(origin: Origin, request: Request) -> Self {
        Self {
            origin,
            request,
            fence: None,
            retried: false,
            tried: Vec::new(),
            deadline: None,
            turn: None,
            last: None,
        }
    }

    pub(super) fn client(ticket: Ticket, request: Request) -> Self {
        Self::new(Origin::Client(ticket), request)
    }

    pub(super) fn forwarded(from: NodeId, id: FlightId, place: Place, request: Request) -> Self {
        Self {
            fence: Some(place),
            ..Self::new(Origin::Node(from, id), request)
        }
    }

    pub(super) fn nobody(request: Request) -> Self {
        Self::new(Origin::Nobody, request)
    }

    /// The flight starts again, for the only time.
    fn again(flight: Flight, tried: Vec<NodeId>) -> Self {
        let (deadline, turn) = (Some(flight.deadline), Some(flight.turn));
        Self {
            retried: true,
            tried,
            deadline,
            turn,
            last: flight.last,
            ..Self::new(flight.origin, flight.request)
        }
    }
}

impl Dynamo {
    pub(super) fn start(&mut self, now: Now, start: Start, effects: &mut Vec<Effect>) {
        let Start {
            origin,
            request,
            fence,
            retried,
            tried,
            deadline,
            turn,
            last,
        } = start;
        match self.admit(&request) {
            Err(error) => self.reply(origin, Err(error), effects),
            Ok(place) => {
                let deadline =
                    deadline.unwrap_or_else(|| now.monotonic.saturating_add(request.timeout));
                let turn = turn.unwrap_or_else(|| self.flights.turns.draw());
                let level = self.routes.level(&request, request.op.writes());
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
                    last,
                };
                let next = self.begin(now, &mut flight, fence, &tried, effects);
                self.conclude(now, flight, next.into(), effects);
            }
        }
        self.keep_sweeping(effects);
    }

    /// Where the request belongs, if it can be taken.
    fn admit(&self, request: &Request) -> Result<Place, RequestError> {
        limits::check(&request.op, self.config.limits)?;
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

    /// Whether so many bytes more may be in flight.
    pub(super) fn has_room_in_flight(&self, bytes: usize) -> bool {
        self.flights.bytes() + bytes <= self.config.flight_bytes_max
            || planted::FLIGHTS_UNWEIGHED.is_planted()
    }

    /// What is done with a request first; nothing of it has been done yet.
    pub(super) fn begin(
        &mut self,
        now: Now,
        flight: &mut Flight,
        fence: Option<Place>,
        tried: &[NodeId],
        effects: &mut Vec<Effect>,
    ) -> Result<Next, RequestError> {
        let place = flight.place;
        if fence.is_some_and(|fence| fence.epoch != place.epoch) {
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
        // A mutation that is executed here may have to look at what others have, and does so
        // meanwhile.
        if !(executes && flight.request.op.writes()) && self.is_behind(flight) {
            return Ok(self.wait_for_turn(flight));
        }
        if !executes {
            return self.forward(now, flight, tried, effects);
        }
        match &flight.request.op {
            Op::Query(..) => self.start_query(now, flight, effects),
            Op::Mutate(..) | Op::Partition(_, PartitionOp::Clear) => {
                self.start_mutation(now, flight, effects)
            }
            Op::Partition(_, op) => {
                let replica = self
                    .replicas
                    .get(&(place.keyspace, place.partition))
                    .ok_or(RequestError::Moving)?;
                let reply = value::partition(replica, op, now.unix_millis);
                Ok(Next::Done(Ok(Answer {
                    reply,
                    receipt: None,
                })))
            }
        }
    }

    /// Goes on with a flight. The only way to take one out of those that wait: what is done with it
    /// says what becomes of it.
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
            Next::Done(outcome) => self.reply(flight.origin, outcome, effects),
            Next::Wait(id, stage) => self.flights.insert(id, flight, stage),
            Next::Again(tried) => self.start(now, Start::again(flight, tried), effects),
            Next::GiveBack(reason) => match flight.origin {
                Origin::Node(to, id) => {
                    self.tell_back((to, id), Message::Refused { id, reason }, effects)
                }
                origin => self.reply(origin, Err(RequestError::Moving), effects),
            },
        }
    }

    /// Whether this node has a replica that executes the request. What looks at the whole partition
    /// asks nobody else, so it takes one that vouches.
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

    /// Whether the replica here counts only as one of a majority.
    fn doubts(&self, place: Place) -> bool {
        self.replica(place).is_some_and(Replica::is_doubted)
            && !planted::DOUBT_ASKS_NOBODY.is_planted()
    }

    /// Too few replicas can be reached: because of those, or because the one that is here may not
    /// be believed without them.
    fn unavailable(
        &self,
        flight: &Flight,
        (required, alive): (u32, u32),
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

    /// Hands the request to the nearest primary that can be reached.
    fn forward(
        &mut self,
        now: Now,
        flight: &mut Flight,
        tried: &[NodeId],
        effects: &mut Vec<Effect>,
    ) -> Result<Next, RequestError> {
        // A forwarded request is not forwarded again: its sender thought that this node executes it
        // and will look again.
        if matches!(flight.origin, Origin::Node(..)) {
            return Ok(Next::GiveBack(self.why_not_executed(flight.place)));
        }
        let placement = self
            .routes
            .placement_of(flight.place)
            .ok_or(RequestError::Moving)?;
        let readers: Vec<NodeId> = placement.readers().flatten().copied().collect();
        let eligible = |node: &NodeId| {
            *node != self.seat.me
                && readers.contains(node)
                && self.routes.reachable(*node)
                && !tried.contains(node)
        };
        let Some(to) = self.routes.holders(placement).find(eligible) else {
            if self
                .places
                .known
                .erased
                .contains_key(&(flight.place.keyspace, flight.place.partition))
            {
                // This node will have a replica once the former one is gone from its disk.
                return Err(RequestError::Moving);
            }
            let missing = readers
                .into_iter()
                .filter(|node| !self.routes.reachable(*node))
                .collect();
            return Err(self.unavailable(flight, (1, 0), missing));
        };
        let id = self.flights.name(flight);
        let handed = Handed {
            to,
            life: self.clocks.life_of(to),
            unix_millis: now.unix_millis,
        };
        effects.push(forward_to(id, flight, handed, Attempt::First));
        // Whoever executes it asks others in turn, and asks them again.
        let Hedge { patience, .. } = self.hedge_from(now, &[to]);
        flight.hedge = Hedge {
            at: now.monotonic + patience * 2,
            patience: patience * 2,
        };
        Ok(Next::Wait(id, Stage::Forwarded(handed)))
    }

    fn why_not_executed(&self, place: Place) -> Refusal {
        match self.replica(place) {
            Some(replica) if replica.filling() => Refusal::Filling,
            Some(replica) if replica.is_quarantined() => Refusal::Quarantined,
            _ => Refusal::NotServing,
        }
    }

    /// The book of a question at `level`, with those that cannot be reached counted out and this
    /// node counted in.
    ///
    /// # Errors
    /// `Unsatisfiable` if the topology can never satisfy the level, `Unavailable` if too few can be
    /// reached now.
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
            // The group that cannot be reached is the one to tell about.
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
            return Err(self.unavailable(
                flight,
                (worst.map_or(0, |group| group.needed) as u32, alive),
                missing,
            ));
        }
        ledger.has(self.seat.me);
        Ok(ledger)
    }

    /// From now on: how long to wait for `asked` before others are asked, or they are asked again.
    pub(super) fn hedge_from(&self, now: Now, asked: &[NodeId]) -> Hedge {
        let distance = if planted::HEDGE_IGNORES_DISTANCE.is_planted() {
            Duration::ZERO
        } else {
            self.routes.round_trip(asked) * 2
        };
        let patience = self.config.hedge_after.max(distance);
        Hedge {
            at: now.monotonic + patience,
            patience,
        }
    }

    /// Tells whoever waits.
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
                (to, id),
                Message::Forwarded {
                    id,
                    result: outcome,
                },
                effects,
            ),
            Origin::Nobody => {}
        }
    }

    /// Tells the node that forwarded a request, and remembers it for when the same forward comes
    /// again.
    fn tell_back(
        &mut self,
        (to, id): (NodeId, FlightId),
        message: Message,
        effects: &mut Vec<Effect>,
    ) {
        self.flights.forwards.told(to, id, &message);
        effects.push(Effect::Send { to, message });
    }

    /// Another node hands on what a client has asked of it.
    pub(super) fn on_forward(
        &mut self,
        now: Now,
        (from, id): (NodeId, FlightId),
        (place, request): (Place, Request),
        (unix_millis, attempt): (u64, Attempt),
        effects: &mut Vec<Effect>,
    ) {
        if request.op.writes()
            && let Arrival::Repeat(told) =
                self.flights.forwards.arrive(from, id, self.copy(attempt))
        {
            effects.extend(told.map(|message| Effect::Send {
                to: from,
                message: *message,
            }));
            return;
        }
        if !request.op.writes() && !self.flights.forwards.begin_read(from, id) {
            return;
        }
        if let Some(offset_ms) = self
            .clocks
            .refuses(now, (from, id.life), unix_millis)
            .filter(|_| request.op.names_time())
        {
            self.counters.drift_refused += 1;
            self.tell_back(
                (from, id),
                Message::Refused {
                    id,
                    reason: Refusal::Clock { offset_ms },
                },
                effects,
            );
            return;
        }
        self.start(now, Start::forwarded(from, id, place, request), effects);
    }

    /// Which copy of a forward has come.
    fn copy(&self, attempt: Attempt) -> Copy {
        match attempt {
            Attempt::First => Copy::First,
            Attempt::Again { life }
                if life == Some(self.seat.life) && !planted::LOST_FORWARD_IS_LOST.is_planted() =>
            {
                Copy::AgainToThisLife
            }
            Attempt::Again { .. } => Copy::Again,
        }
    }

    pub(super) fn on_forwarded(
        &mut self,
        now: Now,
        (from, id): (NodeId, FlightId),
        result: Outcome,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(self.flights.get(id), Some((_, Stage::Forwarded(handed))) if handed.to == from)
        {
            self.resume(now, id, effects, |_, _, _, _| Next::Done(result));
        }
    }
}

/// Hands a request to a primary.
pub(super) fn forward_to(
    id: FlightId,
    flight: &Flight,
    handed: Handed,
    attempt: Attempt,
) -> Effect {
    let Handed {
        to, unix_millis, ..
    } = handed;
    let (place, request) = (flight.place, Box::new(flight.request.clone()));
    Effect::Send {
        to,
        message: Message::Forward {
            id,
            place,
            request,
            unix_millis,
            attempt,
        },
    }
}
