//! How fast the nodes of a cluster answer each other, and the pace of the Raft groups that follows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// The heartbeat on a local network. Measured: with it a failover takes 0.42 to 0.56 s.
const NEAR_MS: u64 = 50;
/// The last step: the heartbeat is 1.6 s, for round trips of 800 ms.
const LAST: u8 = 5;
/// A heartbeat is at least this many of the longest round trips. An append that is not answered
/// within three quarters of a heartbeat is given up.
const ROUND_TRIPS: u32 = 2;

/// The pace of all Raft groups, which the cluster agrees on. It has few steps, each twice as slow
/// as the one before, so that it changes seldom.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timing(u8);

impl Timing {
    /// For a local network: a heartbeat every 50 ms. Every cluster begins with it.
    pub const NEAR: Self = Self(0);

    /// The fastest pace for a cluster in which no round trip takes longer; the slowest that there
    /// is, if none suffices.
    pub fn of(round_trip: Duration) -> Self {
        let suffices = |&timing: &Self| timing.heartbeat() >= round_trip * ROUND_TRIPS;
        (0..=LAST).map(Self).find(suffices).unwrap_or(Self(LAST))
    }

    /// The pace to change to. It gets slower as soon as it is too fast, and faster only if it would
    /// still suffice for round trips that are half as long again: so a round trip that lies between
    /// two steps changes nothing. `None` if this one is right.
    pub fn next(self, round_trip: Duration) -> Option<Self> {
        let slower = Self::of(round_trip);
        let faster = Self::of(round_trip * 3 / 2);
        if slower > self {
            Some(slower)
        } else {
            Some(faster).filter(|&faster| faster < self)
        }
    }

    /// How often a leader sends a sign of life.
    pub fn heartbeat(self) -> Duration {
        Duration::from_millis(NEAR_MS << self.0.min(LAST))
    }

    /// The shortest election timeout.
    pub fn election_min(self) -> Duration {
        self.heartbeat() * 3
    }

    /// The longest election timeout, and how long a follower refuses to vote after it has heard
    /// from its leader. A failover takes 1.5 to 2 times as long.
    pub fn election_max(self) -> Duration {
        self.heartbeat() * 6
    }
}
