//! A store with another store for each key.

mod lookup;
mod slots;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;
use core::hash::Hash;
use core::mem;

use self::lookup::Lookup;
use crate::codec::{DecodeError, Kind, Reader, Tag, Writer};
use crate::{
    CausalContext, Contexts, Crdt, Dot, DotStore, Edit, Effects, Key, ReplicaId, Stamp, Tx,
    Undotted,
};

/// Up to this many keys, a linear search finds a key.
const FEW: usize = 8;
/// Up to this many live dots, a linear search finds a dot.
const FEW_DOTS: usize = 16;

/// A map from keys to stores that all live under one context, so removing a key removes exactly
/// what was observed of it, at any depth.
///
/// Keys are found by hash and by the dots alive under them: a join costs what differs, not what the
/// map holds. A small map, as most deltas are, is a list.
///
/// **Invariant:** no key maps to an empty store: absent and empty mean the same. No dot is alive
/// under two keys.
#[derive(Clone)]
pub struct DotMap<K, S> {
    entries: Vec<(K, S)>,
    /// `None` while the map is small.
    lookup: Option<Box<Lookup>>,
}

/// What a merge changed in a map: the changed keys, with what changed under them, and the removed
/// keys. In no order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapEffects<K, E> {
    /// Keys that are new or whose value changed.
    pub updated: Vec<(K, E)>,
    /// Keys that are no longer there.
    pub removed: Vec<K>,
}

impl<K, S> DotMap<K, S> {
    /// How many keys have something alive. O(1).
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key has anything alive.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys and stores, in an order that differs between replicas.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&K, &S)> {
        self.entries.iter().map(|(key, store)| (key, store))
    }
}

impl<K: Key, S: DotStore> DotMap<K, S> {
    /// No keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many dots are alive.
    pub fn dot_count(&self) -> usize {
        match &self.lookup {
            Some(lookup) => lookup.dots().len(),
            None => self
                .entries
                .iter()
                .map(|(_, store)| store.dot_count())
                .sum(),
        }
    }

