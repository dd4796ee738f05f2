//! Replicated values as bytes: canonical, versioned, bounded.
//!
//! **Law:** equal values have equal bytes, and any bytes decode to a valid value or to a [`DecodeError`]: no panic, no
//! recursion deeper than [`Limits::depth`], no allocation on the word of a length field.
//!
//! A value is written with the set of its live dots in front; whatever names a dot then writes its place in that set. So
//! in the steady state a dot costs no byte at all, and a decoded dot is always one that the value's context has seen.

use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::causal::Ranks;
use crate::{CausalContext, Dot};

/// What decoding may cost. The defaults are guesses: what a server accepts from a peer, far above what an app needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How many bytes the input may have.
    pub bytes: usize,
    /// How many elements, entries and dots it may hold, all levels together. Decoding allocates a small multiple of
    /// `bytes` plus about 100 bytes and the size of an element for each of them.
    pub elements: usize,
    /// How deep values may be nested.
    pub depth: usize,
}

/// Why bytes were not taken for a replicated value. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DecodeError {
    /// The input ends within a value.
    #[error("the bytes end within a value")]
    Truncated,
    /// The input goes on after the value.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
    /// Written by an incompatible release.
    #[error("version {0} is unknown; this release reads version {VERSION}")]
    Version(u8),
    /// The input is longer than [`Limits::bytes`].
    #[error("{bytes} bytes, {limit} are allowed")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// The input holds more than [`Limits::elements`].
    #[error("more elements than the limit allows")]
    TooManyElements,
    /// The input is nested deeper than [`Limits::depth`].
    #[error("nested deeper than the limit allows")]
    TooDeep,
    /// The bytes break an invariant of the type; no sound sender writes them.
    #[error("not a value: {0}")]
    Invalid(&'static str),
}

/// The version of the encoding, the first byte of every encoded value.
pub const VERSION: u8 = 1;

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 20, elements: 16 << 20, depth: 64 }
    }
}

/// Collects the bytes of one value.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    dots: Ranks,
}

impl Writer {
    /// Writes a value whose live dots are `dots`.
    pub fn new(dots: &CausalContext) -> Self {
        Self { out: Vec::new(), dots: Ranks::of(dots).expect("invariant: nobody issues 2^63 events") }
    }

    /// The bytes so far.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// One byte.
    pub fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// What another writer has written.
    pub fn append(&mut self, written: &[u8]) {
        self.out.extend_from_slice(written);
    }

    /// A number in as few bytes as it needs.
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.out.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.out.push(number as u8);
    }

    /// Bytes behind their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// A plain value, by serde.
    pub fn value(&mut self, value: &impl Serialize) {
        self.out = postcard::to_extend(value, core::mem::take(&mut self.out)).expect("invariant: replicated values are plain data");
    }

    /// A live dot, by its place.
    pub fn dot(&mut self, dot: Dot) {
        self.number(self.dots.rank(dot).expect("invariant: a store holds only dots that it visits"));
    }

    /// Some of the live dots, ascending.
    pub fn dots(&mut self, some: &CausalContext) {
        let runs = place_runs(&self.dots, some);
        if runs.iter().map(|run| run.1).sum::<u64>() == self.dots.len() {
            return self.number(0);
        }
        self.number(runs.len() as u64 + 1);
        let mut end = 0;
        for (first, length) in runs {
            self.number(first - end);
            self.number(length - 1);
            end = first + length + 1;
        }
    }

    /// A value whose dots are `some` of the live dots: it can be kept without being understood.
    pub fn scoped(&mut self, some: &CausalContext, write: impl FnOnce(&mut Self)) {
        self.dots(some);
        let mut inner = Self::new(some);
        write(&mut inner);
        self.bytes(&inner.out);
    }
}

/// The places of `some` as maximal runs (first, length).
fn place_runs(dots: &Ranks, some: &CausalContext) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (replica, run) in some.runs() {
        let first = dots.rank(Dot::new(replica, *run.start())).expect("invariant: part of the live dots");
        let length = run.end() - run.start() + 1;
        match runs.last_mut() {
            Some(before) if before.0 + before.1 == first => before.1 += length,
            _ => runs.push((first, length)),
        }
    }
    runs
}

/// Takes the bytes of one value apart, within [`Limits`].
#[derive(Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    dots: Ranks,
    limits: Limits,
}

impl<'a> Reader<'a> {
    /// Reads a value whose live dots are `dots`.
    ///
    /// # Errors
    /// More bytes than `limits` allow, or a set of dots that no history has.
    pub fn new(input: &'a [u8], dots: &CausalContext, limits: Limits) -> Result<Self, DecodeError> {
        if input.len() > limits.bytes {
            return Err(DecodeError::TooLong { bytes: input.len(), limit: limits.bytes });
        }
        let dots = Ranks::of(dots).ok_or(DecodeError::Invalid("more events than any history has"))?;
        Ok(Self { input, dots, limits })
    }

