//! A set of elements.

use std::collections::BTreeMap;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Causal, Dot, DotSet, DotStore, Observed, ReplicaId};

/// A set where adding wins over a concurrent removal, without tombstones (Bieniusa et al., "An optimized conflict-free
/// replicated set", RR-8083).
///
/// Each element holds the dots of its additions. Adding again replaces those seen by one new dot, so an element has more
/// than one only after concurrent additions. Iteration ascends and is the same at every replica.
///
/// Merging a delta costs what the delta holds, not what the set holds: elements are found by dot as well as by value, for
/// which each is kept twice.
///
/// Used as `Causal<OrSet<T>>`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct OrSet<T: Ord> {
    by_dot: BTreeMap<Dot, T>,
    /// **Invariant:** the inverse of `by_dot`; no element without dots.
    elements: BTreeMap<T, DotSet>,
}

impl<T: Ord + Clone> OrSet<T> {
    /// Whether some addition of the element has not been seen by a removal.
    pub fn contains(&self, element: &T) -> bool {
        self.elements.contains_key(element)
    }

    /// How many elements there are. O(1).
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The elements, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.elements.keys()
    }

    fn start(&mut self, dot: Dot, element: T) {
        self.by_dot.insert(dot, element.clone());
        self.elements.entry(element).or_default().insert(dot);
    }

    fn end(&mut self, dot: Dot) {
        let Some(element) = self.by_dot.remove(&dot) else { return };
        let dots = self.elements.get_mut(&element).expect("invariant: elements is the inverse of by_dot");
        dots.remove(dot);
        if dots.is_empty() {
            self.elements.remove(&element);
        }
    }

    /// Ends all dots of the element and returns them.
    fn end_element(&mut self, element: &T) -> DotSet {
        let dots = self.elements.remove(element).unwrap_or_default();
        for dot in dots.iter() {
            self.by_dot.remove(&dot);
        }
        dots
    }

    /// My live dots that `their_context` has seen and that are not alive there.
    fn ended_by(&self, theirs: &Self, their_context: &impl Observed) -> Vec<Dot> {
        let mut ended = Vec::new();
        let by_run = their_context.visit_runs(&mut |replica, run| {
            let run = Dot::new(replica, *run.start())..=Dot::new(replica, *run.end());
            let mut alive = theirs.by_dot.range(run.clone()).map(|(dot, _)| *dot).peekable();
            for (&dot, _) in self.by_dot.range(run) {
                while alive.next_if(|&theirs| theirs < dot).is_some() {}
                if alive.next_if_eq(&dot).is_none() {
                    ended.push(dot);
                }
            }
        });
        if !by_run {
            let gone = |dot: &Dot| their_context.has_seen(*dot) && !theirs.by_dot.contains_key(dot);
            ended.extend(self.by_dot.keys().copied().filter(gone));
        }
        ended
    }
}

impl<T: Ord + Clone> DotStore for OrSet<T> {
    fn is_empty(&self) -> bool {
        self.by_dot.is_empty()
    }

    fn join(&mut self, theirs: &Self, my_context: &impl Observed, their_context: &impl Observed) -> bool {
        let ended = self.ended_by(theirs, their_context);
        let mut changed = !ended.is_empty();
        for dot in ended {
            self.end(dot);
        }
        for (&dot, element) in &theirs.by_dot {
            if !my_context.has_seen(dot) && !self.by_dot.contains_key(&dot) {
                self.start(dot, element.clone());
                changed = true;
            }
        }
        changed
    }

    fn dots(&self, visit: &mut impl FnMut(Dot)) {
        self.by_dot.keys().copied().for_each(visit);
    }
}

impl<T: Ord + Clone> Causal<OrSet<T>> {
    /// Adds the element and returns the delta. O(log n), and the delta is as small as the element.
    pub fn add(&mut self, replica: ReplicaId, element: T) -> Self {
        self.write(|store, context| {
            let dot = context.next(replica);
            context.drops(store.end_element(&element).iter());
            store.start(dot, element.clone());
            let mut delta = OrSet::default();
            delta.start(dot, element);
            delta
        })
    }

    /// Removes the element, as far as it was added here or seen, and returns the delta. An absent element gives an empty
    /// delta, not an error: there is nothing to remove of what was not seen.
    pub fn remove(&mut self, element: &T) -> Self {
        self.write(|store, context| {
            context.drops(store.end_element(element).iter());
            OrSet::default()
        })
    }

    /// Removes every element seen here and returns the delta.
    pub fn clear(&mut self) -> Self {
        self.remove_observed()
    }
}

impl<T: Ord> Default for OrSet<T> {
    fn default() -> Self {
        Self { by_dot: BTreeMap::new(), elements: BTreeMap::new() }
    }
}

/// The elements by dot; the rest follows from it.
impl<T: Ord + Serialize> Serialize for OrSet<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.by_dot)
    }
}

impl<'de, T: Ord + Clone + Deserialize<'de>> Deserialize<'de> for OrSet<T> {
    /// Refuses dots that do not ascend and counters of 0.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries: Vec<(Dot, T)> = Vec::deserialize(deserializer)?;
        let ascending = entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !ascending || entries.iter().any(|(dot, _)| dot.counter == 0) {
            return Err(D::Error::custom("dots do not ascend or name no event"));
        }
        let mut set = Self::default();
        for (dot, element) in entries {
            set.start(dot, element);
        }
        Ok(set)
    }
}
