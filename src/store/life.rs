//! Which of its lives a node is in: the incarnation of its [`ReplicaId`](quorate_crdt::ReplicaId)s.
//!
//! A node may go on under its old incarnation only if it remembers every dot that it ever told anybody. It does when its last stop was
//! complete (a clean shutdown, or an engine and durability under which nothing is told before it is durable) and this is the directory and
//! the store it stopped with, not a copy, a restored backup or an empty store. Otherwise it takes a new
//! incarnation and goes on with what it has.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use quorate_control::store::{Batch, Space, Store, StoreError};
use serde::{Deserialize, Serialize};

use super::record::{self, Record, RecordError};
use super::{Durability, Engine, out_of_space};

/// One life of a node, from its start to its stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Goes into every [`ReplicaId`](quorate_crdt::ReplicaId) of this node.
    pub incarnation: u32,
    /// Whether this is the incarnation of the life before: then its contexts and counters go on. Otherwise what it has is kept as data, and
    /// its own dots start anew.
    pub continued: bool,
}

/// What the last start or stop wrote down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LifeRecord {
    incarnation: u32,
    /// The last thing that happened was a complete stop.
    clean: bool,
    /// Even without one nothing acknowledged is missing.
    keeps_acknowledged: bool,
    file: FileIdentity,
}

impl Record for LifeRecord {
    const FILE: &'static str = "life";
    const VERSION: u16 = 1;
}

/// Which file this is, as far as the file system can tell. A copy or a restored backup is another file with the same bytes.
///
/// Not seen: a snapshot of the whole file system or virtual machine brought back, where all of it is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileIdentity {
    /// Its inode number; 0 where there are none.
    inode: u64,
    /// When it was created, in nanoseconds since 1970, where the file system tells: a restored tree may by chance get the same inode numbers.
    created: Option<u64>,
}

impl FileIdentity {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        let since_1970 = metadata.created().ok().and_then(|created| created.duration_since(UNIX_EPOCH).ok());
        Ok(Self { inode, created: since_1970.and_then(|age| u64::try_from(age.as_nanos()).ok()) })
    }
}

fn put(dir: &Path, record: LifeRecord) -> Result<(), RecordError> {
    record::write(dir, |file| Ok(LifeRecord { file: FileIdentity::of(file)?, ..record }))
}

/// A node could not begin or end a life; it must not serve, and the next start decides as after an incomplete stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LifeError {
    /// The record beside the store failed. A damaged one is no error at the beginning: it means an unknown past.
    #[error("the record of the node's lives failed")]
    Record(#[from] RecordError),
    /// The mark inside the store failed.
    #[error("the mark of the node's life in its store failed")]
    Store(#[from] StoreError),
}

impl From<LifeError> for StoreError {
    fn from(error: LifeError) -> Self {
        match error {
            LifeError::Store(error) => error,
            LifeError::Record(RecordError::Io(error)) if out_of_space(&error) => Self::Full,
            LifeError::Record(RecordError::Damaged) => Self::Damaged { what: "the node's lives" },
            LifeError::Record(error) => Self::Engine { engine: "data directory", operation: "record of a life", source: Box::new(error) },
        }
    }
}

/// Where the store carries the incarnation that wrote it (u32 BE, in [`Space::Meta`]): a store that was deleted, replaced or kept in
/// memory does not know what the record beside it knows.
const MARK: &[u8] = b"incarnation";

/// How the last life ended, as far as it can be known.
enum Past {
    /// First start, damaged record, or a copy of a directory that may live on elsewhere: others may count from the same number.
    Unknown { at_least: u32 },
    /// This directory, but what was told may be missing from it.
    Incomplete { incarnation: u32 },
    /// This directory with all that was told.
    Complete { incarnation: u32 },
}

fn past(dir: &Path, store: &dyn Store) -> Result<Past, LifeError> {
    let (last, file) = match record::read::<LifeRecord>(dir) {
        Ok(Some(found)) => found,
        Ok(None) | Err(RecordError::Damaged) => return Ok(Past::Unknown { at_least: 0 }),
        Err(error) => return Err(error.into()),
    };
    let incarnation = last.incarnation;
    let marked = store.get(Space::Meta, MARK)?.is_some_and(|mark| mark[..] == incarnation.to_be_bytes());
    Ok(if last.file != FileIdentity::of(&file).map_err(RecordError::from)? {
        Past::Unknown { at_least: incarnation.saturating_add(1) }
    } else if marked && (last.clean || last.keeps_acknowledged) {
        Past::Complete { incarnation }
    } else {
        Past::Incomplete { incarnation }
    })
}

/// Decides the incarnation and writes it down, durably, in `dir` and in `store`, before anything can be told under it.
///
/// Two copies of one directory differ if they start at different seconds.
pub(super) fn begin(dir: &Path, store: &dyn Store, setting: (Engine, Durability), unix_seconds: u32) -> Result<Life, LifeError> {
    let life = match past(dir, store)? {
        Past::Complete { incarnation } => Life { incarnation, continued: true },
        Past::Incomplete { incarnation } => Life { incarnation: incarnation.saturating_add(1), continued: false },
        Past::Unknown { at_least } => Life { incarnation: unix_seconds.max(at_least).max(1), continued: false },
    };
    let (engine, durability) = setting;
    let keeps_acknowledged = engine.keeps_acknowledged(durability);
    let file = FileIdentity { inode: 0, created: None };
    write_down(dir, store, LifeRecord { incarnation: life.incarnation, clean: false, keeps_acknowledged, file })?;
    Ok(life)
}

/// The next number after all that were used, written down like that of a new life.
pub(super) fn renew(dir: &Path, store: &dyn Store, unix_seconds: u32) -> Result<u32, LifeError> {
    let (last, _) = record::read::<LifeRecord>(dir)?.ok_or(RecordError::Damaged)?;
    let incarnation = last.incarnation.saturating_add(1).max(unix_seconds);
    write_down(dir, store, LifeRecord { incarnation, clean: false, ..last })?;
    Ok(incarnation)
}

/// The record first: killed in between, the store does not match it, and the next life is a new one.
fn write_down(dir: &Path, store: &dyn Store, record: LifeRecord) -> Result<(), LifeError> {
    put(dir, record)?;
    let mut mark = Batch::default();
    mark.put(Space::Meta, MARK, record.incarnation.to_be_bytes().to_vec());
    store.apply(mark)?;
    Ok(store.persist()?)
}

/// Writes down that all this life told anybody is durable.
pub(super) fn end(dir: &Path) -> Result<(), LifeError> {
    let (last, _) = record::read::<LifeRecord>(dir)?.ok_or(RecordError::Damaged)?;
    Ok(put(dir, LifeRecord { clean: true, ..last })?)
}

#[cfg(test)]
mod tests;
