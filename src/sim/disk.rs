//! The simulated disk. Applied batches are visible at once; persisted batches survive a crash;
//! nothing else is promised.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use quorate_control::store::{
    Batch, Change, Commit, Done, MemoryStore, Space, Store, StoreError, StoreStats, Visitor,
};
use quorate_control::topology::{Epoch, KeyspaceId, Partition};
use quorate_dynamo::replica::{Replica, place_of, restore};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;

use super::panics;
use crate::node::last_kept;

/// A node's disk during one of the node's lives, with its group commit.
///
/// **Law:** after [`SimDisk::crash`] the surviving image holds every persisted batch, plus a prefix
/// of the later ones that the seed chooses.
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
    trouble: Trouble,
    /// What a crash leaves behind.
    durable: MemoryStore,
    /// The replicas as last read from `durable`, and the places that have changed since. A cache:
    /// the oracle looks often, and little changes in between.
    read: BTreeMap<At, Arc<Replica>>,
    unread: BTreeSet<At>,
    /// Batches applied but not yet persisted, oldest first.
    pending: VecDeque<Batch>,
    waiting: Vec<Done>,
    /// The epoch of the topology written last, and an epoch that was overwritten by an older one.
    kept: Epoch,
    gone_back: Option<Epoch>,
    crashed: bool,
    /// Whether a sync has failed.
    failed: bool,
    /// Whether a shard has panicked because of this disk.
    panicked: bool,
}

