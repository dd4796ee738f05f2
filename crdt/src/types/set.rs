//! A set of elements.

use serde::{Deserialize, Serialize};

use super::dot_store_by_field;
use crate::{Causal, DotMap, DotSet, ReplicaId};

/// A set where adding wins over a concurrent removal, without tombstones (Bieniusa et al., "An optimized conflict-free
/// replicated set", RR-8083).
///
/// Each element holds the dots of its additions. Adding again replaces those seen by one new dot, so an element has more
/// than one only after concurrent additions. Iteration ascends and is the same at every replica.
///
/// Used as `Causal<OrSet<T>>`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent, bound(deserialize = "T: Ord + Deserialize<'de>"))]
pub struct OrSet<T: Ord>(DotMap<T, DotSet>);

dot_store_by_field! { [T: Ord + Clone] OrSet<T> }

impl<T: Ord + Clone> OrSet<T> {
    /// Whether some addition of the element has not been seen by a removal.
    pub fn contains(&self, element: &T) -> bool {
        self.0.get(element).is_some()
    }

    /// How many elements there are. O(1).
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The elements, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.0.iter().map(|(element, _)| element)
    }
}

impl<T: Ord + Clone> Causal<OrSet<T>> {
    /// Adds the element and returns the delta. O(log n), and the delta is as small as the element.
    pub fn add(&mut self, replica: ReplicaId, element: T) -> Self {
        self.write(|store, context| {
            let dot = context.next(replica);
            store.0.update(element.clone(), |dots| {
                context.drops(dots.drain());
                dots.insert(dot)
            });
            OrSet([(element, [dot].into_iter().collect())].into_iter().collect())
        })
    }

    /// Removes the element, as far as it was added here or seen, and returns the delta. An absent element gives an empty
    /// delta, not an error: there is nothing to remove of what was not seen.
    pub fn remove(&mut self, element: &T) -> Self {
        self.write(|store, context| {
            if let Some(dots) = store.0.remove(element) {
                context.drops(dots.iter());
            }
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
        Self(DotMap::default())
    }
}
