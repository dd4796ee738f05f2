//! Writes: sent to every other replica after this node's replica has executed them, and answered
//! when the level's acknowledgements are in.

use std::sync::Arc;

use quorate_control::quorum::Verdict;
use quorate_crdt::{CausalContext, NodeId, Now, ReplicaId};

use super::Dynamo;
use super::flight::{Flight, Next, Stage, Writing};
use super::ledger::Ledger;
use crate::op::{Answer, Mutation, Op, RequestError};
use crate::planted;
use crate::preference::{Access, groups};
use crate::protocol::{Effect, FlightId, Message, Place};
use crate::replica::Delta;
use crate::seen::At;

impl Dynamo {
    /// Sends the delta to every other writer, or a hint to a fallback for a writer that cannot be
    /// reached, and begins to count.
    pub(super) fn spread(
        &mut self,
        now: Now,
        flight: &mut Flight,
        answer: Answer,
        delta: Delta,
        ledger: Ledger,
        effects: &mut Vec<Effect>,
    ) -> Next {
        let place = flight.place;
        let id = self.flights.name(flight);
        let claim = flight.request.claim;
        let stamps = claim.is_some()
            || matches!(&flight.request.op, Op::Mutate(_, mutation) if mutation.stamps());
        let stamped_at = stamps.then_some(now.unix_millis);
        let events = delta
            .parts
            .iter()
            .flat_map(crate::replica::Part::events)
            .collect::<CausalContext>();
        let first = claim.is_none() && !flight.retried;
        let is = |what: fn(&Mutation) -> bool| match &flight.request.op {
            Op::Mutate(_, mutation) => what(mutation),
            _ => false,
        };
        let adds = first && is(Mutation::adds);
        let hides = first && is(Mutation::may_be_hidden) && !planted::HIDDEN_UNSEEN.is_planted();
        let mut writing = Writing {
            answer,
            delta: Arc::new(delta),
            events,
            stamped_at,
            adds,
            hides,
            claim,
            ledger,
        };
        // What a hint brings late would come from an earlier life of this node: under a token there
        // are none.
        let absent = if claim.is_none() {
            self.absent_writers(place)
        } else {
            Vec::new()
        };
        for (owner, fallback) in absent {
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

    /// Sends the delta to every reachable writer that has not acknowledged it.
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
                        hides: writing.hides,
                        claim: writing.claim,
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

    /// The topology has changed under a write that is already applied here. It is counted from zero
    /// in the present replica sets: an acknowledgement belongs to the placement under which it was
    /// asked for, because a replica may have been erased and created again since.
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
            .placement(place.at())
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
        let at = place.at();
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

    /// A replica knows that the key to which this write has added had expired, or that something
    /// hides what it has put, and says how. What the write added would disappear with the expired
    /// key, so the mutation is executed once more and sees the expiry, or takes over the rank.
    pub(super) fn executed_unseen(
        &mut self,
        now: Now,
        from: NodeId,
        delta: &Delta,
        id: FlightId,
        flight: &mut Flight,
        writing: Writing,
    ) -> Next {
        if !writing.ledger.owes(from)
            || !(writing.adds || writing.hides)
            || flight.retried
            || self.join(now, from, flight.place, delta).is_err()
        {
            return Next::Wait(id, Stage::Writing(writing));
        }
        Next::Again(Vec::new())
    }

    /// A replica has joined what it was sent and made it durable.
    pub(super) fn on_written(
        &mut self,
        now: Now,
        from: NodeId,
        id: FlightId,
        replica: ReplicaId,
        effects: &mut Vec<Effect>,
    ) {
        let (somebody_waits, mut spread) = (self.waiters.len() > 0, None);
        let decided = match self.flights.get_mut(id) {
            Some((flight, Stage::Writing(writing))) => {
                if !writing.ledger.answered(from) {
                    return;
                }
                let at = flight.place.at();
                if let Some(held) = self.replicas.get_mut(&at) {
                    held.acknowledged(from, replica, &writing.events);
                }
                spread = somebody_waits.then(|| (at, writing.events.clone()));
                writing.ledger.verdict() != Verdict::Pending
            }
            Some((_, Stage::Repairing(repairing))) => {
                repairing.ledger.answered(from);
                repairing.ledger.verdict() != Verdict::Pending
            }
            Some(_) => false,
            None => {
                spread = self.on_late_acknowledgement(from, id, replica);
                false
            }
        };
        if let Some((at, events)) = spread {
            self.have_spread(now, at, &events, effects);
        }
        if decided {
            self.resume(now, id, effects, |core, flight, stage, _| match stage {
                Stage::Writing(writing) => core.go_on_writing(id, flight, writing),
                Stage::Repairing(repairing) => Next::Done(repairing.reply.map(Answer::from)),
                stage => Next::Wait(id, stage),
            });
        }
    }

    /// Nobody waits for this acknowledgement any longer, but it tells what that replica has.
    fn on_late_acknowledgement(
        &mut self,
        from: NodeId,
        id: FlightId,
        replica: ReplicaId,
    ) -> Option<(At, CausalContext)> {
        let mine = self.flights.is_mine(id);
        let (place, events) = mine.then(|| self.flights.owed.paid(id, from)).flatten()?;
        let held = self.replicas.get_mut(&place.at())?;
        held.acknowledged(from, replica, &events);
        Some((place.at(), events))
    }

    /// Answers a write as soon as its level is decided. It is then no longer in flight; who still
    /// owes an acknowledgement is remembered separately.
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
