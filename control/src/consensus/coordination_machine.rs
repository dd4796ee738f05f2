//! The state machine of locks and their like in its group.

use super::machine::Machine;
use crate::coordinate::{
    Coordination, CoordinationAnswer, CoordinationCommand, CoordinationEvent, CoordinationOutcome,
    CoordinationQuery,
};
use crate::state::LogIndex;

impl Machine for Coordination {
    type Command = CoordinationCommand;
    type Outcome = CoordinationOutcome;
    type Event = CoordinationEvent;
    type Query = CoordinationQuery;
    type Answer = CoordinationAnswer;
    /// Whoever acts on the state asks for it.
    type Published = ();

    fn apply(
        &mut self,
        index: LogIndex,
        command: CoordinationCommand,
        events: &mut Vec<CoordinationEvent>,
    ) -> CoordinationOutcome {
        self.apply(index, command, events)
    }

    fn pass(
        &mut self,
        index: LogIndex,
        term: u64,
        elapsed_ms: u64,
        events: &mut Vec<CoordinationEvent>,
    ) {
        self.pass(index, term, elapsed_ms, events);
    }

    fn awaits_time(&self) -> bool {
        self.awaits_time()
    }

    fn answer(&self, query: &CoordinationQuery) -> CoordinationAnswer {
        self.answer(query)
    }

    fn figures(&self) -> Vec<(&'static str, u64)> {
        self.figures()
    }

    fn published(&self) {}
}
