//! Lists.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use super::sequence::{Anchor, OutOfRange, Sequence, SequenceEffect};
use crate::codec::{DecodeError, Kind, Reader, Tag, Writer};
use crate::{CausalContext, Contexts, Crdt, Dot, Edit, Plain, ReplicaId, Tx, Undotted};

/// A list that several writers edit at once (`FugueMax`: Weidner and Kleppmann, "The Art of the
/// Fugue", arXiv 2305.00583).
///
/// | concurrently | result |
/// |---|---|
/// | two insertions at one place | one behind the other, neither torn apart |
/// | insertion into a range that is deleted | what was inserted stays, without its surroundings |
/// | two deletions of one element | it is gone, once |
///
/// An element is not changed, nor moved: delete it and insert another. Two writers who both move an
/// element that way leave it twice.
///
/// What grows: each element ever inserted leaves its place, because others may stand next to it;
/// without its content, and in memory and on the wire per run of elements inserted one after the
/// other. A list is therefore no [`DotStore`](crate::DotStore) and cannot be the value of a map
/// whose keys can be removed.
///
/// Costs, deltas, insertions that wait, and [`part`](Crdt::part) are as described at
/// [`Text`](crate::Text).
#[derive(Clone)]
pub struct List<T: Plain>(Sequence<Vec<T>>);

impl<T: Plain> List<T> {
    /// How many elements there are. O(1).
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element number `at`. O(log n).
    pub fn get(&self, at: usize) -> Option<&T> {
        let mut one = self.0.range(at..at.checked_add(1)?).ok()?;
        one.next()?.first()
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.stretches().flatten()
    }

    /// The elements in `range`; none if it ends before it starts. O(log n) before the first.
    ///
    /// # Errors
    /// It ends behind the end.
    pub fn range(&self, range: Range<usize>) -> Result<impl Iterator<Item = &T>, OutOfRange> {
        Ok(self.0.range(range)?.flatten())
    }

    /// A position that moves along with the list: it stays behind the element that it is behind
    /// now.
    ///
    /// # Errors
    /// The position lies behind the end.
    pub fn anchor(&self, at: usize) -> Result<Anchor, OutOfRange> {
        self.0.anchor(at)
    }

    /// Where the anchor is now: behind its element, or where that was. None if this replica has not
    /// seen it yet.
    pub fn resolve(&self, anchor: &Anchor) -> Option<usize> {
        self.0.resolve(*anchor)
    }
}

impl<T: Plain> Edit<'_, List<T>> {
    /// Inserts an element as number `at`.
    ///
    /// # Errors
    /// `at` lies behind the end. Nothing is inserted then.
    pub fn insert(&mut self, tx: &mut Tx<'_>, at: usize, element: T) -> Result<(), OutOfRange> {
        self.insert_all(tx, at, &[element])
    }

    /// Inserts elements so that the first is number `at`.
    ///
    /// # Errors
    /// `at` lies behind the end. Nothing is inserted then.
    pub fn insert_all(
        &mut self,
        tx: &mut Tx<'_>,
        at: usize,
        elements: &[T],
    ) -> Result<(), OutOfRange> {
        let (state, delta) = self.parts();
        state.0.insert(&mut delta.0, tx, at, elements)
    }

    /// Appends an element.
    pub fn push(&mut self, tx: &mut Tx<'_>, element: T) {
        let end = self.len();
        self.insert(tx, end, element)
            .expect("invariant: the end is within the list");
    }

    /// Deletes the elements in `range`; none if it ends before it starts.
    ///
    /// # Errors
    /// It ends behind the end. Nothing is deleted then.
    pub fn delete(&mut self, tx: &mut Tx<'_>, range: Range<usize>) -> Result<(), OutOfRange> {
        let (state, delta) = self.parts();
        state.0.delete(&mut delta.0, tx, range)
    }

    /// Deletes all elements seen here.
    pub fn clear(&mut self, tx: &mut Tx<'_>) {
        let all = 0..self.len();
        self.delete(tx, all)
            .expect("invariant: all is within the list");
    }
}

super::sequence::crdt_by_sequence!([T: Plain] List<T>, List);

impl<T: Plain> Default for List<T> {
    fn default() -> Self {
        Self(Sequence::default())
    }
}

impl<T: Plain> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Plain> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
