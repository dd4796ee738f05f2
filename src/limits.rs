//! File descriptors: how many this process may have, and how they are shared out.
//!
//! When a process has opened as many files as it may, the next open fails, whoever asks. If clients
//! could take all descriptors, the store could be refused next, in the middle of a write, and an
//! engine does not recover from that. So clients get what the store and the network leave.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[cfg(test)]
mod tests;

/// Descriptors for everything that is neither a client nor a file that the store keeps open for
/// reading: journals and tables being written, sockets, runtimes, and files that the store opens
/// for a moment beyond its cache. Guess.
const RESERVE: usize = 64;
/// The most clients, however many descriptors there are. The same number as in Redis.
const CLIENTS_MAX: usize = 10_000;
/// The most files that a store keeps open for reading. fjall's own default.
const STORE_FILES_MAX: usize = 900;

/// How often the log says that clients are refused.
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

/// Raises the soft limit of descriptors to the hard one if the system allows it. Returns the limit
/// before and after.
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

/// How many clients this process can serve.
pub fn clients_max() -> usize {
    clients_share(descriptors())
}

/// How many clients to serve if the operator wants `wanted` of them: never more than there are
/// descriptors for.
pub fn clients(wanted: Option<usize>) -> usize {
    let room = clients_max();
    let Some(wanted) = wanted else {
        return room;
    };
    if wanted > room {
        tracing::warn!(
            wanted,
            clients = room,
            "there are not enough file descriptors for maxclients"
        );
    }
    wanted.min(room)
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
    /// When the log last said that there is no room.
    complained: Mutex<Option<Instant>>,
}

/// The place of one connection. Dropping it frees the place.
#[derive(Debug)]
pub struct Guest(Arc<Guests>);

impl Guests {
    /// Places for `max` connections.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            open: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            complained: Mutex::new(None),
        })
    }

    /// How many connections there may be.
    pub fn max(&self) -> usize {
        self.max
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// How many connections were refused since the start.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Takes a place, if one is free. If none is, the log says so, at most once a minute.
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
                "all places for clients are taken; further connections are refused"
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
