//! Which engine keeps a node's data, and how much it may use.

use serde::{Deserialize, Serialize};

use crate::limits;

/// The storage engine of a node. Unlike the `Engine` of `quorate-crdt`, which a document is edited
/// with, it is only a choice: [`open`](super::open) opens it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Engine {
    /// A log-structured tree (crate `fjall`). Everything written before [`Store::persist`] returned
    /// survives power loss.
    ///
    /// [`Store::persist`]: quorate_control::store::Store::persist
    #[default]
    Fjall,
    /// Crate `sled` 0.34. It survives `kill -9`; after power loss it may refuse to open (see
    /// [`SledStore`](super::SledStore)).
    Sled,
    /// Keeps the data in memory; nothing survives the process.
    Memory,
}

impl Engine {
    /// Whether everything that was synchronised survives a power loss. A node whose engine cannot
    /// promise it votes in the control group only if nobody else can.
    pub const fn keeps_what_is_synced(self) -> bool {
        matches!(self, Self::Fjall)
    }

    /// The name in `--storage` and in errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fjall => "fjall",
            Self::Sled => "sled",
            Self::Memory => "memory",
        }
    }
}

/// How much memory and how many files an engine may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Bytes of memory for blocks read from disk. Write buffers take up to the same again. The
    /// default of 64 MiB is a guess: live rows are cached above the engine. At least 1 MiB is used.
    pub cache_bytes: u64,
    /// Files that the engine may keep open for reading. The default is the store's share by
    /// [`limits`]; at least 16 are used.
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
