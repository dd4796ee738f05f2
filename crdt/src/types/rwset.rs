//! A set in which removing wins.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;
use core::hash::Hash;

use super::delegate::by_field;
use super::entries::{self, Entries, Entry};
use crate::causal::{DotFun, DotMap};
use crate::{Contexts, Crdt, DotStore, Edit, Key, SetEffects, Stable, Stamp, Tx};

/// A set in which removing wins over a concurrent addition (the remove-wins OR-set of Almeida,
/// Shoker, Baquero, "Delta state replicated data types", 2018, section 7 and their reference
/// library). For example, Amy grants Carl a right while Ben revokes it: Carl does not have it.
///
/// | concurrently | result |
/// |---|---|
/// | add and remove of one element | it is out, until an addition that has seen the removal |
/// | add and add | it is in |
/// | remove of an element not seen, and add | it is out: a removal need not have seen what it removes |
///
/// Each element holds the dots of those of its additions and removals that nothing has overwritten.
/// It is in if it has an addition and no removal. What grows: one entry per removed element, until
/// it is added again or [forgotten](Edit::forget).
#[derive(Clone)]
pub struct RwSet<T>(DotMap<T, Entries<Vote>>);

/// Whether a write put the element in or out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
enum Vote {
    In,
    Out,
}

impl Entry for Vote {
    type View = ();

    fn stamp(&self) -> Option<Stamp> {
        None
    }

    fn view(votes: &DotFun<Self>) -> Option<()> {
        (!votes.is_empty() && votes.iter().all(|(_, vote)| *vote == Self::In)).then_some(())
    }
}

impl<T> RwSet<T> {
    /// The elements, in an order that differs between replicas; see [`sorted`](Self::sorted).
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0
            .iter()
            .filter(|(_, votes)| votes.view().is_some())
            .map(|(element, _)| element)
    }

    /// How many elements the set has. O(elements and removed elements).
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether the set is empty. O(elements and removed elements).
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// How many removed elements still take space.
    pub fn removed_len(&self) -> usize {
        self.0.len() - self.len()
    }
}

impl<T: Key> RwSet<T> {
    /// Whether the element was added, and the addition has seen every removal. O(1).
    pub fn contains<Q>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: ?Sized + Ord + Hash,
    {
        self.0
            .get(element)
            .is_some_and(|votes| votes.view().is_some())
    }

    /// The elements, ascending: the same at every replica. O(n log n).
    pub fn sorted(&self) -> Vec<&T> {
        let mut elements: Vec<&T> = self.iter().collect();
        elements.sort_unstable();
        elements
    }
}

impl<T: Key> Edit<'_, RwSet<T>> {
    /// Adds the element and overrides every removal that this replica has seen. A concurrent
    /// removal elsewhere wins over it.
    pub fn add(&mut self, tx: &mut Tx<'_>, element: T) {
        let (state, delta) = self.parts();
        entries::put(&mut state.0, &mut delta.0, tx, element, Vote::In);
    }

    /// Removes the element, with all concurrent additions, and says whether it was in.
    pub fn remove<Q>(&mut self, tx: &mut Tx<'_>, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: ?Sized + Ord + Hash + ToOwned<Owned = T>,
    {
        let there = self.contains(element);
        let (state, delta) = self.parts();
        entries::put(
            &mut state.0,
            &mut delta.0,
            tx,
            element.to_owned(),
            Vote::Out,
        );
        there
    }

    /// Frees the space of removed elements whose removals are all [`Stable`], and says how many.
    ///
    /// Readers see no change, and replicas converge whatever is passed. Called too early
    /// ([`Stable::unchecked`]), it brings back an addition that lost against a forgotten removal,
    /// if that addition arrives later or if a replica still holds it because what replaced it has
    /// not arrived.
    pub fn forget(&mut self, tx: &mut Tx<'_>, stable: &Stable) -> usize {
        let settled = |votes: &Entries<Vote>| {
            votes
                .0
                .iter()
                .all(|(dot, vote)| *vote == Vote::In || stable.contains(dot))
        };
        let gone = self
            .0
            .iter()
            .filter(|(_, votes)| votes.view().is_none() && settled(votes));
        let gone: Vec<T> = gone.map(|(element, _)| element.clone()).collect();
        let (state, delta) = self.parts();
        for element in &gone {
            entries::take(&mut state.0, &mut delta.0, tx, element);
        }
        gone.len()
    }
}

impl<T: Key> Crdt for RwSet<T> {
    by_field!(RwSet);
    type Effects = SetEffects<T>;

    fn join(&mut self, theirs: &Self, contexts: Contexts<'_>) -> SetEffects<T> {
        let effects = entries::join(&mut self.0, &theirs.0, contexts);
        SetEffects {
            added: effects
                .updated
                .into_iter()
                .map(|(element, ())| element)
                .collect(),
            removed: effects.removed,
        }
    }
}

impl<T: Key> DotStore for RwSet<T> {}

impl<T> Default for RwSet<T> {
    fn default() -> Self {
        Self(DotMap::default())
    }
}

impl<T: Key> PartialEq for RwSet<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Key> Eq for RwSet<T> {}

/// The elements in the set; of those that are out, only how many take space.
impl<T: fmt::Debug + Ord> fmt::Debug for RwSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut elements: Vec<&T> = self.iter().collect();
        elements.sort_unstable();
        f.debug_set()
            .entries(elements)
            .entry(&format_args!("{} removed", self.removed_len()))
            .finish()
    }
}
