//! The base of several keyed types: a few live entries under each key, of which readers see one
//! summary.

use core::borrow::Borrow;
use core::fmt::Debug;
use core::hash::Hash;

use super::delegate::by_field;
use crate::causal::{DotFun, DotMap};
use crate::{Contexts, Crdt, Dot, DotStore, Effects, Key, MapEffects, Plain, Stamp, Tx};

/// What one write leaves under a key, and how readers see the entries that are alive.
pub(super) trait Entry: Plain {
    /// What readers see.
    type View: PartialEq + Debug;

    /// `None` if readers see nothing under the key, although something may be alive.
    fn view(entries: &DotFun<Self>) -> Option<Self::View>;

    /// When it was written, if it says so.
    fn stamp(&self) -> Option<Stamp>;
}

/// The live entries under a key. A merge tells what readers saw before it and what they see after
/// it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entries<E>(pub(super) DotFun<E>);

impl<E: Entry> Entries<E> {
    pub(super) fn one(dot: Dot, entry: E) -> Self {
        Self(DotFun::one(dot, entry))
    }

    pub(super) fn view(&self) -> Option<E::View> {
        E::view(&self.0)
    }
}

impl<E> Default for Entries<E> {
    fn default() -> Self {
        Self(DotFun::default())
    }
}

/// What readers saw under one key, and what they see now.
#[derive(Debug)]
pub(super) struct Shift<V> {
    pub(super) before: Option<V>,
    pub(super) after: Option<V>,
}

impl<V> Default for Shift<V> {
    fn default() -> Self {
        Self {
            before: None,
            after: None,
        }
    }
}

impl<V: PartialEq + Debug> Effects for Shift<V> {
    fn is_empty(&self) -> bool {
        self.before == self.after
    }
}

impl<E: Entry> Crdt for Entries<E> {
    by_field!(Entries);
    type Effects = Shift<E::View>;

    fn stamps(&self, visit: &mut dyn FnMut(Stamp)) {
        self.0
            .iter()
            .filter_map(|(_, entry)| entry.stamp())
            .for_each(visit);
    }

    fn join(&mut self, theirs: &Self, contexts: Contexts<'_>) -> Shift<E::View> {
        let before = self.view();
        DotFun::join(&mut self.0, &theirs.0, contexts.mine, contexts.theirs);
        Shift {
            before,
            after: self.view(),
        }
    }
}

impl<E: Entry> DotStore for Entries<E> {}

/// Overwrites what this replica has seen under the key.
pub(super) fn put<K: Key, E: Entry>(
    state: &mut DotMap<K, Entries<E>>,
    delta: &mut DotMap<K, Entries<E>>,
    tx: &mut Tx<'_>,
    key: K,
    entry: E,
) {
    let dot = tx.issue();
    state.replace(
        key.clone(),
        dot,
        Entries::one(dot, entry.clone()),
        &mut |old| tx.end(old),
    );
    delta.replace(key, dot, Entries::one(dot, entry), &mut |_| {});
}

/// Removes what this replica has seen under the key.
pub(super) fn take<K, E, Q>(
    state: &mut DotMap<K, Entries<E>>,
    delta: &mut DotMap<K, Entries<E>>,
    tx: &mut Tx<'_>,
    key: &Q,
) -> bool
where
    K: Key + Borrow<Q>,
    E: Entry,
    Q: ?Sized + Eq + Hash,
{
    delta.take(key, &mut |_| {});
    state.take(key, &mut |dot| tx.end(dot))
}

/// Joins, and reports the keys under which readers see something else.
pub(super) fn join<K: Key, E: Entry>(
    mine: &mut DotMap<K, Entries<E>>,
    theirs: &DotMap<K, Entries<E>>,
    contexts: Contexts<'_>,
) -> MapEffects<K, E::View> {
    let mut effects = MapEffects::default();
    mine.join_with(
        theirs,
        contexts,
        |key, _, _, Shift { before, after }| match after {
            Some(view) if before.as_ref() != Some(&view) => {
                effects.updated.push((key.clone(), view));
            }
            None if before.is_some() => effects.removed.push(key.clone()),
            _ => {}
        },
    );
    effects
}
