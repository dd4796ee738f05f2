//! Asks further replicas, or the same again, when answers are late or refused.

use std::sync::Arc;
use std::time::Duration;

use quorate_crdt::{NodeId, Now};

use super::Dynamo;
use super::flight::{Flight, Hedge, Next, Reading, Stage};
use super::forward::forward_to;
use super::ledger::Ledger;
use crate::planted;
use crate::protocol::{Attempt, Effect, FlightId, Message};

impl Dynamo {
    /// How long, from now on, to wait for `asked` before asking others, or the same again.
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

    /// No answer has come in time. Asks the replicas that have not been asked, and again those that
    /// have not answered; from now on twice as patiently.
    pub(super) fn hedge(
        &mut self,
        now: Now,
        id: FlightId,
        flight: &mut Flight,
        mut stage: Stage,
        effects: &mut Vec<Effect>,
    ) -> Next {
        flight.hedge.patience *= 2;
        flight.hedge.at = now.monotonic + flight.hedge.patience;
        match &mut stage {
            Stage::Reading(reading) => self.ask_open(id, flight, reading, true, effects),
            Stage::Repairing(repairing) => {
                for to in repairing
                    .ledger
                    .open()
                    .into_iter()
                    .filter(|node| self.routes.reachable(*node))
                {
                    repairing.ledger.ask(to);
                    let message = Message::Write {
                        id,
                        place: flight.place,
                        delta: Arc::clone(&repairing.delta),
                        stamped_at: None,
                        adds: false,
                        hides: false,
                        claim: flight.request.claim,
                    };
                    effects.push(Effect::Send { to, message });
                }
            }
            Stage::Writing(writing) => self.send_to_writers(id, flight.place, writing, effects),
            // The request or its answer may have been lost. The executing node recognises the
            // request by its name.
            Stage::Forwarded(handed) => effects.push(forward_to(
                id,
                flight,
                *handed,
                Attempt::Again { life: handed.life },
            )),
            Stage::Parked(_) => flight.hedge.at = flight.deadline,
        }
        Next::Wait(id, stage)
    }

    /// A replica will not answer: asks those that have not been asked.
    pub(super) fn ask_others(
        &mut self,
        id: FlightId,
        flight: &Flight,
        mut stage: Stage,
        effects: &mut Vec<Effect>,
    ) -> Next {
        if let Stage::Reading(reading) = &mut stage {
            self.ask_open(id, flight, reading, false, effects);
        }
        Next::Wait(id, stage)
    }

    fn ask_open(
        &mut self,
        id: FlightId,
        flight: &Flight,
        reading: &mut Reading,
        again: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(replica) = self.replica(flight.place) else {
            return;
        };
        let context = replica.context_for(&reading.ranges);
        let look = self.look_of(flight, &reading.beside);
        let mut open = reading.ledger.open();
        open.extend(reading.beside.ledger().into_iter().flat_map(Ledger::open));
        open.sort_unstable();
        open.dedup();
        for to in open.into_iter().filter(|node| self.routes.reachable(*node)) {
            let asked = reading.asked(to);
            if asked && !again {
                continue;
            }
            self.counters.hedged += u64::from(!asked);
            reading.ledger.ask(to);
            if let Some(beside) = reading.beside.ledger_mut() {
                beside.ask(to);
            }
            let (ranges, digest, context) =
                (reading.ranges.clone(), reading.digest, context.clone());
            effects.push(Effect::Send {
                to,
                message: Message::Read {
                    id,
                    place: flight.place,
                    ranges,
                    digest,
                    context,
                    look: look.clone(),
                },
            });
        }
    }
}
