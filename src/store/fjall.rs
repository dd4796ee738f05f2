//! The default engine: a log-structured merge tree with one journal for all spaces (crate `fjall`).
//!
//! Promise: everything applied before [`persist`](Store::persist) returned survives power loss
//! (measured on fjall 3.1.13: 30 of 30 crash images rebuilt from a record of writes and syncs
//! opened with every acknowledged key). A batch is one journal record with a checksum, so it is
//! there whole or not at all. The journal is cut at the first record that is not whole, so a prefix
//! is left. Not promised: the engine cannot tell damage in the *middle* of the journal (bit rot)
//! from a torn tail, and silently drops what follows it (fjall issue 311). Anti-entropy and the
//! digests find such a loss; the engine does not.
//!
//! This store works around two properties of fjall 3.1.13. First, fjall synchronises its journal
//! under the lock that every write takes, so no batch could be applied while the disk works.
//! `persist` hands the journal's buffer to the operating system under that lock and then
//! synchronises the file itself. Second, the end of a background flush or compaction can show a
//! snapshot a part of the batch that is being applied at that moment, because it publishes a later
//! sequence number than the batch's. So no snapshot is opened while a batch is being applied.
//!
//! After a failed write or sync fjall refuses every later write. So does this store, with the same
//! kind of error.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use ::fjall::{
    Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable, Snapshot,
};
use bytes::Bytes;
use quorate_control::store::{
    Batch, Change, KEY_BYTES_MAX, Space, Store, StoreError, StoreStats, Visitor,
};

use super::cause::{engine_error, out_of_descriptors, sync_error};
use super::engine::{Engine, StoreConfig};
use super::files::{free_bytes, sync_dir};

/// A store that refuses writes without saying why is considered full if fewer bytes than this are
/// free. (fjall forgets the cause when a background flush fails.)
const FULL_BELOW: u64 = 1 << 20;

/// How long a synchronisation waits for a file descriptor, and how often it tries. Guess: clients
/// that were refused give up sooner.
const DESCRIPTOR_PATIENCE: Duration = Duration::from_secs(10);
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(10);

/// A store on fjall. One keyspace of the engine per [`Space`]; `apply` writes to a buffer of this
/// process, `persist` hands it to the disk and waits.
pub struct FjallStore {
    database: Database,
    spaces: Vec<Keyspace>,
    dir: PathBuf,
    /// Locked for writing while a batch is applied, for reading while a snapshot is opened.
    applying: RwLock<()>,
    journal: Mutex<Option<Journal>>,
    full: AtomicBool,
    /// A synchronisation has failed: nothing more is written. The engine does the same after a
    /// failure of its own.
    failed: AtomicBool,
}

/// The file that the engine appends to, opened a second time so that it can be synchronised without
/// the engine's lock.
struct Journal {
    number: u64,
    file: File,
}

impl FjallStore {
    /// Opens or creates the store in `dir`.
    ///
    /// # Errors
    /// [`StoreError`]; an existing store is left as it was.
    pub fn open(dir: &Path, config: StoreConfig) -> Result<Self, StoreError> {
        if !dir.exists() {
            create(dir, config)?;
        }
        let (database, spaces) =
            open_at(dir, config).map_err(|error| engine_error(Engine::Fjall, "open", error))?;
        Ok(Self {
            database,
            spaces,
            dir: dir.to_path_buf(),
            applying: RwLock::new(()),
            journal: Mutex::new(None),
            full: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        })
    }

    fn space(&self, space: Space) -> &Keyspace {
        &self.spaces[space as usize]
    }

    /// A view that shows each batch whole or not at all.
    fn snapshot(&self) -> Snapshot {
        let _whole = self.applying.read().unwrap_or_else(PoisonError::into_inner);
        self.database.snapshot()
    }

