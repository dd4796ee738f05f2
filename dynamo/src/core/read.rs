//! Reads: answered from this node's replica once enough others have said that they have the same.
//! If one has something else, the data is joined and the replicas that lack it are repaired before
//! the client is answered.
//!
//! **During a move.** While a partition is being copied, later reads will count another set of
//! replicas. So what a read above `ONE` returns is left on enough replicas of that set as well;
//! otherwise the next read, after the switch, could see less.
//!
//! A replica of that set that is still being filled takes part in this: it joins what it is sent,
//! and the stream that fills it cannot lose it again. (A slice of the stream drops only entries
//! that its source had seen and no longer has, which means entries that some event has
//! overwritten.) But such a replica does not count among those that are *read*: it may have the
//! same rows as a stale reader and lack what it acknowledged before it lost its disk.

use std::sync::Arc;

use quorate_control::quorum::{Group, Verdict};
use quorate_control::topology::Phase;
use quorate_crdt::{CausalContext, NodeId, Now};

use super::Dynamo;
use super::fencing::looks_in;
use super::flight::{Beside, Flight, Next, Reading, Repairing, Stage, Told, Until};
use super::ledger::{Blame, Ledger};
use crate::consistency::Consistency;
use crate::op::{Answer, Op, Reply, RequestError};
use crate::planted;
use crate::preference::{Access, groups};
use crate::protocol::{Effect, FlightId, Message, Place, Refusal};
use crate::replica::{Delta, Range};
use crate::value;

impl Dynamo {
    pub(super) fn start_query(
        &mut self,
        now: Now,
        flight: &mut Flight,
        effects: &mut Vec<Effect>,
    ) -> Result<Next, RequestError> {
        let ledger = self.ledger(flight, flight.level, looks_in(flight))?;
        let replica = self.replica(flight.place).ok_or(RequestError::Moving)?;
        let Op::Query(key, query) = &flight.request.op else {
            return Err(RequestError::Moving);
        };
        if self.is_waking(flight.place)
            && !matches!(flight.level, Consistency::One | Consistency::LocalOne)
        {
            let until = Until::Awake(flight.place.at());
            return Ok(Next::Wait(self.flights.name(flight), Stage::Parked(until)));
        }
        let reply = value::query(replica, key, query, now.unix_millis);
        let claimed = flight.request.claim.is_some();
        // Under a token both sets are asked now.
        let beside = if claimed {
            self.open_holders(flight)?
        } else {
            self.later_readers(flight)
                .map_or(Beside::Nobody, Beside::Later)
        };
        let alone = ledger.verdict() == Verdict::Reached
            || (claimed && planted::ANNOUNCE_AT_ONE.is_planted());
        if (alone && beside.ledger().is_none() && !claimed)
            || planted::READ_QUORUM_OF_ONE.is_planted()
        {
            return Ok(Next::Done(reply.map(Answer::from)));
        }
        let ranges = value::ranges_of(replica, key, query);
        // A few bytes can ask for a list of millions, which is kept until others have answered.
        let list = reply.as_ref().map_or(0, Reply::own_weight);
        let weight = flight.request.op.weight() + list;
        if self.flights.len() > 0 && !self.has_room_in_flight(weight) {
            return Err(RequestError::Overloaded);
        }
        flight.weight = weight;
        let next = self.ask(now, flight, ranges, Some(reply), ledger, beside, effects)?;
        Ok(match next {
            Next::Wait(_, Stage::Reading(reading)) if alone => {
                self.answer_holder(now, flight, reading, effects).into()
            }
            next => next,
        })
    }