/// The faults of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Trouble {
    /// How much longer a sync takes.
    slower: Duration,
    /// Whether syncs fail.
    failing: bool,
    /// Whether the disk is full.
    full: bool,
    /// Whether the next write of rows panics.
    panics: bool,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self::with(
            MemoryStore::new(),
            MemoryStore::new(),
            StdRng::seed_from_u64(seed),
        )
    }

    fn with(live: MemoryStore, durable: MemoryStore, rng: StdRng) -> Self {
        let trouble = Trouble::default();
        let mut unread = BTreeSet::new();
        for space in DATA {
            let mut take = |key: &[u8], _: &[u8]| {
                unread.extend(place_of(key));
                ControlFlow::Continue(())
            };
            durable
                .scan(space, &[], None, &mut take)
                .expect("invariant: memory does not fail");
        }
        let kept = kept_in(&live).expect("invariant: memory does not fail");
        let inner = Inner {
            rng,
            trouble,
            durable,
            read: BTreeMap::new(),
            unread,
            pending: VecDeque::new(),
            waiting: Vec::new(),
            kept,
            gone_back: None,
            crashed: false,
            failed: false,
            panicked: false,
        };
        Self {
            shared: Arc::new(Shared {
                live,
                inner: Mutex::new(inner),
                wanted: Notify::new(),
            }),
        }
    }

    /// The group commit. It never ends by itself. A sync takes 0.2 to 3 ms.
    pub(super) fn work(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move {
            loop {
                shared.wanted.notified().await;
                let (done, count, pause) = {
                    let mut inner = shared.lock();
                    let pause = Duration::from_micros(inner.rng.random_range(200..3000))
                        + inner.trouble.slower;
                    (
                        std::mem::take(&mut inner.waiting),
                        inner.pending.len(),
                        pause,
                    )
                };
                tokio::time::sleep(pause).await;
                let failed = {
                    let mut inner = shared.lock();
                    if inner.trouble.failing {
                        inner.failed = true;
                    } else {
                        inner.persist(count);
                    }
                    inner.trouble.failing
                };
                let failure = failed.then(|| Arc::new(failure()));
                for done in done {
                    done(failure.clone().map_or(Ok(()), Err));
                }
            }
        }
    }

    /// The node dies now: from here on this disk takes nothing and promises nothing. Returns the
    /// disk for the node's next life.
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

    /// Removes all faults. What the disk has already failed to keep stays lost once the node that
    /// wrote it ends.
    pub fn mend(&self) {
        self.shared.lock().trouble = Trouble::default();
    }

    /// From now on a sync takes `by` longer.
    pub fn slow_down(&self, by: Duration) {
        self.shared.lock().trouble.slower = by;
    }

    /// From now on every sync fails. Anything not persisted before may be lost.
    pub fn fail(&self) {
        self.shared.lock().trouble.failing = true;
    }

    /// Fills the disk, or frees space on it, as an operator would see it.
    pub fn set_full(&self, full: bool) {
        self.shared.lock().trouble.full = full;
    }

    /// Makes the shard that next writes rows panic, as if it had found a broken invariant.
    pub fn set_panics(&self) {
        self.shared.lock().trouble.panics = true;
    }

    /// Whether the node must end: a sync has failed or a shard has panicked during this life.
    pub fn has_failed(&self) -> bool {
        let inner = self.shared.lock();
        inner.failed || inner.panicked
    }

    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        self.shared.lock().trouble.full
    }

    /// The epoch of the topology that the node would start with after a crash right now, or 0 if
    /// there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the record cannot be read.
    pub fn kept_epoch(&self) -> Result<Epoch, StoreError> {
        kept_in(&self.shared.lock().durable)
    }

    /// If an older topology has overwritten a newer one during this life: the newer epoch and the
    /// older.
    pub fn gone_back(&self) -> Option<(Epoch, Epoch)> {
        let inner = self.shared.lock();
        inner.gone_back.map(|before| (before, inner.kept))
    }

    /// The replicas that would certainly survive a crash right now.
    ///
    /// # Errors
    /// [`StoreError`] when a record cannot be read.
    pub fn replicas(&self) -> Result<BTreeMap<At, Arc<Replica>>, StoreError> {
        self.shared.lock().replicas()
    }

    /// How many row and mark records would survive a crash besides those of live rows.
    ///
    /// # Errors
    /// [`StoreError`] when a record cannot be read.
    pub fn remains(&self) -> Result<u64, StoreError> {
        let inner = self.shared.lock();
        let (replicas, _) = restore(&inner.durable, |_, _| true)?;
        let mut records = replicas
            .values()
            .filter(|replica| replica.has_remains())
            .count() as u64;
        inner.durable.scan(Space::Rows, &[], None, &mut |_, _| {
            records += 1;
            ControlFlow::Continue(())
        })?;
        Ok(records - replicas.values().map(Replica::row_count).sum::<u64>())
    }

    /// The durable image without the control group's records: Raft does not survive a vote that is
    /// taken back.
    pub fn backup(&self) -> MemoryStore {
        copy_of(
            &self.shared.lock().durable,
            &[&[Space::Meta], &DATA[..]].concat(),
        )
    }

    /// The disk of a node that is down, with its data replaced by `backup`. An empty backup removes
    /// only the data plane: the node still knows who it is.
    #[must_use]
    pub fn restored(&self, backup: &MemoryStore) -> Self {
        let mut inner = self.shared.lock();
        let durable = copy_of(&inner.durable, &[Space::Meta, Space::Control]);
        add(&durable, backup, &Space::ALL);
        let rng = StdRng::seed_from_u64(inner.rng.random());
        drop(inner);
        Self::with(copy(&durable), durable, rng)
    }

    /// The disk of a node that is down, with one byte of one row's value changed, as bit rot would.
    /// `None` if there is no suitable row.
    #[must_use]
    pub fn rotten(&self) -> Option<Self> {
        let mut inner = self.shared.lock();
        let mut rows = Vec::new();
        let mut take = |key: &[u8], value: &[u8]| {
            rows.push((Bytes::copy_from_slice(key), value.to_vec()));
            ControlFlow::Continue(())
        };
        inner
            .durable
            .scan(Space::Rows, &[], None, &mut take)
            .expect("invariant: memory does not fail");
        // The last byte of a register's row is the end of its value, so the record stays
        // well-formed.
        rows.retain(|(_, value)| value.last().is_some_and(u8::is_ascii_digit));
        if rows.is_empty() {
            return None;
        }
        let chosen = inner.rng.random_range(0..rows.len());
        let (key, mut value) = rows.swap_remove(chosen);
        if let Some(last) = value.last_mut() {
            *last ^= 0x40;
        }
        let durable = copy(&inner.durable);
        let mut batch = Batch::default();
        batch.put(Space::Rows, key, value);
        durable
            .apply(batch)
            .expect("invariant: memory does not fail");
        let rng = StdRng::seed_from_u64(inner.rng.random());
        drop(inner);
        Some(Self::with(copy(&durable), durable, rng))
    }
}

