//! The node's disk as the cores see it: a synchronous, ordered key-value store with atomic batches.
//!
//! The engines are in the root crate. [`MemoryStore`] is here, because simulations and tests need
//! no engine.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

mod memory;

pub use memory::MemoryStore;

/// The longest key in bytes. It is the same for every engine, so that every node can hold what one
/// has accepted: fjall's 65,535, less one byte that its escape of empty keys may add. A value has
/// at most 4 GiB less one byte.
pub const KEY_BYTES_MAX: usize = u16::MAX as usize - 1;

/// A part of the store with keys and an order of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Space {
    /// Identity of the node, of the cluster and of the store's own format.
    Meta = 0,
    /// The control group's log, vote and snapshots.
    Control = 1,
    /// Live rows of partition replicas.
    Rows = 2,
    /// Events that some primary may not know yet.
    Recent = 3,
    /// Contexts, counters and residuals of partition replicas.
    Causal = 4,
    /// Writes kept for absent primaries.
    Hints = 5,
}

impl Space {
    /// All spaces, in ascending order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Meta,
        Self::Control,
        Self::Rows,
        Self::Recent,
        Self::Causal,
        Self::Hints,
    ];
}

/// One change in a [`Batch`] (unlike the document type's `Change`, which is one of automerge's).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets the key to the value.
    Put(Space, Bytes, Bytes),
    /// Removes the key, if there is one.
    Delete(Space, Bytes),
}

/// Changes that become visible together or not at all. They apply in order: the last change of a
/// key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes, in order.
    pub changes: Vec<Change>,
}

impl Batch {
    /// Sets `key` to `value` in `space`.
    pub fn put(&mut self, space: Space, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes
            .push(Change::Put(space, key.into(), value.into()));
    }

    /// Removes `key` from `space`.
    pub fn delete(&mut self, space: Space, key: impl Into<Bytes>) {
        self.changes.push(Change::Delete(space, key.into()));
    }

    /// Checks that every engine can hold the batch.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] for the first entry that is too long.
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

    /// Whether the batch holds no change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Called by `scan` with each key and its value, which are borrowed for the call.
pub type Visitor<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// An ordered key-value store with atomic batches.
///
/// **Laws:** after [`apply`](Store::apply) returns, every `get` and `scan` sees the whole batch.
/// After [`persist`](Store::persist) returns, everything applied before the call survives a power
/// loss; an engine that cannot promise this says so in its documentation. After a kill at any
/// moment the store opens again and holds each batch whole or not at all, and if it holds a batch,
/// it holds all batches before it.
pub trait Store: Send + Sync + 'static {
    /// The value of `key`, if any.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Calls `visit` with every entry with `from <= key < to`, in key order, until `visit` breaks.
    /// If `to` is `None`, there is no upper bound.
    ///
    /// The scan sees all batches applied before the call. It may or may not see a batch applied
    /// while it runs; with memory and sled it may see only the part that is still ahead. `visit`
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

    /// Makes all changes of `batch`, atomically. They are not durable yet.
    ///
    /// # Errors
    /// [`StoreError`]: the batch is not visible, and will not be after a restart. What
    /// [`Batch::check`] refuses is [`StoreError::TooLong`].
    fn apply(&self, batch: Batch) -> Result<(), StoreError>;

    /// Makes everything applied so far durable. It costs a disk synchronisation, so one task per
    /// node calls it for many batches at once.
    ///
    /// # Errors
    /// [`StoreError`]: what was applied may or may not be durable. The node must stop, because a
    /// second attempt could succeed without having written anything.
    fn persist(&self) -> Result<(), StoreError>;

    /// Hands everything applied so far to the operating system, so that it survives the end of the
    /// process, though perhaps not of the machine. It costs no synchronisation. Engines that buffer
    /// nothing have nothing to do.
    ///
    /// # Errors
    /// [`StoreError`]: the node must stop, as after [`persist`](Self::persist).
    fn hand_over(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The present size of the store.
    fn stats(&self) -> StoreStats;
}

/// Figures of a store, for `status` and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Bytes on disk (in memory for [`MemoryStore`]), as the engine counts them.
    pub bytes: u64,
}

/// An error of the disk or of the engine. Only some variants mean that the disk has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The device has no space left. What was applied before stays.
    #[error("no space left on the device of the data directory")]
    Full,
    /// An entry is longer than every engine can hold. Nothing was written, and the store still
    /// works.
    #[error(
        "a key of {key} bytes with a value of {value} bytes is too long: the limits are {KEY_BYTES_MAX} and {}",
        u32::MAX
    )]
    TooLong {
        /// Bytes of the key.
        key: usize,
        /// Bytes of the value.
        value: usize,
    },
    /// The engine could not open a file, because the process or the machine has no file descriptor
    /// left. Clients usually hold them all.
    #[error("{operation} failed in the {engine} store: no file descriptor is left")]
    Descriptors {
        /// Which engine.
        engine: &'static str,
        /// What it was asked to do.
        operation: &'static str,
    },
    /// The disk did not confirm that it holds what was written. It may be lost, even if a second
    /// attempt succeeds.
    #[error("the disk under the {engine} store failed to synchronise")]
    Sync {
        /// Which engine.
        engine: &'static str,
        /// What the operating system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine or the operating system failed in another way.
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
    /// A record has a wrong checksum or the wrong shape.
    #[error("a record of {what} is damaged")]
    Damaged {
        /// What kind of record.
        what: &'static str,
    },
    /// A thread of the node panicked. Nothing does its work any more, so the node stops.
    #[error("a thread of the node panicked")]
    Panicked,
    /// The node's group commit has ended, so nothing more becomes durable. What was applied may or
    /// may not be durable.
    #[error("the node has stopped writing")]
    Stopped,
}

/// The node's group commit: it calls back when what has been applied is durable.
///
/// A core applies its batch to the [`Store`] and then calls [`commit`](Commit::commit). Anything
/// that others may learn only once the batch is safe belongs in `done`.
pub trait Commit: Send + Sync + 'static {
    /// Runs `done` once everything applied before this call is as durable as the node's setting
    /// asks. `done` runs on the committer's thread, so it must not block.
    fn commit(&self, done: Done);

    /// Runs `done` once everything applied before this call is durable, whatever the node's setting
    /// is. It is for what the whole cluster relies on: votes, the control group's log, the topology
    /// that a node acts on. `done` runs as for [`commit`](Commit::commit).
    fn commit_durably(&self, done: Done);
}

/// Called when a commit is done, or with the reason why it failed.
pub type Done = Box<dyn FnOnce(Result<(), Arc<StoreError>>) + Send>;
