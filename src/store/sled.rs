//! The engine on crate `sled` 0.34, for users who have it already.
//!
//! All spaces share one tree, and each key starts with the number of its space: a batch on one tree
//! is one record group of sled's log and is recovered whole or not at all.
//!
//! Promise: everything applied before [`persist`](Store::persist) returned survives `kill -9` of
//! the process (`tests/store_kill.rs`: 6 kills, 2169 batches, none lost, torn or out of order; the
//! kernel keeps the page cache, so that says nothing about power loss). On Linux sled's own `flush`
//! ends in `sync_file_range`, which does not synchronise, and sled never synchronises the files of
//! large values. So `persist` adds an `fdatasync` of sled's file and an `fsync` of every
//! large-value file. **Not promised:** that the store opens again after power loss. Of 40 crash
//! images rebuilt from a record of writes and of exactly these synchronisations, 34 opened with
//! every acknowledged key and 6 were refused as corrupt (a torn tail that nobody had been told
//! about). Without the added synchronisations none of 30 was clean. A node whose sled store does
//! not open must start empty under a new identity and be repaired by the other nodes, so
//! acknowledgements under [`Durability::Sync`](crate::store::Durability::Sync) do not count as
//! complete stops here. A store on sled also takes more memory and disk than its data (sled issues
//! 1410, 1484), and after a full disk it refuses even to read until it is opened again.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quorate_control::store::{Batch, Change, Space, Store, StoreError, StoreStats, Visitor};

use super::cause::{engine_error, sync_error};
use super::engine::{Engine, StoreConfig};
use super::files::sync_dir;

/// A store on sled.
pub struct SledStore {
    database: ::sled::Db,
    /// sled's log, opened a second time for the synchronisation that sled omits.
    log: File,
    blobs: PathBuf,
    /// Large-value files that are known to be durable. sled writes each once and never changes it.
    synced_blobs: Mutex<BTreeSet<OsString>>,
}

impl SledStore {
    /// Opens or creates the store in `dir`.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is deleted.
    pub fn open(dir: &Path, config: StoreConfig) -> Result<Self, StoreError> {
        let settings = ::sled::Config::new()
            .path(dir)
            .cache_capacity(config.cache_bytes.max(1 << 20))
            .flush_every_ms(None);
        await_lock(&dir.join("db")).map_err(|error| engine_error(Engine::Sled, "open", error))?;
        let database = settings.open().map_err(|error| sled_error("open", error))?;
        let io_error = |error| engine_error(Engine::Sled, "open", error);
        let log = File::options()
            .read(true)
            .write(true)
            .open(dir.join("db"))
            .map_err(io_error)?;
        // sled itself does not synchronise the names of its files.
        sync_dir(dir).map_err(io_error)?;
        dir.parent().map_or(Ok(()), sync_dir).map_err(io_error)?;
        Ok(Self {
            database,
            log,
            blobs: dir.join("blobs"),
            synced_blobs: Mutex::default(),
        })
    }

    /// Synchronises the large-value files that are new since the last call. O(files in the
    /// directory); there are usually none.
    fn sync_blobs(&self) -> io::Result<()> {
        let mut synced = self
            .synced_blobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut present = BTreeSet::new();
        let mut new = false;
        for entry in fs::read_dir(&self.blobs)? {
            let entry = entry?;
            let name = entry.file_name();
            if !synced.contains(&name) {
                match File::open(entry.path()) {
                    Ok(file) => file.sync_all()?,
                    // sled has removed it meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
                new = true;
            }
            present.insert(name);
        }
        if new {
            sync_dir(&self.blobs)?;
        }
        *synced = present;
        Ok(())
    }
}

/// Waits at most two seconds until sled's file is free. sled's background threads keep its lock for
/// a moment after the last handle in the same process is gone; other processes are kept out by the
/// lock of the data directory.
fn await_lock(log: &Path) -> io::Result<()> {
    let file = match File::open(log) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for _ in 0..400 {
        match file.try_lock() {
            // Released with the file; sled then takes it for itself.
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// sled's error type does not expose its cause, so an I/O error is passed on by itself.
fn sled_error(operation: &'static str, error: ::sled::Error) -> StoreError {
    match error {
        ::sled::Error::Io(error) => engine_error(Engine::Sled, operation, error),
        error => engine_error(Engine::Sled, operation, error),
    }
}

fn tree_key(space: Space, key: &[u8]) -> Vec<u8> {
    [&[space as u8], key].concat()
}

impl Store for SledStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self
            .database
            .get(tree_key(space, key))
            .map_err(|error| sled_error("get", error))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visitor<'_>,
    ) -> Result<(), StoreError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let end = to.map_or_else(|| vec![space as u8 + 1], |to| tree_key(space, to));
        for entry in self.database.range(tree_key(space, from)..end) {
            let (key, value) = entry.map_err(|error| sled_error("scan", error))?;
            if visit(&key[1..], &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        batch.check()?;
        let mut write = ::sled::Batch::default();
        for change in batch.changes {
            match change {
                Change::Put(space, key, value) => write.insert(tree_key(space, &key), &value[..]),
                Change::Delete(space, key) => write.remove(tree_key(space, &key)),
            }
        }
        self.database
            .apply_batch(write)
            .map_err(|error| sled_error("apply", error))
    }

    fn persist(&self) -> Result<(), StoreError> {
        self.database.flush().map_err(|error| match error {
            ::sled::Error::Io(error) => sync_error(Engine::Sled, error),
            error => sync_error(Engine::Sled, error),
        })?;
        self.sync_blobs()
            .and_then(|()| self.log.sync_data())
            .map_err(|error| sync_error(Engine::Sled, error))
    }

    fn stats(&self) -> StoreStats {
        StoreStats {
            bytes: self.database.size_on_disk().unwrap_or(0),
        }
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore")
            .field("blobs", &self.blobs)
            .finish_non_exhaustive()
    }
}
