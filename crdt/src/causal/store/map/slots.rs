//! The entries of a map by slot, with the lookup kept in step.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use core::borrow::Borrow;
use core::hash::Hash;

use super::lookup::{self, Lookup};
use super::{DotMap, FEW, FEW_DOTS};
use crate::causal::index::DotIndex;
use crate::replicated::Mark;
use crate::{Dot, DotStore, Key, Tx};

impl<K: Key, S: DotStore> DotMap<K, S> {
    pub(super) fn slot<Q>(&self, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash,
    {
        match &self.lookup {
            Some(lookup) => lookup.slot(&self.entries, key),
            None => self
                .entries
                .iter()
                .position(|(known, _)| known.borrow() == key)
                .map(|slot| slot as u32),
        }
    }

    pub(super) fn slot_or_append(&mut self, key: K) -> u32 {
        match self.slot(&key) {
            Some(slot) => slot,
            None => self.append(key, S::default()),
        }
    }

    pub(super) fn slot_or_insert(&mut self, key: &K) -> u32 {
        self.slot(key)
            .unwrap_or_else(|| self.append(key.clone(), S::default()))
    }

    /// Appends a new key. The caller indexes the dots of its store.
    pub(super) fn append(&mut self, key: K, store: S) -> u32 {
        let slot =
            u32::try_from(self.entries.len()).expect("invariant: 2^32 keys do not fit in memory");
        if self.entries.is_empty() {
            // Most deltas have one entry.
            self.entries.reserve_exact(1);
        }
        self.entries.push((key, store));
        if let Some(lookup) = &mut self.lookup {
            lookup.add_last(&self.entries);
        }
        slot
    }

    /// Updates the lookup with what the transaction has done at `slot` since `mark`.
    pub(super) fn note_change(&mut self, slot: u32, tx: &Tx<'_>, mark: Mark) {
        if let Some(lookup) = &mut self.lookup {
            let index = lookup.dots_mut();
            for &dot in tx.ended_since(mark) {
                index.remove(dot);
            }
            // Dots that were issued and are alive are indexed; those that were issued and ended
            // within the transaction are not.
            for dot in tx
                .issued_since(mark)
                .filter(|dot| self.entries[slot as usize].1.has_dot(*dot))
            {
                index.insert(dot, slot);
            }
        }
        self.drop_if_empty(slot);
        self.look_up_if_many();
    }

    /// The live dots with their slots.
    pub(super) fn index(&self) -> Cow<'_, DotIndex> {
        match &self.lookup {
            Some(lookup) => Cow::Borrowed(lookup.dots()),
            None => Cow::Owned(lookup::index(&self.entries).0),
        }
    }

    pub(super) fn index_at(&mut self, dot: Dot, slot: u32) {
        if let Some(lookup) = &mut self.lookup {
            lookup.dots_mut().insert(dot, slot);
        }
    }

    pub(super) fn unindex(&mut self, dot: Dot) {
        if let Some(lookup) = &mut self.lookup {
            lookup.dots_mut().remove(dot);
        }
    }

    pub(super) fn look_up(&mut self) {
        if self.lookup.is_none() {
            self.lookup = Some(Box::new(Lookup::of(
                &self.entries,
                lookup::index(&self.entries).0,
            )));
        }
    }

    pub(super) fn look_up_if_many(&mut self) {
        if self.lookup.is_none() && (self.entries.len() > FEW || self.dot_count() > FEW_DOTS) {
            self.look_up();
        }
    }

    /// Removes an empty store; the last entry moves into its slot.
    pub(super) fn drop_if_empty(&mut self, slot: u32) {
        if self
            .entries
            .get(slot as usize)
            .is_none_or(|(_, store)| !store.is_bottom())
        {
            return;
        }
        if let Some(lookup) = &mut self.lookup {
            lookup.swap_remove(&self.entries, slot);
        }
        self.entries.swap_remove(slot as usize);
        self.shrink();
    }

    /// Frees memory once less than half of it is used.
    fn shrink(&mut self) {
        let len = self.entries.len();
        if len > FEW && len < self.entries.capacity() / 2 {
            self.entries.shrink_to(len + len / 4);
            if let Some(lookup) = &mut self.lookup {
                lookup.shrink(&self.entries);
            }
        }
        if len <= FEW / 2
            && self
                .lookup
                .as_ref()
                .is_some_and(|lookup| lookup.dots().len() <= FEW_DOTS / 2)
        {
            self.entries.shrink_to(FEW);
            self.lookup = None;
        }
    }
}
