//! The index of a large map: its keys by hash, its dots by bitmap.

use alloc::vec::Vec;
use core::borrow::Borrow;
use core::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::causal::index::DotIndex;
use crate::{Crdt, Dot};

/// The slots of the entries of a map, by key and by live dot.
#[derive(Clone)]
pub(super) struct Lookup {
    keys: HashTable<u32>,
    hasher: RandomState,
    dots: DotIndex,
}

/// The dots of entries with their slots, and whether each dot is alive only once. Sorts them first,
/// because inserting them in an unfavourable order takes quadratic time.
pub(super) fn index<K, S: Crdt>(entries: &[(K, S)]) -> (DotIndex, bool) {
    let mut dots: Vec<(Dot, u32)> = Vec::new();
    for (slot, (_, store)) in entries.iter().enumerate() {
        store.dots(&mut |dot| dots.push((dot, slot as u32)));
    }
    dots.sort_unstable();
    let once = dots.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let mut index = DotIndex::default();
    for (dot, slot) in dots {
        index.insert(dot, slot);
    }
    (index, once)
}

impl Lookup {
    pub(super) fn of<K: Hash, S: Crdt>(entries: &[(K, S)], dots: DotIndex) -> Self {
        let mut lookup = Self {
            keys: HashTable::new(),
            hasher: RandomState::default(),
            dots,
        };
        lookup.rehash(entries, entries.len());
        lookup
    }

    pub(super) fn dots(&self) -> &DotIndex {
        &self.dots
    }

    pub(super) fn dots_mut(&mut self) -> &mut DotIndex {
        &mut self.dots
    }

    pub(super) fn slot<K, S, Q>(&self, entries: &[(K, S)], key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash,
    {
        self.keys
            .find(self.hasher.hash_one(key), |&slot| {
                entries[slot as usize].0.borrow() == key
            })
            .copied()
    }

    /// Adds the key of the last entry.
    pub(super) fn add_last<K: Hash, S>(&mut self, entries: &[(K, S)]) {
        if self.keys.len() == self.keys.capacity() {
            // One pass over the entries: left to itself, the table would visit them in the order of
            // their hashes.
            return self.rehash(entries, entries.len());
        }
        let slot = entries.len() - 1;
        let hash = |slot: usize| self.hasher.hash_one(&entries[slot].0);
        self.keys
            .insert_unique(hash(slot), slot as u32, |&slot| hash(slot as usize));
    }

    /// Removes the key at `slot`, into which the last entry is about to move.
    pub(super) fn swap_remove<K: Hash, S: Crdt>(&mut self, entries: &[(K, S)], slot: u32) {
        let last = entries.len() as u32 - 1;
        let hash = |slot: u32| self.hasher.hash_one(&entries[slot as usize].0);
        if let Ok(found) = self.keys.find_entry(hash(slot), |&at| at == slot) {
            found.remove();
        }
        if slot == last {
            return;
        }
        if let Some(at) = self.keys.find_mut(hash(last), |&at| at == last) {
            *at = slot;
        }
        entries[last as usize]
            .1
            .dots(&mut |dot: Dot| self.dots.insert(dot, slot));
    }

    /// Frees memory once much less is used.
    pub(super) fn shrink<K: Hash, S>(&mut self, entries: &[(K, S)]) {
        if self.keys.capacity() > 2 * entries.len() {
            self.rehash(entries, entries.len());
        }
    }

    fn rehash<K: Hash, S>(&mut self, entries: &[(K, S)], capacity: usize) {
        let hash = |slot: u32| self.hasher.hash_one(&entries[slot as usize].0);
        self.keys = HashTable::with_capacity(capacity);
        for slot in 0..entries.len() as u32 {
            self.keys
                .insert_unique(hash(slot), slot, |&slot| hash(slot));
        }
    }

    /// Replaces the index of dots.
    pub(super) fn reindex(&mut self, dots: DotIndex) {
        self.dots = dots;
    }
}
