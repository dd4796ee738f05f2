//! The real disk of a node: its data directory, store, group commit and lives.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use quorate_control::store::{Batch, Space, Store, StoreError};

use quorate_gossip::wire;

use super::running::DiskGauge;
use super::start::StartError;
use crate::config::{self, NodeConfig, Storage};
use crate::store::{DataDir, Durability, Engine, GroupCommit, StoreConfig, free_bytes, open};

/// Which newcomer this is, to those whom it asks to let it in.
const INSTANCE: &[u8] = b"instance";
/// In which form everything in the store is written.
const FORMAT: &[u8] = b"format";
/// The form that this program writes and reads. It rises with every change of what a space holds.
const FORMAT_NOW: u16 = 4;
/// The topology that a node acts on is kept as it travels: another form on the wire is another form
/// of the store.
const _: () = assert!(wire::VERSION == 4, "raise FORMAT_NOW with it");
/// Where the node listened last.
const ADDRESS: &[u8] = b"quic-address";

/// A node's disk, opened. A node that stores in memory has no directory: it is a new node at every
/// start.
pub(super) struct Disk {
    pub(super) dir: Option<Arc<DataDir>>,
    pub(super) store: Arc<dyn Store>,
    pub(super) commit: Arc<GroupCommit>,
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
        let dir = if engine == Engine::Memory {
            None
        } else {
            Some(Arc::new(DataDir::open(&config.data_dir)?))
        };
        let path = match &dir {
            Some(dir) => dir.store_dir(engine)?,
            None => config.data_dir.clone(),
        };
        let store = open(engine, &path, StoreConfig::default())?;
        check_format(&*store)?;
        let commit = Arc::new(GroupCommit::start(Arc::clone(&store), engine, durability)?);
        Ok(Self { dir, store, commit })
    }

    /// Which newcomer this is: `drawn`, unless another number has been kept. Durable before anybody
    /// hears of it, so that a node which is killed, or whose answer is lost, between being let in
    /// and writing down who it is is recognised when it asks again.
    pub(super) fn instance(&self, drawn: u128) -> Result<u128, StartError> {
        let kept = self.store.get(Space::Meta, INSTANCE)?;
        if let Some(kept) = kept.and_then(|bytes| bytes.as_ref().try_into().ok()) {
            return Ok(u128::from_le_bytes(kept));
        }
        let mut batch = Batch::default();
        batch.put(Space::Meta, INSTANCE, drawn.to_le_bytes().to_vec());
        self.store.apply(batch)?;
        self.store.persist()?;
        Ok(drawn)
    }

    /// Notes where the node listens, for [`Disk::address`]; becomes durable with whatever is
    /// committed next.
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

/// Whether this program reads what is in the store, before anything of it is read. An empty store
/// is marked, durably, before anything is written.
pub(super) fn check_format(store: &dyn Store) -> Result<(), StartError> {
    let found = match store.get(Space::Meta, FORMAT)? {
        Some(kept) => kept.as_ref().try_into().map(u16::from_le_bytes).ok(),
        None if is_empty(store)? => {
            let mut batch = Batch::default();
            batch.put(Space::Meta, FORMAT, FORMAT_NOW.to_le_bytes().to_vec());
            store.apply(batch)?;
            return Ok(store.persist()?);
        }
        None => None,
    };
    if found == Some(FORMAT_NOW) {
        Ok(())
    } else {
        Err(StartError::Format {
            found,
            supported: FORMAT_NOW,
        })
    }
}

fn is_empty(store: &dyn Store) -> Result<bool, StoreError> {
    let mut empty = true;
    for space in Space::ALL {
        store.scan(space, &[], None, &mut |_, _| {
            empty = false;
            ControlFlow::Break(())
        })?;
    }
    Ok(empty)
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

    fn failure(&self) -> Option<Arc<StoreError>> {
        self.commit
            .failure()
            .filter(|error| !matches!(***error, StoreError::Stopped))
            .cloned()
    }
}

#[cfg(test)]
mod tests;
