//! Group commit: the one thread of a node that synchronises the disk.
//!
//! Writers apply their changes to the store and hand in a callback that tells others of them. The
//! thread synchronises once for all callbacks that wait, then runs them. Measured: 3 to 4 times as
//! many durable writes as when each writer synchronises for itself, on every engine.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prometheus_client::metrics::histogram::Histogram;
use quorate_control::store::{Commit, Done, Store, StoreError};

use super::cause::engine_error;
use super::engine::Engine;

/// When a client's write is acknowledged. Data that the whole cluster relies on (votes, the control
/// group's log, the topology that a node acts on) is always synchronised first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it is durable.
    #[default]
    Sync,
    /// When the operating system has it. The disk is synchronised once per interval. A machine that
    /// stops loses the acknowledged writes of about one interval at most; a process that is killed
    /// loses nothing.
    Interval(Duration),
    /// When the operating system has it. It becomes durable when the operating system writes it
    /// back, and at an orderly shutdown. A machine that stops may lose everything since the start;
    /// a process that is killed loses nothing.
    None,
}

/// In seconds, from a disk with a cache of its own to one that is failing.
const SYNC_BUCKETS: [f64; 12] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5,
];

/// Commits and synchronisations; `commits / syncs` is the mean size of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitCounts {
    /// Commits requested since the start.
    pub commits: u64,
    /// Synchronisations that succeeded since the start.
    pub syncs: u64,
}

struct Shared {
    store: Arc<dyn Store>,
    commits: AtomicU64,
    syncs: AtomicU64,
    sync_seconds: Histogram,
    /// The failure after which nothing may be acknowledged. Set once and never cleared: after a
    /// failed synchronisation the operating system may have dropped the dirty pages, and a second
    /// attempt would succeed without having written them.
    failed: OnceLock<Arc<StoreError>>,
}

