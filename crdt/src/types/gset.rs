//! Sets that only grow, and sets in which a removal is final.

use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet};
use core::borrow::Borrow;

use super::delegate::without_dots;
use crate::codec::{DecodeError, Kind, Reader, Writer};
use crate::{Contexts, Crdt, Edit, Key, Lattice, SetEffects, Tx};

/// A set that only grows (Shapiro et al. 2011, specification 11). For example, Amy adds 1 while Ben
/// adds 2: both end with {1, 2}.
///
/// **Law:** merging is the union. Nothing can be removed, so nothing conflicts, and elements store
/// no replica ids: a writer costs a few bytes of context. What grows: the set itself.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct GSet<T>(BTreeSet<T>);

impl<T> GSet<T> {
    /// How many elements the set has. O(1).
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The elements, ascending: the same at every replica.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.0.iter()
    }
}

impl<T: Key> GSet<T> {
    /// Whether the element was ever added. O(log n).
    pub fn contains<Q>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: ?Sized + Ord,
    {
        self.0.contains(element)
    }

    fn absorb(&mut self, theirs: &Self, mut added: impl FnMut(&T)) {
        for element in &theirs.0 {
            if !self.0.contains(element) {
                self.0.insert(element.clone());
                added(element);
            }
        }
    }
}

impl<T: Key> Edit<'_, GSet<T>> {
    /// Adds the element and says whether it is new. If it is not, the delta does not name it.
    pub fn add(&mut self, _: &mut Tx<'_>, element: T) -> bool {
        let (state, delta) = self.parts();
        let new = state.0.insert(element.clone());
        if new {
            delta.0.insert(element);
        }
        new
    }
}

impl<T: Key> Lattice for GSet<T> {
    fn merge(&mut self, other: &Self) -> bool {
        let before = self.len();
        self.absorb(other, |_| {});
        self.len() > before
    }
}

impl<T: Key> Crdt for GSet<T> {
    without_dots!(|tag| tag.kind(Kind::GSet));
    type Effects = SetEffects<T>;

    fn join(&mut self, theirs: &Self, _: Contexts<'_>) -> SetEffects<T> {
        let mut effects = SetEffects::default();
        self.absorb(theirs, |element| effects.added.push(element.clone()));
        effects
    }

    fn encode(&self, out: &mut Writer) {
        out.number(self.0.len() as u64);
        self.0.iter().for_each(|element| out.value(element));
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut set = BTreeSet::new();
        for _ in 0..input.count()? {
            let element: T = input.value()?;
            if set.last().is_some_and(|before| *before >= element) {
                return Err(DecodeError::Invalid("elements that do not ascend"));
            }
            set.insert(element);
        }
        Ok(Self(set))
    }
}

impl<T> Default for GSet<T> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

/// A set in which a removed element never comes back (2P-set; Shapiro et al. 2011, specification
/// 12). Use it for ids that are never reused.
///
/// | concurrently | result |
/// |---|---|
/// | add and remove of one element | it is gone for good |
/// | remove, then add anywhere | it stays gone: an element can be added only once |
///
/// **Law:** per element, absent < present < removed, and merging takes the maximum. What grows: one
/// entry per element ever added, even if it was removed. For elements that come and go, see
/// [`OrSet`](crate::OrSet).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TwoPhaseSet<T> {
    /// Whether the element is still in the set.
    phases: BTreeMap<T, bool>,
}

impl<T> TwoPhaseSet<T> {
    /// The elements in the set, ascending. O(elements ever added).
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.phases
            .iter()
            .filter(|(_, there)| **there)
            .map(|(element, _)| element)
    }

    /// How many elements the set has. O(elements ever added).
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether the set is empty. O(elements ever added).
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<T: Key> TwoPhaseSet<T> {
    /// Whether the element was added and not removed. O(log elements ever added).
    pub fn contains<Q>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: ?Sized + Ord,
    {
        self.phases.get(element).is_some_and(|there| *there)
    }

    /// Whether the element was removed and can therefore never be added again.
    pub fn is_removed<Q>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: ?Sized + Ord,
    {
        self.phases.get(element).is_some_and(|there| !there)
    }

    fn absorb(&mut self, theirs: &Self, mut changed: impl FnMut(&T, Option<bool>, bool)) {
        for (element, &there) in &theirs.phases {
            match self.phases.get_mut(element) {
                None => {
                    self.phases.insert(element.clone(), there);
                    changed(element, None, there);
                }
                Some(mine) if *mine && !there => {
                    *mine = false;
                    changed(element, Some(true), false);
                }
                Some(_) => {}
            }
        }
    }
}

impl<T: Key> Edit<'_, TwoPhaseSet<T>> {
    /// Adds the element and says whether it is new. An element that is present or was removed stays
    /// as it is.
    pub fn add(&mut self, _: &mut Tx<'_>, element: T) -> bool {
        let (state, delta) = self.parts();
        let Entry::Vacant(entry) = state.phases.entry(element.clone()) else {
            return false;
        };
        entry.insert(true);
        delta.phases.insert(element, true);
        true
    }

    /// Removes the element for good and says whether it was present. An element that this replica
    /// has not seen is not removed.
    pub fn remove<Q>(&mut self, _: &mut Tx<'_>, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: ?Sized + Ord,
    {
        if !self.contains(element) {
            return false;
        }
        let (state, delta) = self.parts();
        let Some((element, _)) = state.phases.remove_entry(element) else {
            return false;
        };
        state.phases.insert(element.clone(), false);
        delta.phases.insert(element, false);
        true
    }
}

impl<T: Key> Lattice for TwoPhaseSet<T> {
    fn merge(&mut self, other: &Self) -> bool {
        let mut any = false;
        self.absorb(other, |_, _, _| any = true);
        any
    }
}

impl<T: Key> Crdt for TwoPhaseSet<T> {
    without_dots!(|tag| tag.kind(Kind::TwoPhaseSet));
    type Effects = SetEffects<T>;

    fn join(&mut self, theirs: &Self, _: Contexts<'_>) -> SetEffects<T> {
        let mut effects = SetEffects::default();
        self.absorb(theirs, |element, before, after| match (before, after) {
            (None, true) => effects.added.push(element.clone()),
            (Some(_), _) => effects.removed.push(element.clone()),
            // Never seen here and already removed: readers see no difference.
            (None, false) => {}
        });
        effects
    }

    fn encode(&self, out: &mut Writer) {
        out.number(self.phases.len() as u64);
        for entry in &self.phases {
            out.value(&entry);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut phases = BTreeMap::new();
        for _ in 0..input.count()? {
            let (element, there): (T, bool) = input.value()?;
            if phases
                .last_key_value()
                .is_some_and(|(before, _)| *before >= element)
            {
                return Err(DecodeError::Invalid("elements that do not ascend"));
            }
            phases.insert(element, there);
        }
        Ok(Self { phases })
    }
}

impl<T> Default for TwoPhaseSet<T> {
    fn default() -> Self {
        Self {
            phases: BTreeMap::new(),
        }
    }
}
