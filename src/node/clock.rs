//! Where a node reads the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use quorate_crdt::Now;

/// A node's clocks. A node reads them nowhere else, so the simulator can bend them.
pub trait Clock: Send + Sync + 'static {
    /// Reads both clocks. The monotonic one never goes back; the wall clock may jump.
    fn now(&self) -> Now;
}

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts at 0 now.
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

/// The wall clock in milliseconds since 1970; 0 if it is set to an earlier time.
fn unix_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
