//! The hash of a state at one entry, by which replicas are compared.

use serde::{Deserialize, Serialize};

use crate::state::LogIndex;

/// The state is hashed after every entry whose number is a multiple of this. It costs as much as a
/// snapshot, which is made as often. Guess.
pub(super) const MARK_EVERY: u64 = 1000;
/// How many marks are remembered, for voters that are behind.
pub(super) const MARKS_MAX: usize = 8;
/// The hash of the state after one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The entry.
    pub index: LogIndex,
    /// XXH3-128 of the state as it is written into snapshots.
    pub hash: u128,
}