    /// Saves a page of the partition once this replica has learned what those of the level have. It
    /// repairs nobody: a backup promises nothing about later reads.
    pub(super) fn start_save(
        &mut self,
        now: Now,
        flight: &mut Flight,
        effects: &mut Vec<Effect>,
    ) -> Result<Next, RequestError> {
        let ledger = self.ledger(flight, flight.level, Access::Read)?;
        if ledger.verdict() == Verdict::Reached || planted::SAVED_UNSEEN.is_planted() {
            return self.saved(now, flight);
        }
        let ranges = vec![Range::ALL];
        self.ask(now, flight, ranges, None, ledger, Beside::Nobody, effects)
    }

    fn saved(&self, now: Now, flight: &Flight) -> Result<Next, RequestError> {
        let replica = self.replica(flight.place).ok_or(RequestError::Moving)?;
        let Op::Partition(_, op) = &flight.request.op else {
            return Err(RequestError::Moving);
        };
        let reply = value::partition(replica, op, now.unix_millis);
        Ok(Next::Done(Ok(reply.into())))
    }

    /// While the partition is being copied: the set that will be read afterwards, as far as it must
    /// have what this read returns. Levels that a single replica satisfies promise nothing about
    /// the next read.
    fn later_readers(&self, flight: &Flight) -> Option<Ledger> {
        let placement = self.routes.placement_of(flight.place)?;
        placement
            .transition
            .as_ref()
            .filter(|transition| transition.phase == Phase::Copying)?;
        if planted::REPAIR_COUNTS_ONE_SET.is_planted() {
            return None;
        }
        let mut groups = self.later_groups(flight)?;
        groups.retain(|group| group.needed > 1 && group.needed <= group.members.len());
        let mut ledger = Ledger::new(groups)
            .ok()
            .filter(|ledger| ledger.verdict() == Verdict::Pending)?;
        for node in ledger
            .open()
            .into_iter()
            .filter(|node| !self.routes.reachable(*node))
        {
            ledger.lost(node);
        }
        ledger.has(self.seat.me);
        Some(ledger)
    }

    fn later_groups(&self, flight: &Flight) -> Option<Vec<Group>> {
        let placement = self.routes.placement_of(flight.place)?;
        let to = placement.transition.as_ref()?.to.clone();
        let after = quorate_control::topology::Placement::stable(placement.epoch, to);
        Some(groups(
            flight.level,
            Access::Read,
            &after,
            self.routes.topology()?,
            &flight.request.datacenter,
        ))
    }

    /// Asks the nearest replicas that suffice what they have in `ranges`.
    pub(super) fn ask(
        &mut self,
        now: Now,
        flight: &mut Flight,
        ranges: Vec<Range>,
        eager: Option<Result<Reply, RequestError>>,
        mut ledger: Ledger,
        mut beside: Beside,
        effects: &mut Vec<Effect>,
    ) -> Result<Next, RequestError> {
        let place = flight.place;
        if self.is_waking(place) {
            let until = Until::Awake(place.at());
            return Ok(Next::Wait(self.flights.name(flight), Stage::Parked(until)));
        }
        let replica = self.replica(place).ok_or(RequestError::Moving)?;
        let digest = replica.digest_of(&ranges);
        let context = replica.context_for(&ranges);
        let mut asked = Vec::new();
        self.choose_nearest(place, ledger.groups(), &mut asked);
        self.choose_nearest(
            place,
            beside.ledger().map_or(&[], Ledger::groups),
            &mut asked,
        );
        let look = self.look_of(flight, &beside);
        let id = self.flights.name(flight);
        for to in &asked {
            ledger.ask(*to);
            if let Some(beside) = beside.ledger_mut() {
                beside.ask(*to);
            }
            let message = Message::Read {
                id,
                place,
                ranges: ranges.clone(),
                digest,
                context: context.clone(),
                look: look.clone(),
            };
            effects.push(Effect::Send { to: *to, message });
        }
        flight.hedge = self.hedge_from(now, &asked);
        Ok(Next::Wait(
            id,
            Stage::Reading(Reading {
                ranges,
                digest,
                eager,
                ledger,
                beside,
                told: Vec::new(),
            }),
        ))
    }

