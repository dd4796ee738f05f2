//! What `INFO` and `SLOWLOG` tell about commands: how many ran, how long they took, which failed
//! and which were slow.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::encode::ErrorCode;
use super::parse::Args;

/// Totals since the start, or since `CONFIG RESETSTAT`.
#[derive(Debug)]
pub(crate) struct Stats {
    /// By the number of the command, each with its name.
    commands: Box<[(String, Usage)]>,
    errors: Mutex<BTreeMap<ErrorCode, u64>>,
    rate: Rate,
    /// The commands that took long.
    pub slow: SlowLog,
}

/// How often a command ran.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// How often it ran.
    pub calls: AtomicU64,
    /// How long it took altogether, in microseconds.
    pub micros: AtomicU64,
    /// How often it was refused before it ran.
    pub rejected: AtomicU64,
    /// How often it ran and was answered with an error.
    pub failed: AtomicU64,
}

impl Stats {
    /// Totals for commands of these names; a command that takes longer than `slow` is kept.
    pub(crate) fn new(names: impl Iterator<Item = String>, slow: Duration) -> Self {
        Self {
            commands: names.map(|name| (name, Usage::default())).collect(),
            errors: Mutex::default(),
            rate: Rate::new(),
            slow: SlowLog::beyond(slow),
        }
    }

    /// Notes that a command has been answered, after `took`, with these errors.
    pub(crate) fn ran(&self, command: usize, took: Duration, errors: Vec<ErrorCode>) {
        let (_, usage) = &self.commands[command];
        usage.calls.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        usage.micros.fetch_add(micros, Ordering::Relaxed);
        usage
            .failed
            .fetch_add(u64::from(!errors.is_empty()), Ordering::Relaxed);
        self.rate.add();
        self.count(errors);
    }

    /// Notes that a command was refused before it ran; `None` if there is no such command.
    pub(crate) fn rejected(&self, command: Option<usize>, errors: Vec<ErrorCode>) {
        if let Some(command) = command {
            let (_, usage) = &self.commands[command];
            usage.rejected.fetch_add(1, Ordering::Relaxed);
        }
        self.count(errors);
    }

    fn count(&self, errors: Vec<ErrorCode>) {
        for code in errors {
            *locked(&self.errors).entry(code).or_default() += 1;
        }
    }

    /// How often each command ran, with its name.
    pub(crate) fn commands(&self) -> &[(String, Usage)] {
        &self.commands
    }

    /// How often each error was answered, by its code.
    pub(crate) fn errors(&self) -> BTreeMap<ErrorCode, u64> {
        locked(&self.errors).clone()
    }

    /// How many commands ran in the last whole second.
    pub(crate) fn per_second(&self) -> u64 {
        self.rate.last()
    }

    /// Begins to count again.
    pub(crate) fn reset(&self) {
        for (_, usage) in &self.commands {
            for total in [&usage.calls, &usage.micros, &usage.rejected, &usage.failed] {
                total.store(0, Ordering::Relaxed);
            }
        }
        locked(&self.errors).clear();
    }
}

/// Ignores poisoning: what is locked here is valid after every step.
fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts by the second.
#[derive(Debug)]
struct Rate {
    start: Instant,
    /// Each a second in the upper half and a count in the lower: the current second and the last.
    seconds: [AtomicU64; 2],
}

impl Rate {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            seconds: Default::default(),
        }
    }

    fn add(&self) {
        let second = self.start.elapsed().as_secs();
        let slot = &self.seconds[(second % 2) as usize];
        let add = |held: u64| {
            Some(if held >> 32 == second {
                held + 1
            } else {
                second << 32 | 1
            })
        };
        // It always adds, so it cannot fail.
        slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .ok();
    }

    fn last(&self) -> u64 {
        let Some(last) = self.start.elapsed().as_secs().checked_sub(1) else {
            return 0;
        };
        let held = self.seconds[(last % 2) as usize].load(Ordering::Relaxed);
        if held >> 32 == last {
            held & u64::from(u32::MAX)
        } else {
            0
        }
    }
}

