//! What a document needs from the library that understands changes.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;
use thiserror::Error;

use super::change::{Change, ChangeHash};

// The engine panics on some forged changes, and only unwinding contains that. With `panic =
// "abort"`, anyone who sends such a change would end the program, so this does not build.
#[cfg(panic = "abort")]
compile_error!(
    "feature `document` needs `panic = \"unwind\"`: a forged change of a document would end the process otherwise"
);

/// The greatest nesting depth of a document.
pub(super) const DEPTH: usize = 64;

/// One step of a path into a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// To the value under a key of an object.
    Key(&'a str),
    /// To the element at an index of a list, from 0.
    Index(usize),
}

impl<'a> From<&'a str> for Step<'a> {
    fn from(key: &'a str) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Step<'_> {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// One change to make at the end of a path.
#[derive(Clone, PartialEq, Debug)]
pub enum Write<'a> {
    /// Overwrites it with a value. JSON objects and arrays become objects and lists.
    Put(Value),
    /// Overwrites it with a text that several writers can edit at once.
    Text(&'a str),
    /// Overwrites it with a number that increments add to.
    Counter(i64),
    /// Removes it.
    Delete,
    /// Adds to the counter at this place.
    Increment(i64),
    /// Inserts a value before this place of a list.
    Insert(Value),
    /// Replaces characters of the text at this place.
    Splice {
        /// The character to start at, from 0.
        at: usize,
        /// How many characters to remove.
        delete: usize,
        /// The characters to insert.
        insert: &'a str,
    },
}

/// Why a document was not changed or could not be read. Earlier writes of the same transaction
/// stay, except after [`Panicked`](Self::Panicked): then they are lost together with the engine,
/// which is rebuilt from the changes when it is next needed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum DocumentError {
    /// Nothing exists at this step of the path.
    #[error("nothing exists at step {0} of the path")]
    Missing(usize),
    /// The value at this step of the path has another type than the operation needs.
    #[error("the value at step {0} of the path has another type")]
    OtherType(usize),
    /// The document would have more bytes than [`Document::BYTES`](super::Document::BYTES). Nothing
    /// was written.
    #[error("the document would have more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The document would have more operations than
    /// [`Document::OPERATIONS`](super::Document::OPERATIONS). Nothing was written.
    #[error("the document would have more than {limit} operations")]
    TooManyOperations {
        /// The limit, in operations.
        limit: u64,
    },
    /// The value is nested deeper than [`Document::DEPTH`](super::Document::DEPTH).
    #[error("the value is nested more than {limit} levels deep")]
    TooDeep {
        /// The limit, in levels.
        limit: usize,
    },
    /// Two changes claim the same number of one writer, because its id was used twice. The one that
    /// more changes build on counts; if equally many do, the one with the lesser hash. If the id is
    /// that of this replica, it must continue under the next incarnation.
    #[error("two different changes claim number {number} of one writer")]
    Reused {
        /// The number that both changes claim.
        number: u64,
    },
    /// Changes of this very replica wait for others that have not arrived, so it cannot know where
    /// to continue. Merge what is missing first.
    #[error("changes of this replica wait for changes that have not arrived")]
    Incomplete,
    /// The engine refused the operation, for a reason that it gives.
    #[error("the engine refused: {0}")]
    Refused(String),
    /// The engine panicked. It is discarded; the message is that of the panic.
    #[error("the engine panicked: {0}")]
    Panicked(String),
}

/// The library that understands changes. Implement this trait to replace the default,
/// [`Automerge`](super::Automerge).
///
/// The document itself knows the set of changes, its heads and what is new since others: see
/// [`Document::changes_since`](super::Document::changes_since). A panic in here is contained and
/// discards the engine; the feature does not build with `panic = "abort"`.
pub trait Engine: Clone + Default + Debug {
    /// Takes all these changes at once. Those that build on changes that have not come wait for
    /// them.
    ///
    /// **Law:** the view depends on the set of changes alone.
    ///
    /// # Errors
    /// One of them cannot be applied. The caller then discards the engine.
    fn apply_changes(&mut self, changes: &[Arc<Change>]) -> Result<(), DocumentError>;

    /// Whether the change has been applied and does not wait.
    fn has(&self, change: ChangeHash) -> bool;

    /// The value at the end of the path; `None` if the path leads nowhere.
    ///
    /// # Errors
    /// The value is nested deeper than `depth`.
    fn view(&self, path: &[Step<'_>], depth: usize) -> Result<Option<Value>, DocumentError>;

    /// The whole history in the engine's own compressed form. Not canonical.
    fn compact(&mut self) -> Vec<u8>;

    /// Writes for an actor, as part of the change that [`commit`](Self::commit) ends.
    ///
    /// # Errors
    /// The path does not lead to what the write needs. Nothing was written.
    fn write(
        &mut self,
        actor: [u8; 16],
        path: &[Step<'_>],
        write: &Write<'_>,
    ) -> Result<(), DocumentError>;

    /// How many operations have been written since the last commit.
    fn pending(&self) -> u64;

    /// Ends the change and returns it as a chunk; `None` if nothing was written.
    fn commit(&mut self) -> Option<Vec<u8>>;
}

/// Runs the engine and turns a panic into an error. The caller must then discard whatever the
/// engine has changed.
pub(super) fn contained<R>(
    work: impl FnOnce() -> Result<R, DocumentError>,
) -> Result<R, DocumentError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|&message| message.to_owned());
        Err(DocumentError::Panicked(
            message
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default(),
        ))
    })
}
