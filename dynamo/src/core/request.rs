//! From a request to a flight: limits, placement, level, and who executes it.

use quorate_control::quorum::{Tally, Verdict};
use quorate_crdt::{NodeId, Now};

use super::flight::{Flight, Origin, Stage};
use super::{Dynamo, Outcome};
use crate::consistency::Consistency;
use crate::op::{Answer, KEY_BYTES_MAX, Mutation, Op, PartitionOp, Query, Request, RequestError, VALUE_BYTES_MAX};
use crate::preference::{Access, groups};
use crate::protocol::{Effect, FlightId, Message, Place, Refusal, Ticket};
use crate::value;

/// A request about to be executed or forwarded.
pub(super) struct Start {
    pub(super) origin: Origin,
    pub(super) request: Request,
    /// The place that the forwarding node believes in.
    fence: Option<Place>,
    pub(super) retried: bool,
    /// Primaries that have been tried in vain.
    tried: Vec<NodeId>,
    /// When the client gives up; `None`: count from now.
    deadline: Option<std::time::Duration>,
}

impl Start {
    pub(super) fn client(ticket: Ticket, request: Request) -> Self {
        Self { origin: Origin::Client(ticket), request, fence: None, retried: false, tried: Vec::new(), deadline: None }
    }

    pub(super) fn forwarded(from: NodeId, id: FlightId, place: Place, request: Request) -> Self {
        Self { origin: Origin::Node(from, id), request, fence: Some(place), retried: false, tried: Vec::new(), deadline: None }
    }

    pub(super) fn nobody(request: Request) -> Self {
        Self { origin: Origin::Nobody, request, fence: None, retried: false, tried: Vec::new(), deadline: None }
    }

    /// The flight starts again, for the only time.
    pub(super) fn again(flight: Flight, tried: Vec<NodeId>) -> Self {
        Self { origin: flight.origin, request: flight.request, fence: None, retried: true, tried, deadline: Some(flight.deadline) }
    }
}

impl Dynamo {
    pub(super) fn start(&mut self, now: Now, start: Start, effects: &mut Vec<Effect>) {
        let origin = start.origin;
        if let Err(error) = self.try_start(now, start, effects) {
            Self::reply(origin, Err(error), effects);
        }
        self.keep_sweeping(effects);
    }

    fn try_start(&mut self, now: Now, start: Start, effects: &mut Vec<Effect>) -> Result<(), RequestError> {
        check_limits(&start.request.op)?;
        if self.flights.len() >= self.config.flights_max {
            return Err(RequestError::Overloaded);
        }
        let place = self.routes.place(&start.request)?;
        if let (Some(fence), Origin::Node(from, id)) = (start.fence, start.origin)
            && fence.epoch != place.epoch
        {
            self.counters.epoch_refused += 1;
            effects.push(Effect::Send { to: from, message: Message::Refused { id, reason: Refusal::Epoch(place.epoch) } });
            return Ok(());
        }
        let level = self.routes.level(&start.request, start.request.op.writes());
        let mut flight = Flight {
            origin: start.origin,
            deadline: start.deadline.unwrap_or(now.monotonic + start.request.timeout),
            place,
            level,
            hedge_at: None,
            retried: start.retried,
            stage: Stage::Parked,
            request: start.request,
        };
        if !self.executes(place) {
            return self.forward(flight, &start.tried, effects);
        }
        flight.hedge_at = Some(now.monotonic + self.config.hedge_after);
        match &flight.request.op {
            Op::Query(key, query) => {
                let (key, query) = (key.clone(), query.clone());
                self.start_query(now, flight, &key, &query, effects)
            }
            Op::Mutate(..) | Op::Partition(_, PartitionOp::Clear) => self.start_mutation(now, flight, effects),
            Op::Partition(_, op) => {
                let replica = self.replicas.get(&(place.keyspace, place.partition)).ok_or(RequestError::Moving)?;
                let reply = value::partition(replica, op, now.unix_millis);
                Self::reply(flight.origin, Ok(Answer { reply, receipt: None }), effects);
                Ok(())
            }
        }
    }

    /// Whether this node has a filled replica that is read.
    fn executes(&self, place: Place) -> bool {
        let filled = self.replicas.get(&(place.keyspace, place.partition)).is_some_and(|replica| !replica.filling());
        filled && self.routes.placement_of(place).is_some_and(|placement| self.routes.executes(placement))
    }

