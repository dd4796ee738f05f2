//! Node clocks in virtual time, which can be set wrong on purpose.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_crdt::Now;
use tokio::time::Instant;

use crate::node::Clock;

/// Where every simulated wall clock starts, before skew: 2027-01-15 08:00 UTC.
pub const START_UNIX_MILLIS: u64 = 1_800_000_000_000;

/// A node's clocks, driven by the runtime's paused clock. The wall clock is off by its skew and by
/// any fault applied to it. Clones are cheap and share the same clock.
#[derive(Clone, Debug)]
pub struct SimClock {
    start: Instant,
    bent: Arc<Mutex<Bent>>,
}

/// In what way a wall clock is wrong.
#[derive(Clone, Copy, Debug)]
struct Bent {
    /// Its constant offset in milliseconds.
    skew_millis: i64,
    /// The sum of all jumps, in milliseconds.
    jump_millis: i64,
    /// How much too fast it runs, in millionths, and since when.
    drift: (i64, Duration),
    /// The time at which it stands still.
    frozen: Option<u64>,
}

impl SimClock {
    /// A clock that reads [`START_UNIX_MILLIS`] plus its skew at `start`.
    pub fn new(start: Instant, skew_millis: i64) -> Self {
        let bent = Bent {
            skew_millis,
            jump_millis: 0,
            drift: (0, Duration::ZERO),
            frozen: None,
        };
        Self {
            start,
            bent: Arc::new(Mutex::new(bent)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Bent> {
        self.bent
            .lock()
            .expect("invariant: no code panics while it holds a clock")
    }

    /// Sets the wall clock forward by `millis` (back, if negative).
    pub fn jump(&self, millis: i64) {
        self.lock().jump_millis += millis;
    }

    /// From now on the wall clock runs too fast by this many millionths.
    pub fn drift(&self, millionths: i64) {
        self.lock().drift = (millionths, self.start.elapsed());
    }

    /// Stops the wall clock. Unfrozen, it continues from where it should be.
    pub fn freeze(&self, frozen: bool) {
        let now = self.now().unix_millis;
        self.lock().frozen = frozen.then_some(now);
    }

    /// Makes the wall clock right again, except for its skew.
    pub fn mend(&self) {
        let mut bent = self.lock();
        *bent = Bent {
            skew_millis: bent.skew_millis,
            jump_millis: 0,
            drift: (0, Duration::ZERO),
            frozen: None,
        };
    }

    /// How far the wall clock is ahead of the right time, in milliseconds.
    pub fn ahead_millis(&self) -> i64 {
        let right = START_UNIX_MILLIS + self.start.elapsed().as_millis() as u64;
        self.now().unix_millis.cast_signed() - right.cast_signed()
    }
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        let monotonic: Duration = self.start.elapsed();
        let bent = self.lock();
        let drifted =
            monotonic.saturating_sub(bent.drift.1).as_millis() as i64 * bent.drift.0 / 1_000_000;
        let right = START_UNIX_MILLIS + monotonic.as_millis() as u64;
        let running = right.saturating_add_signed(bent.skew_millis + bent.jump_millis + drifted);
        Now {
            monotonic,
            unix_millis: bent.frozen.unwrap_or(running),
        }
    }
}