    /// Adds the nearest reachable members of each group, as many as it needs beside this node.
    fn choose_nearest(&self, place: Place, groups: &[Group], chosen: &mut Vec<NodeId>) {
        let Some(placement) = self.routes.placement_of(place) else {
            return;
        };
        for group in groups {
            let near = || {
                self.routes
                    .holders(placement)
                    .filter(|node| group.members.contains(node))
            };
            let have = near()
                .filter(|node| *node == self.seat.me || chosen.contains(node))
                .count();
            let mut wanted = group.needed.saturating_sub(have);
            for node in near() {
                if wanted > 0
                    && node != self.seat.me
                    && !chosen.contains(&node)
                    && self.routes.reachable(node)
                {
                    chosen.push(node);
                    wanted -= 1;
                }
            }
        }
    }

    pub(super) fn on_same(
        &mut self,
        now: Now,
        from: NodeId,
        id: FlightId,
        effects: &mut Vec<Effect>,
    ) {
        self.resume(now, id, effects, |core, flight, mut stage, effects| {
            let Stage::Reading(reading) = &mut stage else {
                return Next::Wait(id, stage);
            };
            let told = Told {
                digest: Some(reading.digest),
                context: None,
            };
            reading.hear(from, told);
            core.go_on_reading(now, id, flight, stage, effects)
        });
    }

    pub(super) fn on_different(
        &mut self,
        now: Now,
        from: NodeId,
        id: FlightId,
        delta: &Delta,
        digest: u128,
        effects: &mut Vec<Effect>,
    ) {
        self.resume(now, id, effects, |core, flight, mut stage, effects| {
            if let Stage::Writing(writing) = stage {
                return core.executed_unseen(now, from, delta, id, flight, writing);
            }
            let Stage::Reading(reading) = &mut stage else {
                return Next::Wait(id, stage);
            };
            if !reading.asked(from) {
                return Next::Wait(id, stage);
            }
            let me = core.seat.me;
            if core.replica(flight.place).is_some_and(|held| {
                held.is_doubted() || held.contradicts(delta, &reading.ranges, digest)
            }) {
                let blame = Blame {
                    by: me,
                    reason: Refusal::Quarantined,
                };
                return core.refused(now, from, blame, id, flight, stage, effects);
            }
            if let Err(reason) = core.join(now, from, flight.place, delta) {
                let blame = Blame { by: me, reason };
                return core.refused(now, from, blame, id, flight, stage, effects);
            }
            reading.hear(
                from,
                Told {
                    digest: Some(digest),
                    context: Some(delta.context.clone()),
                },
            );
            core.go_on_reading(now, id, flight, stage, effects)
        });
    }

    pub(super) fn go_on_reading(
        &mut self,
        now: Now,
        id: FlightId,
        flight: &mut Flight,
        stage: Stage,
        effects: &mut Vec<Effect>,
    ) -> Next {
        let reading = match stage {
            Stage::Reading(reading) if reading.verdict() == Verdict::Reached => reading,
            stage => return Next::Wait(id, stage),
        };
        if !flight.request.op.writes() && reading.eager.is_none() {
            return self.saved(now, flight).into();
        }
        match &reading.eager {
            None if self.is_behind(flight) => {
                flight.hedge.at = flight.deadline;
                Next::Wait(id, Stage::Parked(Until::Turn(reading.ranges)))
            }
            None => {
                let behind = self.told_otherwise(flight.place, &reading);
                self.execute_observed(now, flight, &behind, effects)
            }
            Some(_) if flight.request.claim.is_some() => {
                self.answer_holder(now, flight, reading, effects).into()
            }
            Some(eager)
                if reading
                    .told
                    .iter()
                    .all(|(_, told)| told.digest == Some(reading.digest)) =>
            {
                Next::Done(eager.clone().map(Answer::from))
            }
            Some(_) => self.repair(now, flight, reading, effects).into(),
        }
    }