    /// Hands the request to the nearest primary that can be reached.
    fn forward(&mut self, mut flight: Flight, tried: &[NodeId], effects: &mut Vec<Effect>) -> Result<(), RequestError> {
        // A forwarded request is not forwarded again: its sender thought that this node executes it and will look again.
        if let Origin::Node(from, id) = flight.origin {
            effects.push(Effect::Send { to: from, message: Message::Refused { id, reason: Refusal::NotServing } });
            return Ok(());
        }
        let placement = self.routes.placement_of(flight.place).ok_or(RequestError::Moving)?;
        let readers: Vec<NodeId> = placement.readers().flatten().copied().collect();
        let eligible =
            |node: &NodeId| *node != self.seat.me && readers.contains(node) && self.routes.reachable(*node) && !tried.contains(node);
        let Some(to) = self.routes.preference(placement).primaries.into_iter().find(eligible) else {
            return Err(RequestError::Unavailable { level: flight.level, required: 1, alive: 0, missing: readers });
        };
        let id = self.flights.name(self.seat.core);
        effects.push(Effect::Send { to, message: Message::Forward { id, place: flight.place, request: flight.request.clone() } });
        flight.stage = Stage::Forwarded(to);
        self.flights.insert(id, flight);
        Ok(())
    }

    /// A tally of what `level` needs, with those that cannot be reached counted out and this node counted in.
    ///
    /// # Errors
    /// `Unsatisfiable` if the topology can never satisfy the level, `Unavailable` if too few can be reached now.
    pub(super) fn tally(
        &self,
        flight: &Flight,
        level: Consistency,
        access: Access,
    ) -> Result<(Vec<quorate_control::quorum::Group>, Tally), RequestError> {
        let topology = self.routes.topology().ok_or(RequestError::Moving)?;
        let placement = self.routes.placement_of(flight.place).ok_or(RequestError::Moving)?;
        let groups = groups(level, access, placement, topology, &flight.request.datacenter);
        let unsatisfiable = |e: quorate_control::quorum::Unsatisfiable| RequestError::Unsatisfiable {
            level,
            required: e.needed as u32,
            replicas: e.members as u32,
        };
        let mut tally = Tally::new(groups.clone()).map_err(unsatisfiable)?;
        let unreachable: Vec<NodeId> = tally.members().filter(|node| !self.routes.reachable(*node)).collect();
        for node in unreachable {
            tally.fail(node);
        }
        if tally.verdict() == Verdict::Impossible {
            // The group that cannot be reached is the one to tell about.
            let worst = groups.iter().max_by_key(|group| {
                let alive = group.members.iter().filter(|node| self.routes.reachable(**node)).count();
                group.needed.saturating_sub(alive)
            });
            let members = worst.map_or(&[][..], |group| &group.members);
            let missing: Vec<NodeId> = members.iter().copied().filter(|node| !self.routes.reachable(*node)).collect();
            let alive = (members.len() - missing.len()) as u32;
            return Err(RequestError::Unavailable { level, required: worst.map_or(0, |group| group.needed) as u32, alive, missing });
        }
        tally.ack(self.seat.me);
        Ok((groups, tally))
    }

    /// Tells whoever waits.
    pub(super) fn reply(origin: Origin, outcome: Outcome, effects: &mut Vec<Effect>) {
        match origin {
            Origin::Client(ticket) => effects.push(Effect::Reply { ticket, result: outcome }),
            Origin::Node(to, id) => effects.push(Effect::Send { to, message: Message::Forwarded { id, result: outcome } }),
            Origin::Nobody => {}
        }
    }

    pub(super) fn on_forwarded(&mut self, from: NodeId, id: FlightId, result: Outcome, effects: &mut Vec<Effect>) {
        let awaited = self.flights.get_mut(id).is_some_and(|flight| matches!(flight.stage, Stage::Forwarded(to) if to == from));
        if awaited && let Some(flight) = self.flights.remove(id) {
            Self::reply(flight.origin, result, effects);
        }
    }

    /// Requests past their deadline fail; those past their hedge time ask further.
    pub(super) fn expire_flights(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for id in self.flights.select(|flight| flight.deadline <= now.monotonic) {
            if let Some(flight) = self.flights.remove(id) {
                Self::time_out(&flight, effects);
            }
        }
        for id in self.flights.select(|flight| flight.hedge_at.is_some_and(|at| at <= now.monotonic)) {
            self.hedge(now, id, effects);
        }
    }

    pub(super) fn time_out(flight: &Flight, effects: &mut Vec<Effect>) {
        if let Some(error) = timed_out(flight) {
            Self::reply(flight.origin, Err(error), effects);
        }
    }

    /// The node cannot be reached: it will not answer.
    pub(super) fn fail_flights(&mut self, now: Now, node: NodeId, effects: &mut Vec<Effect>) {
        for id in self.flights.select(|_| true) {
            self.fail_flight(now, node, id, effects);
        }
    }

    pub(super) fn fail_flight(&mut self, now: Now, node: NodeId, id: FlightId, effects: &mut Vec<Effect>) {
        let Some(flight) = self.flights.get_mut(id) else { return };
        let verdict = match &mut flight.stage {
            Stage::Reading(reading) => reading.tally.fail(node),
            Stage::Repairing(repairing) => repairing.tally.fail(node),
            Stage::Writing(writing) => {
                writing.owing.retain(|owing| *owing != node);
                let verdict = writing.tally.fail(node);
                if writing.answer.is_none() && writing.owing.is_empty() { Verdict::Impossible } else { verdict }
            }
            Stage::Forwarded(to) if *to == node => Verdict::Impossible,
            Stage::Forwarded(_) | Stage::Parked => Verdict::Pending,
        };
        if verdict != Verdict::Impossible {
            if matches!(flight.stage, Stage::Reading(_)) {
                self.hedge(now, id, effects);
            }
            return;
        }
        let Some(flight) = self.flights.remove(id) else { return };
        if matches!(flight.stage, Stage::Forwarded(_)) && !flight.request.op.writes() && !flight.retried {
            self.start(now, Start::again(flight, vec![node]), effects);
        } else {
            Self::time_out(&flight, effects);
        }
    }

