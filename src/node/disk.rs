//! The disk of a real node: its data directory, its store, the group commit, and the records that a
//! start needs before there is a node.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use prometheus_client::metrics::histogram::Histogram;
use quorate_control::store::{Batch, Space, Store, StoreError};
use quorate_gossip::quic::KeyPair;
use quorate_gossip::wire;
use serde::{Deserialize, Serialize};

use super::error::StartError;
use super::world::DiskGauge;
use crate::config::NodeConfig;
use crate::process::ProcessFigures;
use crate::store::{DataDir, GroupCommit, Identity, StoreConfig, free_bytes, open};

/// The founding of a cluster that was begun and is not finished.
const FOUNDING: &[u8] = b"founding";
/// The format of everything in the store.
const FORMAT: &[u8] = b"format";
/// The format that this program writes and reads. It rises with every change of what a space holds.
pub const FORMAT_NOW: u16 = 8;
/// The topology that a node acts on is kept in its wire format, so a new wire format is a new
/// format of the store.
const _: () = assert!(wire::VERSION == 8, "raise FORMAT_NOW with it");
/// Where the node listened last.
const ADDRESS: &[u8] = b"quic-address";

/// What the founder of a cluster has drawn, kept until its identity is written down.
#[derive(Serialize, Deserialize)]
pub(super) struct BegunFounding {
    /// The first join token, as text. It names the cluster.
    pub(super) token: String,
}

/// A node's disk, opened. One that keeps its data in memory has its own records on disk all the
/// same, so it comes back as the node that it was, with all data lost.
pub(super) struct Disk {
    pub(super) dir: Arc<DataDir>,
    pub(super) store: Arc<dyn Store>,
    pub(super) commit: Arc<GroupCommit>,
}

impl Disk {
    /// Takes the data directory for this process and opens the store in it. Where a node was
    /// expected and nothing of one is found, nothing is created.
    ///
    /// # Errors
    /// [`StartError::DataDir`], [`StartError::NoNode`], [`StartError::StoreLost`],
    /// [`StartError::Store`], [`StartError::Format`].
    pub(super) fn open(config: &NodeConfig) -> Result<Self, StartError> {
        let (engine, path) = (config.storage, &config.data_dir);
        DataDir::expect_engine(path, engine)?;
        let entrance = config.join.as_ref();
        let may_join = entrance.is_some_and(|entrance| entrance.token.is_some());
        if !config.found && !may_join && !DataDir::is_used(path) {
            return Err(StartError::NoNode { dir: path.clone() });
        }
        let dir = Arc::new(DataDir::open(path)?);
        let store_config = StoreConfig::of(engine);
        let store = open(engine.of_records(), &dir.store_dir(engine)?, store_config)?;
        if let Some(Identity { name, .. }) = dir.identity()?
            && is_empty(&*store)?
        {
            return Err(StartError::StoreLost {
                dir: path.clone(),
                node: name.into(),
            });
        }
        check_format(&*store)?;
        let commit = GroupCommit::start(Arc::clone(&store), engine, config.durability)?;
        Ok(Self {
            dir,
            store,
            commit: Arc::new(commit),
        })
    }

    /// The node's keys: those of an earlier start, or new ones. They are durable before anybody is
    /// told. So a node that is killed, or loses the answer, after it was admitted and before it has
    /// written down its identity is recognised when it asks again.
    pub(super) fn keys(&self) -> Result<KeyPair, StartError> {
        if let Some(kept) = self.dir.key()? {
            return Ok(KeyPair::from_secret(&kept)?);
        }
        let drawn = KeyPair::generate()?;
        self.dir.set_key(&drawn.to_secret())?;
        Ok(drawn)
    }

    /// The keys of a node that is a member. Others in their place would open nothing.
    ///
    /// # Errors
    /// [`StartError::KeyLost`].
    pub(super) fn kept_keys(&self) -> Result<KeyPair, StartError> {
        let kept = self.dir.key()?.ok_or(StartError::KeyLost)?;
        Ok(KeyPair::from_secret(&kept)?)
    }

    /// The founding that an earlier start began and did not finish.
    pub(super) fn begun_founding(&self) -> Result<Option<BegunFounding>, StartError> {
        let Some(kept) = self.store.get(Space::Meta, FOUNDING)? else {
            return Ok(None);
        };
        let begun = wire::decode(&kept).map_err(|_unreadable| StoreError::Damaged {
            what: "the founding that was begun",
        })?;
        Ok(Some(begun))
    }

    /// Writes down that a founding has begun, durably.
    pub(super) fn keep_founding(&self, begun: &BegunFounding) -> Result<(), StartError> {
        let mut batch = Batch::default();
        batch.put(Space::Meta, FOUNDING, wire::encode(begun).to_vec());
        self.store.apply(batch)?;
        Ok(self.store.persist()?)
    }

    /// Removes what [`Disk::keep_founding`] wrote. The removal becomes durable with the next
    /// commit.
    pub(super) fn forget_founding(&self) -> Result<(), StartError> {
        let mut batch = Batch::default();
        batch.delete(Space::Meta, FOUNDING);
        Ok(self.store.apply(batch)?)
    }

    /// Notes where the node listens, for [`Disk::address`]. The note becomes durable with the next
    /// commit.
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

/// Checks the format of the store before anything else is read. An empty store is marked with the
/// current format, durably, before anything else is written.
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

/// The [`DiskGauge`] of a real disk.
pub(super) struct Gauge {
    /// The directory, if data is written there.
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

    fn sync_seconds(&self) -> Option<Histogram> {
        Some(self.commit.sync_seconds())
    }

    fn process(&self) -> Option<ProcessFigures> {
        ProcessFigures::of_this()
    }
}

#[cfg(test)]
mod tests;
