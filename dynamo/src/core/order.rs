//! Makes requests for one key take effect in the order in which they came. [`turns`](super::turns)
//! keeps that order.

use quorate_crdt::Now;

use super::Dynamo;
use super::flight::{Flight, Next, Origin, Stage, Until};
use super::turns::scope_of;
use crate::planted;
use crate::protocol::Effect;

impl Dynamo {
    /// Whether an earlier mutation of the same key, or of all keys, has not been executed yet.
    pub(super) fn is_behind(&self, flight: &Flight) -> bool {
        let turns = &self.flights.turns;
        if turns.is_empty()
            || matches!(flight.origin, Origin::Nobody)
            || planted::LATER_OVERTAKES.is_planted()
        {
            return false;
        }
        scope_of(flight).is_some_and(|scope| turns.is_behind(&scope, flight.turn))
    }

    /// Parks the flight until its turn has come.
    pub(super) fn wait_for_turn(&mut self, flight: &mut Flight) -> Next {
        Next::Wait(
            self.flights.name(flight),
            Stage::Parked(Until::Turn(Vec::new())),
        )
    }

    /// Resumes the flights whose turn has come.
    pub(super) fn go_on_in_turn(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some(id) = self.flights.whose_turn() {
            self.resume(
                now,
                id,
                effects,
                |core, flight, stage, effects| match stage {
                    Stage::Parked(Until::Turn(seen)) => {
                        core.go_on_after(now, flight, &seen, effects)
                    }
                    stage => Next::Wait(id, stage),
                },
            );
        }
    }
}
