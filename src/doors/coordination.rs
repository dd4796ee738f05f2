//! The door to the coordination group: locks, semaphores, barriers, latches, elections.

use std::time::Duration;

use quorate_control::consensus::ReadLevel;
use quorate_control::coordinate::{
    CoordinationAnswer, CoordinationDeed, CoordinationOutcome, CoordinationQuery,
};

use super::pending::Pending;

/// What a face needs to have something locked, or to see what is. Decisions need the quorum of the
/// coordination group, and so does every answer that is not allowed to be old.
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

    /// Asks the group for an answer that is as fresh as the level says.
    fn ask(
        &self,
        query: CoordinationQuery,
        level: ReadLevel,
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
    /// Nobody on this side can show that what it knows is fresh enough.
    #[error(
        "no node on this side can show that what it knows is at most {within:?} old{}; nothing was read: ask for a longer max_staleness, or again when a majority of the voters of the coordination group can be reached",
        at_most(*.known)
    )]
    TooStale {
        /// What was asked for.
        within: Duration,
        /// How old what this node knows may be; `None` if that is not known.
        known: Option<Duration>,
    },
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

fn at_most(known: Option<Duration>) -> String {
    known.map_or_else(String::new, |known| {
        format!(": what this node knows may be {} ms old", known.as_millis())
    })
}
