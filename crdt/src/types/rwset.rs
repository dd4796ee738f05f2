//! A set where removing wins.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;
use core::hash::Hash;

use super::delegate::by_field;
use super::entries::{self, Entries, Entry};
use crate::causal::{DotFun, DotMap};
use crate::{Contexts, Crdt, DotStore, Edit, Key, SetEffects, Stable, Stamp, Tx};

/// A set where removing wins over a concurrent addition (the remove-wins OR-set of Almeida, Shoker,
/// Baquero, "Delta state replicated data types", 2018, section 7 and their reference library).
///
/// | concurrently | result |
/// |---|---|
/// | add and remove of one element | it is out, until an addition that has seen the removal |
/// | add and add | it is in |
/// | remove of an element not seen, and add | it is out: a removal needs not have seen what it removes |
///
/// Each element holds the dots of its additions and removals that nothing has overwritten; it is in
/// if there is an addition and no removal. What grows: one entry per removed element, until it is
/// added again or [forgotten](Edit::forget).
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

    /// How many elements there are. O(elements and removed elements).
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// How many removed elements still take room.
    pub fn removed_len(&self) -> usize {
        self.0.len() - self.len()
    }
}

impl<T: Key> RwSet<T> {
    /// Whether the element was added and no removal is left that the addition has not seen.
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
    /// Adds the element, over all removals seen here; a concurrent removal elsewhere wins over it.
    pub fn add(&mut self, tx: &mut Tx<'_>, element: T) {
        let (state, delta) = self.parts();
        entries::put((&mut state.0, &mut delta.0), tx, element, Vote::In);
    }

    /// Removes the element, over all additions seen here and all concurrent ones, and says whether
    /// it was there.
    pub fn remove<Q>(&mut self, tx: &mut Tx<'_>, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: ?Sized + Ord + Hash + ToOwned<Owned = T>,
    {
        let there = self.contains(element);
        let (state, delta) = self.parts();
        entries::put(
            (&mut state.0, &mut delta.0),
            tx,
            element.to_owned(),
            Vote::Out,
        );
        there
    }

    /// Frees the room of removed elements whose removals are all [`Stable`], and says how many.
    ///
    /// Nothing that readers see changes, and replicas converge whatever is passed. Called too early
    /// ([`Stable::unchecked`]), an addition wins that was concurrent with a forgotten removal and
    /// arrives after it, or that a replica still holds because what had ended it has not arrived.
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
            entries::take((&mut state.0, &mut delta.0), tx, element);
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

/// The elements that are in; of those that are out only how many take room.
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
