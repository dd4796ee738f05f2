//! Replicated values as bytes: canonical, versioned, bounded.
//!
//! **Law:** equal values have equal bytes; nothing else decodes: any bytes are those of a valid
//! value of this type, or a [`DecodeError`]. No panic, no recursion deeper than [`Limits::depth`],
//! no allocation on the word of a length field.
//!
//! What has been read is written again and compared, so that no type can have two forms by an
//! oversight of its decoder ([`Causal::decode`](crate::Causal::decode)). The first two bytes or so
//! say the version and the type ([`Tag`]).
//!
//! A value is written with the set of its live dots in front; whatever names a dot then writes its
//! place in that set. So in the steady state a dot costs no byte at all, and a decoded dot is
//! always one that the value's context has seen.

mod tag;

use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

pub(crate) use self::tag::Kind;
pub use self::tag::Tag;
use crate::causal::{Ranks, alive, live_dots};
use crate::{CausalContext, Crdt, Dot};

/// What decoding may cost. The defaults are guesses: what a server accepts from a peer, far above
/// what an app needs.
///
/// **Law:** each element is counted once, and takes at least one byte unless it is a plain value
/// that serde writes as nothing. So what [`encode`](crate::Causal::encode) gives is decoded within
/// the defaults if it has no more bytes and no more than 16 million elements; for a larger value
/// that this program has written itself there are [`OWN`](Self::OWN).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How many bytes the input may have.
    pub bytes: usize,
    /// How many elements and entries it may hold, all levels together. Of dots, characters and
    /// places of removed elements each run counts, or each thousand of it. Decoding allocates a
    /// small multiple of `bytes` plus about 100 bytes and the size of an element for each of them.
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
    /// The bytes of another type: what they are of is said in front of them.
    #[error("the bytes of another type")]
    OtherType,
    /// The bytes mean a value that is written otherwise; no sound sender writes them.
    #[error("not the one form of its value")]
    NotCanonical,
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
pub const VERSION: u8 = 2;

impl Limits {
    /// None but the depth: for what this program has written itself, as its last saved state.
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

/// Collects the bytes of one value.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    dots: Ranks,
    context: Arc<CausalContext>,
}

impl Writer {
    /// Writes a value whose live dots are `dots`.
    pub fn new(dots: &CausalContext) -> Self {
        Self::within(&CausalContext::new(), dots)
    }

    /// Writes a value whose live dots are `dots`, in a message that tells of the events in
    /// `context`.
    pub(crate) fn within(context: &CausalContext, dots: &CausalContext) -> Self {
        Self {
            out: Vec::new(),
            dots: Ranks::of(dots),
            context: Arc::new(context.clone()),
        }
    }

    /// The events of which the whole message tells.
    pub(crate) fn context(&self) -> Arc<CausalContext> {
        Arc::clone(&self.context)
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
    pub fn number(&mut self, number: u64) {
        self.place(u128::from(number));
    }

    /// A place among dots, of which a context can claim more than 2^64.
    fn place(&mut self, mut place: u128) {
        while place >= 0x80 {
            self.out.push(place as u8 | 0x80);
            place >>= 7;
        }
        self.out.push(place as u8);
    }

    /// Which type it is.
    pub fn tag(&mut self, tag: &Tag) {
        tag.write(&mut self.out);
    }

    /// Bytes behind their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// A plain value, by serde.
    pub fn value(&mut self, value: &impl Serialize) {
        self.out = postcard::to_extend(value, core::mem::take(&mut self.out))
            .expect("invariant: replicated values are plain data");
    }

    /// A live dot, by its place.
    pub fn dot(&mut self, dot: Dot) {
        self.place(
            self.dots
                .rank(dot)
                .expect("invariant: a store holds only dots that it visits"),
        );
    }

    /// Some of the live dots, ascending.
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

    /// A replicated value that is a part of this one, with the dots that are its own: what
    /// [`Reader::inner`] reads.
    pub fn inner<T: Crdt>(&mut self, value: &T) {
        self.scoped(&live_dots(value), |out| value.encode(out));
    }

    /// A value whose dots are `some` of the live dots: it can be kept without being understood.
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

/// The places of `some` as maximal runs (first, length).
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

/// Takes the bytes of one value apart, within [`Limits`].
#[derive(Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    dots: Ranks,
    limits: Limits,
    /// Whether something was in a form that only older versions of a struct write.
    older: bool,
    context: Arc<CausalContext>,
}

impl<'a> Reader<'a> {
    /// Reads a value whose live dots are `dots`.
    ///
    /// # Errors
    /// More bytes than `limits` allow.
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

