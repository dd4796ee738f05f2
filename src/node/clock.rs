//! Where a node reads the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use quorate_crdt::Now;

/// A node's clocks. The only place where a node reads them, so that the simulator can bend them.
pub trait Clock: Send + Sync + 'static {
    /// Both clocks now. The monotonic one never goes back; the wall clock may jump.
    fn now(&self) -> Now;
}

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Counts monotonic time from now.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now {
            monotonic: self.start.elapsed(),
            unix_millis: unix_millis(),
        }
    }
}

/// The wall clock, in milliseconds since 1970; 0 if it stands before that.
pub(super) fn unix_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
