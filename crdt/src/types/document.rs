//! JSON documents that are edited together.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use std::sync::OnceLock;

use serde_json::Value;

pub use self::automerge::Automerge;
use self::change::Actor;
pub use self::change::{Change, ChangeHash};
pub use self::edit::DocumentEdit;
use self::engine::contained;
pub use self::engine::{DocumentError, Engine, Step, Write};
use self::view::View;
use crate::codec::{DecodeError, Kind, Reader, Tag, Writer};
use crate::{CausalContext, Changed, Contexts, Crdt, Dot, Edit, Lattice, ReplicaId, Undotted};

mod automerge;
mod change;
mod edit;
mod engine;
mod order;
#[cfg(test)]
mod tests;
mod view;

type Changes = BTreeMap<ChangeHash, Arc<Change>>;

const DEPTH: usize = 64;

/// A JSON document: objects, lists, texts and counters, as deep as one likes, for when the shape of
/// the data is not known when the program is written. What is known is better a field of its own
/// type: sets, counters and maps of this crate cost a hundredth of the time.
///
/// | concurrently | result |
/// |---|---|
/// | put and put of one key | one of them, the same at every replica; the other is gone |
/// | put of an object and put of an object | one of them **with all that was put into it**; so make objects once, early |
/// | put and delete | the put stays |
/// | insert and insert into a list or text | both, side by side, never interleaved character by character within one edit |
/// | increment and increment of a counter | both count |
///
/// What is merged is the set of changes, each addressed by its hash: a replica that stores and
/// forwards documents runs no engine. A change that arrives before what it builds on waits for it.
/// A transaction is one change. The [`Engine`] is started when the document is first read or
/// written, and from then on takes each merge in one batch.
///
/// What grows: the history, for ever; automerge cannot forget. In memory about 150 bytes for a
/// change and its operations, twice if the document is read; as bytes about 50 for a change of one
/// keystroke.
///
/// [`DotStore`](crate::DotStore) it is not, so it cannot be a value of a map whose keys can be
/// removed. [`Replicated::delta_since`](crate::Replicated::delta_since) sends the whole document if
/// it differs at all; [`changes_since`](Self::changes_since) sends what is new.
pub struct Document<E: Engine = Automerge> {
    changes: Changes,
    operations: u64,
    bytes: usize,
    view: OnceLock<Arc<View<E>>>,
}

impl Document {
    /// How many bytes the changes of a document may take before no more are made here. A guess.
    /// What others have made is merged in any case, so that replicas never part over a limit.
    pub const BYTES: usize = 16 << 20;
    /// How many operations a document may have before no more are made here. A guess.
    pub const OPERATIONS: u64 = 1 << 20;
    /// How deep a document may be nested, for writing and for reading.
    pub const DEPTH: usize = DEPTH;
}

impl<E: Engine> Document<E> {
    /// What is at the end of the path, as JSON; nothing if it leads nowhere. Texts are strings,
    /// counters numbers.
    ///
    /// # Errors
    /// Too deep, or the engine fails.
    pub fn get<'p, S: Copy + Into<Step<'p>>>(
        &self,
        path: &[S],
    ) -> Result<Option<Value>, DocumentError> {
        let path: Vec<Step<'p>> = path.iter().map(|&step| step.into()).collect();
        let view = self.view();
        contained(|| view.engine.view(&path, DEPTH))
    }

    /// The whole document.
    ///
    /// # Errors
    /// Too deep, or the engine fails.
    pub fn to_json(&self) -> Result<Value, DocumentError> {
        self.get::<Step<'_>>(&[]).map(Option::unwrap_or_default)
    }

    /// The changes that no other change builds on, ascending: a digest of all that was ever
    /// written. Equal documents have equal heads; documents with equal heads are equal unless
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

    /// The heads of what is complete here: of the changes that have arrived with all that they
    /// build on. What somebody else has [since](Self::changes_since) these fills every hole.
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

