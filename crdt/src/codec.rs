//! The encoding of replicated values: canonical, versioned, bounded.
//!
//! **Law:** equal values have equal bytes, and any bytes are those of a valid value of this type or
//! give a [`DecodeError`]. Decoding never panics, never recurses deeper than [`Limits::depth`], and
//! never allocates on the word of a length field.
//!
//! A decoded value is encoded again and compared with the input, so a careless decoder cannot give
//! a type two forms ([`Causal::decode`](crate::Causal::decode)). The first bytes, about two, give
//! the version and the type ([`Tag`]).
//!
//! A value is preceded by the set of its live dots, and a dot in it is written as its place in that
//! set. So in the steady state a dot costs no byte, and a decoded dot is always one that the
//! value's context has seen.

mod parts;
mod tag;

use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

pub(crate) use self::tag::Kind;
pub use self::tag::Tag;
use crate::causal::Ranks;
use crate::{CausalContext, Dot};

/// What decoding may cost. The defaults are guesses at what a server accepts from another machine;
/// an app needs far less.
///
/// **Law:** each element counts once and takes at least one byte, unless it is a plain value that
/// serde writes as nothing. So the output of [`encode`](crate::Causal::encode) decodes within the
/// defaults if it has at most 64 MiB and 16 million elements. For a larger value that this program
/// has saved itself, use [`OWN`](Self::OWN).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most bytes that the input may have.
    pub bytes: usize,
    /// The most elements and entries that the input may hold, on all levels together. Of dots,
    /// characters and places of removed elements, each run counts, or each thousand of a run.
    /// Decoding allocates a small multiple of `bytes`, plus about 100 bytes and the size of an
    /// element for each.
    pub elements: usize,
    /// The deepest nesting of values.
    pub depth: usize,
}

/// Why bytes were refused. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DecodeError {
    /// The input ends within a value.
    #[error("the bytes end within a value")]
    Truncated,
    /// This many bytes follow the value.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
    /// The bytes are of another type; they begin with its tag.
    #[error("the bytes are of another type")]
    OtherType,
    /// The bytes stand for a value whose encoding is different; no honest sender writes them.
    #[error("the bytes are not the canonical form of their value")]
    NotCanonical,
    /// This version was written by an incompatible release.
    #[error("version {0} is unknown; this release reads version {VERSION}")]
    Version(u8),
    /// The input is longer than [`Limits::bytes`].
    #[error("{bytes} bytes; the limit is {limit}")]
    TooLong {
        /// The length of the input.
        bytes: usize,
        /// The longest input allowed.
        limit: usize,
    },
    /// The input holds more than [`Limits::elements`].
    #[error("more elements than the limit allows")]
    TooManyElements,
    /// The input is nested deeper than [`Limits::depth`].
    #[error("nested deeper than the limit allows")]
    TooDeep,
    /// The bytes break an invariant of the type; no honest sender writes them.
    #[error("not a value: {0}")]
    Invalid(&'static str),
}

/// The version of the encoding: the first byte of every encoded value.
pub const VERSION: u8 = 2;

impl Limits {
    /// No limits but the depth, for what this program has written itself, such as its last saved
    /// state.
    pub const OWN: Self = Self {
        bytes: usize::MAX,
        elements: usize::MAX,
        depth: 64,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            elements: 16 << 20,
            depth: 64,
        }
    }
}

/// Collects the bytes of one value. [`Crdt::encode`](crate::Crdt::encode) writes to it.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    dots: Ranks,
    context: Arc<CausalContext>,
}

impl Writer {
    /// For a value whose live dots are `dots`.
    pub fn new(dots: &CausalContext) -> Self {
        Self::within(&CausalContext::new(), dots)
    }

    /// For a value whose live dots are `dots`, in a message about the events in `context`.
    pub(crate) fn within(context: &CausalContext, dots: &CausalContext) -> Self {
        Self {
            out: Vec::new(),
            dots: Ranks::of(dots),
            context: Arc::new(context.clone()),
        }
    }

    /// The events that the whole message is about.
    pub(crate) fn context(&self) -> Arc<CausalContext> {
        Arc::clone(&self.context)
    }

    /// The bytes written so far.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Writes one byte.
    pub fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// Appends the bytes of another writer.
    pub fn append(&mut self, written: &[u8]) {
        self.out.extend_from_slice(written);
    }

    /// Writes a number in the fewest bytes (LEB128).
    pub fn number(&mut self, number: u64) {
        self.place(u128::from(number));
    }

    /// Writes a place among dots. A context can claim more than 2^64 dots.
    fn place(&mut self, mut place: u128) {
        while place >= 0x80 {
            self.out.push(place as u8 | 0x80);
            place >>= 7;
        }
        self.out.push(place as u8);
    }

    /// Writes the tag of a type.
    pub fn tag(&mut self, tag: &Tag) {
        tag.write(&mut self.out);
    }

