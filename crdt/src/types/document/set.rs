//! A document as a set of changes, with a view of them that is made when it is needed.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use std::sync::OnceLock;

use serde_json::Value;

use super::automerge::Automerge;
use super::change::{Change, ChangeHash, Changes};
use super::engine::{DEPTH, DocumentError, Engine, Step, contained};
use super::order;
use super::view::View;
use crate::Lattice;

/// A JSON document: objects, lists, texts and counters, nested to any depth up to
/// [`DEPTH`](Self::DEPTH). It is for data whose shape the program does not know in advance. Give
/// what you do know a field of its own type: the sets, counters and maps of this crate cost a
/// hundredth of the time.
///
/// | concurrently | result |
/// |---|---|
/// | put and put of one key | one of them, the same at every replica; the other is lost |
/// | put of an object and put of an object | one of them **with everything in it**; so create objects once, early |
/// | put and delete | the put stays |
/// | insert and insert into a list or text | both, side by side, never interleaved character by character within one edit |
/// | increment and increment of a counter | both count |
///
/// Replicas merge sets of changes, each addressed by its hash, so a replica that only stores and
/// forwards documents runs no engine. A change that arrives before the changes it builds on waits
/// for them. A transaction is one change. The [`Engine`] starts when the document is first read or
/// written and then takes each merge in one batch.
///
/// What grows: the history, for ever, because automerge cannot forget. A change takes about 150
/// bytes in memory with its operations, twice that once the document has been read, and about 50
/// encoded bytes for a single keystroke.
///
/// A document is not a [`DotStore`](crate::DotStore), so it cannot be a value in a map whose keys
/// can be removed. [`Replicated::delta_since`](crate::Replicated::delta_since) sends the whole
/// document if it differs at all; [`changes_since`](Self::changes_since) sends only what is new.
pub struct Document<E: Engine = Automerge> {
    pub(super) changes: Changes,
    pub(super) operations: u64,
    pub(super) bytes: usize,
    pub(super) view: OnceLock<Arc<View<E>>>,
}

impl Document {
    /// Once the changes of a document take this many bytes, this replica makes no more. A guess.
    /// Changes made elsewhere are merged in any case, so a limit never makes replicas diverge.
    pub const BYTES: usize = 16 << 20;
    /// Once a document has this many operations, this replica makes no more. A guess.
    pub const OPERATIONS: u64 = 1 << 20;
    /// The greatest nesting depth of a document, for writing and for reading.
    pub const DEPTH: usize = DEPTH;
}

impl<E: Engine> Document<E> {
    /// The value at the end of the path, as JSON; `None` if the path leads nowhere. Texts become
    /// strings and counters numbers.
    ///
    /// # Errors
    /// The value is nested too deeply, or the engine fails.
    pub fn get<'p, S: Copy + Into<Step<'p>>>(
        &self,
        path: &[S],
    ) -> Result<Option<Value>, DocumentError> {
        let path: Vec<Step<'p>> = path.iter().map(|&step| step.into()).collect();
        let view = self.view();
        contained(|| view.engine.view(&path, DEPTH))
    }

    /// The whole document as JSON. Starts the engine if it is not running.
    ///
    /// # Errors
    /// The document is nested too deeply, or the engine fails.
    pub fn to_json(&self) -> Result<Value, DocumentError> {
        self.get::<Step<'_>>(&[]).map(Option::unwrap_or_default)
    }

    /// The changes that no other change builds on, ascending. They identify everything ever
    /// written: equal documents have equal heads, and documents with equal heads are equal unless
    /// changes are [missing](Self::missing).
    pub fn heads(&self) -> Vec<ChangeHash> {
        let mut heads: BTreeSet<ChangeHash> = self.changes.keys().copied().collect();
        for dependency in self
            .changes
            .values()
            .flat_map(|change| &change.dependencies)
        {
            heads.remove(dependency);
        }
        heads.into_iter().collect()
    }

    /// The heads of the changes that are here together with everything they build on. The changes
    /// [since](Self::changes_since) these heads fill every hole.
    pub fn complete_heads(&self) -> Vec<ChangeHash> {
        let mut complete: BTreeSet<ChangeHash> = BTreeSet::new();
        let mut heads = BTreeSet::new();
        for change in order::in_order(&self.changes) {
            if change
                .dependencies
                .iter()
                .all(|dependency| complete.contains(dependency))
            {
                complete.insert(change.hash);
                heads.insert(change.hash);
                change.dependencies.iter().for_each(|dependency| {
                    heads.remove(dependency);
                });
            }
        }
        heads.into_iter().collect()
    }

