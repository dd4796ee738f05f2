//! A map in which the last write per key wins.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;
use core::hash::Hash;

use serde::{Deserialize, Serialize};

use super::delegate::by_field;
use super::entries::{self, Entries, Entry};
use crate::causal::{DotFun, DotMap};
use crate::{Contexts, Crdt, DotStore, Edit, Key, MapEffects, Plain, Stable, Stamp, Tx};

/// A map in which the last writer of a key wins, with a value or with a removal (Johnson & Thomas,
/// RFC 677, with their deletion flag). For example, Amy sets `color` to red while Ben, a moment
/// later, sets it to blue: both see blue, and red is lost.
///
/// | concurrently | result |
/// |---|---|
/// | set and set of one key | the one with the greater stamp; if stamps are equal, the greater value |
/// | set and remove | the one with the greater stamp; if stamps are equal, the value |
///
/// A write gets a stamp above everything it has seen under its key, and replaces it. So a key has
/// one entry, except after concurrent writes: all of them are kept until the next write, although
/// readers see only the greatest. What grows: one entry per removed key, until it is set again or
/// [forgotten](Edit::forget).
#[derive(Clone)]
pub struct LwwMap<K, T>(DotMap<K, Entries<Write<T>>>);

/// Ordered as writes win. `None` is a removal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
struct Write<T> {
    stamp: Stamp,
    value: Option<T>,
}

impl<T: Plain + Ord> Entry for Write<T> {
    type View = T;

    fn stamp(&self) -> Option<Stamp> {
        Some(self.stamp)
    }

    fn view(writes: &DotFun<Self>) -> Option<T> {
        latest(writes).and_then(|write| write.value.clone())
    }
}

fn latest<T: Plain + Ord>(writes: &DotFun<Write<T>>) -> Option<&Write<T>> {
    writes.iter().map(|(_, write)| write).max()
}

impl<K: Key, T: Plain + Ord> LwwMap<K, T> {
    /// The value under the key; `None` if the last write was a removal. O(1).
    pub fn get<Q>(&self, key: &Q) -> Option<&T>
    where
        K: Borrow<Q>,
        Q: ?Sized + Ord + Hash,
    {
        self.latest(key)?.value.as_ref()
    }

    /// Whether the key has a value. O(1).
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: ?Sized + Ord + Hash,
    {
        self.get(key).is_some()
    }

    /// The stamp of the last write to the key; also that of a removal, until it is forgotten.
    pub fn stamp<Q>(&self, key: &Q) -> Option<Stamp>
    where
        K: Borrow<Q>,
        Q: ?Sized + Ord + Hash,
    {
        self.latest(key).map(|write| write.stamp)
    }

    /// Keys and values, in an order that differs between replicas; see [`sorted`](Self::sorted).
    pub fn iter(&self) -> impl Iterator<Item = (&K, &T)> {
        self.0
            .iter()
            .filter_map(|(key, writes)| Some((key, latest(&writes.0)?.value.as_ref()?)))
    }

    /// Keys and values, ascending by key: the same at every replica. O(n log n).
    pub fn sorted(&self) -> Vec<(&K, &T)> {
        let mut entries: Vec<(&K, &T)> = self.iter().collect();
        entries.sort_unstable_by(|a, b| a.0.cmp(b.0));
        entries
    }

    /// How many keys have a value. O(keys and removed keys).
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether no key has a value. O(keys and removed keys).
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// How many removed keys still take space.
    pub fn removed_len(&self) -> usize {
        self.0.len() - self.len()
    }

    fn latest<Q>(&self, key: &Q) -> Option<&Write<T>>
    where
        K: Borrow<Q>,
        Q: ?Sized + Ord + Hash,
    {
        self.0.get(key).and_then(|writes| latest(&writes.0))
    }
}

impl<K: Key, T: Plain + Ord> Edit<'_, LwwMap<K, T>> {
    /// Writes the value, with a stamp above everything under the key here.
    pub fn set(&mut self, tx: &mut Tx<'_>, key: K, value: T) {
        self.write(tx, key, Some(value));
    }

    /// Removes the key and says whether it had a value. An absent key stays as it is.
    pub fn remove<Q>(&mut self, tx: &mut Tx<'_>, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: ?Sized + Ord + Hash + ToOwned<Owned = K>,
    {
        let there = self.contains_key(key);
        if there {
            self.write(tx, key.to_owned(), None);
        }
        there
    }

    /// Frees the space of removed keys whose removal is [`Stable`], and says how many.
    ///
    /// Readers see no change, and replicas converge whatever is passed. Called too early
    /// ([`Stable::unchecked`]), it brings back a write that lost against a forgotten removal, if
    /// that write arrives later or if a replica still holds it because what replaced it has not
    /// arrived.
    pub fn forget(&mut self, tx: &mut Tx<'_>, stable: &Stable) -> usize {
        let settled = |writes: &DotFun<Write<T>>| {
            let last = writes.iter().max_by(|a, b| a.1.cmp(b.1));
            last.is_some_and(|(dot, write)| write.value.is_none() && stable.contains(dot))
        };
        let gone: Vec<K> = self
            .0
            .iter()
            .filter(|(_, writes)| settled(&writes.0))
            .map(|(key, _)| key.clone())
            .collect();
        let (state, delta) = self.parts();
        for key in &gone {
            entries::take(&mut state.0, &mut delta.0, tx, key);
        }
        gone.len()
    }

    fn write(&mut self, tx: &mut Tx<'_>, key: K, value: Option<T>) {
        let write = Write {
            stamp: tx.stamp_after(self.stamp(&key)),
            value,
        };
        let (state, delta) = self.parts();
        entries::put(&mut state.0, &mut delta.0, tx, key, write);
    }
}

impl<K: Key, T: Plain + Ord> Crdt for LwwMap<K, T> {
    by_field!(LwwMap);

    fn stamps(&self, visit: &mut dyn FnMut(Stamp)) {
        self.0.stamps(visit);
    }

    /// Updated keys come with their new values.
    type Effects = MapEffects<K, T>;

    fn join(&mut self, theirs: &Self, contexts: Contexts<'_>) -> MapEffects<K, T> {
        entries::join(&mut self.0, &theirs.0, contexts)
    }
}

impl<K: Key, T: Plain + Ord> DotStore for LwwMap<K, T> {}

impl<K, T> Default for LwwMap<K, T> {
    fn default() -> Self {
        Self(DotMap::default())
    }
}

impl<K: Key, T: Plain + Ord> PartialEq for LwwMap<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K: Key, T: Plain + Ord> Eq for LwwMap<K, T> {}

impl<K: fmt::Debug + Ord, T: fmt::Debug> fmt::Debug for LwwMap<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