    /// Writes the length of the bytes, then the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// Writes a plain value with serde, in postcard's format.
    pub fn value(&mut self, value: &impl Serialize) {
        self.out = postcard::to_extend(value, core::mem::take(&mut self.out))
            .expect("invariant: replicated values are plain data");
    }

    /// Writes a live dot as its place among the live dots.
    pub fn dot(&mut self, dot: Dot) {
        self.place(
            self.dots
                .rank(dot)
                .expect("invariant: a store holds only dots that it visits"),
        );
    }

    /// Writes a subset of the live dots, as runs.
    pub fn dots(&mut self, some: &CausalContext) {
        let runs = place_runs(&self.dots, some);
        if runs.iter().map(|run| run.1).sum::<u128>() == self.dots.len() {
            return self.number(0);
        }
        self.number(runs.len() as u64 + 1);
        let mut end = 0;
        for (first, length) in runs {
            self.place(first - end);
            self.place(length - 1);
            end = first + length + 1;
        }
    }

    /// Writes a value whose dots are `some` of the live dots, in a form that can be stored without
    /// being understood.
    pub fn scoped(&mut self, some: &CausalContext, write: impl FnOnce(&mut Self)) {
        self.dots(some);
        let mut inner = Self {
            out: Vec::new(),
            dots: Ranks::of(some),
            context: self.context(),
        };
        write(&mut inner);
        self.bytes(&inner.out);
    }
}

/// The places of `some` as maximal runs of (first, length).
fn place_runs(dots: &Ranks, some: &CausalContext) -> Vec<(u128, u128)> {
    let mut runs: Vec<(u128, u128)> = Vec::new();
    for (replica, run) in some.runs() {
        let first = dots
            .rank(Dot::new(replica, *run.start()))
            .expect("invariant: part of the live dots");
        let length = u128::from(run.end() - run.start()) + 1;
        match runs.last_mut() {
            Some(before) if before.0 + before.1 == first => before.1 += length,
            _ => runs.push((first, length)),
        }
    }
    runs
}

/// Reads the bytes of one value, within [`Limits`]. [`Crdt::decode`](crate::Crdt::decode) reads
/// from it.
#[derive(Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    dots: Ranks,
    limits: Limits,
    /// Whether something had a form that only older versions of a struct write.
    older: bool,
    context: Arc<CausalContext>,
}

impl<'a> Reader<'a> {
    /// For a value whose live dots are `dots`.
    ///
    /// # Errors
    /// The input has more bytes than `limits` allow.
    pub fn new(input: &'a [u8], dots: &CausalContext, limits: Limits) -> Result<Self, DecodeError> {
        if input.len() > limits.bytes {
            return Err(DecodeError::TooLong {
                bytes: input.len(),
                limit: limits.bytes,
            });
        }
        Ok(Self {
            input,
            dots: Ranks::of(dots),
            limits,
            older: false,
            context: Arc::default(),
        })
    }

    /// The same reader, in a message about the events in `context`.
    pub(crate) fn within(self, context: &Arc<CausalContext>) -> Self {
        Self {
            context: Arc::clone(context),
            ..self
        }
    }

    /// The events that the whole message is about.
    pub(crate) fn context(&self) -> Arc<CausalContext> {
        Arc::clone(&self.context)
    }

    /// Reads a number. A longer form of the same number is refused.
    ///
    /// # Errors
    /// The input ends, or this is not a 64-bit number in its shortest form.
    pub fn number(&mut self) -> Result<u64, DecodeError> {
        u64::try_from(self.place()?)
            .map_err(|_error| DecodeError::Invalid("a number above 64 bits"))
    }

