//! Text that several writers edit at once.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use super::sequence::{Anchor, OutOfRange, Sequence, SequenceEffect};
use crate::codec::{DecodeError, Kind, Reader, Tag, Writer};
use crate::{CausalContext, Contexts, Crdt, Dot, Edit, ReplicaId, Tx, Undotted};

/// A text that several writers edit at once (`FugueMax`: Weidner and Kleppmann, "The Art of the
/// Fugue", arXiv 2305.00583). For example, Amy types `milk` at the end while Ben types `eggs`
/// there: both see `milkeggs` or both see `eggsmilk`, never a mixture.
///
/// | concurrently | result |
/// |---|---|
/// | two insertions at one place | one after the other, whether typed forwards or backwards; neither is torn apart |
/// | insertion into a range that is deleted | the inserted text stays, without its surroundings |
/// | two deletions of one range | it is gone |
///
/// What grows: each character ever typed leaves its place, because others may refer to it. A place
/// holds no content, and a run of characters typed one after the other takes one place, in memory
/// and encoded. A text is therefore not a [`DotStore`](crate::DotStore) and cannot be a value in a
/// map whose keys can be removed.
///
/// Positions count Unicode scalar values. A change and finding a position cost O(log n); a merge
/// costs what is sent. The delta of a transaction holds the insertions and the dots of the
/// deletions. An insertion that arrives before the text that it was typed next to waits, unseen,
/// until that arrives.
///
/// A [`delta_since`](crate::Replicated::delta_since) includes the places of those events that its
/// receiver has not seen. The summary of the receiver contains a hash of all its places; only if
/// that shows that others are missing does the delta include all places.
///
/// ```
/// use quorate_crdt::{NodeId, ReplicaId, Replicated, Text};
///
/// let mut amy = Replicated::<Text>::new(ReplicaId::new(NodeId(1), 0));
/// let mut ben = Replicated::<Text>::new(ReplicaId::new(NodeId(2), 0));
/// ben.merge(&amy.update(|text, tx| text.insert(tx, 0, "Milk").expect("within the text")))?;
/// let eggs = amy.update(|text, tx| text.insert(tx, 4, " and eggs").expect("within the text"));
/// ben.update(|text, tx| text.splice(tx, 0..1, "Oat m").expect("within the text"));
/// let effects = ben.merge(&eggs)?;
/// assert_eq!((ben.to_string().as_str(), effects[0].at), ("Oat milk and eggs", 8));
/// # Ok::<(), quorate_crdt::Refused>(())
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Text(Sequence<String>);

impl Text {
    /// How many characters (Unicode scalar values) the text has. O(1).
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the text has no characters.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The characters in order.
    pub fn chars(&self) -> impl Iterator<Item = char> {
        self.0.stretches().flat_map(str::chars)
    }

    /// The text in stretches that lie together in memory: the cheapest way to read all of it.
    pub fn stretches(&self) -> impl Iterator<Item = &str> {
        self.0.stretches()
    }

    /// The character at index `at`. O(log n).
    pub fn char_at(&self, at: usize) -> Option<char> {
        let mut one = self.0.range(at..at.checked_add(1)?).ok()?;
        one.next()?.chars().next()
    }

    /// The characters in `range`, which is empty if it ends before it starts. O(log n + length of
    /// the range).
    ///
    /// # Errors
    /// The range ends past the end of the text.
    pub fn slice(&self, range: Range<usize>) -> Result<String, OutOfRange> {
        Ok(self.0.range(range)?.collect())
    }

    /// A position that moves along with the text: it stays behind the character that precedes it
    /// now.
    ///
    /// # Errors
    /// The position is past the end of the text.
    pub fn anchor(&self, at: usize) -> Result<Anchor, OutOfRange> {
        self.0.anchor(at)
    }

    /// Where the anchor is now: behind its character, or where that character was. `None` if this
    /// replica has not seen the character yet.
    pub fn resolve(&self, anchor: &Anchor) -> Option<usize> {
        self.0.resolve(*anchor)
    }
}

