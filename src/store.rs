//! The node's disk: the engines behind [`Store`], the one group commit, and the data directory.

use std::io;
use std::path::Path;
use std::sync::Arc;

use quorate_control::store::{MemoryStore, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::limits;

mod commit;
mod data_dir;
mod fjall;
mod life;
mod record;
mod sled;

pub use commit::{CommitCounts, Durability, GroupCommit};
pub use data_dir::{DataDir, DataDirError, Identity, free_bytes};
pub use fjall::FjallStore;
pub use life::{Life, Lives};
pub use record::RecordError;
pub use sled::SledStore;

/// Which program keeps the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Engine {
    /// A log-structured tree (crate `fjall`). What [`Store::persist`] returned for survives power
    /// loss.
    #[default]
    Fjall,
    /// Crate `sled` 0.34. Survives `kill -9`; after power loss it may refuse to open (see
    /// [`SledStore`]).
    Sled,
    /// Nothing survives the process.
    Memory,
}

impl Engine {
    /// The name in `--storage` and in errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fjall => "fjall",
            Self::Sled => "sled",
            Self::Memory => "memory",
        }
    }
}

/// How much an engine may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Bytes of memory for blocks read from disk; write buffers take up to as much again. The
    /// default, 64 MiB, is a guess: live rows are cached above the engine. At least 1 MiB is used.
    pub cache_bytes: u64,
    /// Files that the engine may keep open for reading. The default is what [`crate::limits`]
    /// leaves to a store; at least 16 are used.
    pub files: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            files: limits::store_files(),
        }
    }
}

/// Opens the store of `engine` in `dir`, creating it if it is not there. A process killed while
/// creating it leaves nothing that stops the next call.
///
/// # Errors
/// [`StoreError::Full`] without space, [`StoreError::Engine`] when the engine refuses what it
/// finds; nothing is deleted.
pub fn open(engine: Engine, dir: &Path, config: StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match engine {
        Engine::Fjall => Arc::new(FjallStore::open(dir, config)?),
        Engine::Sled => Arc::new(SledStore::open(dir, config)?),
        Engine::Memory => Arc::new(MemoryStore::new()),
    })
}

/// Whether the operating system said, anywhere in the chain of causes, what `is` recognises.
fn caused_by(error: &(dyn std::error::Error + 'static), is: fn(&io::Error) -> bool) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| wraps(error, is))
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// `source()` of an io error skips the error it wraps, and sled wraps io errors in io errors.
fn wraps(error: &io::Error, is: fn(&io::Error) -> bool) -> bool {
    is(error)
        || error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<io::Error>())
            .is_some_and(|inner| wraps(inner, is))
}

/// The device or the quota is exhausted.
fn out_of_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// The process or the machine has no file descriptor left.
fn out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.raw_os_error().is_some_and(|code| {
        code == Errno::MFILE.raw_os_error() || code == Errno::NFILE.raw_os_error()
    })
}

/// `error` as a [`StoreError`] of `engine`, by its cause.
fn engine_error(
    engine: Engine,
    operation: &'static str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> StoreError {
    if caused_by(&error, out_of_space) {
        return StoreError::Full;
    }
    if caused_by(&error, out_of_descriptors) {
        return StoreError::Descriptors {
            engine: engine.name(),
            operation,
        };
    }
    StoreError::Engine {
        engine: engine.name(),
        operation,
        source: Box::new(error),
    }
}

/// `error` of a synchronisation: what was written may be lost.
fn sync_error(engine: Engine, error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    if caused_by(&error, out_of_space) {
        return StoreError::Full;
    }
    StoreError::Sync {
        engine: engine.name(),
        source: Box::new(error),
    }
}

/// Makes the names in `dir` durable.
fn sync_dir(dir: &Path) -> io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}
