//! From key to store.

use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::mem;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::causal::index::DotIndex;
use crate::codec::{DecodeError, Reader, Writer};
use crate::{CausalContext, Contexts, Crdt, Dot, DotStore, Edit, Effects, Key, Tx, Undotted};

/// Up to so many keys are searched one by one; deltas are usually this small and then need no table.
const FEW: usize = 8;

/// A map from keys to stores that all live under one context, so that removing a key removes exactly what was observed of
/// it, at any depth.
///
/// Keys are found by hash and by the dots alive under them: a join costs what differs, not what is held.
///
/// **Invariant:** no key maps to an empty store: absent and empty are the same. No dot is alive under two keys.
#[derive(Clone)]
pub struct DotMap<K, S> {
    entries: Vec<(K, S)>,
    /// The slots of the keys by hash; empty while there are few.
    table: HashTable<u32>,
    hasher: RandomState,
    index: DotIndex,
}

/// What a merge changed in a map: the keys with what changed under them, and the keys that are gone. In no order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapEffects<K, E> {
    /// Keys that are new or whose value changed.
    pub updated: Vec<(K, E)>,
    /// Keys that were there and are not any more.
    pub removed: Vec<K>,
}

impl<K, S> DotMap<K, S> {
    /// How many keys have something alive.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys and stores, in an order that differs between replicas.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&K, &S)> {
        self.entries.iter().map(|(key, store)| (key, store))
    }

    /// Keys and stores by ascending dot: a key appears once for each of its dots.
    pub(crate) fn by_dot(&self) -> impl Iterator<Item = (Dot, &K, &S)> {
        self.index.iter().map(|(dot, slot)| {
            let (key, store) = &self.entries[slot as usize];
            (dot, key, store)
        })
    }

    /// What the dot is alive under.
    pub(crate) fn at(&self, dot: Dot) -> Option<(&K, &S)> {
        let (key, store) = &self.entries[self.index.get(dot)? as usize];
        Some((key, store))
    }

    /// How many dots are alive.
    pub fn dot_count(&self) -> usize {
        self.index.len()
    }
}

impl<K: Key, S: DotStore> DotMap<K, S> {
    /// No keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is alive under `key`; never an empty store.
    pub fn get<Q>(&self, key: &Q) -> Option<&S>
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash,
    {
        self.slot(key).map(|slot| &self.entries[slot as usize].1)
    }

    /// Whether something is alive under `key`.
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash,
    {
        self.slot(key).is_some()
    }

    /// The keys, ascending.
    pub fn sorted_keys(&self) -> Vec<&K> {
        let mut keys: Vec<&K> = self.entries.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys
    }

    /// Changes what is alive under `key`, in the value and in the delta of the transaction alike. A key under which nothing
    /// is left is dropped.
    pub fn update<R>(edit: &mut Edit<'_, Self>, tx: &mut Tx<'_>, key: K, change: impl FnOnce(&mut S::Edit<'_>, &mut Tx<'_>) -> R) -> R {
        let (state, delta) = edit.parts();
        let (slot, delta_slot) = (state.slot_or_insert(&key), delta.slot_or_append(key));
        let mark = tx.mark();
        let (store, delta_store) = (&mut state.entries[slot as usize].1, &mut delta.entries[delta_slot as usize].1);
        let result = change(&mut S::edit(store, delta_store), tx);
        for (map, slot) in [(state, slot), (delta, delta_slot)] {
            for &dot in tx.ended_since(mark) {
                map.index.remove(dot);
            }
            let index = &mut map.index;
            // What was issued and is alive is indexed; what was issued and ended within the transaction is not.
            map.entries[slot as usize].1.dots(&mut |dot| {
                if tx.issued_since(mark, dot) {
                    index.insert(dot, slot);
                }
            });
            map.drop_if_empty(slot);
        }
        result
    }

    /// Ends all that was seen here.
    pub fn clear(edit: &mut Edit<'_, Self>, tx: &mut Tx<'_>) {
        let (state, delta) = edit.parts();
        *delta = Self::default();
        for (dot, _) in mem::take(state).index.iter() {
            tx.end(dot);
        }
    }

