//! File descriptors: how many this process may have, and who gets how many.
//!
//! Whoever opens one too many is refused, whoever it is. If clients could take them all, the store
//! would be refused next, in the middle of a write, and an engine does not recover from that. So
//! clients get what is left when the store and the network have theirs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[cfg(test)]
mod tests;

/// Descriptors for all that is neither a client nor a file the store keeps open for reading:
/// journals and tables being written, sockets, runtimes, and what the store holds open for a moment
/// beyond its cache. Guess.
const RESERVE: usize = 64;
/// Clients at most, however many descriptors there are, as in Redis.
const CLIENTS_MAX: usize = 10_000;
/// Files a store keeps open for reading at most. What fjall takes by itself.
const STORE_FILES_MAX: usize = 900;

/// How often the log says that clients are refused.
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

/// Raises the soft limit of descriptors to the hard one, where the system lets it. Returns the
/// limit before and now.
pub fn raise_descriptors() -> (usize, usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let before = descriptors();
    if current != maximum
        && setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )
        .is_err()
    {
        tracing::debug!(before, "the limit of file descriptors cannot be raised");
    }
    (before, descriptors())
}

/// How many descriptors this process may have now.
fn descriptors() -> usize {
    getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        })
}

/// How many files a store may keep open for reading.
pub fn store_files() -> usize {
    store_share(descriptors())
}

/// How many clients this process can take.
pub fn clients_max() -> usize {
    clients_share(descriptors())
}

fn store_share(descriptors: usize) -> usize {
    (descriptors / 4).clamp(16, STORE_FILES_MAX)
}

fn clients_share(descriptors: usize) -> usize {
    descriptors
        .saturating_sub(RESERVE + store_share(descriptors))
        .clamp(1, CLIENTS_MAX)
}

/// The connections of clients to one node, over all its faces together.
#[derive(Debug)]
pub struct Guests {
    max: usize,
    open: AtomicUsize,
    refused: AtomicUsize,
    /// When it was last said that there is no room.
    complained: Mutex<Option<Instant>>,
}

/// One connection that was let in. Dropping it makes room.
#[derive(Debug)]
pub struct Guest(Arc<Guests>);

impl Guests {
    /// Room for `max`.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            open: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            complained: Mutex::new(None),
        })
    }

    /// How many there may be.
    pub fn max(&self) -> usize {
        self.max
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// How many were not let in since the start.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Lets one in, if there is room. That there is none is logged, once a minute at most.
    pub fn admit(self: &Arc<Self>) -> Option<Guest> {
        let room = |open: usize| (open < self.max).then_some(open + 1);
        if self
            .open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, room)
            .is_ok()
        {
            return Some(Guest(Arc::clone(self)));
        }
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        let mut complained = self
            .complained
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            *complained = Some(Instant::now());
            tracing::warn!(
                places = self.max,
                refused,
                "all places for clients are taken; those who come are refused"
            );
        }
        None
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}
