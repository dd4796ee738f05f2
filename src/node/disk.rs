//! The real disk of a node: its data directory, store, group commit and lives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quorate_control::store::{Batch, Space, Store, StoreError};

use super::clock::unix_millis;
use super::life::Lives;
use super::running::DiskGauge;
use super::start::StartError;
use crate::config::{self, NodeConfig, Storage};
use crate::store::{DataDir, Durability, Engine, GroupCommit, StoreConfig, free_bytes, open};

/// Where the node listened last.
const ADDRESS: &[u8] = b"quic-address";

/// A node's disk, opened. A node that stores in memory has no directory: it is a new node at every start.
pub(super) struct Disk {
    pub(super) dir: Option<Arc<DataDir>>,
    pub(super) store: Arc<dyn Store>,
    pub(super) commit: Arc<GroupCommit>,
    engine: Engine,
    durability: Durability,
}

impl Disk {
    pub(super) fn open(config: &NodeConfig) -> Result<Self, StartError> {
        let engine = match config.storage {
            Storage::Fjall => Engine::Fjall,
            Storage::Sled => Engine::Sled,
            Storage::Memory => Engine::Memory,
        };
        let durability = match config.durability {
            config::Durability::Sync => Durability::Sync,
            config::Durability::Interval(every) => Durability::Interval(every),
            config::Durability::None => Durability::None,
        };
        let dir = if engine == Engine::Memory { None } else { Some(Arc::new(DataDir::open(&config.data_dir)?)) };
        let path = match &dir {
            Some(dir) => dir.store_dir(engine)?,
            None => config.data_dir.clone(),
        };
        let store = open(engine, &path, StoreConfig::default())?;
        let commit = Arc::new(GroupCommit::start(Arc::clone(&store), engine, durability)?);
        Ok(Self { dir, store, commit, engine, durability })
    }

    /// Begins a life: its number, and where further ones come from.
    pub(super) fn begin_life(&self) -> Result<(u32, Arc<dyn Lives>), StartError> {
        match &self.dir {
            Some(dir) => {
                let life = dir.begin_life(&*self.store, (self.engine, self.durability), unix_seconds()).map_err(StoreError::from)?;
                let lives = DirectoryLives { dir: Arc::clone(dir), store: Arc::clone(&self.store) };
                Ok((life.incarnation, Arc::new(lives)))
            }
            None => Ok((unix_seconds(), Arc::new(MemoryLives(AtomicU32::new(unix_seconds()))))),
        }
    }

    /// Notes where the node listens, for [`Disk::address`]; becomes durable with whatever is committed next.
    pub(super) fn keep_address(&self, quic: SocketAddr) -> Result<(), StartError> {
        let mut batch = Batch::default();
        batch.put(Space::Meta, ADDRESS, quic.to_string().into_bytes());
        Ok(self.store.apply(batch)?)
    }

    /// Where the node listened last.
    pub(super) fn address(&self) -> Result<Option<SocketAddr>, StartError> {
        let kept = self.store.get(Space::Meta, ADDRESS)?;
        Ok(kept.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok()))
    }
}

fn unix_seconds() -> u32 {
    u32::try_from(unix_millis() / 1000).unwrap_or(u32::MAX)
}

struct DirectoryLives {
    dir: Arc<DataDir>,
    store: Arc<dyn Store>,
}

impl Lives for DirectoryLives {
    fn next(&self) -> Result<u32, StoreError> {
        Ok(self.dir.next_incarnation(&*self.store, unix_seconds())?)
    }
}

/// For a node that forgets everything with its process, and its number with it.
struct MemoryLives(AtomicU32);

impl Lives for MemoryLives {
    fn next(&self) -> Result<u32, StoreError> {
        Ok(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Looks at a [`Disk`] from outside.
pub(super) struct Gauge {
    pub(super) dir: Option<Arc<DataDir>>,
    pub(super) commit: Arc<GroupCommit>,
}

impl DiskGauge for Gauge {
    fn free_bytes(&self) -> Option<u64> {
        free_bytes(self.dir.as_ref()?.path()).ok()
    }

    fn commits_and_syncs(&self) -> (u64, u64) {
        let counts = self.commit.counts();
        (counts.commits, counts.syncs)
    }
}
