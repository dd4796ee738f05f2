//! Writes: executed on this node's replica, sent to every other writer, done when the level's acknowledgements are in.

use std::sync::Arc;

use quorate_control::quorum::{Tally, Verdict};
use quorate_crdt::{CausalContext, Dot, NodeId, Now, ReplicaId};

use super::flight::{Flight, Repairing, Stage, Writing};
use super::{Dynamo, written};
use crate::consistency::Consistency;
use crate::op::{Answer, Mutation, Op, Reply, RequestError};
use crate::preference::{Access, groups};
use crate::protocol::{Effect, FlightId, Message, Place, Refusal};
use crate::replica::{Delta, Range};
use crate::value::{self, Clocked};

impl Dynamo {
    pub(super) fn start_mutation(&mut self, now: Now, flight: Flight, effects: &mut Vec<Effect>) -> Result<(), RequestError> {
        if self.standing.writes.disk_full {
            return Err(RequestError::DiskFull);
        }
        if self.standing.writes.forgetful {
            return Err(RequestError::Moving);
        }
        let (_, enough) = self.tally(&flight, flight.level, Access::Write)?;
        let at = (flight.place.keyspace, flight.place.partition);
        if let Op::Mutate(key, mutation) = &flight.request.op
            && let Some(replica) = self.replicas.get(&at)
            && let Some(ranges) = value::must_see(replica, key, mutation, now.unix_millis)
        {
            let (groups, tally) = self.tally(&flight, observing(flight.level), Access::Read)?;
            if tally.verdict() != Verdict::Reached {
                self.ask(flight, ranges, None, (groups, tally), effects);
                return Ok(());
            }
        }
        let id = self.flights.name(self.seat.core);
        self.execute(now, id, flight, enough, effects);
        Ok(())
    }

    /// The mutation has seen what it had to: whether enough writers can still be reached is looked at again.
    pub(super) fn execute_observed(&mut self, now: Now, id: FlightId, flight: Flight, effects: &mut Vec<Effect>) {
        match self.tally(&flight, flight.level, Access::Write) {
            Ok((_, tally)) => self.execute(now, id, flight, tally, effects),
            Err(error) => Self::reply(flight.origin, Err(error), effects),
        }
    }

    /// Applies the mutation here and sends it on. From here on the write may be applied, whatever happens.
    fn execute(&mut self, now: Now, id: FlightId, flight: Flight, tally: Tally, effects: &mut Vec<Effect>) {
        let origin = flight.origin;
        match self.apply(now, &flight) {
            Err(error) => Self::reply(origin, Err(error), effects),
            Ok((reply, None)) => Self::reply(origin, Ok(Answer { reply, receipt: None }), effects),
            Ok((reply, Some((delta, dot)))) => {
                let answer = written(reply, flight.place, dot);
                self.spread(id, flight, (answer, delta), tally, effects);
            }
        }
    }

    fn apply(&mut self, now: Now, flight: &Flight) -> Result<(Reply, Option<(Delta, Dot)>), RequestError> {
        let at = (flight.place.keyspace, flight.place.partition);
        let replica = self.replicas.get_mut(&at).ok_or(RequestError::Moving)?;
        self.dirty.insert(at);
        match &flight.request.op {
            Op::Mutate(key, mutation) => {
                let mutated = value::mutate(replica, key, mutation, Clocked { clock: &mut self.clocks.hybrid, now })?;
                self.counters.expired += u64::from(matches!(mutation, Mutation::Lapse { .. }) && mutated.1.is_some());
                Ok(mutated)
            }
            Op::Partition(..) => {
                if replica.row_count() == 0 {
                    return Ok((Reply::Done, None));
                }
                let mut write = replica.write();
                write.wipe(Range::ALL);
                Ok((Reply::Done, write.finish()))
            }
            Op::Query(..) => unreachable!("invariant: queries are never executed as writes"),
        }
    }

    /// Sends the delta to every other writer, or to a fallback for one that cannot be reached, and starts to count.
    fn spread(&mut self, id: FlightId, mut flight: Flight, (answer, delta): (Answer, Delta), tally: Tally, effects: &mut Vec<Effect>) {
        let place = flight.place;
        let delta = Arc::new(delta);
        let mut owing = Vec::new();
        let Some(placement) = self.routes.placement_of(place) else { return };
        for writer in placement.holders().into_iter().filter(|node| *node != self.seat.me) {
            if self.routes.reachable(writer) {
                effects.push(Effect::Send { to: writer, message: Message::Write { id, place, delta: Arc::clone(&delta) } });
                owing.push(writer);
            } else if let Some(fallback) = self.fallback(place) {
                effects.push(Effect::Send { to: fallback, message: Message::Hint { owner: writer, place, delta: Arc::clone(&delta) } });
            }
        }
        let mut answer = Some(answer);
        if tally.verdict() == Verdict::Reached
            && let Some(answer) = answer.take()
        {
            Self::reply(flight.origin, Ok(answer), effects);
        }
        if !owing.is_empty() {
            let events = delta.parts.iter().flat_map(|part| part.settled.iter().copied()).collect::<CausalContext>();
            flight.stage = Stage::Writing(Writing { answer, delta, events, tally, owing });
            self.flights.insert(id, flight);
        }
    }