    /// The ranges that were looked at before a mutation, if some replica that answered lacks what
    /// is here now; otherwise none. A mutation that changes nothing here may then still change
    /// something there.
    fn told_otherwise(&self, place: Place, reading: &Reading) -> Vec<Range> {
        let digest = self
            .replica(place)
            .map(|replica| replica.digest_of(&reading.ranges));
        let behind = reading.told.iter().any(|(_, told)| told.digest != digest)
            && !planted::GONE_HERE_IS_GONE.is_planted();
        if behind {
            reading.ranges.clone()
        } else {
            Vec::new()
        }
    }

    /// Brings enough replicas up to what is about to be returned, so that the next reader cannot
    /// see less.
    pub(super) fn repair(
        &mut self,
        now: Now,
        flight: &mut Flight,
        reading: Reading,
        effects: &mut Vec<Effect>,
    ) -> Result<Next, RequestError> {
        self.counters.read_repairs += 1;
        let place = flight.place;
        let replica = self.replica(place).ok_or(RequestError::Moving)?;
        let Op::Query(key, query) = &flight.request.op else {
            return Err(RequestError::Moving);
        };
        let reply = value::query(replica, key, query, now.unix_millis);
        let digest = replica.digest_of(&reading.ranges);
        let mut groups = reading.ledger.groups().to_vec();
        if let Beside::Later(later) = &reading.beside {
            groups.extend_from_slice(later.groups());
        }
        let mut ledger = Ledger::new(groups).map_err(|_changed| RequestError::Moving)?;
        ledger.has(self.seat.me);
        let mut behind = Vec::new();
        let mut least: Option<CausalContext> = None;
        for (node, told) in reading.told {
            if told.digest == Some(digest) {
                ledger.has(node);
            } else {
                behind.push(node);
                least = told.context.or(least);
            }
        }
        if ledger.verdict() == Verdict::Reached {
            return Ok(Next::Done(reply.map(Answer::from)));
        }
        // If a single replica lags and has sent its context, it is sent what it lacks; otherwise
        // everything in the ranges is sent.
        let delta = replica.difference(
            &reading.ranges,
            least.as_ref().filter(|_| behind.len() == 1),
        );
        let delta = Arc::new(delta.ok_or_else(|| {
            RequestError::Refused {
                level: flight.level,
                acked: 1,
                required: ledger
                    .groups()
                    .iter()
                    .map(|group| group.needed)
                    .max()
                    .unwrap_or(1) as u32,
                refused: vec![(self.seat.me, Refusal::NotServing)],
                missing: Vec::new(),
                may_be_applied: false,
            }
        })?);
        let repairing = Repairing {
            reply,
            delta,
            ledger,
        };
        Ok(self.send_repairs(now, flight, repairing, &behind, effects))
    }

    /// Sends what is about to be returned to the replicas that lack some of it.
    fn send_repairs(
        &mut self,
        now: Now,
        flight: &mut Flight,
        mut repairing: Repairing,
        behind: &[NodeId],
        effects: &mut Vec<Effect>,
    ) -> Next {
        let id = self.flights.name(flight);
        for to in behind {
            repairing.ledger.ask(*to);
            effects.push(Effect::Send {
                to: *to,
                message: Message::Write {
                    id,
                    place: flight.place,
                    delta: Arc::clone(&repairing.delta),
                    stamped_at: None,
                    adds: false,
                    hides: false,
                    claim: flight.request.claim,
                },
            });
        }
        flight.hedge = self.hedge_from(now, behind);
        Next::Wait(id, Stage::Repairing(repairing))
    }
}

impl Reading {
    /// Takes a replica's answer, if it was asked and has not answered before.
    fn hear(&mut self, node: NodeId, told: Told) {
        let counted = self.ledger.answered(node)
            | self
                .beside
                .ledger_mut()
                .is_some_and(|beside| beside.answered(node));
        if counted {
            self.told.push((node, told));
        }
    }
}
