//! Writes: executed on this node's replica, sent to every other writer, done when the level's
//! acknowledgements are in.

use std::sync::Arc;

use bytes::Bytes;
use quorate_control::quorum::Verdict;
use quorate_crdt::{CausalContext, Dot, NodeId, Now, ReplicaId};

use super::flight::{Flight, Next, Stage, Until, Writing};
use super::ledger::Ledger;
use super::{Dynamo, written};
use crate::consistency::Consistency;
use crate::op::{Answer, Mutation, Op, Reply, Request, RequestError};
use crate::planted;
use crate::preference::{Access, groups};
use crate::protocol::{Effect, FlightId, Message, Place, Refusal};
use crate::replica::{Delta, Range};
use crate::value::{self, Clocked, Remembered};

impl Dynamo {
    pub(super) fn start_mutation(
        &mut self,
        now: Now,
        flight: &mut Flight,
        effects: &mut Vec<Effect>,
    ) -> Result<Next, RequestError> {
        let removes = flight.request.op.frees() && !planted::FULL_DISK_KEEPS_ALL.is_planted();
        if self.standing.disk_full && !removes {
            return Err(RequestError::DiskFull);
        }
        if !self.may_issue(flight.place) {
            // Until the new life that its replica needs has come.
            return Ok(Next::Wait(
                self.flights.name(flight),
                Stage::Parked(Until::Renewed),
            ));
        }
        let enough = self.ledger(flight, flight.level, Access::Write)?;
        if let Some(ranges) = self.must_see(now, flight) {
            let ledger = self.ledger(flight, observing(flight.level), Access::Read)?;
            if ledger.verdict() != Verdict::Reached {
                return self.ask(now, flight, (ranges, None), (ledger, None), effects);
            }
        }
        if self.is_behind(flight) {
            return Ok(self.wait_for_turn(flight));
        }
        self.execute(now, flight, (enough, &[]), effects)
    }

    /// What the mutation must see before it is executed, by what is here now.
    fn must_see(&self, now: Now, flight: &Flight) -> Option<Vec<Range>> {
        let replica = self.replica(flight.place)?;
        match &flight.request.op {
            Op::Mutate(key, mutation) => value::must_see_once(
                replica,
                (key, mutation),
                mark(&flight.request, key),
                (now.unix_millis, self.config.limits),
            ),
            Op::Partition(..) => (!planted::CLEAR_UNSEEN.is_planted()).then(|| vec![Range::ALL]),
            Op::Query(..) => None,
        }
    }

    /// Goes on with a mutation whose turn has come. What was executed before it, and time, may have
    /// changed what it must look at.
    pub(super) fn go_on_after(
        &mut self,
        now: Now,
        flight: &mut Flight,
        seen: &[Range],
        effects: &mut Vec<Effect>,
    ) -> Next {
        let known = |range: &Range| {
            seen.contains(range)
                || matches!(range, Range::Row(row) if seen.iter().any(|wide| wide.contains(row)))
        };
        let expired = match (&flight.request.op, self.replica(flight.place)) {
            (Op::Mutate(key, _), Some(replica)) => value::is_stale(replica, key, now.unix_millis),
            _ => false,
        };
        let enough = !expired
            && self
                .must_see(now, flight)
                .is_none_or(|ranges| ranges.iter().all(known));
        if enough && !seen.is_empty() {
            // Whether those who were looked at lack something of it was not kept.
            self.execute_observed(now, flight, seen, effects)
        } else {
            self.begin(now, flight, None, &[], effects).into()
        }
    }

    /// The mutation has seen what it had to: whether enough writers can still be reached is looked
    /// at again. In the ranges `behind`, some of them lack what this replica has.
    pub(super) fn execute_observed(
        &mut self,
        now: Now,
        flight: &mut Flight,
        behind: &[Range],
        effects: &mut Vec<Effect>,
    ) -> Next {
        self.ledger(flight, flight.level, Access::Write)
            .and_then(|ledger| self.execute(now, flight, (ledger, behind), effects))
            .into()
    }

