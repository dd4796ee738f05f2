//! The simulated disk: what was applied is visible, what was persisted survives a crash, and nothing else is promised.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use quorate_control::store::{Batch, Commit, Done, MemoryStore, Space, Store, StoreError, StoreStats, Visitor};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A node's disk in one of the node's lives, with its group commit.
///
/// **Law:** after [`SimDisk::crash`] the surviving image holds every batch persisted, and of the later ones a prefix that the seed chooses.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

struct Shared {
    /// What the node sees.
    live: MemoryStore,
    inner: Mutex<Inner>,
    wanted: Notify,
}

struct Inner {
    rng: StdRng,
    /// What a crash leaves.
    durable: MemoryStore,
    /// Applied and not yet persisted, oldest first.
    pending: VecDeque<Batch>,
    waiting: Vec<Done>,
    crashed: bool,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self::with(MemoryStore::new(), MemoryStore::new(), StdRng::seed_from_u64(seed))
    }

    fn with(live: MemoryStore, durable: MemoryStore, rng: StdRng) -> Self {
        let inner = Inner { rng, durable, pending: VecDeque::new(), waiting: Vec::new(), crashed: false };
        Self { shared: Arc::new(Shared { live, inner: Mutex::new(inner), wanted: Notify::new() }) }
    }

    /// Starts the group commit, on the current runtime, until the task is aborted. A synchronisation takes 0.2 to 3 ms.
    pub fn start(&self) -> JoinHandle<()> {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            loop {
                shared.wanted.notified().await;
                let (done, count, pause) = {
                    let mut inner = shared.lock();
                    let pause = Duration::from_micros(inner.rng.random_range(200..3000));
                    (std::mem::take(&mut inner.waiting), inner.pending.len(), pause)
                };
                tokio::time::sleep(pause).await;
                shared.lock().persist(count);
                for done in done {
                    done(Ok(()));
                }
            }
        })
    }

    /// The node dies now: from here on the disk takes and promises nothing. Returns the disk of the node's next life.
    #[must_use]
    pub fn crash(&self) -> Self {
        let mut inner = self.shared.lock();
        inner.crashed = true;
        let unpersisted = inner.pending.len();
        let survivors = inner.rng.random_range(0..=unpersisted);
        inner.persist(survivors);
        let waiting = std::mem::take(&mut inner.waiting);
        let rng = StdRng::seed_from_u64(inner.rng.random());
        let next = Self::with(copy(&inner.durable), copy(&inner.durable), rng);
        drop(inner);
        drop(waiting);
        next
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("invariant: no code panics while it holds the disk")
    }
}

impl Inner {
    fn persist(&mut self, count: usize) {
        let count = count.min(self.pending.len());
        for batch in self.pending.drain(..count) {
            self.durable.apply(batch).expect("invariant: memory does not fail");
        }
    }
}

fn copy(store: &MemoryStore) -> MemoryStore {
    let mut batch = Batch::default();
    for space in Space::ALL {
        let mut take = |key: &[u8], value: &[u8]| {
            batch.put(space, Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            std::ops::ControlFlow::Continue(())
        };
        store.scan(space, &[], None, &mut take).expect("invariant: memory does not fail");
    }
    let copy = MemoryStore::new();
    copy.apply(batch).expect("invariant: memory does not fail");
    copy
}

impl Store for SimDisk {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.shared.live.get(space, key)
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        self.shared.live.scan(space, from, to, visit)
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let mut inner = self.shared.lock();
        if !inner.crashed {
            self.shared.live.apply(batch.clone())?;
            inner.pending.push_back(batch);
        }
        Ok(())
    }

    fn persist(&self) -> Result<(), StoreError> {
        let mut inner = self.shared.lock();
        if !inner.crashed {
            inner.persist(usize::MAX);
        }
        Ok(())
    }

    fn stats(&self) -> StoreStats {
        self.shared.live.stats()
    }
}

impl Commit for SimDisk {
    fn commit(&self, done: Done) {
        let mut inner = self.shared.lock();
        if inner.crashed {
            drop(inner);
            // Never runs: the node is dead.
            drop(done);
            return;
        }
        inner.waiting.push(done);
        drop(inner);
        self.shared.wanted.notify_one();
    }

    fn commit_durably(&self, done: Done) {
        self.commit(done);
    }
}