impl Shared {
    fn persist(&self) -> Result<(), Arc<StoreError>> {
        if let Some(error) = self.failed.get() {
            return Err(Arc::clone(error));
        }
        let begun = Instant::now();
        match self.store.persist() {
            Ok(()) => {
                self.sync_seconds.observe(begun.elapsed().as_secs_f64());
                self.syncs.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => Err(Arc::clone(self.failed.get_or_init(|| Arc::new(error)))),
        }
    }

    /// Hands everything to the operating system: what is acknowledged before it is durable survives
    /// the process, though not the machine.
    fn hand_over(&self) -> Result<(), Arc<StoreError>> {
        let kept = self.store.hand_over();
        kept.map_err(|error| Arc::clone(self.failed.get_or_init(|| Arc::new(error))))
    }

    /// Why nothing is acknowledged after the end.
    fn stopped(&self) -> Arc<StoreError> {
        self.failed
            .get()
            .map_or_else(|| Arc::new(StoreError::Stopped), Arc::clone)
    }
}

/// The group commit of a node: one thread, one synchronisation for all commits that wait.
///
/// **Law:** callbacks that wait for a synchronisation run in the order of their commits. After a
/// failed synchronisation every later commit fails with the same error (crash-stop), and no second
/// attempt is made.
pub struct GroupCommit {
    shared: Arc<Shared>,
    durability: Durability,
    /// `None` after the end; the thread ends when it is gone. The lock makes sure that no commit
    /// falls between the last one and the end.
    requests: Mutex<Option<Sender<Done>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl GroupCommit {
    /// Starts the committer of `store`. With [`Engine::Memory`] only
    /// [`commit_durably`](Commit::commit_durably) waits, whatever `durability` says.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the operating system gives no thread.
    pub fn start(
        store: Arc<dyn Store>,
        engine: Engine,
        durability: Durability,
    ) -> Result<Self, StoreError> {
        let durability = if engine.keeps_data() {
            durability
        } else {
            Durability::None
        };
        let shared = Arc::new(Shared {
            store,
            commits: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            sync_seconds: Histogram::new(SYNC_BUCKETS),
            failed: OnceLock::new(),
        });
        let (requests, inbox) = mpsc::channel();
        let thread = match durability {
            Durability::Interval(every) => spawn(&shared, engine, move |shared| {
                commit_regularly(shared, &inbox, every);
            })?,
            Durability::Sync | Durability::None => spawn(&shared, engine, move |shared| {
                commit_groups(shared, &inbox);
            })?,
        };
        Ok(Self {
            shared,
            durability,
            requests: Mutex::new(Some(requests)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Commits and synchronisations so far.
    pub fn counts(&self) -> CommitCounts {
        CommitCounts {
            commits: self.shared.commits.load(Ordering::Relaxed),
            syncs: self.shared.syncs.load(Ordering::Relaxed),
        }
    }

    /// How long each synchronisation took, as it is counted.
    pub fn sync_seconds(&self) -> Histogram {
        self.shared.sync_seconds.clone()
    }

    /// Why the node must stop: a synchronisation has failed, or the committer was shut down.
    pub fn failure(&self) -> Option<&Arc<StoreError>> {
        self.shared.failed.get()
    }

    /// Answers every commit so far, makes everything that was applied durable, and ends. Later
    /// commits fail. Apply nothing after it, and do not call it from a callback.
    ///
    /// # Errors
    /// The failure of this or of an earlier synchronisation; then the stop was not clean. A second
    /// call fails.
    pub fn shutdown(&self) -> Result<(), Arc<StoreError>> {
        drop(
            self.requests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            return Err(self.shared.stopped());
        }
        let persisted = self.shared.persist();
        let _first = self.shared.failed.set(self.shared.stopped());
        persisted
    }

    fn accept(&self, done: Done, at_once: bool) -> Accepted {
        if let Some(error) = self.shared.failed.get() {
            return Accepted::Now(done, Err(Arc::clone(error)));
        }
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(requests) = requests.as_ref() else {
            return Accepted::Now(done, Err(self.shared.stopped()));
        };
        self.shared.commits.fetch_add(1, Ordering::Release);
        if at_once {
            return Accepted::Now(done, self.shared.hand_over());
        }
        match requests.send(done) {
            Ok(()) => Accepted::Later,
            Err(mpsc::SendError(done)) => Accepted::Now(done, Err(self.shared.stopped())),
        }
    }
}

/// What becomes of a callback.
enum Accepted {
    /// The thread has it.
    Later,
    /// The caller runs it with this result, without the lock, because it may commit again.
    Now(Done, Result<(), Arc<StoreError>>),
}

fn spawn(
    shared: &Arc<Shared>,
    engine: Engine,
    run: impl FnOnce(&Shared) + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    let owned = Arc::clone(shared);
    let thread = std::thread::Builder::new()
        .name("group-commit".to_owned())
        .spawn(move || run(&owned));
    thread.map_err(|error| engine_error(engine, "start of the committer", error))
}

/// Waits for a commit, takes all others that wait, synchronises once, and answers them in order.
fn commit_groups(shared: &Shared, inbox: &Receiver<Done>) {
    while let Ok(first) = inbox.recv() {
        commit_group(shared, first, inbox);
    }
}

fn commit_group(shared: &Shared, first: Done, inbox: &Receiver<Done>) {
    let group: Vec<Done> = std::iter::once(first).chain(inbox.try_iter()).collect();
    let result = shared.persist();
    for done in group {
        done(result.clone());
    }
}

/// Synchronises once per `every` if something was committed, and at once for commits that wait.
/// Returns when the sender is gone.
fn commit_regularly(shared: &Shared, inbox: &Receiver<Done>, every: Duration) {
    let (mut persisted, mut next) = (0, Instant::now() + every);
    loop {
        match inbox.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(first) => commit_group(shared, first, inbox),
            Err(RecvTimeoutError::Timeout) => {
                next = Instant::now() + every;
                let commits = shared.commits.load(Ordering::Acquire);
                if commits != persisted && shared.persist().is_ok() {
                    persisted = commits;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Commit for GroupCommit {
    /// Under [`Durability::Sync`] `done` runs on the committer's thread, otherwise before this call
    /// returns.
    fn commit(&self, done: Done) {
        if let Accepted::Now(done, result) = self.accept(done, self.durability != Durability::Sync)
        {
            done(result);
        }
    }

    fn commit_durably(&self, done: Done) {
        if let Accepted::Now(done, result) = self.accept(done, false) {
            done(result);
        }
    }
}

impl Drop for GroupCommit {
    /// Ends as [`shutdown`](Self::shutdown) does, if that was not called. Call it to learn the
    /// outcome.
    fn drop(&mut self) {
        let _outcome = self.shutdown();
    }
}

impl fmt::Debug for GroupCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupCommit")
            .field("durability", &self.durability)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