    /// Synchronises the newest journal. Everything that the engine has not synchronised itself is
    /// there: the engine begins a new journal only after it has synchronised the one before, and
    /// drops a journal only when its data is in tables that it has synchronised.
    fn sync_journal(&self) -> Result<(), StoreError> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waited = Duration::ZERO;
        while let Err(error) = self.open_newest(&mut journal) {
            // No synchronisation has been tried, so none has failed. Somebody will close a file.
            if !out_of_descriptors(&error) || waited >= DESCRIPTOR_PATIENCE {
                return Err(engine_error(Engine::Fjall, "opening of the journal", error));
            }
            std::thread::sleep(DESCRIPTOR_PAUSE);
            waited += DESCRIPTOR_PAUSE;
        }
        journal
            .as_ref()
            .map_or(Ok(()), |journal| journal.file.sync_data())
            .map_err(|error| sync_error(Engine::Fjall, error))
    }

    /// Makes `journal` the newest one. It stays open, so that a write-back error between two
    /// synchronisations is reported to this handle.
    fn open_newest(&self, journal: &mut Option<Journal>) -> io::Result<()> {
        let mut newest = None;
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_suffix(".jnl"))
                .and_then(|number| number.parse::<u64>().ok());
            newest = newest.max(number);
        }
        let number = newest.ok_or(io::ErrorKind::NotFound)?;
        if journal
            .as_ref()
            .is_none_or(|journal| journal.number != number)
        {
            let file = File::options()
                .read(true)
                .write(true)
                .open(self.dir.join(format!("{number}.jnl")))?;
            *journal = Some(Journal { number, file });
        }
        Ok(())
    }

    fn check_writable(&self, operation: &'static str) -> Result<(), StoreError> {
        if self.failed.load(Ordering::Relaxed) {
            Err(self.error(operation, ::fjall::Error::Poisoned))
        } else {
            Ok(())
        }
    }

    fn error(&self, operation: &'static str, error: ::fjall::Error) -> StoreError {
        let poisoned = matches!(error, ::fjall::Error::Poisoned);
        let full = || {
            self.full.load(Ordering::Relaxed)
                || free_bytes(&self.dir).is_ok_and(|free| free < FULL_BELOW)
        };
        let error = if poisoned && full() {
            StoreError::Full
        } else {
            engine_error(Engine::Fjall, operation, error)
        };
        if matches!(error, StoreError::Full) {
            self.full.store(true, Ordering::Relaxed);
        }
        error
    }
}

/// Creates the store beside its place and then renames it. fjall itself cannot open what is left
/// when it is killed while it creates a database.
fn create(dir: &Path, config: StoreConfig) -> Result<(), StoreError> {
    let error = |error| engine_error(Engine::Fjall, "create", error);
    let mut unfinished = dir.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(error)?;
    }
    drop(
        open_at(&unfinished, config)
            .map_err(|error| engine_error(Engine::Fjall, "create", error))?,
    );
    fs::rename(&unfinished, dir).map_err(error)?;
    dir.parent().map_or(Ok(()), sync_dir).map_err(error)
}

fn open_at(dir: &Path, config: StoreConfig) -> ::fjall::Result<(Database, Vec<Keyspace>)> {
    let cache = config.cache_bytes.max(1 << 20);
    // A quarter each: two of the six spaces take nearly all writes, and a full buffer is kept until
    // it is on disk.
    let write_buffer = (cache / 4).clamp(1 << 20, 64 << 20);
    let workers = if cache < 32 << 20 { 1 } else { 2 };
    let files = config.files.max(16);
    let builder = Database::builder(dir)
        .cache_size(cache)
        .max_cached_files(Some(files))
        .worker_threads(workers);
    let database = builder.manual_journal_persist(true).open()?;
    let options = || {
        KeyspaceCreateOptions::default()
            .manual_journal_persist(true)
            .max_memtable_size(write_buffer)
    };
    let spaces = Space::ALL
        .iter()
        .map(|space| database.keyspace(keyspace_name(*space), options))
        .collect::<Result<_, _>>()?;
    Ok((database, spaces))
}

