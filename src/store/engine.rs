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
    /// Keeps the data in memory; none of it survives the process. What a node has promised to its
    /// cluster survives: see [`of_records`](Self::of_records).
    Memory,
}

impl Engine {
    /// Whether everything that was synchronised survives a power loss. A node whose engine cannot
    /// promise it votes in the control group only if nobody else can.
    pub const fn keeps_what_is_synced(self) -> bool {
        matches!(self.of_records(), Self::Fjall)
    }

    /// Whether the data of clients is written to disk.
    pub const fn keeps_data(self) -> bool {
        !matches!(self, Self::Memory)
    }

    /// The engine of a node's own records: who it is, its topology, its votes and its part of the
    /// control group's log. They are small, and a node without them would have to join anew, so
    /// they are on disk even when the data is not.
    #[must_use]
    pub const fn of_records(self) -> Self {
        match self {
            Self::Memory => Self::Fjall,
            other => other,
        }
    }

    /// The name in `--storage`, in errors, and of its folder in a data directory.
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

impl StoreConfig {
    /// What suits the store of a node: one that holds no data needs little.
    #[must_use]
    pub fn of(engine: Engine) -> Self {
        let usual = Self::default();
        if engine.keeps_data() {
            return usual;
        }
        Self {
            cache_bytes: 1 << 20,
            ..usual
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            files: limits::store_files(),
        }
    }
}
