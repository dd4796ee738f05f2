//! The hash of a state at one entry, by which replicas are compared.

use serde::{Deserialize, Serialize};

use crate::state::LogIndex;

/// The state is hashed after every entry whose number is a multiple of this. It costs as much as a
/// snapshot, which is made as often. Guess.
const MARK_EVERY: u64 = 1000;
/// A state of more bytes than this is hashed [`LONG_EVERY`] times as seldom, so that it costs a few
/// hundredths of a second every few seconds. Guess.
const LONG_BYTES: usize = 1024 * 1024;
const LONG_EVERY: u64 = 16;
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

/// Whether the state is hashed after this entry. Two replicas may differ in this; then they compare
/// at another one.
pub(super) fn is_marked(index: u64, hashed_bytes: usize) -> bool {
    let every = if hashed_bytes > LONG_BYTES {
        MARK_EVERY * LONG_EVERY
    } else {
        MARK_EVERY
    };
    index.is_multiple_of(every)
}
