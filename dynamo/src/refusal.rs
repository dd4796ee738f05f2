//! Why one core refuses what another asks.

use quorate_control::topology::Epoch;
use serde::{Deserialize, Serialize};

/// Why a question was refused. Nothing was changed at the node that refused. Unlike the refusals of
/// commands and of connections, it is about one question of the data plane.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
pub enum Refusal {
    /// The node knows another placement of the partition, with this epoch.
    #[error("it knows another placement, with epoch {}", .0.0)]
    Epoch(Epoch),
    /// The replica is still being filled and cannot be read.
    #[error("its replica is still being filled")]
    Filling,
    /// The node's disk is full.
    #[error("its disk is full")]
    DiskFull,
    /// By the refusing node's clock, which other nodes have confirmed, the write was stamped by a
    /// clock that is off.
    #[error("by its clock, the clock of the node that executed this is {}", off(*.offset_ms))]
    Clock {
        /// How many milliseconds the executing node's clock was ahead; negative if it was behind.
        offset_ms: i64,
    },
    /// The replica has other rows than replicas that have seen the same events. It is not read
    /// until it is mended.
    #[error("its replica is in quarantine")]
    Quarantined,
    /// The message for this node would be longer than a message may be, and was not sent.
    #[error("the message for it has {bytes} bytes, more than is allowed")]
    TooLong {
        /// The length of the message in bytes.
        bytes: u64,
    },
    /// The request's token is lower than one that the replica has admitted under the same lock, or
    /// its holder has given it up.
    #[error("requests below token {token}, sequence {since}, are fenced off")]
    Fenced {
        /// The highest token that the replica knows.
        token: u64,
        /// The lowest number that it admits under that token.
        since: u64,
    },
    /// The replica keeps as many fences as it may and does not know this lock.
    #[error("it keeps fences of too many locks")]
    FencesFull,
    /// It has heard of other replicas of the holders than the node that asks; or what it was sent
    /// comes from a replica that it knows to have been replaced.
    #[error("it has heard of other lives of the replicas")]
    OtherLives,
    /// The node has no such replica, or the answer would be too large for one message.
    #[error("it does not serve this")]
    NotServing,
}

/// Formats an offset: `1.500 s ahead`, `1.500 s behind`.
pub(crate) fn off(millis: i64) -> String {
    let size = millis.unsigned_abs();
    format!(
        "{}.{:03} s {}",
        size / 1000,
        size % 1000,
        if millis < 0 { "behind" } else { "ahead" }
    )
}
