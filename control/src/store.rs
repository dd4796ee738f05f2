//! The node's one disk, as the cores see it: a synchronous ordered key-value store with atomic
//! batches.
//!
//! Engines live in the root crate; [`MemoryStore`] lives here because simulation and tests need no
//! engine.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

mod memory;

pub use memory::MemoryStore;

/// Longest key in bytes, the same for every engine, so that what one node has accepted every other
/// can hold. fjall's 65 535, less the one that its escape of empty keys may add. Values have at
/// most 4 GiB less one byte.
pub const KEY_BYTES_MAX: usize = u16::MAX as usize - 1;

/// A separate ordered key range of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Space {
    /// Identity of the node, of the cluster and of the store's own format.
    Meta = 0,
    /// The control group's log, vote and snapshots.
    Control = 1,
    /// Live rows of partition replicas.
    Rows = 2,
    /// Events some primary may not know yet.
    Recent = 3,
    /// Contexts, counters and residuals of partition replicas.
    Causal = 4,
    /// What is kept for absent primaries.
    Hints = 5,
}

impl Space {
    /// All spaces, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Meta,
        Self::Control,
        Self::Rows,
        Self::Recent,
        Self::Causal,
        Self::Hints,
    ];
}

/// One change of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Binds the key to the value.
    Put(Space, Bytes, Bytes),
    /// Removes the key, if it is there.
    Delete(Space, Bytes),
}

/// Changes that become visible together or not at all, in order (a later change of a key wins).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes.
    pub changes: Vec<Change>,
}

impl Batch {
    /// Binds `key` to `value` in `space`.
    pub fn put(&mut self, space: Space, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes
            .push(Change::Put(space, key.into(), value.into()));
    }

    /// Removes `key` from `space`.
    pub fn delete(&mut self, space: Space, key: impl Into<Bytes>) {
        self.changes.push(Change::Delete(space, key.into()));
    }

    /// Whether every engine can hold it.
    ///
    /// # Errors
    /// [`StoreError::TooLong`], the first entry that is.
    pub fn check(&self) -> Result<(), StoreError> {
        for change in &self.changes {
            let (key, value) = match change {
                Change::Put(_, key, value) => (key.len(), value.len()),
                Change::Delete(_, key) => (key.len(), 0),
            };
            if key > KEY_BYTES_MAX || u32::try_from(value).is_err() {
                return Err(StoreError::TooLong { key, value });
            }
        }
        Ok(())
    }

    /// Whether applying this batch would change nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// What `scan` shows: a key and its value, borrowed for the call.
pub type Visitor<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// An ordered key-value store with atomic batches.
///
/// **Law:** after [`apply`](Store::apply) returns, every `get` and `scan` sees the whole batch;
/// after [`persist`](Store::persist) returns, everything applied before its call survives power
/// loss (an engine that cannot promise this says so in its own documentation); after a kill at any
/// point the store opens again and holds each batch whole or not at all, in order: if a batch is
/// there, so are all before it.
pub trait Store: Send + Sync + 'static {
    /// The value of `key`, if any.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Shows all entries with `from <= key < to` (no bound above when `to` is `None`), in key
    /// order, until `visit` breaks.
    ///
    /// Batches applied before the call are all seen. A batch applied while the scan runs may be
    /// seen, not seen, or (memory, sled) seen in the part of the range that is still ahead. `visit`
    /// may call the store.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed.
    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visitor<'_>,
    ) -> Result<(), StoreError>;

    /// Makes all changes of `batch`, atomically. Not durable yet.
    ///
    /// # Errors
    /// [`StoreError`]; then the batch is not visible and will not be after a restart.
    /// [`StoreError::TooLong`] by [`Batch::check`].
    fn apply(&self, batch: Batch) -> Result<(), StoreError>;

    /// Makes everything applied so far durable. Costs a disk synchronisation: one task per node
    /// calls it, for many batches at once.
    ///
    /// # Errors
    /// [`StoreError`]; what was applied may or may not be durable, and the node must stop (a second
    /// try could succeed without having written anything).
    fn persist(&self) -> Result<(), StoreError>;

    /// Hands everything applied so far to the operating system: the end of the process does not
    /// lose it, that of the machine may. Costs no synchronisation. For engines that keep nothing
    /// back there is nothing to do.
    ///
    /// # Errors
    /// [`StoreError`]; as for [`persist`](Self::persist), the node must stop.
    fn hand_over(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// How large the store is now.
    fn stats(&self) -> StoreStats;
}

/// Figures of a store, for `status` and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Bytes on disk (in memory for [`MemoryStore`]), as the engine counts them.
    pub bytes: u64,
}

/// What the disk, or the engine on it, said. Each variant is its own cause: only some of them mean
/// that the disk has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The device has no space left. What was applied before stays.
    #[error("no space left on the device of the data directory")]
    Full,
    /// No engine has a format for an entry this long. Nothing was written; the store is as good as
    /// before.
    #[error(
        "a key of {key} bytes with a value of {value} bytes; the largest are {KEY_BYTES_MAX} and {}",
        u32::MAX
    )]
    TooLong {
        /// Bytes of the key.
        key: usize,
        /// Bytes of the value.
        value: usize,
    },
    /// The process, or the machine, has no file descriptor left: clients hold them all, and the
    /// engine could not open a file of its own.
    #[error("{operation} failed in the {engine} store for want of a file descriptor")]
    Descriptors {
        /// Which engine.
        engine: &'static str,
        /// What it was asked to do.
        operation: &'static str,
    },
    /// The disk did not confirm that it holds what was written: it may be lost, whatever a second
    /// try says.
    #[error("the disk under the {engine} store failed to synchronise")]
    Sync {
        /// Which engine.
        engine: &'static str,
        /// What the operating system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine or the operating system failed otherwise.
    #[error("{operation} failed in the {engine} store")]
    Engine {
        /// Which engine.
        engine: &'static str,
        /// What it was asked to do.
        operation: &'static str,
        /// Its own words.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record does not have its checksum or shape.
    #[error("a record of {what} is damaged")]
    Damaged {
        /// What kind of record.
        what: &'static str,
    },
    /// A thread of the node panicked: nobody answers for its part any more, so the node ends.
    #[error("a thread of the node panicked")]
    Panicked,
    /// The node's group commit has ended: nothing becomes durable any more. What was applied may or
    /// may not be.
    #[error("the node has stopped writing")]
    Stopped,
}

/// Calls back when what has been applied is durable: the one group commit of the node.
///
/// A core applies its batch to the [`Store`] and then calls [`commit`](Commit::commit); whatever
/// may be told to others only after the batch is safe goes into `done`.
pub trait Commit: Send + Sync + 'static {
    /// Runs `done` once everything applied before this call is as durable as the node's setting
    /// asks. `done` runs on the committer's thread: it must not block.
    fn commit(&self, done: Done);

    /// Runs `done` once everything applied before this call is durable, whatever the node's setting
    /// asks: for what the whole cluster relies on (votes, the control group's log, the topology
    /// that a node acts on). `done` runs as that of [`commit`](Commit::commit) does.
    fn commit_durably(&self, done: Done);
}

/// Told when a commit is done, or why it is not.
pub type Done = Box<dyn FnOnce(Result<(), Arc<StoreError>>) + Send>;
