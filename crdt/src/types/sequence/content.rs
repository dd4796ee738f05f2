//! The content of a sequence in one buffer: elements, or characters as UTF-8.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::ops::Range;

use crate::Plain;
use crate::codec::{DecodeError, Reader, Writer};

/// A buffer of elements. An element takes one or more units of it: the bytes of a character, or one
/// slot.
pub(crate) trait Content: Clone + Default + PartialEq + Debug {
    /// Borrowed elements.
    type Slice: ?Sized;

    /// The number of units in the buffer.
    fn size(&self) -> usize;

    /// The number of units that the elements take.
    fn units(elements: &Self::Slice) -> usize;

    /// Appends elements.
    fn push(&mut self, elements: &Self::Slice);

    /// The elements in these units.
    fn slice(&self, units: Range<usize>) -> &Self::Slice;

    /// Drops everything beyond this many units.
    fn truncate(&mut self, size: usize);

    /// The number of elements in a slice.
    fn count(elements: &Self::Slice) -> usize;

    /// The number of units that the first `count` elements take; all of them, if there are no more.
    fn offset(elements: &Self::Slice, count: usize) -> usize;

    /// A part of a slice, in units.
    fn part(elements: &Self::Slice, units: Range<usize>) -> &Self::Slice;

    /// Writes all elements. The reader knows how many there are.
    fn write(&self, out: &mut Writer);

    /// Reads `count` elements.
    fn read(input: &mut Reader<'_>, count: usize) -> Result<Self, DecodeError>;
}

impl Content for String {
    type Slice = str;

    fn size(&self) -> usize {
        self.len()
    }

    fn units(elements: &str) -> usize {
        elements.len()
    }

    fn push(&mut self, elements: &str) {
        self.push_str(elements);
    }

    fn slice(&self, units: Range<usize>) -> &str {
        &self[units]
    }

    fn truncate(&mut self, size: usize) {
        self.truncate(size);
    }

    fn count(elements: &str) -> usize {
        elements.chars().count()
    }

    fn offset(elements: &str, count: usize) -> usize {
        elements
            .char_indices()
            .nth(count)
            .map_or(elements.len(), |(at, _)| at)
    }

    fn part(elements: &str, units: Range<usize>) -> &str {
        &elements[units]
    }

    fn write(&self, out: &mut Writer) {
        out.bytes(self.as_bytes());
    }

    fn read(input: &mut Reader<'_>, count: usize) -> Result<Self, DecodeError> {
        let text = core::str::from_utf8(input.bytes()?)
            .map_err(|_error| DecodeError::Invalid("text that is not UTF-8"))?;
        if text.chars().count() == count {
            Ok(text.into())
        } else {
            Err(DecodeError::Invalid(
                "more or fewer characters than live dots",
            ))
        }
    }
}

impl<T: Plain> Content for Vec<T> {
    type Slice = [T];

    fn size(&self) -> usize {
        self.len()
    }

    fn units(elements: &[T]) -> usize {
        elements.len()
    }

    fn push(&mut self, elements: &[T]) {
        self.extend_from_slice(elements);
    }

    fn slice(&self, units: Range<usize>) -> &[T] {
        &self[units]
    }

    fn truncate(&mut self, size: usize) {
        self.truncate(size);
    }

    fn count(elements: &[T]) -> usize {
        elements.len()
    }

    fn offset(elements: &[T], count: usize) -> usize {
        count.min(elements.len())
    }

    fn part(elements: &[T], units: Range<usize>) -> &[T] {
        &elements[units]
    }

    fn write(&self, out: &mut Writer) {
        for element in self {
            out.value(element);
        }
    }

    fn read(input: &mut Reader<'_>, count: usize) -> Result<Self, DecodeError> {
        let mut all = Self::new();
        input.take_elements(count as u64)?;
        for _ in 0..count {
            all.push(input.value()?);
        }
        Ok(all)
    }
}