/// Positions count characters (Unicode scalar values). Editors and browsers count UTF-16 units,
/// files count bytes; these convert between them.
impl Text {
    /// The position, in UTF-16 units as in JavaScript, of the character at index `at`. O(characters
    /// before it).
    ///
    /// # Errors
    /// `at` is past the end of the text.
    pub fn to_utf16(&self, at: usize) -> Result<usize, OutOfRange> {
        self.measure(at, char::len_utf16)
    }

    /// The position, in bytes of UTF-8, of the character at index `at`. O(characters before it).
    ///
    /// # Errors
    /// `at` is past the end of the text.
    pub fn to_bytes(&self, at: usize) -> Result<usize, OutOfRange> {
        self.measure(at, char::len_utf8)
    }

    /// The index of the character that begins at this UTF-16 unit; `None` within a character or
    /// past the end. O(units).
    pub fn from_utf16(&self, units: usize) -> Option<usize> {
        self.number_at(units, char::len_utf16)
    }

    /// The index of the character that begins at this byte; `None` within a character or past the
    /// end. O(bytes).
    pub fn from_bytes(&self, bytes: usize) -> Option<usize> {
        self.number_at(bytes, char::len_utf8)
    }

    fn measure(&self, at: usize, width: fn(char) -> usize) -> Result<usize, OutOfRange> {
        Ok(self.0.range(0..at)?.flat_map(str::chars).map(width).sum())
    }

    fn number_at(&self, offset: usize, width: fn(char) -> usize) -> Option<usize> {
        let (mut number, mut passed) = (0, 0);
        for character in self.stretches().flat_map(str::chars) {
            if passed >= offset {
                break;
            }
            passed += width(character);
            number += 1;
        }
        (passed == offset).then_some(number)
    }
}

impl Edit<'_, Text> {
    /// Inserts characters; the first gets index `at`. O(log n).
    ///
    /// # Errors
    /// `at` is past the end of the text. Nothing is inserted.
    pub fn insert(&mut self, tx: &mut Tx<'_>, at: usize, text: &str) -> Result<(), OutOfRange> {
        let (state, delta) = self.parts();
        state.0.insert(&mut delta.0, tx, at, text)
    }

    /// Appends characters. O(log n).
    pub fn push(&mut self, tx: &mut Tx<'_>, text: &str) {
        let end = self.len();
        self.insert(tx, end, text)
            .expect("invariant: the end is within the text");
    }

    /// Deletes the characters in `range`, which is empty if it ends before it starts.
    ///
    /// # Errors
    /// The range ends past the end of the text. Nothing is deleted.
    pub fn delete(&mut self, tx: &mut Tx<'_>, range: Range<usize>) -> Result<(), OutOfRange> {
        let (state, delta) = self.parts();
        state.0.delete(&mut delta.0, tx, range)
    }

    /// Replaces the characters in `range` by `text`.
    ///
    /// # Errors
    /// The range does not lie within the text. Nothing is changed.
    pub fn splice(
        &mut self,
        tx: &mut Tx<'_>,
        range: Range<usize>,
        text: &str,
    ) -> Result<(), OutOfRange> {
        let start = range.start;
        if start > self.len() {
            return Err(OutOfRange {
                at: start,
                len: self.len(),
            });
        }
        self.delete(tx, range)?;
        self.insert(tx, start, text)
    }

    /// Deletes all characters that this replica has seen. Characters inserted concurrently stay.
    pub fn clear(&mut self, tx: &mut Tx<'_>) {
        let all = 0..self.len();
        self.delete(tx, all)
            .expect("invariant: all is within the text");
    }
}

super::sequence::crdt_by_sequence!([] Text, Text);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stretches()
            .try_for_each(|stretch| f.write_str(stretch))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.to_string().as_str(), f)
    }
}
