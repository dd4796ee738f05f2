//! What happens to requests that do not get what they wait for: refusals, unreachable nodes,
//! deadlines, and changes of the topology.

#[cfg(test)]
mod tests;

use quorate_control::quorum::Verdict;
use quorate_control::topology::Epoch;
use quorate_crdt::{CausalContext, NodeId, Now};

use super::Dynamo;
use super::flight::{Beside, Flight, Next, Reading, Stage, Told, Until};
use super::flights::Debt;
use super::ledger::{Blame, Ledger};
use crate::consistency::Consistency;
use crate::fence::Rank;
use crate::op::RequestError;
use crate::planted;
use crate::protocol::{Effect, FlightId, Place, Refusal};

impl Dynamo {
    /// Ends requests past their deadline, and asks further for those past their hedge time.
    pub(super) fn expire_flights(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for id in self.flights.due(now.monotonic) {
            self.resume(now, id, effects, |core, flight, stage, effects| {
                if flight.deadline <= now.monotonic {
                    core.give_up(id, flight, stage)
                } else {
                    core.hedge(now, id, flight, stage, effects)
                }
            });
        }
    }

    /// Tells the client that its request did not get enough answers, and why.
    pub(super) fn give_up(&mut self, id: FlightId, flight: &Flight, stage: Stage) -> Next {
        let level = flight.level;
        Next::Done(Err(match stage {
            Stage::Writing(writing) => {
                // A read under a token writes too, but nothing that was not there.
                let error = writing.ledger.failure(level, flight.request.op.writes());
                self.remember_owing(id, flight.place, writing.events, writing.ledger.owing());
                error
            }
            // If this replica remembers the request from an earlier try, it has been applied here,
            // whatever becomes of this one.
            Stage::Reading(reading) => reading.failure(level, self.remembers(flight)),
            Stage::Repairing(repairing) => repairing.ledger.failure(level, false),
            Stage::Forwarded(handed) => {
                let may_be_applied = flight.request.op.writes();
                RequestError::TimedOut {
                    level,
                    acked: 0,
                    required: 1,
                    missing: vec![handed.to],
                    may_be_applied,
                }
            }
            Stage::Parked(Until::Timed(_)) => RequestError::ClockUnconfirmed,
            // No replica is to blame: requests that came earlier took too long.
            Stage::Parked(Until::Turn(_)) => {
                let may_be_applied = self.remembers(flight);
                RequestError::TimedOut {
                    level,
                    acked: 0,
                    required: 1,
                    missing: Vec::new(),
                    may_be_applied,
                }
            }
            Stage::Parked(Until::Placed | Until::Renewed | Until::Awake(_)) => RequestError::Moving,
        }))
    }

    /// Nobody waits any longer for the missing acknowledgements of this write, but they are still
    /// worth knowing.
    pub(super) fn remember_owing(
        &mut self,
        id: FlightId,
        place: Place,
        events: CausalContext,
        owing: Vec<NodeId>,
    ) {
        let debt = Debt {
            place,
            events,
            owing,
        };
        let max = if planted::ANSWERED_WRITES_HOLD_FLIGHTS.is_planted() {
            usize::MAX
        } else {
            self.owed_max()
        };
        self.flights.owed.remember(id, debt, max);
    }

    /// For how many answered writes the missing acknowledgements are remembered.
    pub(super) fn owed_max(&self) -> usize {
        self.config.flights_max / OWED_SHARE
    }

    /// The node has become unreachable and will not answer.
    pub(super) fn fail_flights(&mut self, now: Now, node: NodeId, effects: &mut Vec<Effect>) {
        for id in self.flights.select(|_| true) {
            self.resume(now, id, effects, |core, flight, mut stage, effects| {
                match &mut stage {
                    Stage::Reading(reading) => {
                        reading.ledger.lost(node);
                        if let Some(beside) = reading.beside.ledger_mut() {
                            beside.lost(node);
                        }
                    }
                    Stage::Repairing(repairing) => repairing.ledger.lost(node),
                    Stage::Writing(writing) => writing.ledger.lost(node),
                    Stage::Forwarded(handed)
                        if handed.to == node && flight.may_run_twice() && !flight.retried =>
                    {
                        return Next::Again(vec![node]);
                    }
                    Stage::Forwarded(handed) if handed.to == node => {
                        return core.give_up(id, flight, stage);
                    }
                    Stage::Forwarded(..) | Stage::Parked(_) => {}
                }
                core.after_failure(now, id, flight, stage, effects)
            });
        }
    }

