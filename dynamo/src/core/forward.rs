//! Hands requests that this node cannot execute to a primary, and executes those that other nodes
//! hand over.

use quorate_crdt::{NodeId, Now};

use super::Dynamo;
use super::flight::{Flight, Handed, Hedge, Next, Origin, Outcome, Stage};
use super::forwards::{Arrival, Delivery, Forward};
use super::request::Start;
use crate::op::RequestError;
use crate::planted;
use crate::protocol::{Attempt, Effect, FlightId, Message, Place, Refusal};

impl Dynamo {
    /// Hands the request to the nearest primary that can be reached.
    pub(super) fn forward(
        &mut self,
        now: Now,
        flight: &mut Flight,
        tried: &[NodeId],
        effects: &mut Vec<Effect>,
    ) -> Result<Next, RequestError> {
        // A forwarded request is not forwarded again: its sender believed that this node could
        // execute it, and will look again.
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
            if self.places.known.erased.contains_key(&flight.place.at()) {
                // This node will have a replica again once the former one is gone from its disk.
                return Err(RequestError::Moving);
            }
            let missing = readers
                .into_iter()
                .filter(|node| !self.routes.reachable(*node))
                .collect();
            return Err(self.unavailable(flight, 1, 0, missing));
        };
        let id = self.flights.name(flight);
        let handed = Handed {
            to,
            life: self.clocks.life_of(to),
            unix_millis: now.unix_millis,
        };
        effects.push(forward_to(id, flight, handed, Attempt::First));
        // The executing node waits for others in turn, and asks them again, so this node is twice
        // as patient.
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

    /// Answers the node that forwarded a request, and remembers the answer in case the same forward
    /// comes again.
    pub(super) fn tell_back(
        &mut self,
        to: NodeId,
        id: FlightId,
        message: Message,
        effects: &mut Vec<Effect>,
    ) {
        self.flights.forwards.told(to, id, &message);
        effects.push(Effect::Send { to, message });
    }

    /// Another node hands over a client's request.
    pub(super) fn on_forward(
        &mut self,
        now: Now,
        from: NodeId,
        id: FlightId,
        forward: Forward,
        effects: &mut Vec<Effect>,
    ) {
        let Forward {
            place,
            request,
            unix_millis,
            attempt,
        } = forward;
        // What a removed node has forwarded is forgotten with it, so a late copy would pass for
        // new. Its sender must not be told that it was refused either: it may have been executed.
        let is_member = self
            .routes
            .topology()
            .is_none_or(|topology| topology.nodes.contains_key(&from));
        if request.op.writes() && !is_member && !planted::FORWARD_OF_A_STRANGER.is_planted() {
            return;
        }
        if request.op.writes()
            && let Arrival::Repeat(told) =
                self.flights
                    .forwards
                    .arrive(from, id, self.delivery(attempt))
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
            .refuses(now, from, id.life, unix_millis)
            .filter(|_| request.op.names_time())
        {
            self.counters.drift_refused += 1;
            self.tell_back(
                from,
                id,
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

    /// Which copy of a forward this is.
    fn delivery(&self, attempt: Attempt) -> Delivery {
        match attempt {
            Attempt::First => Delivery::First,
            Attempt::Again { life }
                if life == Some(self.seat.life) && !planted::LOST_FORWARD_IS_LOST.is_planted() =>
            {
                Delivery::AgainToThisLife
            }
            Attempt::Again { .. } => Delivery::Again,
        }
    }

    pub(super) fn on_forwarded(
        &mut self,
        now: Now,
        from: NodeId,
        id: FlightId,
        result: Outcome,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(self.flights.get(id), Some((_, Stage::Forwarded(handed))) if handed.to == from)
        {
            self.resume(now, id, effects, |_, _, _, _| Next::Done(result));
        }
    }
}

/// The message that hands a request to a primary.
pub(super) fn forward_to(
    id: FlightId,
    flight: &Flight,
    handed: Handed,
    attempt: Attempt,
) -> Effect {
    let Handed {
        to, unix_millis, ..
    } = handed;
    Effect::Send {
        to,
        message: Message::Forward {
            id,
            place: flight.place,
            request: Box::new(flight.request.clone()),
            unix_millis,
            attempt,
        },
    }
}
