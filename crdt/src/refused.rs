//! Why a replica refuses a delta or a state.

use core::time::Duration;

use thiserror::Error;

use crate::{ReplicaId, Stamp};

/// A delta or a state was refused. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Refused {
    /// It claims events that this replica never issued: either the sender is broken, or this
    /// replica has lost its memory (a new installation, a restored backup) and must continue under
    /// the next incarnation. Merging it would hide the next events that this replica issues.
    #[error(
        "claims event {claimed} of {replica:?}, which has issued {issued}: after a loss of memory, continue under the next incarnation"
    )]
    Unissued {
        /// This replica.
        replica: ReplicaId,
        /// The highest event of this replica that is claimed.
        claimed: u64,
        /// How many events it has issued.
        issued: u64,
    },
    /// It contains writes of this replica that this replica did not make: another one, for instance
    /// a copy, writes under the same id. One of them must continue under the next incarnation and
    /// repeat what it has written since they parted.
    #[error("{replica:?} did not write this: its id is used twice")]
    Reused {
        /// This replica.
        replica: ReplicaId,
    },
    /// The events of this id are used up: somebody has claimed 2^62 of them, which no real history
    /// does. Take another id.
    #[error("{replica:?} has no events left to issue: take another id")]
    Exhausted {
        /// The id.
        replica: ReplicaId,
    },
    /// The clock of its sender is wrong, or it is forged. If it were merged, its writes would win
    /// for that long.
    #[error("a stamp of {replica:?} is {ahead:?} ahead of the local clock; the bound is {bound:?}", replica = .stamp.replica)]
    FromTheFuture {
        /// The latest stamp in it.
        stamp: Stamp,
        /// How far that stamp is ahead of the wall clock.
        ahead: Duration,
        /// The largest lead that the caller accepts.
        bound: Duration,
    },
}