    /// The nearest reachable node that does not hold the partition.
    fn fallback(&self, place: Place) -> Option<NodeId> {
        let placement = self.routes.placement_of(place)?;
        self.routes.preference(placement).fallbacks.into_iter().find(|node| self.routes.reachable(*node))
    }

    /// The topology has changed under a write that is applied here: it now counts in the sets of today.
    pub(super) fn rewrite(&mut self, now: Now, id: FlightId, mut flight: Flight, effects: &mut Vec<Effect>) {
        let Stage::Writing(mut writing) = std::mem::replace(&mut flight.stage, Stage::Parked) else { return };
        let place = flight.place;
        let Some(placement) = self.routes.placement(place.keyspace, place.partition).cloned() else { return };
        let Some(topology) = self.routes.topology().cloned() else { return };
        flight.place = Place { epoch: placement.epoch, ..place };
        let acked: Vec<NodeId> =
            writing.tally.members().filter(|node| !writing.owing.contains(node) && self.routes.reachable(*node)).collect();
        let needed = groups(flight.level, Access::Write, &placement, &topology, &flight.request.datacenter);
        let Ok(mut tally) = Tally::new(needed) else {
            flight.stage = Stage::Writing(writing);
            self.flights.insert(id, flight);
            return;
        };
        for node in &acked {
            tally.ack(*node);
        }
        writing.owing = placement.holders().into_iter().filter(|node| *node != self.seat.me && !acked.contains(node)).collect();
        for to in writing.owing.iter().filter(|node| self.routes.reachable(**node)) {
            effects.push(Effect::Send { to: *to, message: Message::Write { id, place: flight.place, delta: Arc::clone(&writing.delta) } });
        }
        writing.tally = tally;
        flight.hedge_at = Some(now.monotonic + self.config.hedge_after);
        flight.stage = Stage::Writing(writing);
        self.flights.insert(id, flight);
        self.settle_write(id, effects);
    }

    /// Another node writes, or repairs what it is about to return.
    pub(super) fn on_write(&mut self, now: Now, from: NodeId, (id, place): (FlightId, Place), delta: &Delta, effects: &mut Vec<Effect>) {
        let message = match self.serving(place) {
            Err(reason) => {
                self.counters.epoch_refused += u64::from(matches!(reason, Refusal::Epoch(_)));
                Message::Refused { id, reason }
            }
            Ok(()) if self.standing.writes.disk_full || !self.join(now, place, delta) => {
                Message::Refused { id, reason: Refusal::NotServing }
            }
            Ok(()) => {
                let Some(replica) = self.replica_mut(place) else { return };
                replica.overheard(from, &delta.context);
                Message::Written { id, replica: replica.id() }
            }
        };
        effects.push(Effect::Send { to: from, message });
    }

    pub(super) fn on_written(&mut self, now: Now, from: NodeId, id: FlightId, replica: ReplicaId, effects: &mut Vec<Effect>) {
        let Some(flight) = self.flights.get_mut(id) else { return };
        match &mut flight.stage {
            Stage::Writing(writing) => {
                writing.owing.retain(|owing| *owing != from);
                writing.tally.ack(from);
                let at = (flight.place.keyspace, flight.place.partition);
                if let Some(held) = self.replicas.get_mut(&at) {
                    held.acknowledged(from, replica, &writing.events);
                }
                self.settle_write(id, effects);
                self.look_after_waiters(now, effects);
            }
            Stage::Repairing(repairing) => {
                if repairing.tally.ack(from) == Verdict::Reached
                    && let Some(Flight { origin, stage: Stage::Repairing(Repairing { reply, .. }), .. }) = self.flights.remove(id)
                {
                    Self::reply(origin, reply.map(|reply| Answer { reply, receipt: None }), effects);
                }
            }
            Stage::Reading(_) | Stage::Forwarded(_) | Stage::Parked => {}
        }
    }

    /// Answers the client when the level is reached; the flight stays until everybody has acknowledged, for `WAIT` and for forgetting.
    fn settle_write(&mut self, id: FlightId, effects: &mut Vec<Effect>) {
        let Some(flight) = self.flights.get_mut(id) else { return };
        let Stage::Writing(writing) = &mut flight.stage else { return };
        let done = writing.owing.is_empty();
        if writing.tally.verdict() == Verdict::Reached
            && let Some(answer) = writing.answer.take()
        {
            let origin = flight.origin;
            Self::reply(origin, Ok(answer), effects);
        }
        // Nobody is left who could acknowledge: if that was not enough, the client is told so now.
        if done && let Some(flight) = self.flights.remove(id) {
            Self::time_out(&flight, effects);
        }
    }
}

/// The level at which a mutation looks before it drops: one that meets every write acknowledged at its own level.
fn observing(level: Consistency) -> Consistency {
    match level {
        Consistency::Numeric { write, .. } => Consistency::Numeric { read: write, write },
        other => other,
    }
}
