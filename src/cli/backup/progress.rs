//! Works off the partitions of a backup on several threads, tells how far it is, and asks again
//! while the cluster cannot answer.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::cli::fail::Failure;
use crate::cli::output;

/// How many partitions are worked on at a time. Guess: enough to keep a node busy while pages
/// travel.
const THREADS: usize = 4;
/// How long to wait before a request is repeated. Guess.
const PAUSE: Duration = Duration::from_millis(250);

/// How far a backup or a restore is.
pub(super) struct Progress {
    verb: &'static str,
    partitions: usize,
    begun: Instant,
    so_far: Mutex<SoFar>,
    failed: Mutex<Option<Failure>>,
}

struct SoFar {
    partitions: usize,
    bytes: u64,
    told: Instant,
}

impl Progress {
    /// `verb` says what is done with a partition: `saved`, `checked`, `restored`.
    pub(super) fn new(verb: &'static str, partitions: usize) -> Self {
        let begun = Instant::now();
        Self {
            verb,
            partitions,
            begun,
            so_far: Mutex::new(SoFar {
                partitions: 0,
                bytes: 0,
                told: begun,
            }),
            failed: Mutex::new(None),
        }
    }

    /// Runs `work` on every task. Stops at the first failure, which says how many partitions are
    /// done.
    pub(super) fn work_off<T: Sync>(
        self,
        tasks: &[T],
        work: impl Fn(&T, &Self) -> Result<(), Failure> + Sync,
    ) -> Result<Duration, Failure> {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS.min(tasks.len()) {
                scope.spawn(|| {
                    while lock(&self.failed).is_none()
                        && let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        match work(task, &self) {
                            Ok(()) => self.partition_done(),
                            Err(failure) => {
                                lock(&self.failed).get_or_insert(failure);
                            }
                        }
                    }
                });
            }
        });
        let done = lock(&self.so_far).partitions;
        if let Some(cause) = lock(&self.failed).take() {
            return Err(Failure::Halfway {
                verb: self.verb,
                done,
                of: self.partitions,
                cause: Box::new(cause),
            });
        }
        Ok(self.begun.elapsed())
    }

    /// Counts the bytes of a page.
    pub(super) fn page_done(&self, bytes: u64) {
        let mut so_far = lock(&self.so_far);
        so_far.bytes += bytes;
        self.tell(&mut so_far);
    }

    fn partition_done(&self) {
        let mut so_far = lock(&self.so_far);
        so_far.partitions += 1;
        self.tell(&mut so_far);
    }

    /// Says how far it is: every second to a person, now and then to a log.
    fn tell(&self, so_far: &mut SoFar) {
        let every = if std::io::stderr().is_terminal() {
            1
        } else {
            10
        };
        if so_far.told.elapsed() >= Duration::from_secs(every) {
            so_far.told = Instant::now();
            output::note(format_args!(
                "{} {} of {} partitions, {}",
                self.verb,
                so_far.partitions,
                self.partitions,
                in_mebibytes(so_far.bytes)
            ));
        }
    }
}

/// Asks again as long as the cluster may be able to answer later, for at most `patience`.
pub(super) fn patiently<T>(
    patience: Duration,
    ask: impl Fn() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let begun = Instant::now();
    loop {
        match ask() {
            Err(failure) if failure.may_pass() && begun.elapsed() < patience => {
                std::thread::sleep(PAUSE);
            }
            outcome => return outcome,
        }
    }
}

pub(super) fn in_mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
