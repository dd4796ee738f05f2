//! Reads: answered from this node's replica once enough others have said that they have the same; if one has something else, both are first
//! brought to what they have together.

use std::sync::Arc;

use bytes::Bytes;
use quorate_control::quorum::{Group, Tally, Verdict};
use quorate_crdt::{CausalContext, NodeId, Now};

use super::Dynamo;
use super::flight::{Flight, Reading, Repairing, Stage};
use crate::op::{Answer, Op, Query, Reply, RequestError};
use crate::preference::Access;
use crate::protocol::{Effect, FlightId, Message, Place, Refusal};
use crate::replica::{Delta, Range};
use crate::value;

impl Dynamo {
    pub(super) fn start_query(
        &mut self,
        now: Now,
        flight: Flight,
        key: &Bytes,
        query: &Query,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RequestError> {
        let (groups, tally) = self.tally(&flight, flight.level, Access::Read)?;
        let replica = self.replicas.get(&(flight.place.keyspace, flight.place.partition)).ok_or(RequestError::Moving)?;
        let reply = value::query(replica, key, query, now.unix_millis);
        if tally.verdict() == Verdict::Reached {
            Self::reply(flight.origin, reply.map(|reply| Answer { reply, receipt: None }), effects);
            return Ok(());
        }
        let ranges = value::ranges_of(replica, key, query);
        self.ask(flight, ranges, Some(reply), (groups, tally), effects);
        Ok(())
    }

    /// Asks the nearest replicas that suffice for what they have in `ranges`.
    pub(super) fn ask(
        &mut self,
        mut flight: Flight,
        ranges: Vec<Range>,
        eager: Option<Result<Reply, RequestError>>,
        (groups, tally): (Vec<Group>, Tally),
        effects: &mut Vec<Effect>,
    ) {
        let Some(replica) = self.replicas.get(&(flight.place.keyspace, flight.place.partition)) else { return };
        let (digest, context) = (replica.digest_of(&ranges), replica.context_for(&ranges));
        let asked = self.nearest(flight.place, &groups);
        let id = self.flights.name(self.seat.core);
        for to in &asked {
            let message = Message::Read { id, place: flight.place, ranges: ranges.clone(), digest, context: context.clone() };
            effects.push(Effect::Send { to: *to, message });
        }
        flight.hedge_at = flight.hedge_at.map(|at| at + self.routes.round_trip(&asked) * 2);
        flight.stage = Stage::Reading(Reading { ranges, digest, eager, groups, tally, asked, told: Vec::new() });
        self.flights.insert(id, flight);
    }

    /// As many of the nearest reachable members of each group as it needs beside this node.
    fn nearest(&self, place: Place, groups: &[Group]) -> Vec<NodeId> {
        let Some(placement) = self.routes.placement_of(place) else { return Vec::new() };
        let near = self.routes.preference(placement).primaries;
        let mut chosen: Vec<NodeId> = Vec::new();
        for group in groups {
            let counted = |node: &NodeId| group.members.contains(node) && (*node == self.seat.me || chosen.contains(node));
            let have = near.iter().filter(|node| counted(node)).count();
            let more: Vec<NodeId> = near
                .iter()
                .copied()
                .filter(|node| {
                    *node != self.seat.me && group.members.contains(node) && !chosen.contains(node) && self.routes.reachable(*node)
                })
                .take(group.needed.saturating_sub(have))
                .collect();
            chosen.extend(more);
        }
        chosen
    }

    /// Asks the replicas that have not been asked, or writes again to those that have not acknowledged.
    pub(super) fn hedge(&mut self, now: Now, id: FlightId, effects: &mut Vec<Effect>) {
        let Some(mut flight) = self.flights.remove(id) else { return };
        flight.hedge_at = None;
        match &mut flight.stage {
            Stage::Reading(reading) => {
                let silent: Vec<NodeId> = reading.tally.silent().filter(|node| self.routes.reachable(*node)).collect();
                let context = self
                    .replicas
                    .get(&(flight.place.keyspace, flight.place.partition))
                    .and_then(|replica| replica.context_for(&reading.ranges));
                for to in silent {
                    let message = Message::Read {
                        id,
                        place: flight.place,
                        ranges: reading.ranges.clone(),
                        digest: reading.digest,
                        context: context.clone(),
                    };
                    effects.push(Effect::Send { to, message });
                    self.counters.hedged += u64::from(!reading.asked.contains(&to));
                    reading.asked.push(to);
                }
            }
            Stage::Repairing(repairing) => {
                for to in repairing.tally.silent().filter(|node| self.routes.reachable(*node)) {
                    effects.push(Effect::Send {
                        to,
                        message: Message::Write { id, place: flight.place, delta: Arc::clone(&repairing.delta) },
                    });
                }
            }
            Stage::Writing(writing) => {
                for to in writing.owing.iter().filter(|node| self.routes.reachable(**node)) {
                    effects.push(Effect::Send {
                        to: *to,
                        message: Message::Write { id, place: flight.place, delta: Arc::clone(&writing.delta) },
                    });
                }
            }
            Stage::Parked if !flight.retried => {
                self.start(now, super::request::Start::again(flight, Vec::new()), effects);
                return;
            }
            Stage::Parked | Stage::Forwarded(_) => {}
        }
        self.flights.insert(id, flight);
    }

    /// Another node reads.
    pub(super) fn on_read(
        &mut self,
        from: NodeId,
        (id, place): (FlightId, Place),
        (ranges, digest, context): (&[Range], u128, Option<&CausalContext>),
        effects: &mut Vec<Effect>,
    ) {
        let message = match self.serving(place) {
            Err(reason) => Message::Refused { id, reason },
            Ok(()) => match self.replicas.get(&(place.keyspace, place.partition)).filter(|replica| !replica.filling()) {
                None => Message::Refused { id, reason: Refusal::NotServing },
                Some(replica) => match replica.digest_of(ranges) {
                    mine if mine == digest => Message::Same { id },
                    mine => match replica.difference(ranges, context) {
                        Some(delta) => Message::Different { id, delta, digest: mine },
                        None => Message::Refused { id, reason: Refusal::NotServing },
                    },
                },
            },
        };
        effects.push(Effect::Send { to: from, message });
    }

    /// Whether this node holds the place at just this epoch.
    pub(super) fn serving(&self, place: Place) -> Result<(), Refusal> {
        match self.routes.placement(place.keyspace, place.partition) {
            Some(placement) if placement.epoch != place.epoch => Err(Refusal::Epoch(placement.epoch)),
            Some(placement) if placement.holds(self.seat.me) => Ok(()),
            _ => Err(Refusal::NotServing),
        }
    }

    pub(super) fn on_same(&mut self, now: Now, from: NodeId, id: FlightId, effects: &mut Vec<Effect>) {
        if let Some(Flight { stage: Stage::Reading(reading), .. }) = self.flights.get_mut(id) {
            reading.told.push((from, reading.digest, None));
            reading.tally.ack(from);
            self.finish_reading(now, id, effects);
        }
    }

    pub(super) fn on_different(
        &mut self,
        now: Now,
        (from, id): (NodeId, FlightId),
        delta: &Delta,
        digest: u128,
        effects: &mut Vec<Effect>,
    ) {
        let Some(flight) = self.flights.get_mut(id) else { return };
        if !matches!(flight.stage, Stage::Reading(_)) {
            return;
        }
        let place = flight.place;
        if !self.join(now, place, delta) {
            self.fail_flight(now, from, id, effects);
            return;
        }
        if let Some(Flight { stage: Stage::Reading(reading), .. }) = self.flights.get_mut(id) {
            reading.told.push((from, digest, Some(delta.context.clone())));
            reading.tally.ack(from);
            self.finish_reading(now, id, effects);
        }
    }

    fn finish_reading(&mut self, now: Now, id: FlightId, effects: &mut Vec<Effect>) {
        let reached = self
            .flights
            .get_mut(id)
            .is_some_and(|flight| matches!(&flight.stage, Stage::Reading(r) if r.tally.verdict() == Verdict::Reached));
        if !reached {
            return;
        }
        let Some(mut flight) = self.flights.remove(id) else { return };
        let Stage::Reading(reading) = std::mem::replace(&mut flight.stage, Stage::Parked) else { return };
        let Some(eager) = reading.eager.clone() else {
            self.execute_observed(now, id, flight, effects);
            return;
        };
        if reading.told.iter().all(|(_, digest, _)| *digest == reading.digest) {
            Self::reply(flight.origin, eager.map(|reply| Answer { reply, receipt: None }), effects);
            return;
        }
        self.repair(now, id, flight, reading, effects);
    }

    /// Brings enough of those that answered to what is about to be returned, so that the next reader cannot see less.
    fn repair(&mut self, now: Now, id: FlightId, mut flight: Flight, reading: Reading, effects: &mut Vec<Effect>) {
        self.counters.read_repairs += 1;
        let place = flight.place;
        let Some(replica) = self.replicas.get(&(place.keyspace, place.partition)) else { return };
        let Op::Query(key, query) = &flight.request.op else { return };
        let reply = value::query(replica, key, query, now.unix_millis);
        let digest = replica.digest_of(&reading.ranges);
        let mut tally = Tally::new(reading.groups).expect("invariant: these groups have been satisfiable before");
        tally.ack(self.seat.me);
        let mut behind = Vec::new();
        let mut least: Option<CausalContext> = None;
        for (node, theirs, context) in reading.told {
            if theirs == digest {
                tally.ack(node);
            } else {
                behind.push(node);
                least = context.or(least);
            }
        }
        if tally.verdict() == Verdict::Reached {
            Self::reply(flight.origin, reply.map(|reply| Answer { reply, receipt: None }), effects);
            return;
        }
        // Those that lack something are sent everything in the ranges, or what the one that told its context lacks.
        let Some(delta) = replica.difference(&reading.ranges, least.as_ref().filter(|_| behind.len() == 1)) else {
            let error = RequestError::Unavailable {
                level: flight.level,
                required: tally.required() as u32,
                alive: tally.acked() as u32,
                missing: behind,
            };
            Self::reply(flight.origin, Err(error), effects);
            return;
        };
        let delta = Arc::new(delta);
        for to in behind {
            effects.push(Effect::Send { to, message: Message::Write { id, place, delta: Arc::clone(&delta) } });
        }
        flight.hedge_at = Some(now.monotonic + self.config.hedge_after);
        flight.stage = Stage::Repairing(Repairing { reply, delta, tally });
        self.flights.insert(id, flight);
    }
}
