//! The door to the coordination group: locks, semaphores, barriers, latches, elections.

use std::time::Duration;

use quorate_control::coordinate::{
    CoordinationAnswer, CoordinationDeed, CoordinationOutcome, CoordinationQuery,
};

use super::pending::Pending;

/// What a face needs to have something locked, or to see what is. Every call needs the quorum of
/// the coordination group.
pub trait Coordinator: Send + Sync + 'static {
    /// Has the group carry out `deed`, once, whatever becomes of its leader meanwhile.
    ///
    /// A deed that waits is answered when the wait is over, at the latest after `wait`: an outcome
    /// never says that something waits still, except that of a latch that has not opened and of a
    /// barrier whose round has not ended. If the caller drops the answer, the wait is withdrawn,
    /// and what was granted meanwhile is given back.
    fn decide(
        &self,
        deed: CoordinationDeed,
        wait: Duration,
    ) -> Pending<Result<CoordinationOutcome, CoordinationError>>;

    /// Asks the group. The answer has everything that was decided before.
    fn ask(
        &self,
        query: CoordinationQuery,
    ) -> Pending<Result<CoordinationAnswer, CoordinationError>>;
}

/// Why the group has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoordinationError {
    /// No majority of the group can be reached. Nothing was done.
    #[error(
        "the coordination group has no quorum; nothing was done: try again when a majority of its voters can be reached"
    )]
    NoQuorum,
    /// No answer came in time. It may have been done, or may be later.
    #[error("the coordination group did not answer in time; the command may have been carried out")]
    TimedOut,
    /// Another version of the program does not know the command. Nothing was done.
    #[error("the coordination group does not know the command; nothing was done")]
    Malformed,
    /// The node is stopping. It may have been done.
    #[error("the node is stopping; the command may have been carried out")]
    Stopping,
}
