//! Why a replica does not take what it is given.

use core::time::Duration;

use thiserror::Error;

use crate::{ReplicaId, Stamp};

/// A delta or a state was not taken. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Refused {
    /// It claims events that this replica never issued: its sender is broken, or this replica has
    /// lost its memory (a new installation, a restored backup) and must go on under the next
    /// incarnation. Merged, they would hide the events that this replica issues next.
    #[error(
        "claims event {claimed} of {replica:?}, which has issued {issued}: after a loss of memory, go on under the next incarnation"
    )]
    Unissued {
        /// This replica.
        replica: ReplicaId,
        /// The highest of its events that is claimed.
        claimed: u64,
        /// How many it has issued.
        issued: u64,
    },
    /// It tells of this replica what it has not written: another one writes under the same id, for
    /// instance a copy. One of them must go on under the next incarnation, and what it has written
    /// since they parted must be written anew.
    #[error("{replica:?} has not written this: its id is used twice")]
    Reused {
        /// This replica.
        replica: ReplicaId,
    },
    /// The events of this id are used up, as no history does it: somebody has claimed 2^62 of them.
    /// Take another id.
    #[error("{replica:?} has no events left to issue: take another id")]
    Exhausted {
        /// The id.
        replica: ReplicaId,
    },
    /// Its sender's clock is wrong, or it is forged. Merged, its writes would win for so long.
    #[error("a stamp of {replica:?} is {ahead:?} ahead of the clock here, more than {bound:?}", replica = .stamp.replica)]
    FromTheFuture {
        /// The latest stamp in it.
        stamp: Stamp,
        /// How far it is ahead.
        ahead: Duration,
        /// How far it may be.
        bound: Duration,
    },
}