    /// Those of the changes that are here, as a document to merge
    /// ([`Causal::of`](crate::Causal::of)): the answer to [`missing`](Self::missing).
    #[must_use]
    pub fn changes_of(&self, hashes: &[ChangeHash]) -> Self {
        let found = hashes.iter().filter_map(|hash| self.changes.get(hash));
        Self::from(
            found
                .map(|change| (change.hash, Arc::clone(change)))
                .collect::<Changes>(),
        )
    }

    /// What somebody lacks whose document has these [complete heads](Self::complete_heads), as a
    /// document to merge ([`Causal::of`](crate::Causal::of)). Heads that are not known here are
    /// passed over, so too much is sent at worst. After other heads than complete ones, what is
    /// missing below them stays missing.
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

    /// Changes that others here build on and that have not arrived, ascending.
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

    /// Changes that were left out because the engine cannot apply them or because of a writer whose
    /// id was used twice, with the reason. They are kept and sent on like others; what builds on
    /// them waits.
    pub fn quarantined(&self) -> Vec<(ChangeHash, DocumentError)> {
        self.view()
            .quarantined
            .iter()
            .map(|(&hash, error)| (hash, error.clone()))
            .collect()
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether nothing was ever written.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The history in the compressed form of the engine, for programs that read that: automerge's
    /// file format. Not canonical, and without what is quarantined.
    ///
    /// # Errors
    /// The engine fails.
    pub fn compact(&self) -> Result<Vec<u8>, DocumentError> {
        let mut engine = self.view().engine.clone();
        contained(|| Ok(engine.compact()))
    }

    fn view(&self) -> &Arc<View<E>> {
        self.view.get_or_init(|| Arc::new(View::of(&self.changes)))
    }

    fn view_mut(&mut self) -> &mut View<E> {
        let view = self
            .view
            .take()
            .unwrap_or_else(|| Arc::new(View::of(&self.changes)));
        self.view = OnceLock::from(view);
        let view = self.view.get_mut().expect("invariant: set one line before");
        Arc::make_mut(view)
    }

    fn insert(&mut self, change: Arc<Change>) {
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

impl<E: Engine> Crdt for Document<E> {
    type Edit<'a>
        = DocumentEdit<'a, E>
    where
        Self: 'a;
    type Effects = Changed;

    fn tag(tag: &mut Tag) {
        tag.kind(Kind::Document);
    }

    fn is_bottom(&self) -> bool {
        self.changes.is_empty()
    }

    fn join(&mut self, theirs: &Self, _: Contexts<'_>) -> Changed {
        Changed(self.merge(theirs))
    }

    fn dots(&self, _: &mut dyn FnMut(Dot)) {}

    fn part(&self, _: &CausalContext, undotted: Undotted<'_>) -> Self {
        if undotted.stay() {
            self.clone()
        } else {
            Self::default()
        }
    }

    fn has_undotted(&self) -> bool {
        !self.is_bottom()
    }

    /// Whether there are changes of this replica there that are not here.
    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        let me = Actor::from(replica);
        theirs
            .changes
            .values()
            .any(|change| change.actor == me && !self.changes.contains_key(&change.hash))
    }

    fn edit<'a>(state: &'a mut Self, delta: &'a mut Self) -> DocumentEdit<'a, E> {
        DocumentEdit(Edit::new(state, delta))
    }

    fn encode(&self, out: &mut Writer) {
        let mut inner = Writer::new(&CausalContext::new());
        order::encode(&self.changes, &mut inner);
        out.bytes(&inner.finish());
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = input.bytes()?;
        let mut inner = Reader::new(bytes, &CausalContext::new(), input.limits())?;
        let changes = order::decode(&mut inner)?;
        input.take_elements((input.limits().elements - inner.limits().elements) as u64)?;
        inner.finish()?;
        Ok(Self::from(changes))
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

/// The engine is shared until one of both changes.
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

/// The same changes.
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
