//! Clocks in virtual time.

use std::time::Duration;

use quorate_crdt::Now;
use tokio::time::Instant;

use crate::node::Clock;

/// Where every wall clock of a simulation starts, before skew: 2027-01-15 08:00 UTC.
pub const START_UNIX_MILLIS: u64 = 1_800_000_000_000;

/// A node's clocks: they run with the runtime's paused clock, and the wall clock is wrong by a fixed skew.
#[derive(Clone, Copy, Debug)]
pub struct SimClock {
    start: Instant,
    /// How far the wall clock is ahead, in milliseconds.
    pub skew_millis: i64,
}

impl SimClock {
    /// A clock that stands at [`START_UNIX_MILLIS`] and its skew when `start` is now.
    pub fn new(start: Instant, skew_millis: i64) -> Self {
        Self { start, skew_millis }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        let monotonic: Duration = self.start.elapsed();
        let unix_millis = (START_UNIX_MILLIS + monotonic.as_millis() as u64).saturating_add_signed(self.skew_millis);
        Now { monotonic, unix_millis }
    }
}