    /// Visits keys and stores by ascending dot; a key appears once for each of its dots.
    pub(crate) fn each_by_dot<'a>(&'a self, mut visit: impl FnMut(Dot, &'a K, &'a S)) {
        for (dot, slot) in self.index().iter() {
            let (key, store) = &self.entries[slot as usize];
            visit(dot, key, store);
        }
    }

    /// The key and the store that the dot is alive under.
    pub(crate) fn at(&self, dot: Dot) -> Option<(&K, &S)> {
        let slot = match &self.lookup {
            Some(lookup) => lookup.dots().get(dot)? as usize,
            None => self
                .entries
                .iter()
                .position(|(_, store)| store.has_dot(dot))?,
        };
        let (key, store) = &self.entries[slot];
        Some((key, store))
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

    /// Changes what is alive under `key`, in the value and in the delta of the transaction alike. A
    /// key under which nothing is left is removed.
    pub fn update<R>(
        edit: &mut Edit<'_, Self>,
        tx: &mut Tx<'_>,
        key: K,
        change: impl FnOnce(&mut S::Edit<'_>, &mut Tx<'_>) -> R,
    ) -> R {
        let (state, delta) = edit.parts();
        let (slot, delta_slot) = (state.slot_or_insert(&key), delta.slot_or_append(key));
        let mark = tx.mark();
        let (store, delta_store) = (
            &mut state.entries[slot as usize].1,
            &mut delta.entries[delta_slot as usize].1,
        );
        let result = change(&mut S::edit(store, delta_store), tx);
        for (map, slot) in [(state, slot), (delta, delta_slot)] {
            map.note_change(slot, tx, mark);
        }
        result
    }

    /// Removes everything that this replica has seen.
    pub fn clear(edit: &mut Edit<'_, Self>, tx: &mut Tx<'_>) {
        let (state, delta) = edit.parts();
        *delta = Self::default();
        mem::take(state).dots(&mut |dot| tx.end(dot));
    }

    /// Joins what differs. Tells `changed`, for each key concerned, whether it was there before,
    /// its store after the join, and the effects.
    pub(crate) fn join_with(
        &mut self,
        theirs: &Self,
        contexts: Contexts<'_>,
        mut changed: impl FnMut(&K, bool, &S, S::Effects),
    ) {
        let (ended, taken) = {
            let (mine, others) = (self.index(), theirs.index());
            (
                mine.ended_by(&others, contexts.theirs),
                others.new_to(&mine, contexts.mine),
            )
        };
        if self.entries.len() + taken.len() > FEW {
            self.look_up();
        }
        // (My slot, their slot) of what must be joined; a key that only I have has no slot there.
        let mut touched: Vec<(u32, Option<u32>)> = Vec::with_capacity(ended.len() + taken.len());
        for &(dot, slot) in &ended {
            self.unindex(dot);
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
            self.index_at(dot, slot);
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
        // A dot that is under one key here and under another there is forged. It ends where a join
        // comes across it.
        if alive != expected
            && let Some(lookup) = &mut self.lookup
        {
            lookup.reindex(lookup::index(&self.entries).0);
        }
        // From the last slot down, so that no slot still to be looked at moves.
        for &(slot, _) in touched.iter().rev() {
            self.drop_if_empty(slot);
        }
        self.look_up_if_many();
    }

    /// A map of entries with different keys, none of them bottom; `None` if a dot is alive twice.
    pub(crate) fn of(entries: Vec<(K, S)>) -> Option<Self> {
        let (index, once) = lookup::index(&entries);
        let mut map = Self {
            entries,
            lookup: None,
        };
        if map.entries.len() > FEW || index.len() > FEW_DOTS {
            map.lookup = Some(Box::new(Lookup::of(&map.entries, index)));
        }
        once.then_some(map)
    }

    /// Makes a dot alive under a key and changes the store there; for decoding and for stores that
    /// know their dots.
    pub(crate) fn start(&mut self, key: K, dot: Dot, change: impl FnOnce(&mut S)) {
        let slot = self.slot_or_append(key);
        self.index_at(dot, slot);
        change(&mut self.entries[slot as usize].1);
        self.look_up_if_many();
    }

    /// Removes a dot under a key and changes the store there, the opposite of
    /// [`start`](Self::start). A key under which nothing is left is removed.
    pub(crate) fn end(&mut self, key: &K, dot: Dot, change: impl FnOnce(&mut S)) {
        let Some(slot) = self.slot(key) else { return };
        self.unindex(dot);
        change(&mut self.entries[slot as usize].1);
        self.drop_if_empty(slot);
    }

    /// Removes the key with its store and reports each of its dots. Says whether the key was there.
    pub(crate) fn take<Q>(&mut self, key: &Q, ended: &mut dyn FnMut(Dot)) -> bool
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash,
    {
        let Some(slot) = self.slot(key) else {
            return false;
        };
        mem::take(&mut self.entries[slot as usize].1).dots(&mut |dot| {
            self.unindex(dot);
            ended(dot);
        });
        self.drop_if_empty(slot);
        true
    }

    /// Replaces what is alive under a key by a store with one dot.
    pub(crate) fn replace(&mut self, key: K, dot: Dot, store: S, ended: &mut dyn FnMut(Dot)) {
        let slot = if let Some(slot) = self.slot(&key) {
            mem::replace(&mut self.entries[slot as usize].1, store).dots(&mut |old| {
                self.unindex(old);
                ended(old);
            });
            slot
        } else {
            self.append(key, store)
        };
        self.index_at(dot, slot);
        // No need to count dots: only one is alive under the key.
        if self.entries.len() > FEW {
            self.look_up();
        }
    }
}

impl<K: Key, S: DotStore> Crdt for DotMap<K, S> {
    type Edit<'a>
        = Edit<'a, Self>
    where
        Self: 'a;
    type Effects = MapEffects<K, S::Effects>;

    fn tag(tag: &mut Tag) {
        tag.kind(Kind::DotMap);
        S::tag(tag);
    }

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
        match &self.lookup {
            Some(lookup) => lookup.dots().iter().for_each(|(dot, _)| visit(dot)),
            None => self.entries.iter().for_each(|(_, store)| store.dots(visit)),
        }
    }

    fn dot_count(&self) -> usize {
        Self::dot_count(self)
    }

    fn has_dot(&self, dot: Dot) -> bool {
        self.at(dot).is_some()
    }

    fn named(&self, replica: ReplicaId) -> u64 {
        self.entries
            .iter()
            .map(|(_, store)| store.named(replica))
            .max()
            .unwrap_or(0)
    }

    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        let mut both: Vec<(u32, u32)> = Vec::new();
        let (mine, others) = (self.index(), theirs.index());
        for (dot, there) in others.of(replica) {
            let Some(here) = mine.get(dot) else { continue };
            if self.entries[here as usize].0 != theirs.entries[there as usize].0 {
                return true;
            }
            both.push((here, there));
        }
        both.sort_unstable();
        both.dedup();
        both.into_iter().any(|(here, there)| {
            self.entries[here as usize]
                .1
                .contradicts(&theirs.entries[there as usize].1, replica)
        })
    }

    fn stamps(&self, visit: &mut dyn FnMut(Stamp)) {
        self.entries
            .iter()
            .for_each(|(_, store)| store.stamps(visit));
    }

    fn is_opaque(&self) -> bool {
        self.entries.iter().any(|(_, store)| store.is_opaque())
    }

    fn part(&self, dots: &CausalContext, undotted: Undotted<'_>) -> Self {
        let mut slots: Vec<u32> = self
            .index()
            .among(dots)
            .into_iter()
            .map(|(_, slot)| slot)
            .collect();
        slots.sort_unstable();
        slots.dedup();
        let entries = slots.into_iter().map(|slot| &self.entries[slot as usize]);
        Self::of(
            entries
                .map(|(key, store)| (key.clone(), store.part(dots, undotted)))
                .collect(),
        )
        .expect("invariant: parts of one map")
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
            out.inner(store);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut entries: Vec<(K, S)> = Vec::new();
        for _ in 0..input.count()? {
            let key: K = input.value()?;
            if entries.last().is_some_and(|before| before.0 >= key) {
                return Err(DecodeError::Invalid("keys that do not ascend"));
            }
            let store: S = input.inner()?;
            if store.is_bottom() {
                return Err(DecodeError::Invalid("a key that holds nothing"));
            }
            entries.push((key, store));
        }
        Self::of(entries).ok_or(DecodeError::Invalid("a dot under two keys"))
    }
}

impl<K: Key, S: DotStore> DotStore for DotMap<K, S> {}

impl<K, S> Default for DotMap<K, S> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            lookup: None,
        }
    }
}

/// Two maps are equal if they have the same keys with the same stores, whatever the order.
impl<K: Key, S: DotStore> PartialEq for DotMap<K, S> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.dot_count() == other.dot_count()
            && self
                .iter()
                .all(|(key, store)| other.get(key).is_some_and(|theirs| theirs == store))
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
        Self {
            updated: Vec::new(),
            removed: Vec::new(),
        }
    }
}

impl<K: fmt::Debug, E: fmt::Debug> Effects for MapEffects<K, E> {
    fn is_empty(&self) -> bool {
        self.updated.is_empty() && self.removed.is_empty()
    }
}
