//! What a document needs of the library that understands changes.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;
use thiserror::Error;

use super::{Change, ChangeHash};

// The engine panics on some forged changes, and only unwinding contains that. A program that aborts
// instead would end for whoever sends it one, so it does not build.
#[cfg(panic = "abort")]
compile_error!(
    "feature `document` needs `panic = \"unwind\"`: a forged change of a document would end the process otherwise"
);

/// One step into a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// To what stands under a key of an object.
    Key(&'a str),
    /// To what stands at a place of a list, from 0.
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
    /// Overwrites it with a value; objects and lists become such.
    Put(Value),
    /// Overwrites it with a text that can be edited together.
    Text(&'a str),
    /// Overwrites it with a number to which increments add.
    Counter(i64),
    /// Removes it.
    Delete,
    /// Adds to the counter that is there.
    Increment(i64),
    /// Inserts a value before it, in a list.
    Insert(Value),
    /// Takes so many characters out of the text that is there, and puts others in their place.
    Splice {
        /// Before which character, from 0.
        at: usize,
        /// How many characters go.
        delete: usize,
        /// What comes.
        insert: &'a str,
    },
}

/// Why a document was not changed or could not be read. What was written before in the same
/// transaction stays, except after [`Panicked`](Self::Panicked): then it is lost, as is the engine,
/// which is made anew from the changes when it is next needed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum DocumentError {
    /// There is nothing at this step of the path.
    #[error("there is nothing at step {0} of the path")]
    Missing(usize),
    /// What is at this step of the path is of another type than the operation needs.
    #[error("step {0} of the path is of another type")]
    OtherType(usize),
    /// The document would have more bytes than [`Document::BYTES`](super::Document::BYTES).
    #[error("a document may have {limit} bytes")]
    TooLarge {
        /// How many it may have.
        limit: usize,
    },
    /// The document would have more operations than
    /// [`Document::OPERATIONS`](super::Document::OPERATIONS).
    #[error("a document may have {limit} operations")]
    TooManyOperations {
        /// How many it may have.
        limit: u64,
    },
    /// Nested deeper than [`Document::DEPTH`](super::Document::DEPTH).
    #[error("a document may be nested {limit} deep")]
    TooDeep {
        /// How deep it may be.
        limit: usize,
    },
    /// Two changes claim to be the same one of a writer, because its id was used twice. The one on
    /// which more changes build counts; between equals the one with the lesser hash. If the id is
    /// that of this replica, it must go on under the next incarnation.
    #[error("two different changes are number {number} of one writer")]
    Reused {
        /// Which change of the writer.
        number: u64,
    },
    /// Changes of this very replica are waiting for others that have not arrived, so it cannot know
    /// how to go on.
    #[error("changes of this replica wait for others")]
    Incomplete,
    /// The engine says no.
    #[error("refused: {0}")]
    Refused(String),
    /// The engine broke down.
    #[error("the engine panicked: {0}")]
    Panicked(String),
}

/// The library that understands changes. Behind this trait another one can stand in; the default is
/// [`Automerge`](super::Automerge).
///
/// The set of changes, its heads and what is new since others are known without it: see
/// [`Document::changes_since`](super::Document::changes_since). A panic in here is contained, and
/// the engine thrown away; the feature does not build where panics abort.
pub trait Engine: Clone + Default + Debug {
    /// Takes all these changes at once. Those that build on changes that have not come wait for
    /// them.
    ///
    /// **Law:** the view depends on the set of changes alone.
    ///
    /// # Errors
    /// One of them cannot be applied; the engine is then thrown away.
    fn apply_changes(&mut self, changes: &[Arc<Change>]) -> Result<(), DocumentError>;

    /// Whether the change has been applied and is not waiting.
    fn has(&self, change: ChangeHash) -> bool;

    /// What is at the end of the path; nothing if the path leads nowhere.
    ///
    /// # Errors
    /// Nested deeper than `depth`.
    fn view(&self, path: &[Step<'_>], depth: usize) -> Result<Option<Value>, DocumentError>;

    /// The whole history in the engine's own compressed form. Not canonical.
    fn compact(&mut self) -> Vec<u8>;

    /// Writes for an actor, as part of the change that [`commit`](Self::commit) ends.
    ///
    /// # Errors
    /// The path does not lead to what the write needs; nothing was written.
    fn write(
        &mut self,
        actor: [u8; 16],
        path: &[Step<'_>],
        write: &Write<'_>,
    ) -> Result<(), DocumentError>;

    /// How many operations have been written since the last commit.
    fn pending(&self) -> u64;

    /// Ends the change and returns it as a chunk, if something was written.
    fn commit(&mut self) -> Option<Vec<u8>>;
}

/// Runs the engine; should it panic, that is an error like another. What it has changed must then
/// be thrown away.
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