/// The latest commands that took longer than a bound.
#[derive(Debug)]
pub(crate) struct SlowLog {
    /// The bound in microseconds; a negative one logs nothing.
    micros: AtomicI64,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    entries: VecDeque<SlowEntry>,
    most: usize,
    next: u64,
}

/// A command that took long.
#[derive(Clone, Debug)]
pub(crate) struct SlowEntry {
    /// Its number, which is never used again.
    pub number: u64,
    /// When it was answered, in seconds since 1970.
    pub at: u64,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// Its words, shortened.
    pub words: Vec<Bytes>,
    /// Who sent it.
    pub client: SocketAddr,
    /// What the connection is called.
    pub name: String,
}

impl SlowLog {
    /// Keeps commands that take longer than `bound`; the last 128 of them, as Redis does.
    pub(crate) fn beyond(bound: Duration) -> Self {
        Self {
            micros: AtomicI64::new(i64::try_from(bound.as_micros()).unwrap_or(i64::MAX)),
            kept: Mutex::new(Kept {
                entries: VecDeque::new(),
                most: 128,
                next: 0,
            }),
        }
    }

    /// The most entries that may be kept. Each has a few kilobytes at most.
    pub(crate) const ENTRIES_MAX: usize = 4096;
    /// The most words of a command that are kept, and the most bytes of each. Redis: 32 and 128.
    const WORDS_MAX: usize = 32;
    const WORD_BYTES_MAX: usize = 128;

    /// The bound in microseconds; a negative one logs nothing.
    pub(crate) fn bound(&self) -> i64 {
        self.micros.load(Ordering::Relaxed)
    }

    /// Sets the bound in microseconds.
    pub(crate) fn set_bound(&self, micros: i64) {
        self.micros.store(micros, Ordering::Relaxed);
    }

    /// How many entries are kept at most.
    pub(crate) fn most(&self) -> usize {
        locked(&self.kept).most
    }

    /// Keeps no more than so many entries.
    pub(crate) fn set_most(&self, most: usize) {
        let mut kept = locked(&self.kept);
        kept.most = most.min(Self::ENTRIES_MAX);
        let most = kept.most;
        kept.entries.truncate(most);
    }

    /// Whether a command that took this long is logged.
    pub(crate) fn takes(&self, took: Duration) -> bool {
        u128::try_from(self.bound()).is_ok_and(|bound| took.as_micros() >= bound)
    }

    /// Logs a command of these words. `number` of the entry is chosen here.
    pub(crate) fn add(&self, entry: SlowEntry) {
        let mut kept = locked(&self.kept);
        let number = kept.next;
        kept.next += 1;
        kept.entries.push_front(SlowEntry { number, ..entry });
        let most = kept.most;
        kept.entries.truncate(most);
    }

    /// The latest entries, newest first.
    pub(crate) fn latest(&self, count: usize) -> Vec<SlowEntry> {
        locked(&self.kept)
            .entries
            .iter()
            .take(count)
            .cloned()
            .collect()
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        locked(&self.kept).entries.len()
    }

    /// Drops all entries.
    pub(crate) fn clear(&self) {
        locked(&self.kept).entries.clear();
    }

    /// The words of a command as they are kept, cut short in Redis's way.
    pub(crate) fn shortened(args: Args<'_>) -> Vec<Bytes> {
        let whole = if args.len() > Self::WORDS_MAX {
            Self::WORDS_MAX - 1
        } else {
            args.len()
        };
        let word = |word: &[u8]| {
            if word.len() <= Self::WORD_BYTES_MAX {
                return Bytes::copy_from_slice(word);
            }
            let (kept, rest) = word.split_at(Self::WORD_BYTES_MAX);
            let more = format!("... ({} more bytes)", rest.len());
            Bytes::from([kept, more.as_bytes()].concat())
        };
        let mut words: Vec<Bytes> = args.iter(0).take(whole).map(word).collect();
        if whole < args.len() {
            words.push(format!("... ({} more arguments)", args.len() - whole).into());
        }
        words
    }
}

#[cfg(test)]
mod tests;
