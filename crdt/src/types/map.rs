//! A map of replicated values.

use core::mem;

use serde::{Deserialize, Serialize};

use super::dot_store_by_field;
use crate::{Causal, CausalContext, DotMap, DotStore};

/// A map from keys to causal values, all under one context. Removing a key resets exactly what was observed of its value,
/// at any depth; an update that the removal had not seen survives it (riak's map; delta paper, section 7.4).
///
/// Used as `Causal<OrMap<K, V>>`, for instance `Causal<OrMap<String, OrSet<u64>>>`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent, bound(deserialize = "K: Ord + Deserialize<'de>, V: DotStore + Deserialize<'de>"))]
pub struct OrMap<K: Ord, V>(DotMap<K, V>);

dot_store_by_field! { [K: Ord + Clone, V: DotStore] OrMap<K, V> }

impl<K: Ord + Clone, V: DotStore> OrMap<K, V> {
    /// The value under the key, if something of it is alive.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    /// How many keys there are. O(1).
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keys and values, ascending by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + ExactSizeIterator {
        self.0.iter()
    }
}

impl<K: Ord + Clone, V: DotStore> Causal<OrMap<K, V>> {
    /// Changes the value under the key, starting from an empty one, and returns the delta.
    ///
    /// `change` gets the value under the map's own context, mutates it (more than once if it likes: see
    /// [`Lattice::merge`](crate::Lattice::merge) for deltas) and returns the delta of what it did. A key whose value ends
    /// up empty is gone. Should `change` panic, the map is left empty, as never written: discard it.
    pub fn update(&mut self, key: K, change: impl FnOnce(&mut Causal<V>) -> Causal<V>) -> Self {
        let mut whole = mem::take(self);
        let mut value = Causal { store: whole.store.0.remove(&key).unwrap_or_default(), context: mem::take(&mut whole.context) };
        let delta = change(&mut value);
        whole.store.0.insert(key.clone(), value.store);
        whole.context = value.context;
        *self = whole;
        Self { store: OrMap([(key, delta.store)].into_iter().collect()), context: delta.context }
    }

    /// Removes the key, as far as its value was seen here, and returns the delta.
    pub fn remove(&mut self, key: &K) -> Self {
        let mut context = CausalContext::new();
        if let Some(value) = self.store.0.remove(key) {
            value.dots(&mut |dot| {
                context.insert(dot);
            });
        }
        Self { store: OrMap::default(), context }
    }

    /// Removes every key seen here and returns the delta.
    pub fn clear(&mut self) -> Self {
        self.remove_observed()
    }
}

impl<K: Ord, V> Default for OrMap<K, V> {
    fn default() -> Self {
        Self(DotMap::default())
    }
}
