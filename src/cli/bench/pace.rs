//! Decides when requests are due under `--rate`: a schedule that no slow answer delays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::record::{Recorder, Window};

/// The shortest sleep of the thread; requests due within it are released together. Linux's own
/// timer slack is 50 us.
const TICK: Duration = Duration::from_micros(50);

/// Releases requests when they are due, from its own thread: the runtime's timers round to whole
/// milliseconds.
#[derive(Debug)]
pub(super) struct Pacer {
    pace: Arc<Pace>,
}

/// The queue of due requests. Whichever connection is free takes the oldest.
#[derive(Debug)]
pub(super) struct Pace {
    window: Window,
    rate: u32,
    /// Requests that are due and not yet taken.
    due: Semaphore,
    /// Requests that have been taken.
    taken: AtomicU64,
}

impl Pacer {
    pub(super) fn start(window: Window, rate: u32) -> Self {
        let pace = Arc::new(Pace {
            window,
            rate,
            due: Semaphore::new(0),
            taken: AtomicU64::new(0),
        });
        let released = Arc::clone(&pace);
        std::thread::spawn(move || released.release());
        Self { pace }
    }

    pub(super) fn pace(&self) -> Arc<Pace> {
        Arc::clone(&self.pace)
    }

    /// Counts requests that were due but not sent because no connection was free: they have waited
    /// at least until the end.
    pub(super) fn count_unsent(&self, recorder: &mut Recorder) {
        let pace = &self.pace;
        for number in
            pace.taken.load(Ordering::Relaxed)..pace.due_after(pace.window.end - pace.window.start)
        {
            recorder.waited(pace.intended(number), pace.window.end);
        }
    }
}

impl Pace {
    /// The number of requests due this long after the start.
    fn due_after(&self, elapsed: Duration) -> u64 {
        (elapsed.as_nanos() * u128::from(self.rate) / 1_000_000_000) as u64
    }

    /// When the request with this number was due.
    fn intended(&self, number: u64) -> Instant {
        self.window.start
            + Duration::from_nanos(
                (u128::from(number) * 1_000_000_000 / u128::from(self.rate)) as u64,
            )
    }

    fn release(&self) {
        let mut released = 0;
        loop {
            let now = Instant::now();
            if now >= self.window.end {
                return self.due.close();
            }
            let due = self.due_after(now - self.window.start);
            // The semaphore's bound is far above what any run can owe, but a run that is hopelessly
            // behind must not panic.
            let room = Semaphore::MAX_PERMITS - self.due.available_permits();
            self.due.add_permits(((due - released) as usize).min(room));
            released = due;
            std::thread::sleep(
                self.intended(released + 1)
                    .saturating_duration_since(Instant::now())
                    .max(TICK),
            );
        }
    }

    /// Waits for a due request, takes it and returns when it was due. `None` at the end of the run.
    pub(super) async fn take(&self) -> Option<Instant> {
        self.due.acquire().await.ok()?.forget();
        Some(self.number_taken())
    }

    /// Takes a request if one is due, and returns when it was.
    pub(super) fn try_take(&self) -> Option<Instant> {
        self.due.try_acquire().ok()?.forget();
        Some(self.number_taken())
    }

    fn number_taken(&self) -> Instant {
        self.intended(self.taken.fetch_add(1, Ordering::Relaxed))
    }
}