    /// The same, in a message that tells of the events in `context`.
    pub(crate) fn within(self, context: &Arc<CausalContext>) -> Self {
        Self {
            context: Arc::clone(context),
            ..self
        }
    }

    /// The events of which the whole message tells.
    pub(crate) fn context(&self) -> Arc<CausalContext> {
        Arc::clone(&self.context)
    }

    /// A number in the fewest bytes; a longer form of the same number is refused.
    ///
    /// # Errors
    /// The input ends, or this is no number of 64 bits in its shortest form.
    pub fn number(&mut self) -> Result<u64, DecodeError> {
        u64::try_from(self.place()?)
            .map_err(|_error| DecodeError::Invalid("a number above 64 bits"))
    }

    fn place(&mut self) -> Result<u128, DecodeError> {
        let mut place = 0_u128;
        // 18 bytes hold 126 bits, and there are fewer events in any memory.
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

    /// Reads which type the bytes are of, and goes on if it is this one.
    ///
    /// # Errors
    /// It is another one.
    pub fn expect_tag(&mut self, tag: &Tag) -> Result<(), DecodeError> {
        if self.tag()? == *tag {
            Ok(())
        } else {
            Err(DecodeError::OtherType)
        }
    }

    /// Which type the bytes are of.
    ///
    /// # Errors
    /// The input ends.
    pub fn tag(&mut self) -> Result<Tag, DecodeError> {
        let (tag, rest) = Tag::read(self.input).ok_or(DecodeError::Truncated)?;
        self.input = rest;
        Ok(tag)
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
        let (bytes, rest) = self
            .input
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
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

    /// How many elements follow, each of which takes from the allowance, and none of which is
    /// believed before it is read.
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
        let count = usize::try_from(count)
            .ok()
            .filter(|&count| count <= self.limits.elements)
            .ok_or(DecodeError::TooManyElements)?;
        self.limits.elements -= count;
        Ok(count)
    }

    /// A live dot, by its place.
    ///
    /// # Errors
    /// There is no such place.
    pub fn dot(&mut self) -> Result<Dot, DecodeError> {
        let rank = self.place()?;
        self.dots
            .nth(rank)
            .ok_or(DecodeError::Invalid("a dot that is not alive"))
    }

    /// Some of the live dots. An element is taken from the allowance for each run of them.
    ///
    /// # Errors
    /// They are not among the live dots, or too many runs.
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

    /// Reads what [`Writer::inner`] wrote: a replicated value that is a part of this one.
    ///
    /// **Law:** its live dots are those that were announced for it, each once; so whoever holds the
    /// parts need not ask.
    ///
    /// # Errors
    /// Those of its decoder, and other dots than were announced.
    pub fn inner<T: Crdt>(&mut self) -> Result<T, DecodeError> {
        self.scoped(Reader::exactly)
    }

    /// A value that has exactly these live dots, each once.
    pub(crate) fn exactly<T: Crdt>(&mut self, live: &CausalContext) -> Result<T, DecodeError> {
        let value = T::decode(self)?;
        let (found, once) = alive(&value);
        if once && found == *live {
            Ok(value)
        } else {
            Err(DecodeError::Invalid(
                "dots that stand for nothing, or for two things",
            ))
        }
    }

    /// A value whose dots are some of the live dots, read by `read` to its end; see
    /// [`Writer::scoped`].
    ///
    /// # Errors
    /// Those of `read`, a value that is shorter than its length says, or nesting beyond the limit.
    pub fn scoped<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'a>, &CausalContext) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let some = self.dots()?;
        let input = self.bytes()?;
        self.nested(input, &some, |input| read(input, &some))
    }

    /// A value whose dots are `dots`, be they alive here or not, read from `input` by `read` to its
    /// end: one level deeper, and within what is left of the limits.
    ///
    /// # Errors
    /// Those of `read`, a value that is shorter than `input`, or nesting beyond the limit.
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

    /// All live dots, to be visited one by one: as many elements are taken from the allowance.
    ///
    /// # Errors
    /// Too many.
    pub fn live_set(&mut self) -> Result<CausalContext, DecodeError> {
        let count =
            u64::try_from(self.dots.len()).map_err(|_error| DecodeError::TooManyElements)?;
        self.take_elements(count)?;
        Ok(self.all_live())
    }

    /// All live dots, to be visited run by run: an element is taken from the allowance for each
    /// run.
    ///
    /// # Errors
    /// Too many.
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

    /// Says that something is in a form that older versions of a struct write and this one does
    /// not.
    pub(crate) fn note_older(&mut self) {
        self.older = true;
    }

    /// Whether something was in such a form.
    pub(crate) fn was_older(&self) -> bool {
        self.older
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
        if self.input.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing(self.input.len()))
        }
    }
}
