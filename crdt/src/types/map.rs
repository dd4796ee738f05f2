//! A map whose values merge.

use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;
use core::hash::Hash;

use crate::causal::DotMap;
use crate::codec::Kind;
use crate::value::dot_store_by_field;
use crate::{Crdt, DotStore, Edit, Key, Schema, Tx};

/// A map from keys to causal values, all under one context. Removing a key resets exactly what the
/// remover has seen of its value, at any depth; an update that the removal had not seen survives
/// (riak's map; Almeida, Shoker, Baquero, arXiv 1603.01529, section 7.4). For example, Amy adds
/// milk to the list `shop` while Ben removes `shop`: the key stays, with milk alone.
///
/// | concurrently | result |
/// |---|---|
/// | update and remove of one key | the update stays, and nothing else: whatever the removal had seen of the value is gone |
/// | update and update | the values merge by their own rule |
///
/// `V` is any causal type of this crate, or a struct with `#[derive(Crdt)]` and `#[crdt(causal)]`.
/// What grows: nothing but the context and whatever the values keep.
pub struct OrMap<K, V: Schema>(DotMap<K, V::State>);

dot_store_by_field! { [K: Key, V: Schema<State: DotStore>] OrMap<K, V>, DotMap<K, V::State>, |tag| {
    tag.kind(Kind::OrMap);
    V::State::tag(tag);
} }

impl<K: Key, V: Schema<State: DotStore>> OrMap<K, V> {
    /// The value under the key, if anything of it is alive. O(1).
    pub fn get<Q>(&self, key: &Q) -> Option<&V::State>
    where
        K: Borrow<Q>,
        Q: ?Sized + Ord + Hash,
    {
        self.0.get(key)
    }

    /// Whether anything is alive under the key. O(1).
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: ?Sized + Ord + Hash,
    {
        self.0.contains_key(key)
    }

    /// How many keys the map has. O(1).
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the map has no keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keys and values, in an order that differs between replicas; see
    /// [`sorted_keys`](Self::sorted_keys).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&K, &V::State)> {
        self.0.iter()
    }

    /// The keys, ascending: the same at every replica. O(n log n).
    pub fn sorted_keys(&self) -> Vec<&K> {
        self.0.sorted_keys()
    }
}

impl<K: Key, V: Schema<State: DotStore>> Edit<'_, OrMap<K, V>> {
    /// Changes the value under the key, or an empty value if there is none. If the value ends up
    /// empty, the key is gone.
    pub fn update<R>(
        &mut self,
        tx: &mut Tx<'_>,
        key: K,
        change: impl FnOnce(&mut <V::State as Crdt>::Edit<'_>, &mut Tx<'_>) -> R,
    ) -> R {
        let (state, delta) = self.parts();
        DotMap::update(&mut Edit::new(&mut state.0, &mut delta.0), tx, key, change)
    }

    /// Removes what this replica has seen of the key, and says whether the key was present.
    pub fn remove<Q>(&mut self, tx: &mut Tx<'_>, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: ?Sized + Ord + Hash,
    {
        let (state, delta) = self.parts();
        delta.0.take(key, &mut |_| {});
        state.0.take(key, &mut |dot| tx.end(dot))
    }

    /// Removes every key that this replica has seen.
    pub fn clear(&mut self, tx: &mut Tx<'_>) {
        let (state, delta) = self.parts();
        DotMap::clear(&mut Edit::new(&mut state.0, &mut delta.0), tx);
    }
}

impl<K: Key, V: Schema<State: DotStore>> Clone for OrMap<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V: Schema> Default for OrMap<K, V> {
    fn default() -> Self {
        Self(DotMap::default())
    }
}

impl<K: Key, V: Schema<State: DotStore>> PartialEq for OrMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K: fmt::Debug + Ord, V: Schema<State: fmt::Debug>> fmt::Debug for OrMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