/// The engine's name for a space. Part of the format on disk.
const fn keyspace_name(space: Space) -> &'static str {
    match space {
        Space::Meta => "meta",
        Space::Control => "control",
        Space::Rows => "rows",
        Space::Recent => "recent",
        Space::Causal => "causal",
        Space::Hints => "hints",
    }
}

/// The key as the engine stores it. The engine has no empty key, so the empty key and every key
/// that starts with a zero byte get one zero byte in front. That keeps the order, and most keys
/// stay as they are.
fn stored_key(key: &[u8]) -> Cow<'_, [u8]> {
    if key.first().is_none_or(|first| *first == 0) {
        Cow::Owned([&[0], key].concat())
    } else {
        Cow::Borrowed(key)
    }
}

/// Undoes [`stored_key`].
fn original_key(stored: &[u8]) -> &[u8] {
    stored.strip_prefix(&[0]).unwrap_or(stored)
}

fn place(change: &Change) -> (Space, &[u8]) {
    match change {
        Change::Put(space, key, _) | Change::Delete(space, key) => (*space, key),
    }
}

/// Keeps the last change of each key. The engine gives all changes of a batch one sequence number,
/// and a key must not occur twice under it.
fn last_per_key(mut changes: Vec<Change>) -> Vec<Change> {
    changes.sort_by(|a, b| place(a).cmp(&place(b)));
    // `dedup_by` removes the later of two neighbours, but that is the one to keep. So it is swapped
    // into the earlier place first.
    changes.dedup_by(|later, earlier| {
        let same = place(later) == place(earlier);
        if same {
            std::mem::swap(later, earlier);
        }
        same
    });
    changes
}

impl Store for FjallStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if key.len() > KEY_BYTES_MAX {
            return Ok(None);
        }
        // Through a snapshot, because a plain read can see a batch that is half applied.
        let value = self.snapshot().get(self.space(space), stored_key(key));
        Ok(value
            .map_err(|error| self.error("get", error))?
            .map(|value| Bytes::copy_from_slice(&value)))
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
        let (from, to) = (stored_key(from), to.map(stored_key));
        let upper = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let snapshot = self.snapshot();
        for entry in snapshot.range::<&[u8], _>(self.space(space), (Bound::Included(&*from), upper))
        {
            let (key, value) = entry
                .into_inner()
                .map_err(|error| self.error("scan", error))?;
            if visit(original_key(&key), &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        batch.check()?;
        self.check_writable("apply")?;
        let changes = last_per_key(batch.changes);
        let mut write = OwnedWriteBatch::with_capacity(self.database.clone(), changes.len());
        for change in &changes {
            match change {
                // The value is copied. A slice of a network buffer would keep the whole buffer in
                // memory until the next flush.
                Change::Put(space, key, value) => {
                    write.insert(self.space(*space), &*stored_key(key), &value[..]);
                }
                Change::Delete(space, key) => write.remove(self.space(*space), &*stored_key(key)),
            }
        }
        let _applying = self
            .applying
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        write.commit().map_err(|error| self.error("apply", error))
    }

    fn hand_over(&self) -> Result<(), StoreError> {
        self.check_writable("flush")?;
        self.database
            .persist(PersistMode::Buffer)
            .map_err(|error| self.error("flush", error))
    }

    fn persist(&self) -> Result<(), StoreError> {
        let flush = || {
            self.database
                .persist(PersistMode::Buffer)
                .map_err(|error| self.error("persist", error))
        };
        self.check_writable("persist")?;
        flush()?;
        if let Err(error) = self.sync_journal() {
            self.failed.store(true, Ordering::Relaxed);
            self.full
                .fetch_or(matches!(error, StoreError::Full), Ordering::Relaxed);
            return Err(error);
        }
        // If the journal was replaced meanwhile, the engine's own synchronisation of the old one
        // may have failed. Then the engine refuses everything, and this call says so.
        flush()
    }

    fn stats(&self) -> StoreStats {
        StoreStats {
            bytes: self.database.disk_space().unwrap_or(0),
        }
    }
}

impl fmt::Debug for FjallStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallStore")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