    /// A node has dropped out. Decides whether the request can still succeed, and asks other nodes.
    fn after_failure(
        &mut self,
        now: Now,
        id: FlightId,
        flight: &mut Flight,
        stage: Stage,
        effects: &mut Vec<Effect>,
    ) -> Next {
        let verdict = match &stage {
            Stage::Reading(reading) => reading.verdict(),
            Stage::Repairing(repairing) => repairing.ledger.verdict(),
            Stage::Writing(writing) => writing.ledger.verdict(),
            Stage::Forwarded(..) | Stage::Parked(_) => Verdict::Pending,
        };
        match (verdict, &stage) {
            (Verdict::Impossible, _) => self.give_up(id, flight, stage),
            (Verdict::Reached, Stage::Reading(_)) => {
                self.go_on_reading(now, id, flight, stage, effects)
            }
            (Verdict::Pending, Stage::Reading(_)) => self.ask_others(id, flight, stage, effects),
            _ => Next::Wait(id, stage),
        }
    }

    pub(super) fn on_refused(
        &mut self,
        now: Now,
        from: NodeId,
        id: FlightId,
        reason: Refusal,
        effects: &mut Vec<Effect>,
    ) {
        self.counters.epoch_refused += u64::from(matches!(reason, Refusal::Epoch(_)));
        self.resume(now, id, effects, |core, flight, stage, effects| {
            let asked = match &stage {
                Stage::Reading(reading) => reading.owes(from),
                Stage::Repairing(repairing) => repairing.ledger.owes(from),
                Stage::Writing(writing) => writing.ledger.owes(from),
                Stage::Forwarded(handed) => handed.to == from,
                Stage::Parked(_) => false,
            };
            if !asked {
                return Next::Wait(id, stage);
            }
            core.refused(
                now,
                from,
                Blame { by: from, reason },
                id,
                flight,
                stage,
                effects,
            )
        });
    }

    /// `from` was asked and will not do its part.
    pub(super) fn refused(
        &mut self,
        now: Now,
        from: NodeId,
        blame: Blame,
        id: FlightId,
        flight: &mut Flight,
        mut stage: Stage,
        effects: &mut Vec<Effect>,
    ) -> Next {
        match blame.reason {
            Refusal::Epoch(epoch) => {
                return self.out_of_step(now, from, epoch, id, flight, stage);
            }
            Refusal::Fenced { token, since } => {
                return self.fenced_off(Rank::of(token, since), id, flight, stage);
            }
            _ => {}
        }
        match &mut stage {
            Stage::Forwarded(..) if !flight.retried => return Next::Again(vec![from]),
            Stage::Forwarded(..) => {
                return Next::Done(Err(RequestError::Refused {
                    level: flight.level,
                    acked: 0,
                    required: 1,
                    refused: vec![(blame.by, blame.reason)],
                    missing: Vec::new(),
                    may_be_applied: false,
                }));
            }
            Stage::Reading(reading) => reading.refused(from, blame),
            Stage::Repairing(repairing) => drop(repairing.ledger.refused(from, blame)),
            Stage::Writing(writing) => drop(writing.ledger.refused(from, blame)),
            Stage::Parked(_) => {}
        }
        if planted::REFUSED_IS_FAILED.is_planted() {
            return self.give_up(id, flight, stage);
        }
        self.after_failure(now, id, flight, stage, effects)
    }

