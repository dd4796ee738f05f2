//! Time: the instant the driver hands to every core, and the stamps that writes carry.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ReplicaId;

/// Milliseconds from 1970 to 2024, where stamps begin.
pub(crate) const EPOCH: u64 = 1_704_067_200_000;
/// The last millisecond since 1970 that has a stamp, in the year 2109.
const LAST_MILLI: u64 = (1 << 42) - 1;
const COUNTER_BITS: u32 = 22;
const LAST: u64 = ((LAST_MILLI - EPOCH) << COUNTER_BITS) | ((1 << COUNTER_BITS) - 1);

/// The instant at which a core is called.
///
/// Timeouts are computed from `monotonic` and never from `unix_millis`, which may step in both
/// directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Since an arbitrary start that stays fixed for the life of the process; never decreases.
    pub monotonic: Duration,
    /// The wall clock, in milliseconds since 1970 UTC; only ever the basis of an [`Hlc`].
    pub unix_millis: u64,
}

/// A hybrid logical stamp: 42 bits of milliseconds since 2024 and a 22-bit counter.
///
/// **Invariant:** at or below the last stamp, in the year 2109; anything above does not decode. Not
/// unique: two nodes may produce the same one, see [`Stamp`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Hlc(u64);

/// A stamp that is unique, because a replica gives each of its stamps to one write only.
///
/// **Law:** totally ordered, first by time and then by replica, and so are two writes of the same
/// millisecond.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Stamp {
    /// When, as far as clocks and causality tell.
    pub hlc: Hlc,
    /// By whom; decides between equal times.
    pub replica: ReplicaId,
}

/// A number that is not a stamp: it lies beyond the year 2109.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("{0:#x} lies beyond the last stamp")]
pub struct StampOutOfRange(pub u64);

impl Hlc {
    /// The stamp of that millisecond (since 1970) with that counter; `None` before 2024, after 2109
    /// or above 2^22 - 1.
    pub fn from_parts(unix_millis: u64, counter: u64) -> Option<Self> {
        let since = unix_millis.checked_sub(EPOCH)?;
        (unix_millis <= LAST_MILLI && counter < 1 << COUNTER_BITS)
            .then_some(Self((since << COUNTER_BITS) | counter))
    }

    /// Its time in milliseconds since 1970: the wall clock of whoever was furthest ahead among
    /// those it depends on.
    pub fn unix_millis(self) -> u64 {
        (self.0 >> COUNTER_BITS) + EPOCH
    }

    /// Its place among the stamps of one millisecond.
    pub fn counter(self) -> u64 {
        self.0 & ((1 << COUNTER_BITS) - 1)
    }

    /// The stamp as a number with the same order: fit for a sorted key.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The next stamp; the last one is its own successor. A clock that only follows causality
    /// counts with this.
    #[must_use]
    pub fn next(self) -> Self {
        Self((self.0 + 1).min(LAST))
    }
}

impl TryFrom<u64> for Hlc {
    type Error = StampOutOfRange;

    fn try_from(raw: u64) -> Result<Self, Self::Error> {
        if raw <= LAST {
            Ok(Self(raw))
        } else {
            Err(StampOutOfRange(raw))
        }
    }
}

impl From<Hlc> for u64 {
    fn from(hlc: Hlc) -> Self {
        hlc.as_u64()
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms+{}", self.unix_millis(), self.counter())
    }
}