    fn place(&mut self) -> Result<u128, DecodeError> {
        let mut place = 0_u128;
        // 18 bytes hold 126 bits, and no memory holds that many events.
        for shift in (0..126).step_by(7) {
            let byte = self.byte()?;
            place |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let shortest = byte != 0 || shift == 0;
                return if shortest {
                    Ok(place)
                } else {
                    Err(DecodeError::NotCanonical)
                };
            }
        }
        Err(DecodeError::Invalid("a number above 126 bits"))
    }

    /// Reads the tag of a type and continues if it is the given one.
    ///
    /// # Errors
    /// It is another tag.
    pub fn expect_tag(&mut self, tag: &Tag) -> Result<(), DecodeError> {
        if self.tag()? == *tag {
            Ok(())
        } else {
            Err(DecodeError::OtherType)
        }
    }

    /// Reads the tag of a type.
    ///
    /// # Errors
    /// The input ends.
    pub fn tag(&mut self) -> Result<Tag, DecodeError> {
        let (tag, rest) = Tag::read(self.input).ok_or(DecodeError::Truncated)?;
        self.input = rest;
        Ok(tag)
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// The input ends.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.input.split_first().ok_or(DecodeError::Truncated)?;
        self.input = rest;
        Ok(byte)
    }

    /// Reads a length and that many bytes, without copying them.
    ///
    /// # Errors
    /// The input ends.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        let (bytes, rest) = self
            .input
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
        self.input = rest;
        Ok(bytes)
    }

    /// Reads a plain value with serde.
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

    /// Reads how many elements follow and takes them from the allowance. Do not allocate for them
    /// before they are read.
    ///
    /// # Errors
    /// More than the limit allows.
    pub fn count(&mut self) -> Result<usize, DecodeError> {
        let count = self.number()?;
        self.take_elements(count)
    }

    /// Takes `count` elements from the allowance.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn take_elements(&mut self, count: u64) -> Result<usize, DecodeError> {
        let count = usize::try_from(count)
            .ok()
            .filter(|&count| count <= self.limits.elements)
            .ok_or(DecodeError::TooManyElements)?;
        self.limits.elements -= count;
        Ok(count)
    }

    /// Reads a live dot by its place.
    ///
    /// # Errors
    /// There is no such place.
    pub fn dot(&mut self) -> Result<Dot, DecodeError> {
        let rank = self.place()?;
        self.dots
            .nth(rank)
            .ok_or(DecodeError::Invalid("a dot that is not alive"))
    }

    /// Reads a subset of the live dots. Each run takes one element from the allowance.
    ///
    /// # Errors
    /// They are not live dots, or there are too many runs.
    pub fn dots(&mut self) -> Result<CausalContext, DecodeError> {
        const NOT_ALIVE: DecodeError = DecodeError::Invalid("a dot that is not alive");
        let mut some = CausalContext::new();
        let runs = self.number()?;
        if runs == 0 {
            return self.live_runs();
        }
        let runs = self.take_elements(runs - 1)?;
        let mut end = 0_u128;
        for _ in 0..runs {
            let first = end.checked_add(self.place()?).ok_or(NOT_ALIVE)?;
            let last = first
                .checked_add(self.place()?)
                .filter(|&last| last < self.dots.len())
                .ok_or(NOT_ALIVE)?;
            self.dots.insert_range(first, last, &mut some);
            end = last + 2;
        }
        Ok(some)
    }

    /// Reads a value whose dots are some of the live dots; `read` must consume all of it. See
    /// [`Writer::scoped`].
    ///
    /// # Errors
    /// `read` fails, the value is shorter than its length says, or it is nested beyond the limit.
    pub fn scoped<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'a>, &CausalContext) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let some = self.dots()?;
        let input = self.bytes()?;
        self.nested(input, &some, |input| read(input, &some))
    }

    /// Reads a value whose dots are `dots`, alive here or not, from `input`; `read` must consume
    /// all of it. It is one level deeper and stays within what is left of the limits.
    ///
    /// # Errors
    /// `read` fails, the value is shorter than `input`, or it is nested beyond the limit.
    pub(crate) fn nested<'b, T>(
        &mut self,
        input: &'b [u8],
        dots: &CausalContext,
        read: impl FnOnce(&mut Reader<'b>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let depth = self
            .limits
            .depth
            .checked_sub(1)
            .ok_or(DecodeError::TooDeep)?;
        let mut inner = Reader::new(
            input,
            dots,
            Limits {
                depth,
                ..self.limits
            },
        )?
        .within(&self.context);
        let value = read(&mut inner)?;
        self.limits.elements = inner.limits.elements;
        self.older |= inner.older;
        inner.finish()?;
        Ok(value)
    }

    /// All live dots, for a caller that visits them one by one: each takes an element from the
    /// allowance.
    ///
    /// # Errors
    /// There are too many.
    pub fn live_set(&mut self) -> Result<CausalContext, DecodeError> {
        let count =
            u64::try_from(self.dots.len()).map_err(|_error| DecodeError::TooManyElements)?;
        self.take_elements(count)?;
        Ok(self.all_live())
    }

    /// All live dots, for a caller that visits them run by run: each run takes an element from the
    /// allowance.
    ///
    /// # Errors
    /// There are too many.
    pub fn live_runs(&mut self) -> Result<CausalContext, DecodeError> {
        self.take_elements(self.dots.runs_len() as u64)?;
        Ok(self.all_live())
    }

    fn all_live(&self) -> CausalContext {
        let mut all = CausalContext::new();
        if let Some(last) = self.dots.len().checked_sub(1) {
            self.dots.insert_range(0, last, &mut all);
        }
        all
    }

    /// Records that something has a form that older versions of a struct write and this one does
    /// not.
    pub(crate) fn note_older(&mut self) {
        self.older = true;
    }

    /// Whether something had such a form.
    pub(crate) fn was_older(&self) -> bool {
        self.older
    }

    /// Takes all the bytes that are left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.input)
    }

    /// Whether no bytes are left.
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
    /// Bytes follow it.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.input.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing(self.input.len()))
        }
    }
}
