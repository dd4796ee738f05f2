//! What the coordination group decides: sessions, locks, semaphores, barriers, latches, elections,
//! metadata.
//! A pure machine over [`CoordinationCommand`]s; `consensus` feeds them in, and so do tests.
//!
//! ```text
//! session       who holds and waits, and until when; the words of all others
//! lock          who holds which lock, and how
//! semaphore     permits, taken and given back
//! election      who leads, and what the leader publishes
//! queue         who waits for what, in which order
//! deadlock      circles in a wait-for graph
//! barrier       parties that wait for each other
//! latch         numbers that fall to 0
//! metadata      small values under names
//! request       which commands have been answered already
//! restore       what may be asked to put a saved state in place of the present one
//! command       what may be asked, and the answers
//! state         Coordination: all of it together, and how it is numbered
//! acquire       from a request to a grant
//! end           what becomes of the others when a session ends
//! apply         one command in, one outcome out
//! view          looking at it: lists, chains of waiting, what a wait has come to
//! image         the state as bytes
//! archive       the state in a file, and back
//! ```
//!
//! The first nine know only `session`. What several of them have in common happens in `acquire`
//! and `end`, once for all that can be held.

mod acquire;
mod apply;
mod archive;
mod barrier;
mod command;
mod deadlock;
mod election;
mod end;
mod image;
mod latch;
mod lock;
mod metadata;
mod queue;
mod request;
mod restore;
mod semaphore;
mod session;
mod state;
mod view;

pub use archive::{ArchiveError, archived, unarchived};
pub use barrier::{
    BarrierCommand, BarrierEvent, BarrierOutcome, BarrierRefusal, PARTIES_MAX, RoundEnd,
};
pub use command::{CoordinationCommand, CoordinationDeed, CoordinationEvent, CoordinationOutcome};
pub use election::{ElectionCommand, ElectionOutcome, Leadership, VALUE_BYTES_MAX};
pub use image::ImageError;
pub use latch::{LATCHES_MAX, LatchCommand, LatchEvent, LatchOutcome};
pub use lock::{HOLDS_MAX, LockCommand, LockMode, LockOutcome, NAMES_MAX, NotHeld};
pub use metadata::{
    METADATA_BYTES_MAX, METADATA_VALUE_BYTES_MAX, MetadataCommand, MetadataEntry, MetadataOutcome,
    MetadataRefusal, Revision,
};
pub use queue::{AGE_MS, WAITERS_MAX};
pub use request::{ANSWERS_MAX, CLIENTS_MAX, ClientId, ProposalId, ProposalRefusal};
pub use restore::{RESTORE_PART_BYTES_MAX, RestoreCommand, RestoreOutcome};
pub use semaphore::{PERMITS_MAX, SemaphoreCommand, SemaphoreOutcome};
pub use session::{
    AcquireRefusal, Acquired, By, DELAY_MS_MAX, Deadlocked, HOLDER_BYTES_MAX, HoldRef, Holder,
    LOCK_NAME_BYTES_MAX, Name, Occupant, Patience, Resource, ResourceKind, SESSIONS_MAX,
    SessionCommand, SessionEnd, SessionEvent, SessionId, SessionOutcome, SessionSpec, TICK_MS_MAX,
    TTL_MS_MAX, TTL_MS_MIN, Ttl, WAIT_MS_MAX, WaitId, WordError,
};
pub use state::{ARCHIVE_BYTES_MAX, Coordination, RESTORE_LEAP};
pub use view::{
    CHAIN_MAX, ChainLink, CoordinationAnswer, CoordinationQuery, LISTED_MAX, LockHolder, LockView,
    LockWaiter, WaitStanding,
};

#[cfg(test)]
mod tests;