    pub(super) fn on_refused(&mut self, now: Now, from: NodeId, id: FlightId, reason: Refusal, effects: &mut Vec<Effect>) {
        self.counters.epoch_refused += u64::from(matches!(reason, Refusal::Epoch(_)));
        let Some(flight) = self.flights.get_mut(id) else { return };
        match (&flight.stage, reason) {
            // Applied here already: it is sent again under the newer topology, or when the other has caught up.
            (Stage::Writing(_) | Stage::Repairing(_), Refusal::Epoch(_)) => {
                flight.hedge_at = Some(now.monotonic + self.config.hedge_after);
            }
            (_, Refusal::Epoch(epoch)) if epoch > flight.place.epoch && !flight.retried => flight.stage = Stage::Parked,
            (Stage::Reading(_), Refusal::Epoch(epoch)) if epoch < flight.place.epoch => {
                flight.hedge_at = Some(now.monotonic + self.config.hedge_after);
            }
            (Stage::Forwarded(to), _) if *to == from && !flight.retried => {
                let Some(flight) = self.flights.remove(id) else { return };
                self.start(now, Start::again(flight, vec![from]), effects);
            }
            _ => self.fail_flight(now, from, id, effects),
        }
    }

    /// A new topology: requests that have not been executed start again, those that have go to whoever must have them now.
    pub(super) fn reroute_flights(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let current = |place: Place| self.routes.placement(place.keyspace, place.partition).map(|placement| placement.epoch);
        for id in self.flights.select(|flight| current(flight.place) != Some(flight.place.epoch)) {
            let Some(flight) = self.flights.remove(id) else { continue };
            match flight.stage {
                Stage::Writing(_) => self.rewrite(now, id, flight, effects),
                Stage::Forwarded(_) if flight.request.op.writes() => self.flights.insert(id, flight),
                _ if flight.retried => Self::reply(flight.origin, Err(RequestError::Moving), effects),
                _ => self.start(now, Start::again(flight, Vec::new()), effects),
            }
        }
    }
}

/// What a client is told when its request did not get enough answers; `None` if it has been told already.
fn timed_out(flight: &Flight) -> Option<RequestError> {
    let level = flight.level;
    let of = |tally: &Tally, may_be_applied| RequestError::TimedOut {
        level,
        acked: tally.acked() as u32,
        required: tally.required() as u32,
        missing: tally.missing(),
        may_be_applied,
    };
    match &flight.stage {
        Stage::Writing(writing) => writing.answer.is_some().then(|| of(&writing.tally, true)),
        Stage::Reading(reading) => Some(of(&reading.tally, false)),
        Stage::Repairing(repairing) => Some(of(&repairing.tally, false)),
        Stage::Forwarded(to) => {
            Some(RequestError::TimedOut { level, acked: 0, required: 1, missing: vec![*to], may_be_applied: flight.request.op.writes() })
        }
        Stage::Parked => Some(RequestError::Moving),
    }
}

fn check_limits(op: &Op) -> Result<(), RequestError> {
    let within = |bytes: usize, max: usize| {
        if bytes <= max { Ok(()) } else { Err(RequestError::TooLarge { bytes: bytes as u64, max: max as u64 }) }
    };
    let values = |bytes: usize| within(bytes, VALUE_BYTES_MAX);
    match op {
        Op::Query(key, query) => {
            within(key.len(), KEY_BYTES_MAX)?;
            match query {
                Query::Contains(names) | Query::Fields(names) => values(names.iter().map(bytes::Bytes::len).sum()),
                _ => Ok(()),
            }
        }
        Op::Mutate(key, mutation) => {
            within(key.len(), KEY_BYTES_MAX)?;
            values(match mutation {
                Mutation::Set { value, .. } | Mutation::Append(value) => value.len(),
                Mutation::SetWith { value, token } => value.len() + token.len(),
                Mutation::Add(names) | Mutation::Remove(names) | Mutation::RemoveFields(names) => names.iter().map(bytes::Bytes::len).sum(),
                Mutation::SetFields(fields) => fields.iter().map(|(field, value)| field.len() + value.len()).sum(),
                Mutation::IncrementField(field, _) => field.len(),
                Mutation::Increment(_)
                | Mutation::Delete
                | Mutation::GetDelete
                | Mutation::ExpireAt(_)
                | Mutation::Persist
                | Mutation::Lapse { .. } => 0,
            })
        }
        Op::Partition(..) => Ok(()),
    }
}
