//! Time as data: the instant that the driver passes to every core, and the stamps that writes
//! carry.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ReplicaId;

/// Stamps begin in 2024: milliseconds since 1970.
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
    /// The time since an arbitrary start that stays fixed for the life of the process; never
    /// decreases.
    pub monotonic: Duration,
    /// The wall clock, in milliseconds since 1970 UTC. Only an [`Hlc`] is ever derived from it.
    pub unix_millis: u64,
}

/// A hybrid logical stamp: 42 bits of milliseconds since 2024 and a 22-bit counter.
///
/// **Invariant:** at or below the last stamp, in the year 2109; anything above does not decode. Two
/// nodes may produce the same one; a [`Stamp`] is unique.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Hlc(u64);

/// A unique stamp: a replica gives each of its stamps to one write only.
///
/// **Law:** totally ordered, by time and then by replica, so two writes of the same millisecond are
/// ordered too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Stamp {
    /// The time, as far as clocks and causality tell.
    pub hlc: Hlc,
    /// The writer; it decides between equal times.
    pub replica: ReplicaId,
}

/// This number is not a stamp: it is beyond the year 2109.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("{0:#x} is beyond the last stamp")]
pub struct StampOutOfRange(pub u64);

impl Hlc {
    /// The stamp with this counter in this millisecond since 1970; `None` before 2024, after 2109,
    /// or if the counter is above 2^22 - 1.
    pub fn from_parts(unix_millis: u64, counter: u64) -> Option<Self> {
        let since = unix_millis.checked_sub(EPOCH)?;
        (unix_millis <= LAST_MILLI && counter < 1 << COUNTER_BITS)
            .then_some(Self((since << COUNTER_BITS) | counter))
    }

    /// Its time in milliseconds since 1970: the most advanced wall clock among the writes that it
    /// depends on.
    pub fn unix_millis(self) -> u64 {
        (self.0 >> COUNTER_BITS) + EPOCH
    }

    /// Its number among the stamps of one millisecond, below 2^22.
    pub fn counter(self) -> u64 {
        self.0 & ((1 << COUNTER_BITS) - 1)
    }

    /// The stamp as a number with the same order, for use in sorted keys.
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
