//! Why one core does not do what another asks.

use quorate_control::topology::Epoch;
use serde::{Deserialize, Serialize};

/// Why a question was refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
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
    /// A stamp in what was sent is too far ahead of the node's clock: one of the two clocks is wrong.
    #[error("its clock is too far behind a stamp that it was sent")]
    Clock,
    /// The replica differs from others that have seen the same, and is neither read nor written until that is mended.
    #[error("its replica is in quarantine")]
    Quarantined,
    /// The node has no replica there, or what was asked for is too large for one answer.
    #[error("it does not serve this")]
    NotServing,
}