    /// A number in the fewest bytes; a longer form of the same number is refused.
    ///
    /// # Errors
    /// The input ends, or this is no number of 64 bits in its shortest form.
    pub fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                let shortest = byte != 0 || shift == 0;
                return if shortest { Ok(number) } else { Err(DecodeError::Invalid("a number with empty bytes")) };
            }
        }
        Err(DecodeError::Invalid("a number above 64 bits"))
    }

    /// One byte.
    ///
    /// # Errors
    /// The input ends.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.input.split_first().ok_or(DecodeError::Truncated)?;
        self.input = rest;
        Ok(byte)
    }

    /// Bytes behind their length.
    ///
    /// # Errors
    /// The input ends.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        let (bytes, rest) = self.input.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.input = rest;
        Ok(bytes)
    }

    /// A plain value, by serde.
    ///
    /// # Errors
    /// The bytes are not such a value.
    pub fn value<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
        let (value, rest) = postcard::take_from_bytes(self.input).map_err(|error| match error {
            postcard::Error::DeserializeUnexpectedEnd => DecodeError::Truncated,
            _ => DecodeError::Invalid("a plain value of another type"),
        })?;
        self.input = rest;
        Ok(value)
    }

    /// How many elements follow, each of which takes from the allowance, and none of which is believed before it is read.
    ///
    /// # Errors
    /// More than the limit.
    pub fn count(&mut self) -> Result<usize, DecodeError> {
        let count = self.number()?;
        self.take_elements(count)
    }

    /// Takes `count` from the allowance of elements.
    ///
    /// # Errors
    /// More than is left of it.
    pub fn take_elements(&mut self, count: u64) -> Result<usize, DecodeError> {
        let count = usize::try_from(count).ok().filter(|&count| count <= self.limits.elements).ok_or(DecodeError::TooManyElements)?;
        self.limits.elements -= count;
        Ok(count)
    }

    /// A live dot, by its place.
    ///
    /// # Errors
    /// There is no such place.
    pub fn dot(&mut self) -> Result<Dot, DecodeError> {
        let rank = self.number()?;
        self.dots.nth(rank).ok_or(DecodeError::Invalid("a dot that is not alive"))
    }

    /// Some of the live dots. As many elements are taken from the allowance.
    ///
    /// # Errors
    /// They are not among the live dots, or too many.
    pub fn dots(&mut self) -> Result<CausalContext, DecodeError> {
        let mut some = CausalContext::new();
        let runs = self.number()?;
        if runs == 0 {
            return self.live_set();
        }
        let runs = self.take_elements(runs - 1)?;
        let (mut end, mut total) = (0_u64, 0_u64);
        for _ in 0..runs {
            let first = end.checked_add(self.number()?).ok_or(DecodeError::Invalid("a place above 64 bits"))?;
            let last = first.checked_add(self.number()?).filter(|&last| last < self.dots.len());
            let last = last.ok_or(DecodeError::Invalid("a dot that is not alive"))?;
            self.dots.insert_range(first, last, &mut some);
            total += last - first + 1;
            end = last + 2;
        }
        if total == self.dots.len() && total > 0 {
            return Err(DecodeError::Invalid("all dots, in the long form"));
        }
        self.take_elements(total).map(|_| some)
    }

    /// A value whose dots are some of the live dots, read by `read` to its end; see [`Writer::scoped`].
    ///
    /// # Errors
    /// Those of `read`, a value that is shorter than its length says, or nesting beyond the limit.
    pub fn scoped<T>(&mut self, read: impl FnOnce(&mut Reader<'a>, &CausalContext) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        let some = self.dots()?;
        let input = self.bytes()?;
        self.nested(input, &some, |input| read(input, &some))
    }

    /// A value whose dots are `dots`, be they alive here or not, read from `input` by `read` to its end: one level deeper,
    /// and within what is left of the limits.
    ///
    /// # Errors
    /// Those of `read`, a value that is shorter than `input`, or nesting beyond the limit.
    pub(crate) fn nested<'b, T>(
        &mut self,
        input: &'b [u8],
        dots: &CausalContext,
        read: impl FnOnce(&mut Reader<'b>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let depth = self.limits.depth.checked_sub(1).ok_or(DecodeError::TooDeep)?;
        let mut inner = Reader::new(input, dots, Limits { depth, ..self.limits })?;
        let value = read(&mut inner)?;
        self.limits.elements = inner.limits.elements;
        inner.finish()?;
        Ok(value)
    }

    /// All live dots. As many elements are taken from the allowance.
    ///
    /// # Errors
    /// Too many.
    pub fn live_set(&mut self) -> Result<CausalContext, DecodeError> {
        let mut all = CausalContext::new();
        if let Some(last) = self.dots.len().checked_sub(1) {
            self.dots.insert_range(0, last, &mut all);
        }
        self.take_elements(self.dots.len()).map(|_| all)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.input)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// What decoding may still cost.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Ends the value.
    ///
    /// # Errors
    /// Something follows.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.input.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.input.len())) }
    }
}
