//! Why one core does not do what another asks.

use quorate_control::topology::Epoch;
use serde::{Deserialize, Serialize};

/// Why a question was refused. Nothing was changed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
pub enum Refusal {
    /// The placement has another epoch here.
    #[error("it knows another placement, of epoch {}", .0.0)]
    Epoch(Epoch),
    /// The replica is still being filled and cannot be read.
    #[error("its replica is still being filled")]
    Filling,
    /// There is no room on the node's disk.
    #[error("its disk is full")]
    DiskFull,
    /// The write was stamped by a clock that is off by the node's own, which the others confirm.
    /// Milliseconds; less than 0: behind.
    #[error("it says that the clock of the node which executed this is {}", off(*.offset_ms))]
    Clock {
        /// By how much the executing node's clock was ahead.
        offset_ms: i64,
    },
    /// The replica differs from others that have seen the same, and is neither read nor written
    /// until that is mended.
    #[error("its replica is in quarantine")]
    Quarantined,
    /// What it was to do its part of is longer than a message between nodes may be, and was not
    /// sent to it.
    #[error("what it lacks is {bytes} bytes, more than a message may have")]
    TooLong {
        /// How long.
        bytes: u64,
    },
    /// The node has no replica there, or what was asked for is too large for one answer.
    #[error("it does not serve this")]
    NotServing,
}

/// `1.500 s ahead` or `1.500 s behind`.
pub(crate) fn off(millis: i64) -> String {
    let size = millis.unsigned_abs();
    format!(
        "{}.{:03} s {}",
        size / 1000,
        size % 1000,
        if millis < 0 { "behind" } else { "ahead" }
    )
}