    /// The changes with these hashes, as far as they are here, as a document to merge
    /// ([`Causal::of`](crate::Causal::of)). This is the answer to [`missing`](Self::missing).
    #[must_use]
    pub fn changes_of(&self, hashes: &[ChangeHash]) -> Self {
        let found = hashes.iter().filter_map(|hash| self.changes.get(hash));
        Self::from(
            found
                .map(|change| (change.hash, Arc::clone(change)))
                .collect::<Changes>(),
        )
    }

    /// The changes that another replica lacks, given its [complete heads](Self::complete_heads), as
    /// a document to merge ([`Causal::of`](crate::Causal::of)). Unknown heads are ignored; the
    /// answer is then larger than necessary. Given heads that are not complete, holes below them
    /// stay open.
    #[must_use]
    pub fn changes_since(&self, heads: &[ChangeHash]) -> Self {
        let mut new = self.changes.clone();
        let mut known = heads.to_vec();
        while let Some(hash) = known.pop() {
            if let Some(change) = new.remove(&hash) {
                known.extend(&change.dependencies);
            }
        }
        Self::from(new)
    }

    /// Changes that others here build on and that have not arrived, ascending. O(n log n) for n
    /// changes.
    pub fn missing(&self) -> Vec<ChangeHash> {
        let all = self
            .changes
            .values()
            .flat_map(|change| &change.dependencies);
        let mut missing: Vec<ChangeHash> = all
            .filter(|&dependency| !self.changes.contains_key(dependency))
            .copied()
            .collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Changes that are left out, with the reason: the engine cannot apply them, or two writers
    /// used one id. They are kept and forwarded like others; changes that build on them wait.
    pub fn quarantined(&self) -> Vec<(ChangeHash, DocumentError)> {
        self.view()
            .quarantined
            .iter()
            .map(|(&hash, error)| (hash, error.clone()))
            .collect()
    }

    /// How many changes the document has, quarantined ones included.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether the document has no changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The history in the engine's own compressed form, for programs that read it; for automerge
    /// this is its file format. It is not canonical and leaves out quarantined changes.
    ///
    /// # Errors
    /// The engine fails. The document is unchanged.
    pub fn compact(&self) -> Result<Vec<u8>, DocumentError> {
        let mut engine = self.view().engine.clone();
        contained(|| Ok(engine.compact()))
    }

    fn view(&self) -> &Arc<View<E>> {
        self.view.get_or_init(|| Arc::new(View::of(&self.changes)))
    }

    pub(super) fn view_mut(&mut self) -> &mut View<E> {
        let view = self
            .view
            .take()
            .unwrap_or_else(|| Arc::new(View::of(&self.changes)));
        self.view = OnceLock::from(view);
        let view = self.view.get_mut().expect("invariant: set one line before");
        Arc::make_mut(view)
    }

    pub(super) fn insert(&mut self, change: Arc<Change>) {
        self.operations = self.operations.saturating_add(change.operations);
        self.bytes += change.size();
        self.changes.insert(change.hash, change);
    }
}

impl<E: Engine> Lattice for Document<E> {
    fn merge(&mut self, other: &Self) -> bool {
        let fresh: Vec<Arc<Change>> = other
            .changes
            .values()
            .filter(|change| !self.changes.contains_key(&change.hash))
            .cloned()
            .collect();
        for change in &fresh {
            self.insert(Arc::clone(change));
        }
        if self.view.get().is_some() && !fresh.is_empty() && !self.view_mut().add(&fresh) {
            self.view.take();
        }
        !fresh.is_empty()
    }
}

impl<E: Engine> From<Changes> for Document<E> {
    fn from(changes: Changes) -> Self {
        let operations = changes
            .values()
            .fold(0, |sum: u64, change| sum.saturating_add(change.operations));
        let bytes = changes.values().map(|change| change.size()).sum();
        Self {
            changes,
            operations,
            bytes,
            view: OnceLock::new(),
        }
    }
}

impl<E: Engine> Default for Document<E> {
    fn default() -> Self {
        Self::from(Changes::new())
    }
}

/// Both share the engine until one of them changes.
impl<E: Engine> Clone for Document<E> {
    fn clone(&self) -> Self {
        Self {
            changes: self.changes.clone(),
            operations: self.operations,
            bytes: self.bytes,
            view: self.view.clone(),
        }
    }
}

/// Two documents are equal if they have the same changes.
impl<E: Engine> PartialEq for Document<E> {
    fn eq(&self, other: &Self) -> bool {
        self.changes.len() == other.changes.len() && self.changes.keys().eq(other.changes.keys())
    }
}

impl<E: Engine> Eq for Document<E> {}

impl<E: Engine> fmt::Debug for Document<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("heads", &self.heads())
            .field("changes", &self.len())
            .finish_non_exhaustive()
    }
}
