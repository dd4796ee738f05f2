//! What may be asked to put a saved state in place of the present one. It goes part by part: an
//! entry of the log must stay short.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The longest part in bytes.
pub const RESTORE_PART_BYTES_MAX: usize = 256 * 1024;

/// A step of a restoration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestoreCommand {
    /// Forgets the parts of an earlier one. Answer: [`RestoreOutcome::Taken`].
    Begin,
    /// The next part of the encoded state. Answer: [`RestoreOutcome::Taken`].
    Part {
        /// How many bytes came before.
        at: u64,
        /// At most [`RESTORE_PART_BYTES_MAX`].
        bytes: Bytes,
    },
    /// All parts are there: the state takes the place of the present one, if they have this
    /// XXH3-128. Answer: [`RestoreOutcome::Restored`].
    Finish(u128),
}

impl fmt::Display for RestoreCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("begin to restore"),
            Self::Part { at, bytes } => write!(f, "restore {} bytes from {at} on", bytes.len()),
            Self::Finish(_) => f.write_str("restore what was sent"),
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestoreOutcome {
    /// So many bytes are there.
    Taken(u64),
    /// The saved state is the present one. Tokens, revisions and sessions from now on have numbers
    /// above this, which is above all that there were in either state.
    Restored {
        /// The number.
        above: u64,
    },
    /// The parts are not in order, are too many or damaged, or another restoration has begun since.
    /// The present state is as it was; the parts are forgotten.
    Refused,
}
