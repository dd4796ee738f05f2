//! What may be asked of the coordination group, and its answers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::barrier::{BarrierCommand, BarrierEvent, BarrierOutcome};
use super::election::{ElectionCommand, ElectionOutcome};
use super::latch::{LatchCommand, LatchEvent, LatchOutcome};
use super::lock::{LockCommand, LockOutcome};
use super::metadata::{MetadataCommand, MetadataOutcome};
use super::request::{ProposalId, ProposalRefusal};
use super::restore::{RestoreCommand, RestoreOutcome};
use super::semaphore::{SemaphoreCommand, SemaphoreOutcome};
use super::session::{Resource, SessionCommand, SessionEvent, SessionId, SessionOutcome, WaitId};
use crate::topology::FencingToken;

/// A proposal to the coordination group: carried out once, however often it arrives. Time is no
/// command: see [`Coordination::pass`](super::Coordination::pass).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinationCommand {
    /// Tells a repetition from a new command.
    pub id: ProposalId,
    /// What to do.
    pub deed: CoordinationDeed,
}

impl fmt::Display for CoordinationCommand {
    /// The kind of command and its subject, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.deed {
            CoordinationDeed::Session(SessionCommand::Open(spec)) => {
                write!(f, "open a session for \"{}\"", spec.holder.as_str())
            }
            CoordinationDeed::Session(SessionCommand::Renew(sessions)) => {
                write!(f, "renew {} sessions", sessions.len())
            }
            CoordinationDeed::Session(SessionCommand::Close(session)) => {
                write!(f, "close session {}", session.0)
            }
            CoordinationDeed::Lock(command) => write!(f, "{command}"),
            CoordinationDeed::Semaphore(command) => write!(f, "{command}"),
            CoordinationDeed::Election(command) => write!(f, "{command}"),
            CoordinationDeed::Barrier(command) => write!(f, "{command}"),
            CoordinationDeed::Latch(command) => write!(f, "{command}"),
            CoordinationDeed::Metadata(command) => write!(f, "{command}"),
            CoordinationDeed::Restore(command) => write!(f, "{command}"),
            CoordinationDeed::Cancel(wait) => write!(f, "cancel wait {}", wait.0),
        }
    }
}

/// What a client may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CoordinationDeed {
    /// About sessions.
    Session(SessionCommand),
    /// About locks.
    Lock(LockCommand),
    /// About semaphores.
    Semaphore(SemaphoreCommand),
    /// About elections.
    Election(ElectionCommand),
    /// About barriers.
    Barrier(BarrierCommand),
    /// About latches.
    Latch(LatchCommand),
    /// About metadata.
    Metadata(MetadataCommand),
    /// About restoring a saved state.
    Restore(RestoreCommand),
    /// Ends a wait. Whoever was granted what it waited for meanwhile keeps it. Answer:
    /// [`CoordinationOutcome::Cancelled`].
    Cancel(WaitId),
}

/// The outcome of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CoordinationOutcome {
    /// About sessions.
    Session(SessionOutcome),
    /// About locks.
    Lock(LockOutcome),
    /// About semaphores.
    Semaphore(SemaphoreOutcome),
    /// About elections.
    Election(ElectionOutcome),
    /// About barriers.
    Barrier(BarrierOutcome),
    /// About latches.
    Latch(LatchOutcome),
    /// About metadata.
    Metadata(MetadataOutcome),
    /// About restoring a saved state.
    Restore(RestoreOutcome),
    /// Whether there was such a wait.
    Cancelled(bool),
    /// The command was not even looked at.
    Refused(ProposalRefusal),
}

/// Something that others wait for has happened. Replicas may lose events when they restart; whoever
/// waits looks at the state again then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinationEvent {
    /// Something is held.
    Granted {
        /// The wait that is over.
        wait: WaitId,
        /// Who holds it.
        session: SessionId,
        /// The token of the grant.
        token: FencingToken,
        /// What is held.
        resources: Vec<Resource>,
    },
    /// A wait has ended without a grant.
    Withdrawn {
        /// Which.
        wait: WaitId,
    },
    /// Something is held no longer, and others may have it.
    Freed(Resource),
    /// A session has ended.
    Session(SessionEvent),
    /// A round of a barrier has ended.
    Barrier(BarrierEvent),
    /// A latch has opened.
    Latch(LatchEvent),
}
