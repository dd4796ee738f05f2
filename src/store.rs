//! The disk of a node: the engines behind [`Store`], the group commit, and the data directory.
//!
//! The files, each of which names only files above it:
//!
//! | file | what it is for |
//! |---|---|
//! | `engine` | which engine, and how much it may use |
//! | `cause` | what the error of an engine means |
//! | `files` | what is asked of the file system |
//! | `record` | small files that are never seen half written |
//! | `data_dir` | the directory of one node: its lock, its identity, its store |
//! | `incarnation` | the number under which a node's replicas issue events, new at every start |
//! | `commit` | the one thread that synchronises the disk |
//! | `fjall`, `sled` | the engines |

use std::path::Path;
use std::sync::Arc;

use quorate_control::store::{MemoryStore, Store, StoreError};

mod cause;
mod commit;
mod data_dir;
mod engine;
mod files;
mod fjall;
mod incarnation;
mod record;
mod sled;

pub use commit::{CommitCounts, Durability, GroupCommit};
pub use data_dir::{DataDir, DataDirError, Identity};
pub use engine::{Engine, StoreConfig};
pub use files::free_bytes;
pub use fjall::FjallStore;
pub use incarnation::{Life, Lives};
pub use record::RecordError;
pub use sled::SledStore;

/// Opens the store of `engine` in `dir` and creates it if it is not there. A process that is killed
/// while it creates the store leaves nothing behind that stops the next call.
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
