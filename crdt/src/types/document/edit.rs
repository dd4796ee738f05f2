//! Writing a document: each write is weighed first, and all writes of a transaction become one
//! change.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use serde_json::Value;

use super::automerge::Automerge;
use super::change::{Actor, Change};
use super::engine::{DEPTH, DocumentError, Engine, Step, Write, contained};
use super::set::Document;
use crate::{Edit, Tx};

/// A document open for writing. Reads see the writes before them. When the transaction ends, all of
/// it becomes one change.
pub struct DocumentEdit<'a, E: Engine = Automerge>(pub(super) Edit<'a, Document<E>>);

impl<E: Engine> DocumentEdit<'_, E> {
    /// Overwrites the value at the end of the path. A missing key is created, but everything that
    /// leads to it must exist. A string is overwritten as a whole; for a text that people edit
    /// together, see [`put_text`](Self::put_text).
    ///
    /// # Errors
    /// [`DocumentError`] gives the reason, for instance a path that leads nowhere. Nothing was
    /// written.
    pub fn put<'p, S: Copy + Into<Step<'p>>>(
        &mut self,
        tx: &mut Tx<'_>,
        path: &[S],
        value: impl Into<Value>,
    ) -> Result<(), DocumentError> {
        self.write(tx, path, &Write::Put(value.into()))
    }

    /// Puts a text that several writers can edit at once. Concurrent puts of a text under one key
    /// keep only one of them, so create it once, early.
    ///
    /// # Errors
    /// As for [`put`](Self::put). Nothing was written.
    pub fn put_text<'p, S: Copy + Into<Step<'p>>>(
        &mut self,
        tx: &mut Tx<'_>,
        path: &[S],
        text: &str,
    ) -> Result<(), DocumentError> {
        self.write(tx, path, &Write::Text(text))
    }

    /// Puts a counter. An increment takes time proportional to the number of increments before it,
    /// so use it for few.
    ///
    /// # Errors
    /// As for [`put`](Self::put). Nothing was written.
    pub fn put_counter<'p, S: Copy + Into<Step<'p>>>(
        &mut self,
        tx: &mut Tx<'_>,
        path: &[S],
        start: i64,
    ) -> Result<(), DocumentError> {
        self.write(tx, path, &Write::Counter(start))
    }

    /// Removes the value at the end of the path. A concurrent put of it elsewhere stays.
    ///
    /// # Errors
    /// [`DocumentError`] gives the reason, for instance a path that leads nowhere. Nothing was
    /// removed.
    pub fn delete<'p, S: Copy + Into<Step<'p>>>(
        &mut self,
        tx: &mut Tx<'_>,
        path: &[S],
    ) -> Result<(), DocumentError> {
        self.write(tx, path, &Write::Delete)
    }

    /// Adds to the counter at the end of the path. Concurrent increments all count.
    ///
    /// # Errors
    /// [`DocumentError`] gives the reason, for instance a value that is not a counter. Nothing was
    /// added.
    pub fn increment<'p, S: Copy + Into<Step<'p>>>(
        &mut self,
        tx: &mut Tx<'_>,
        path: &[S],
        by: i64,
    ) -> Result<(), DocumentError> {
        self.write(tx, path, &Write::Increment(by))
    }

    /// Inserts into a list before the place at the end of the path, which may be one past the last.
    ///
    /// # Errors
    /// [`DocumentError`] gives the reason, for instance a place past the end. Nothing was inserted.
    pub fn insert<'p, S: Copy + Into<Step<'p>>>(
        &mut self,
        tx: &mut Tx<'_>,
        path: &[S],
        value: impl Into<Value>,
    ) -> Result<(), DocumentError> {
        self.write(tx, path, &Write::Insert(value.into()))
    }

    /// Appends to the list at the end of the path.
    ///
    /// # Errors
    /// [`DocumentError`] gives the reason, for instance a value that is not a list. Nothing was
    /// appended.
    pub fn push<'p, S: Copy + Into<Step<'p>>>(
        &mut self,
        tx: &mut Tx<'_>,
        path: &[S],
        value: impl Into<Value>,
    ) -> Result<(), DocumentError> {
        let length = match self.get(path)? {
            Some(Value::Array(items)) => items.len(),
            Some(_) => return Err(DocumentError::OtherType(path.len().saturating_sub(1))),
            None => return Err(DocumentError::Missing(path.len().saturating_sub(1))),
        };
        let path: Vec<Step<'p>> = path
            .iter()
            .map(|&step| step.into())
            .chain([Step::Index(length)])
            .collect();
        self.write(tx, &path, &Write::Insert(value.into()))
    }

    /// Replaces `delete` characters of a text, starting at character `at`, with `insert`.
    ///
    /// # Errors
    /// [`DocumentError`] gives the reason, for instance a range past the end. Nothing was replaced.
    pub fn splice<'p, S: Copy + Into<Step<'p>>>(
        &mut self,
        tx: &mut Tx<'_>,
        path: &[S],
        at: usize,
        delete: usize,
        insert: &str,
    ) -> Result<(), DocumentError> {
        self.write(tx, path, &Write::Splice { at, delete, insert })
    }

    fn write<'p, S: Copy + Into<Step<'p>>>(
        &mut self,
        tx: &mut Tx<'_>,
        path: &[S],
        write: &Write<'_>,
    ) -> Result<(), DocumentError> {
        let path: Vec<Step<'p>> = path.iter().map(|&step| step.into()).collect();
        let actor = Actor::from(tx.replica());
        let (state, _) = self.0.parts();
        let (operations, bytes) = (state.operations, state.bytes);
        let weight = weigh(write, path.len())?;
        let view = state.view_mut();
        if operations
            .saturating_add(view.engine.pending())
            .saturating_add(weight.operations)
            > Document::OPERATIONS
        {
            return Err(DocumentError::TooManyOperations {
                limit: Document::OPERATIONS,
            });
        }
        if bytes.saturating_add(weight.bytes) > Document::BYTES {
            return Err(DocumentError::TooLarge {
                limit: Document::BYTES,
            });
        }
        if view.engine.pending() == 0 {
            let changes = &state.changes;
            let view = state
                .view
                .get()
                .expect("invariant: made a few lines before");
            view.objection(actor, changes).map_or(Ok(()), Err)?;
        }
        let engine = &mut state.view_mut().engine;
        let written = contained(|| engine.write(actor.0, &path, write));
        if let Err(DocumentError::Panicked(_)) = written {
            state.view.take();
        }
        written
    }

    /// Turns everything written so far into one change.
    fn commit(&mut self) {
        let (state, delta) = self.0.parts();
        if state
            .view
            .get()
            .is_none_or(|view| view.engine.pending() == 0)
        {
            return;
        }
        let engine = &mut state.view_mut().engine;
        let chunk = contained(|| Ok(engine.commit()));
        let Ok(Some(change)) =
            chunk.map(|chunk| chunk.and_then(|chunk| Change::from_chunk(&chunk).ok()))
        else {
            // Readers must not see what the engine has written but cannot hand out.
            state.view.take();
            return;
        };
        let change = Arc::new(change);
        state.view_mut().made(&change);
        state.insert(Arc::clone(&change));
        delta.insert(change);
    }
}