/// The place of a replica.
type At = (KeyspaceId, Partition);

/// The spaces of the data plane.
const DATA: [Space; 4] = [Space::Rows, Space::Recent, Space::Causal, Space::Hints];

fn failure() -> StoreError {
    StoreError::Engine {
        engine: "simulated",
        operation: "sync",
        source: Box::new(std::io::Error::other("the disk has failed")),
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("invariant: no code panics while it holds the disk")
    }
}

impl Inner {
    fn persist(&mut self, count: usize) {
        let count = count.min(self.pending.len());
        for batch in self.pending.drain(..count) {
            for change in &batch.changes {
                let (Change::Put(space, key, _) | Change::Delete(space, key)) = change;
                self.unread
                    .extend(place_of(key).filter(|_| DATA.contains(space)));
            }
            self.durable
                .apply(batch)
                .expect("invariant: memory does not fail");
        }
    }

    fn replicas(&mut self) -> Result<BTreeMap<At, Arc<Replica>>, StoreError> {
        if !self.unread.is_empty() {
            let (replicas, _) = restore(&self.durable, |keyspace, partition| {
                self.unread.contains(&(keyspace, partition))
            })?;
            for at in std::mem::take(&mut self.unread) {
                self.read.remove(&at);
            }
            self.read.extend(
                replicas
                    .into_iter()
                    .map(|(at, replica)| (at, Arc::new(replica))),
            );
        }
        Ok(self.read.clone())
    }
}

fn kept_in(store: &MemoryStore) -> Result<Epoch, StoreError> {
    Ok(last_kept(store)?.map_or(Epoch(0), |topology| topology.epoch))
}

fn copy(store: &MemoryStore) -> MemoryStore {
    copy_of(store, &Space::ALL)
}

fn copy_of(store: &MemoryStore, spaces: &[Space]) -> MemoryStore {
    let copy = MemoryStore::new();
    add(&copy, store, spaces);
    copy
}

fn add(to: &MemoryStore, from: &MemoryStore, spaces: &[Space]) {
    let mut batch = Batch::default();
    for &space in spaces {
        let mut take = |key: &[u8], value: &[u8]| {
            batch.put(
                space,
                Bytes::copy_from_slice(key),
                Bytes::copy_from_slice(value),
            );
            ControlFlow::Continue(())
        };
        from.scan(space, &[], None, &mut take)
            .expect("invariant: memory does not fail");
    }
    to.apply(batch).expect("invariant: memory does not fail");
}

impl Store for SimDisk {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.shared.live.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visitor<'_>,
    ) -> Result<(), StoreError> {
        self.shared.live.scan(space, from, to, visit)
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let mut inner = self.shared.lock();
        let rows = |change: &Change| matches!(change, Change::Put(Space::Rows, ..));
        if inner.trouble.panics && !inner.crashed && batch.changes.iter().any(rows) {
            (inner.trouble.panics, inner.panicked) = (false, true);
            drop(inner);
            panics::planned();
        }
        if !inner.crashed {
            self.shared.live.apply(batch.clone())?;
            if batch
                .changes
                .iter()
                .any(|change| matches!(change, Change::Put(Space::Meta, ..)))
            {
                let kept = kept_in(&self.shared.live)?;
                let before = std::mem::replace(&mut inner.kept, kept);
                inner.gone_back = inner.gone_back.or((kept < before).then_some(before));
            }
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
