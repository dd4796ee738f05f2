//! Text.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use super::sequence::{Anchor, OutOfRange, Sequence, SequenceEffect};
use crate::codec::{DecodeError, Kind, Reader, Tag, Writer};
use crate::{CausalContext, Contexts, Crdt, Dot, Edit, ReplicaId, Tx, Undotted};

/// A text that several writers edit at once (`FugueMax`: Weidner and Kleppmann, "The Art of the
/// Fugue", arXiv 2305.00583).
///
/// | concurrently | result |
/// |---|---|
/// | two insertions at one place | one behind the other, neither torn apart, typed forwards or backwards |
/// | insertion into a range that is deleted | what was inserted stays, without its surroundings |
/// | two deletions of one range | it is gone, once |
///
/// What grows: each character ever typed leaves its place, because others may stand next to it;
/// without its content, and in memory and on the wire per run of characters typed one after the
/// other, not per character. A text is therefore no [`DotStore`](crate::DotStore) and cannot be the
/// value of a map whose keys can be removed.
///
/// Positions count Unicode scalar values. A change costs O(log n), and so does finding a position;
/// a merge costs what is sent. In the delta of a transaction are what it inserted and the dots of
/// what it deleted. Should an insertion arrive before what it was typed next to, it waits unseen
/// until that comes.
///
/// A [`delta_since`](crate::Replicated::delta_since) brings the places of what its receiver has not
/// seen. Only should the receiver turn out to lack others (there is a hash of them in its summary)
/// does it bring all places.
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
    /// How many characters (Unicode scalar values) there are. O(1).
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
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

    /// The character number `at`. O(log n).
    pub fn char_at(&self, at: usize) -> Option<char> {
        let mut one = self.0.range(at..at.checked_add(1)?).ok()?;
        one.next()?.chars().next()
    }

    /// The characters in `range`; none if it ends before it starts. O(log n) and what is returned.
    ///
    /// # Errors
    /// It ends behind the end.
    pub fn slice(&self, range: Range<usize>) -> Result<String, OutOfRange> {
        Ok(self.0.range(range)?.collect())
    }

    /// A position that moves along with the text: it stays behind the character that it is behind
    /// now.
    ///
    /// # Errors
    /// The position lies behind the end.
    pub fn anchor(&self, at: usize) -> Result<Anchor, OutOfRange> {
        self.0.anchor(at)
    }

    /// Where the anchor is now: behind its character, or where that was. None if this replica has
    /// not seen it yet.
    pub fn resolve(&self, anchor: &Anchor) -> Option<usize> {
        self.0.resolve(*anchor)
    }
}

/// Positions here count characters (Unicode scalar values); editors and browsers count UTF-16
/// units, files bytes.
impl Text {
    /// The position in UTF-16 units, as JavaScript counts, of the character number `at`.
    /// O(characters before it).
    ///
    /// # Errors
    /// `at` lies behind the end.
    pub fn to_utf16(&self, at: usize) -> Result<usize, OutOfRange> {
        self.measure(at, char::len_utf16)
    }

    /// The position in bytes of UTF-8 of the character number `at`. O(characters before it).
    ///
    /// # Errors
    /// `at` lies behind the end.
    pub fn to_bytes(&self, at: usize) -> Result<usize, OutOfRange> {
        self.measure(at, char::len_utf8)
    }

    /// The character that begins at so many UTF-16 units; `None` within a character and behind the
    /// end. O(units).
    pub fn from_utf16(&self, units: usize) -> Option<usize> {
        self.number_at(units, char::len_utf16)
    }

    /// The character that begins at so many bytes; `None` within a character and behind the end.
    /// O(bytes).
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
    /// Inserts characters so that the first is number `at`.
    ///
    /// # Errors
    /// `at` lies behind the end. Nothing is inserted then.
    pub fn insert(&mut self, tx: &mut Tx<'_>, at: usize, text: &str) -> Result<(), OutOfRange> {
        let (state, delta) = self.parts();
        state.0.insert(&mut delta.0, tx, at, text)
    }

    /// Appends characters.
    pub fn push(&mut self, tx: &mut Tx<'_>, text: &str) {
        let end = self.len();
        self.insert(tx, end, text)
            .expect("invariant: the end is within the text");
    }

    /// Deletes the characters in `range`; none if it ends before it starts.
    ///
    /// # Errors
    /// It ends behind the end. Nothing is deleted then.
    pub fn delete(&mut self, tx: &mut Tx<'_>, range: Range<usize>) -> Result<(), OutOfRange> {
        let (state, delta) = self.parts();
        state.0.delete(&mut delta.0, tx, range)
    }

    /// Puts `text` in place of what is in `range`.
    ///
    /// # Errors
    /// The range does not lie within the text. Nothing is changed then.
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

    /// Deletes all characters seen here.
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