    /// Joins what differs and tells `changed` the key, whether it was there, its store after the join and the effects.
    pub(crate) fn join_with(&mut self, theirs: &Self, contexts: Contexts<'_>, mut changed: impl FnMut(&K, bool, &S, S::Effects)) {
        let ended = self.index.ended_by(&theirs.index, contexts.theirs);
        let taken = theirs.index.new_to(&self.index, contexts.mine);
        // (their slot, my slot) of what has to be joined; a key of mine alone has no slot there.
        let mut touched: Vec<(u32, Option<u32>)> = Vec::with_capacity(ended.len() + taken.len());
        for (dot, _) in &ended {
            let slot = self.index.remove(*dot).expect("invariant: found in this index");
            touched.push((slot, None));
        }
        touched.sort_unstable();
        touched.dedup();
        for (slot, there) in &mut touched {
            *there = theirs.slot(&self.entries[*slot as usize].0);
        }
        let had_some = touched.len();
        let (mut expected, mut alive) = (taken.len(), ended.len());
        let fresh = self.entries.len() as u32;
        for (dot, there) in taken {
            let slot = self.slot_or_insert(&theirs.entries[there as usize].0);
            self.index.insert(dot, slot);
            touched.push((slot, Some(there)));
        }
        if touched.len() > had_some {
            touched.sort_unstable();
            touched.dedup();
        }
        let nothing = S::default();
        for &(slot, there) in &touched {
            let (key, mine) = &mut self.entries[slot as usize];
            let other = there.map_or(&nothing, |there| &theirs.entries[there as usize].1);
            expected += mine.dot_count();
            let effects = mine.join(other, contexts);
            alive += mine.dot_count();
            changed(key, slot < fresh, mine, effects);
        }
        // Under one key here and under another there, a dot is forged, and ends where a join comes upon it.
        if alive != expected {
            self.rebuild_index();
        }
        // From the last slot down, so that no slot that is still to be looked at moves.
        for &(slot, _) in touched.iter().rev() {
            self.drop_if_empty(slot);
        }
    }

    /// Puts a store under a new key; for decoding.
    pub(crate) fn push(&mut self, key: &K, store: S) -> Result<(), DecodeError> {
        if store.is_bottom() || self.contains_key(key) {
            return Err(DecodeError::Invalid("a key that is there twice or holds nothing"));
        }
        let slot = self.slot_or_insert(key);
        let (index, mut twice) = (&mut self.index, false);
        store.dots(&mut |dot| {
            twice |= index.get(dot).is_some();
            index.insert(dot, slot);
        });
        self.entries[slot as usize].1 = store;
        if twice { Err(DecodeError::Invalid("a dot under two keys")) } else { Ok(()) }
    }

    /// Makes a dot alive under a key and changes the store there; for decoding and for stores that know their dots.
    pub(crate) fn start(&mut self, key: K, dot: Dot, change: impl FnOnce(&mut S)) {
        let slot = self.slot_or_append(key);
        self.index.insert(dot, slot);
        change(&mut self.entries[slot as usize].1);
    }

    /// Ends a dot under a key and changes the store there, the opposite of [`start`](Self::start); a key under which nothing
    /// is left is dropped.
    pub(crate) fn end(&mut self, key: &K, dot: Dot, change: impl FnOnce(&mut S)) {
        let Some(slot) = self.slot(key) else { return };
        self.index.remove(dot);
        change(&mut self.entries[slot as usize].1);
        self.drop_if_empty(slot);
    }

    /// Takes the key with its store out, telling each of its dots.
    pub(crate) fn take<Q>(&mut self, key: &Q, ended: &mut dyn FnMut(Dot)) -> bool
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash,
    {
        let Some(slot) = self.slot(key) else { return false };
        let store = mem::take(&mut self.entries[slot as usize].1);
        store.dots(&mut |dot| {
            self.index.remove(dot);
            ended(dot);
        });
        self.drop_if_empty(slot);
        true
    }

    /// Replaces the dots under a key by one; for stores that are a set of dots.
    pub(crate) fn replace(&mut self, key: K, dot: Dot, ended: &mut dyn FnMut(Dot), set: impl FnOnce(&mut S)) {
        if let Some(slot) = self.slot(&key) {
            let (store, index) = (&mut self.entries[slot as usize].1, &mut self.index);
            store.dots(&mut |old| {
                index.remove(old);
                ended(old);
            });
            index.insert(dot, slot);
            set(store);
        } else {
            let slot = self.append(key);
            self.index.insert(dot, slot);
            set(&mut self.entries[slot as usize].1);
        }
    }