    /// Applies the mutation here and sends it on. From here on the write may be applied, whatever
    /// happens. What this replica has of the ranges `behind` goes with it, and counts as the write
    /// does: what is removed here already is removed at the level only when that many have heard of
    /// it.
    fn execute(
        &mut self,
        now: Now,
        flight: &mut Flight,
        (ledger, behind): (Ledger, &[Range]),
        effects: &mut Vec<Effect>,
    ) -> Result<Next, RequestError> {
        let at = (flight.place.keyspace, flight.place.partition);
        let applied = self.apply(now, flight);
        self.note_remains(at);
        let (reply, changed) = applied?;
        let known = match self.replicas.get(&at).filter(|_| !behind.is_empty()) {
            Some(replica) => Some(
                replica
                    .difference(behind, None)
                    .ok_or(RequestError::Moving)?,
            ),
            None => None,
        };
        let (answer, delta) = match (changed, known) {
            (None, None) => {
                return Ok(Next::Done(Ok(Answer {
                    reply,
                    receipt: None,
                })));
            }
            (None, Some(known)) => (
                Answer {
                    reply,
                    receipt: None,
                },
                known,
            ),
            (Some((mut delta, dot)), known) => {
                if let Some(known) = known {
                    delta.parts.extend(known.parts);
                    delta.residuals.extend(known.residuals);
                }
                (written(reply, flight.place, dot), delta)
            }
        };
        Ok(self.spread(now, flight, (answer, delta), ledger, effects))
    }