    /// The two nodes know different placements. A write that is already applied here is sent again
    /// once one of them has caught up; any other request waits for the newer topology and starts
    /// again.
    fn out_of_step(
        &mut self,
        now: Now,
        from: NodeId,
        epoch: Epoch,
        id: FlightId,
        flight: &mut Flight,
        mut stage: Stage,
    ) -> Next {
        let reason = Refusal::Epoch(epoch);
        let newer = epoch > flight.place.epoch;
        match &mut stage {
            Stage::Writing(writing) => writing.ledger.postponed(from, reason),
            Stage::Repairing(repairing) => repairing.ledger.postponed(from, reason),
            Stage::Reading(reading) if !newer => reading.postponed(from, reason),
            Stage::Forwarded(..) if flight.retried => return Next::Done(Err(RequestError::Moving)),
            Stage::Forwarded(..) if !newer => return Next::Again(vec![from]),
            Stage::Forwarded(..) if self.routes.placement_of(flight.place).is_none() => {
                return Next::Again(Vec::new());
            }
            Stage::Reading(_) | Stage::Forwarded(..) | Stage::Parked(_) => {
                flight.hedge.at = flight.deadline;
                return Next::Wait(id, Stage::Parked(Until::Placed));
            }
        }
        flight.hedge = self.hedge_from(now, &[from]);
        Next::Wait(id, stage)
    }

    /// The topology has changed. Requests that have not been executed start again; those that have
    /// been go to the replicas that must have them now.
    pub(super) fn reroute_flights(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let current = |place: Place| {
            self.routes
                .placement(place.at())
                .map(|placement| placement.epoch)
        };
        for id in self
            .flights
            .select(|flight| current(flight.place) != Some(flight.place.epoch))
        {
            self.resume(
                now,
                id,
                effects,
                |core, flight, stage, effects| match stage {
                    // Under a token it counts only where and when it was begun.
                    Stage::Writing(_) if flight.request.claim.is_some() => {
                        core.give_up(id, flight, stage)
                    }
                    Stage::Writing(writing) => core.rewrite(now, flight, writing, effects),
                    Stage::Forwarded(..) if flight.request.op.writes() => Next::Wait(id, stage),
                    _ if flight.retried => Next::Done(Err(RequestError::Moving)),
                    _ => Next::Again(Vec::new()),
                },
            );
        }
    }
}

/// Which part of `flights_max` answered writes may use for acknowledgements that are still missing.
const OWED_SHARE: usize = 8;

impl Reading {
    pub(super) fn verdict(&self) -> Verdict {
        match (
            self.ledger.verdict(),
            self.beside
                .ledger()
                .map_or(Verdict::Reached, Ledger::verdict),
        ) {
            (Verdict::Impossible, _) | (_, Verdict::Impossible) => Verdict::Impossible,
            (Verdict::Reached, Verdict::Reached) => Verdict::Reached,
            _ => Verdict::Pending,
        }
    }

    /// Why the read fails.
    fn failure(&self, level: Consistency, may_be_applied: bool) -> RequestError {
        match &self.beside {
            Beside::Open(open) if open.verdict() != Verdict::Reached => open.not_closed(),
            Beside::Later(later) if self.ledger.verdict() == Verdict::Reached => {
                later.failure(level, may_be_applied)
            }
            _ => self.ledger.failure(level, may_be_applied),
        }
    }

    pub(super) fn asked(&self, node: NodeId) -> bool {
        self.ledger.was_asked(node)
            || self
                .beside
                .ledger()
                .is_some_and(|beside| beside.was_asked(node))
    }

    fn owes(&self, node: NodeId) -> bool {
        self.ledger.owes(node) || self.beside.ledger().is_some_and(|beside| beside.owes(node))
    }

    fn postponed(&mut self, node: NodeId, reason: Refusal) {
        self.ledger.postponed(node, reason);
        if let Some(beside) = self.beside.ledger_mut() {
            beside.postponed(node, reason);
        }
    }

    /// A replica that is being filled cannot be read, but it can still be given what is returned.
    fn refused(&mut self, node: NodeId, blame: Blame) {
        self.ledger.refused(node, blame);
        let later = match &mut self.beside {
            Beside::Nobody => return,
            Beside::Open(open) => {
                open.refused(node, blame);
                return;
            }
            Beside::Later(later) => later,
        };
        if blame.reason != Refusal::Filling {
            later.refused(node, blame);
        } else if later.answered(node) {
            self.told.push((
                node,
                Told {
                    digest: None,
                    context: None,
                },
            ));
        }
    }
}