    fn slot<Q>(&self, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash,
    {
        if self.table.is_empty() {
            return self.entries.iter().position(|(known, _)| known.borrow() == key).map(|slot| slot as u32);
        }
        self.table.find(self.hasher.hash_one(key), |&slot| self.entries[slot as usize].0.borrow() == key).copied()
    }

    fn slot_or_append(&mut self, key: K) -> u32 {
        match self.slot(&key) {
            Some(slot) => slot,
            None => self.append(key),
        }
    }

    fn slot_or_insert(&mut self, key: &K) -> u32 {
        self.slot(key).unwrap_or_else(|| self.append(key.clone()))
    }

    /// A new key, with nothing under it yet.
    fn append(&mut self, key: K) -> u32 {
        let slot = u32::try_from(self.entries.len()).expect("invariant: 2^32 keys do not fit in memory");
        let Self { entries, table, hasher, .. } = self;
        entries.push((key, S::default()));
        if !table.is_empty() {
            table.insert_unique(hasher.hash_one(&entries[slot as usize].0), slot, |&slot| hasher.hash_one(&entries[slot as usize].0));
        } else if entries.len() > FEW {
            self.rebuild_table();
        }
        slot
    }

    fn rebuild_table(&mut self) {
        let Self { entries, table, hasher, .. } = self;
        *table = HashTable::with_capacity(entries.len());
        for (slot, (key, _)) in entries.iter().enumerate() {
            table.insert_unique(hasher.hash_one(key), slot as u32, |&slot| hasher.hash_one(&entries[slot as usize].0));
        }
    }

    fn rebuild_index(&mut self) {
        let Self { entries, index, .. } = self;
        *index = DotIndex::default();
        for (slot, (_, store)) in entries.iter().enumerate() {
            store.dots(&mut |dot| index.insert(dot, slot as u32));
        }
    }

    /// Closes the gap that an empty store leaves with the last entry.
    fn drop_if_empty(&mut self, slot: u32) {
        let Some((key, store)) = self.entries.get(slot as usize) else { return };
        if !store.is_bottom() {
            return;
        }
        let last = self.entries.len() as u32 - 1;
        if !self.table.is_empty() {
            let hash = self.hasher.hash_one(key);
            if let Ok(found) = self.table.find_entry(hash, |&at| at == slot) {
                found.remove();
            }
            let moved = self.hasher.hash_one(&self.entries[last as usize].0);
            if let Some(at) = self.table.find_mut(moved, |&at| at == last) {
                *at = slot;
            }
        }
        self.entries.swap_remove(slot as usize);
        if slot < last {
            let index = &mut self.index;
            self.entries[slot as usize].1.dots(&mut |dot| index.insert(dot, slot));
        }
        self.shrink();
    }

    /// Gives memory back once less than half of it is used.
    fn shrink(&mut self) {
        let len = self.entries.len();
        if len > FEW && len < self.entries.capacity() / 2 {
            self.entries.shrink_to(len + len / 4);
            if self.table.capacity() > 2 * len {
                self.rebuild_table();
            }
        }
    }
}

impl<K: Key, S: DotStore> Crdt for DotMap<K, S> {
    type Edit<'a>
        = Edit<'a, Self>
    where
        Self: 'a;
    type Effects = MapEffects<K, S::Effects>;

    fn is_bottom(&self) -> bool {
        self.entries.is_empty()
    }

    fn join(&mut self, theirs: &Self, contexts: Contexts<'_>) -> Self::Effects {
        let mut all = MapEffects::default();
        self.join_with(theirs, contexts, |key, was_there, store, effects| {
            if !store.is_bottom() {
                all.updated.push((key.clone(), effects));
            } else if was_there {
                all.removed.push(key.clone());
            }
        });
        all
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        self.index.iter().for_each(|(dot, _)| visit(dot));
    }

    fn dot_count(&self) -> usize {
        self.index.len()
    }

    fn part(&self, dots: &CausalContext, undotted: Undotted) -> Self {
        let mut slots: Vec<u32> = self.index.among(dots).into_iter().map(|(_, slot)| slot).collect();
        slots.sort_unstable();
        slots.dedup();
        let mut part = Self::default();
        for slot in slots {
            let (key, store) = &self.entries[slot as usize];
            part.push(key, store.part(dots, undotted)).expect("invariant: parts of one map");
        }
        part
    }

    fn edit<'a>(state: &'a mut Self, delta: &'a mut Self) -> Edit<'a, Self> {
        Edit::new(state, delta)
    }

    fn encode(&self, out: &mut Writer) {
        let mut slots: Vec<&(K, S)> = self.entries.iter().collect();
        slots.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        out.number(slots.len() as u64);
        for (key, store) in slots {
            out.value(key);
            let mut dots = CausalContext::new();
            store.dots(&mut |dot| {
                dots.insert(dot);
            });
            out.scoped(&dots, |out| store.encode(out));
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut map = Self::default();
        let mut before: Option<K> = None;
        for _ in 0..input.count()? {
            let key: K = input.value()?;
            if before.as_ref().is_some_and(|before| *before >= key) {
                return Err(DecodeError::Invalid("keys that do not ascend"));
            }
            map.push(&key, input.scoped(|input, _| S::decode(input))?)?;
            before = Some(key);
        }
        Ok(map)
    }
}

impl<K: Key, S: DotStore> DotStore for DotMap<K, S> {}

impl<K, S> Default for DotMap<K, S> {
    fn default() -> Self {
        Self { entries: Vec::new(), table: HashTable::new(), hasher: RandomState::default(), index: DotIndex::default() }
    }
}

/// The same keys with the same stores, whatever the order in which they came.
impl<K: Key, S: DotStore> PartialEq for DotMap<K, S> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.dot_count() == other.dot_count()
            && self.iter().all(|(key, store)| other.get(key).is_some_and(|theirs| theirs == store))
    }
}

impl<K: Key + Eq, S: DotStore + Eq> Eq for DotMap<K, S> {}

impl<K: fmt::Debug + Ord, S: fmt::Debug> fmt::Debug for DotMap<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        f.debug_map().entries(entries).finish()
    }
}

impl<K, E> Default for MapEffects<K, E> {
    fn default() -> Self {
        Self { updated: Vec::new(), removed: Vec::new() }
    }
}

impl<K: fmt::Debug, E: fmt::Debug> Effects for MapEffects<K, E> {
    fn is_empty(&self) -> bool {
        self.updated.is_empty() && self.removed.is_empty()
    }
}