    fn apply(
        &mut self,
        now: Now,
        flight: &Flight,
    ) -> Result<(Reply, Option<(Delta, Dot)>), RequestError> {
        if !self.may_issue(flight.place) {
            return Err(RequestError::Moving);
        }
        let at = (flight.place.keyspace, flight.place.partition);
        let replica = self.replicas.get_mut(&at).ok_or(RequestError::Moving)?;
        self.dirty.insert(at);
        match &flight.request.op {
            Op::Mutate(key, mutation) => {
                let once = mark(&flight.request, key);
                if let Some(again) =
                    once.and_then(|once| value::remembered(replica, (key, mutation), once))
                {
                    return self.say_again(flight, again);
                }
                let needs_time = || value::needs_time(replica, key, mutation, now.unix_millis);
                if let Some(offset_ms) = self.clocks.off().filter(|_| needs_time()) {
                    self.counters.drift_refused += 1;
                    return Err(RequestError::Clock { offset_ms });
                }
                let mutated = value::mutate(
                    replica,
                    key,
                    mutation,
                    (
                        Clocked {
                            clock: &mut self.clocks.hybrid,
                            now,
                            limits: self.config.limits,
                        },
                        once,
                    ),
                )?;
                self.counters.expired +=
                    u64::from(matches!(mutation, Mutation::Lapse { .. }) && mutated.1.is_some());
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

    /// Whether this replica remembers the request.
    pub(super) fn remembers(&self, flight: &Flight) -> bool {
        let Op::Mutate(key, mutation) = &flight.request.op else {
            return false;
        };
        let replica = self
            .replicas
            .get(&(flight.place.keyspace, flight.place.partition));
        let once = mark(&flight.request, key);
        replica.zip(once).is_some_and(|(replica, once)| {
            value::remembered(replica, (key, mutation), once).is_some()
        })
    }

    /// The request was executed before. It may not have got further than this replica, so it is
    /// sent to the others as it is and counted anew: the answer says that it is applied at its
    /// level.
    fn say_again(
        &self,
        flight: &Flight,
        again: Remembered,
    ) -> Result<(Reply, Option<(Delta, Dot)>), RequestError> {
        let Remembered { reply, dot, ranges } = again;
        let replica = self
            .replicas
            .get(&(flight.place.keyspace, flight.place.partition))
            .ok_or(RequestError::Moving)?;
        let delta = replica
            .difference(&ranges, None)
            .ok_or_else(|| RequestError::Refused {
                level: flight.level,
                acked: 1,
                required: 1,
                refused: vec![(self.seat.me, Refusal::NotServing)],
                missing: Vec::new(),
                may_be_applied: true,
            })?;
        Ok((reply, Some((delta, dot))))
    }

    /// Sends the delta to every other writer, or to a fallback for one that cannot be reached, and
    /// starts to count.
    fn spread(
        &mut self,
        now: Now,
        flight: &mut Flight,
        (answer, delta): (Answer, Delta),
        ledger: Ledger,
        effects: &mut Vec<Effect>,
    ) -> Next {
        let place = flight.place;
        let id = self.flights.name(flight);
        let stamped_at = matches!(&flight.request.op, Op::Mutate(_, mutation) if mutation.stamps())
            .then_some(now.unix_millis);
        let events = delta
            .parts
            .iter()
            .flat_map(crate::replica::Part::events)
            .collect::<CausalContext>();
        let adds = matches!(&flight.request.op, Op::Mutate(_, mutation) if mutation.adds())
            && !flight.retried;
        let mut writing = Writing {
            answer,
            delta: Arc::new(delta),
            events,
            stamped_at,
            adds,
            ledger,
        };
        for (owner, fallback) in self.absent_writers(place) {
            effects.push(Effect::Send {
                to: fallback,
                message: Message::Hint {
                    owner,
                    place,
                    delta: Arc::clone(&writing.delta),
                },
            });
        }
        self.send_to_writers(id, place, &mut writing, effects);
        flight.hedge = self.hedge_from(now, &writing.ledger.owing());
        self.go_on_writing(id, flight, writing)
    }

    /// Writers that cannot be reached, each with the nearest reachable node that does not hold the
    /// partition.
    fn absent_writers(&self, place: Place) -> Vec<(NodeId, NodeId)> {
        let Some(placement) = self
            .routes
            .placement_of(place)
            .filter(|_| !self.routes.all_reachable())
        else {
            return Vec::new();
        };
        let absent = placement
            .holders()
            .into_iter()
            .filter(|node| !self.routes.reachable(*node));
        absent
            .filter_map(|owner| Some((owner, self.fallback(place)?)))
            .collect()
    }

    /// Sends the delta to every writer that can be reached and has not acknowledged it.
    pub(super) fn send_to_writers(
        &mut self,
        id: FlightId,
        place: Place,
        writing: &mut Writing,
        effects: &mut Vec<Effect>,
    ) {
        let Some(placement) = self.routes.placement_of(place) else {
            return;
        };
        for to in placement
            .holders()
            .into_iter()
            .filter(|node| *node != self.seat.me && self.routes.reachable(*node))
        {
            if !writing.ledger.has_answered(to) && !writing.ledger.has_refused(to) {
                writing.ledger.ask(to);
                effects.push(Effect::Send {
                    to,
                    message: Message::Write {
                        id,
                        place,
                        delta: Arc::clone(&writing.delta),
                        stamped_at: writing.stamped_at,
                        adds: writing.adds,
                    },
                });
            }
        }
    }

    /// The nearest reachable node that does not hold the partition.
    fn fallback(&self, place: Place) -> Option<NodeId> {
        let placement = self.routes.placement_of(place)?;
        self.routes
            .fallbacks(placement)
            .into_iter()
            .find(|node| self.routes.reachable(*node))
    }

    /// The topology has changed under a write that is applied here. It counts in the sets of today
    /// and from nothing: an acknowledgement belongs to the placement under which it was asked for,
    /// since a replica may have been erased and made again in between.
    pub(super) fn rewrite(
        &mut self,
        now: Now,
        flight: &mut Flight,
        mut writing: Writing,
        effects: &mut Vec<Effect>,
    ) -> Next {
        let place = flight.place;
        let today = self
            .routes
            .placement(place.keyspace, place.partition)
            .cloned()
            .zip(self.routes.topology().cloned());
        let Some((placement, topology)) = today else {
            if planted::ANSWER_LOST_WHEN_KEYSPACE_GONE.is_planted() {
                flight.origin = super::flight::Origin::Nobody;
            }
            return Next::Done(Err(RequestError::KeyspaceDropped));
        };
        flight.place = Place {
            epoch: placement.epoch,
            ..place
        };
        let needed = groups(
            flight.level,
            Access::Write,
            &placement,
            &topology,
            &flight.request.datacenter,
        );
        let owing = writing.ledger.owing();
        let Ok(ledger) = Ledger::new(needed) else {
            return Next::Done(Err(writing.ledger.failure(flight.level, true)));
        };
        writing.ledger = ledger;
        if planted::REWRITE_COUNTS_UNSENT.is_planted() {
            writing
                .ledger
                .believe_all_but_owing(&owing, |node| self.routes.reachable(node));
        }
        let at = (place.keyspace, place.partition);
        if self
            .replicas
            .get(&at)
            .is_some_and(|replica| replica.context().covers(&writing.events))
        {
            writing.ledger.has(self.seat.me);
        }
        let id = self.flights.name(flight);
        self.send_to_writers(id, flight.place, &mut writing, effects);
        flight.hedge = self.hedge_from(now, &writing.ledger.owing());
        self.go_on_writing(id, flight, writing)
    }

    /// Another node writes, or repairs what it is about to return. A replica that is still being
    /// filled joins it and says so: see [`read`](super::read) for why nothing of that can be lost
    /// again. It does not answer reads, so every read quorum that meets it meets a filled replica.
    ///
    /// A new write that was stamped by a clock which is off is refused here, at the door; what is
    /// data of some replica is joined whatever its stamps.
    pub(super) fn on_write(
        &mut self,
        now: Now,
        from: NodeId,
        (id, place): (FlightId, Place),
        (delta, stamped_at, adds): (&Delta, Option<u64>, bool),
        effects: &mut Vec<Effect>,
    ) {
        if let Some((delta, digest)) = self.expired_unseen(now, place, delta).filter(|_| adds) {
            effects.push(Effect::Send {
                to: from,
                message: Message::Different { id, delta, digest },
            });
            return;
        }
        let off = stamped_at.and_then(|at| self.clocks.refuses(now, (from, id.life), at));
        let message = match self.serving(place) {
            Err(reason) => {
                self.counters.epoch_refused += u64::from(matches!(reason, Refusal::Epoch(_)));
                Message::Refused { id, reason }
            }
            Ok(()) if !self.has_room_for(place, delta) => Message::Refused {
                id,
                reason: Refusal::DiskFull,
            },
            Ok(()) if off.is_some() => {
                self.counters.drift_refused += 1;
                Message::Refused {
                    id,
                    reason: Refusal::Clock {
                        offset_ms: off.unwrap_or_default(),
                    },
                }
            }
            Ok(()) if !self.join(now, place, delta) => Message::Refused {
                id,
                reason: Refusal::NotServing,
            },
            Ok(()) => {
                let Some(replica) = self.replica_mut(place) else {
                    return;
                };
                replica.overheard(from, delta);
                Message::Written {
                    id,
                    replica: replica.id(),
                }
            }
        };
        effects.push(Effect::Send { to: from, message });
    }

    /// What is here of a key that `delta` adds to and that has expired by what its writer had not
    /// seen. Joined, what is added would go with the key.
    fn expired_unseen(&self, now: Now, place: Place, delta: &Delta) -> Option<(Delta, u128)> {
        let replica = self
            .replica(place)
            .filter(|_| !planted::ADDED_TO_EXPIRED.is_planted())?;
        let rows = delta.parts.iter().flat_map(|part| &part.rows);
        let key = rows
            .map(|(name, _)| &name.key)
            .find(|key| value::expired_unseen(replica, key, now.unix_millis, &delta.context))?;
        let ranges = [Range::Key(key.clone())];
        Some((
            replica.difference(&ranges, None)?,
            replica.digest_of(&ranges),
        ))
    }

    /// A replica knows that the key has expired to which this write has added, and tells how. The
    /// mutation is executed once more, and sees that: what it added before goes with the expired
    /// key.
    pub(super) fn added_to_expired(
        &mut self,
        now: Now,
        (from, delta): (NodeId, &Delta),
        (id, flight): (FlightId, &mut Flight),
        writing: Writing,
    ) -> Next {
        if !writing.ledger.owes(from)
            || !writing.adds
            || flight.retried
            || !self.join(now, flight.place, delta)
        {
            return Next::Wait(id, Stage::Writing(writing));
        }
        Next::Again(Vec::new())
    }

    /// A replica has joined what it was sent, durably.
    pub(super) fn on_written(
        &mut self,
        now: Now,
        (from, id): (NodeId, FlightId),
        replica: ReplicaId,
        effects: &mut Vec<Effect>,
    ) {
        let decided = match self.flights.get_mut(id) {
            Some((flight, Stage::Writing(writing))) => {
                if !writing.ledger.answered(from) {
                    return;
                }
                let at = (flight.place.keyspace, flight.place.partition);
                if let Some(held) = self.replicas.get_mut(&at) {
                    held.acknowledged(from, replica, &writing.events);
                }
                writing.ledger.verdict() != Verdict::Pending
            }
            Some((_, Stage::Repairing(repairing))) => {
                repairing.ledger.answered(from);
                repairing.ledger.verdict() != Verdict::Pending
            }
            Some(_) => false,
            None => {
                self.on_late_acknowledgement((from, id), replica);
                false
            }
        };
        self.look_after_waiters(now, effects);
        if decided {
            self.resume(now, id, effects, |core, flight, stage, _| match stage {
                Stage::Writing(writing) => core.go_on_writing(id, flight, writing),
                Stage::Repairing(repairing) => Next::Done(repairing.reply.map(|reply| Answer {
                    reply,
                    receipt: None,
                })),
                stage => Next::Wait(id, stage),
            });
        }
    }

    /// Nobody waits for it any more, but it tells what that replica knows.
    fn on_late_acknowledgement(&mut self, (from, id): (NodeId, FlightId), replica: ReplicaId) {
        if self.flights.is_mine(id)
            && let Some((place, events)) = self.flights.owed.paid(id, from)
            && let Some(held) = self.replicas.get_mut(&(place.keyspace, place.partition))
        {
            held.acknowledged(from, replica, &events);
        }
    }

    /// A write is answered as soon as its level is decided, and is then no longer in flight: who
    /// still owes an acknowledgement is remembered apart.
    fn go_on_writing(&mut self, id: FlightId, flight: &Flight, writing: Writing) -> Next {
        match writing.ledger.verdict() {
            Verdict::Pending => Next::Wait(id, Stage::Writing(writing)),
            Verdict::Impossible => self.give_up(id, flight, Stage::Writing(writing)),
            Verdict::Reached => {
                self.remember_owing(id, flight.place, writing.events, writing.ledger.owing());
                Next::Done(Ok(writing.answer))
            }
        }
    }
}

/// What is remembered of a request that its client has named.
fn mark(request: &Request, key: &Bytes) -> Option<u128> {
    let id = request
        .id
        .as_ref()
        .filter(|_| !planted::REQUEST_ID_FORGOTTEN.is_planted())?;
    Some(id.mark(key))
}

/// The level at which a mutation looks before it drops: one that meets every write acknowledged at
/// its own level.
fn observing(level: Consistency) -> Consistency {
    match level {
        Consistency::Numeric { write, .. } => Consistency::Numeric { read: write, write },
        other => other,
    }
}
