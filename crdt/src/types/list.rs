//! Lists that several writers edit at once.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use super::sequence::{Anchor, OutOfRange, Sequence, SequenceEffect};
use crate::codec::{DecodeError, Kind, Reader, Tag, Writer};
use crate::{CausalContext, Contexts, Crdt, Dot, Edit, Plain, ReplicaId, Tx, Undotted};

/// A list that several writers edit at once (`FugueMax`: Weidner and Kleppmann, "The Art of the
/// Fugue", arXiv 2305.00583). For example, Amy inserts `a, b` at the front while Ben inserts `x, y`
/// there: both see `a, b, x, y` or both see `x, y, a, b`.
///
/// | concurrently | result |
/// |---|---|
/// | two insertions at one place | one after the other; neither is torn apart |
/// | insertion into a range that is deleted | the inserted elements stay, without their surroundings |
/// | two deletions of one element | it is gone |
///
/// Elements cannot be changed or moved: delete one and insert another. If two writers move the same
/// element that way, it appears twice.
///
/// What grows: each element ever inserted leaves its place, because others may refer to it. A place
/// holds no content, and a run of elements inserted one after the other takes one place, in memory
/// and encoded. A list is therefore not a [`DotStore`](crate::DotStore) and cannot be a value in a
/// map whose keys can be removed.
///
/// For costs, deltas, waiting insertions and [`part`](Crdt::part), see [`Text`](crate::Text).
#[derive(Clone)]
pub struct List<T: Plain>(Sequence<Vec<T>>);

impl<T: Plain> List<T> {
    /// How many elements the list has. O(1).
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the list has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at index `at`. O(log n).
    pub fn get(&self, at: usize) -> Option<&T> {
        let mut one = self.0.range(at..at.checked_add(1)?).ok()?;
        one.next()?.first()
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.stretches().flatten()
    }

    /// The elements in `range`, which is empty if it ends before it starts. O(log n) up to the
    /// first.
    ///
    /// # Errors
    /// The range ends past the end of the list.
    pub fn range(&self, range: Range<usize>) -> Result<impl Iterator<Item = &T>, OutOfRange> {
        Ok(self.0.range(range)?.flatten())
    }

    /// A position that moves along with the list: it stays behind the element that precedes it now.
    ///
    /// # Errors
    /// The position is past the end of the list.
    pub fn anchor(&self, at: usize) -> Result<Anchor, OutOfRange> {
        self.0.anchor(at)
    }

    /// Where the anchor is now: behind its element, or where that element was. `None` if this
    /// replica has not seen the element yet.
    pub fn resolve(&self, anchor: &Anchor) -> Option<usize> {
        self.0.resolve(*anchor)
    }
}

impl<T: Plain> Edit<'_, List<T>> {
    /// Inserts an element at index `at`. O(log n).
    ///
    /// # Errors
    /// `at` is past the end of the list. Nothing is inserted.
    pub fn insert(&mut self, tx: &mut Tx<'_>, at: usize, element: T) -> Result<(), OutOfRange> {
        self.insert_all(tx, at, &[element])
    }

    /// Inserts elements; the first gets index `at`.
    ///
    /// # Errors
    /// `at` is past the end of the list. Nothing is inserted.
    pub fn insert_all(
        &mut self,
        tx: &mut Tx<'_>,
        at: usize,
        elements: &[T],
    ) -> Result<(), OutOfRange> {
        let (state, delta) = self.parts();
        state.0.insert(&mut delta.0, tx, at, elements)
    }

    /// Appends an element. O(log n).
    pub fn push(&mut self, tx: &mut Tx<'_>, element: T) {
        let end = self.len();
        self.insert(tx, end, element)
            .expect("invariant: the end is within the list");
    }

    /// Deletes the elements in `range`, which is empty if it ends before it starts.
    ///
    /// # Errors
    /// The range ends past the end of the list. Nothing is deleted.
    pub fn delete(&mut self, tx: &mut Tx<'_>, range: Range<usize>) -> Result<(), OutOfRange> {
        let (state, delta) = self.parts();
        state.0.delete(&mut delta.0, tx, range)
    }

    /// Deletes all elements that this replica has seen. Elements inserted concurrently stay.
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