impl<E: Engine> Deref for DocumentEdit<'_, E> {
    type Target = Document<E>;

    fn deref(&self) -> &Document<E> {
        &self.0
    }
}

/// Ends the transaction: everything written becomes one change. If the thread is panicking, the
/// engine is discarded with the writes, and no change is made.
impl<E: Engine> Drop for DocumentEdit<'_, E> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.parts().0.view.take();
        } else {
            self.commit();
        }
    }
}

/// What a write may cost.
struct Weight {
    operations: u64,
    bytes: usize,
}

fn weigh(write: &Write<'_>, depth: usize) -> Result<Weight, DocumentError> {
    // A caller may ask to delete more than any number can count.
    let text = |text: &str, more: usize| Weight {
        operations: (text.chars().count() as u64 + 1).saturating_add(more as u64),
        bytes: text.len(),
    };
    match write {
        Write::Put(value) | Write::Insert(value) => weigh_value(value, depth),
        _ if depth > DEPTH => Err(DocumentError::TooDeep { limit: DEPTH }),
        Write::Text(written) => Ok(text(written, 0)),
        Write::Splice { insert, delete, .. } => Ok(text(insert, *delete)),
        Write::Counter(_) | Write::Delete | Write::Increment(_) => Ok(Weight {
            operations: 1,
            bytes: 0,
        }),
    }
}

fn weigh_value(value: &Value, depth: usize) -> Result<Weight, DocumentError> {
    if depth > DEPTH {
        return Err(DocumentError::TooDeep { limit: DEPTH });
    }
    let mut sum = Weight {
        operations: 1,
        bytes: 0,
    };
    let inner: Vec<(&str, &Value)> = match value {
        Value::String(text) => {
            return Ok(Weight {
                bytes: text.len(),
                ..sum
            });
        }
        Value::Array(items) => items.iter().map(|item| ("", item)).collect(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, item)| (key.as_str(), item))
            .collect(),
        _ => return Ok(sum),
    };
    for (key, item) in inner {
        let more = weigh_value(item, depth + 1)?;
        sum = Weight {
            operations: sum.operations + more.operations,
            bytes: sum.bytes + key.len() + more.bytes,
        };
    }
    Ok(sum)
}

impl<E: Engine> fmt::Debug for DocumentEdit<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
