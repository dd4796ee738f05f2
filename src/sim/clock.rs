//! Clocks in virtual time.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_crdt::Now;
use tokio::time::Instant;

use crate::node::Clock;

/// Where every wall clock of a simulation starts, before skew: 2027-01-15 08:00 UTC.
pub const START_UNIX_MILLIS: u64 = 1_800_000_000_000;

/// A node's clocks: they run with the runtime's paused clock. The wall clock is wrong by its skew,
/// and by whatever else is done to it. Cheap to clone; clones are the same clock.
#[derive(Clone, Debug)]
pub struct SimClock {
    start: Instant,
    bent: Arc<Mutex<Bent>>,
}

/// How a wall clock is wrong.
#[derive(Clone, Copy, Debug)]
struct Bent {
    /// How far it is ahead, in milliseconds, whatever else is wrong with it.
    skew_millis: i64,
    /// A jump, in milliseconds.
    jump_millis: i64,
    /// Millionths by which it runs too fast, and since when.
    drift: (i64, Duration),
    /// Where it stands still.
    frozen: Option<u64>,
}

impl SimClock {
    /// A clock that stands at [`START_UNIX_MILLIS`] and its skew when `start` is now.
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

    /// The wall clock is set by so much, from now on.
    pub fn jump(&self, millis: i64) {
        self.lock().jump_millis += millis;
    }

    /// From now on the wall clock runs too fast by so many millionths.
    pub fn drift(&self, millionths: i64) {
        self.lock().drift = (millionths, self.start.elapsed());
    }

    /// The wall clock stands still, or runs on from where it should be.
    pub fn freeze(&self, frozen: bool) {
        let now = self.now().unix_millis;
        self.lock().frozen = frozen.then_some(now);
    }

    /// The wall clock is right again, up to its skew.
    pub fn mend(&self) {
        let mut bent = self.lock();
        *bent = Bent {
            skew_millis: bent.skew_millis,
            jump_millis: 0,
            drift: (0, Duration::ZERO),
            frozen: None,
        };
    }

    /// How far the wall clock is ahead of the right time now, in milliseconds.
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
