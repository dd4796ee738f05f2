//! From key to store.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::DotStore;
use crate::Dot;
use crate::causal::Observed;

/// A map from keys to stores that all live under one context, so that removing a key removes exactly what was observed of
/// it, at any depth.
///
/// **Invariant:** no key maps to an empty store: absent and empty are the same.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DotMap<K: Ord, S> {
    entries: BTreeMap<K, S>,
}

impl<K: Ord + Clone, S: DotStore> DotMap<K, S> {
    /// No keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many keys have something alive.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// What is alive under `key`; never an empty store.
    pub fn get(&self, key: &K) -> Option<&S> {
        self.entries.get(key)
    }

    /// Keys and stores, ascending by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &S)> + ExactSizeIterator {
        self.entries.iter()
    }

    /// Sets what is alive under `key` and returns what was. An empty store removes the key.
    pub fn insert(&mut self, key: K, store: S) -> Option<S> {
        if store.is_empty() { self.entries.remove(&key) } else { self.entries.insert(key, store) }
    }

    /// Takes all that is alive under `key`. That it is gone follows only from a context that contains its dots.
    pub fn remove(&mut self, key: &K) -> Option<S> {
        self.entries.remove(key)
    }

    /// Changes what is alive under `key`, starting from nothing, and drops the key if nothing is left.
    pub fn update<R>(&mut self, key: K, change: impl FnOnce(&mut S) -> R) -> R {
        match self.entries.entry(key) {
            Entry::Vacant(slot) => {
                let mut store = S::default();
                let result = change(&mut store);
                if !store.is_empty() {
                    slot.insert(store);
                }
                result
            }
            Entry::Occupied(mut slot) => {
                let result = change(slot.get_mut());
                if slot.get().is_empty() {
                    slot.remove();
                }
                result
            }
        }
    }

    /// Joins key by key and drops the keys under which nothing is left. Returns whether `self` changed.
    ///
    /// **Law:** see [`DotStore::join`]. Visits every key of both sides.
    pub fn join(&mut self, theirs: &Self, my_context: &impl Observed, their_context: &impl Observed) -> bool {
        let mut changed = false;
        let nothing = S::default();
        self.entries.retain(|key, mine| {
            changed |= mine.join(theirs.entries.get(key).unwrap_or(&nothing), my_context, their_context);
            !mine.is_empty()
        });
        for (key, store) in &theirs.entries {
            // A key that both had and that is gone by now has no dot left that I have not seen: joining it again adds nothing.
            if !self.entries.contains_key(key) {
                let mut mine = S::default();
                mine.join(store, my_context, their_context);
                if !mine.is_empty() {
                    self.entries.insert(key.clone(), mine);
                    changed = true;
                }
            }
        }
        changed
    }
}

impl<K: Ord + Clone, S: DotStore> DotStore for DotMap<K, S> {
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn join(&mut self, theirs: &Self, my_context: &impl Observed, their_context: &impl Observed) -> bool {
        Self::join(self, theirs, my_context, their_context)
    }

    fn dots(&self, visit: &mut impl FnMut(Dot)) {
        for store in self.entries.values() {
            store.dots(visit);
        }
    }
}

impl<K: Ord, S> Default for DotMap<K, S> {
    fn default() -> Self {
        Self { entries: BTreeMap::new() }
    }
}

/// Later pairs replace earlier ones of the same key; empty stores are dropped.
impl<K: Ord + Clone, S: DotStore> FromIterator<(K, S)> for DotMap<K, S> {
    fn from_iter<I: IntoIterator<Item = (K, S)>>(entries: I) -> Self {
        let mut all = Self::new();
        for (key, store) in entries {
            all.insert(key, store);
        }
        all
    }
}

/// A sequence of pairs, not a map, so that any key can be written in formats whose map keys must be strings.
impl<K: Ord + Serialize, S: Serialize> Serialize for DotMap<K, S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_seq(&self.entries)
    }
}

impl<'de, K: Ord + Deserialize<'de>, S: DotStore + Deserialize<'de>> Deserialize<'de> for DotMap<K, S> {
    /// Refuses keys that do not ascend and keys with nothing under them.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries: Vec<(K, S)> = Vec::deserialize(deserializer)?;
        let ascending = entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !ascending || entries.iter().any(|(_, store)| store.is_empty()) {
            return Err(D::Error::custom("keys do not ascend or hold nothing"));
        }
        Ok(Self { entries: entries.into_iter().collect() })
    }
}
