//! The fields of a struct as bytes.

use alloc::collections::btree_map;
use alloc::vec::Vec;
use core::iter::Peekable;

use super::{Piece, Pieces, Unknown};
use crate::causal::live_dots;
use crate::codec::{DecodeError, Reader, Writer};
use crate::{CausalContext, Contexts, Crdt, Undotted};

/// The highest number a field can have.
const HIGHEST_ID: u64 = u32::MAX as u64;

/// Writes the fields of a struct: those it knows, ascending by number, and between them those it does not know.
#[derive(Debug)]
pub struct FieldWriter<'a> {
    out: &'a mut Writer,
    unknown: Peekable<btree_map::Iter<'a, u64, Pieces>>,
}

impl<'a> FieldWriter<'a> {
    /// Begins a struct of which so many `known` fields are not bottom.
    pub fn new(out: &'a mut Writer, known: usize, unknown: &'a Unknown) -> Self {
        out.number((known + unknown.fields.len()) as u64);
        Self { out, unknown: unknown.fields.iter().peekable() }
    }

    /// Writes a field, unless it is bottom.
    pub fn field<T: Crdt>(&mut self, id: u64, field: &T) {
        while let Some((id, unknown)) = self.unknown.next_if(|(unknown, _)| **unknown < id) {
            unknown.encode(*id, self.out);
        }
        if field.is_bottom() {
            return;
        }
        let live = live_dots(field);
        if !live.is_empty() {
            // A piece has dots or has none. A field that has both kinds of parts is written as two, so that an older version
            // can let one go and keep the other.
            let undotted = field.part(&CausalContext::new(), Undotted::Kept);
            if !undotted.is_bottom() {
                let parts = [(CausalContext::new(), undotted), (live.clone(), field.part(&live, Undotted::Dropped))];
                let pieces = parts.map(|(dots, part)| Piece { bytes: encoded(&part, &dots), dots });
                return Pieces { live, pieces: pieces.into() }.encode(id, self.out);
            }
        }
        self.out.number(id * 2);
        self.out.scoped(&live, |out| field.encode(out));
    }

    /// Writes what is left: the fields above all that are known.
    pub fn finish(self) {
        for (id, unknown) in self.unknown {
            unknown.encode(*id, self.out);
        }
    }
}

fn encoded(part: &impl Crdt, dots: &CausalContext) -> Vec<u8> {
    let mut out = Writer::new(dots);
    part.encode(&mut out);
    out.finish()
}

/// Reads what [`FieldWriter`] wrote: after each [`id`](Self::id) either [`known`](Self::known) or
/// [`unknown`](Self::unknown).
#[derive(Debug)]
pub struct FieldReader<'r, 'a> {
    input: &'r mut Reader<'a>,
    left: usize,
    id: u64,
    in_pieces: bool,
}

impl<'r, 'a> FieldReader<'r, 'a> {
    /// Begins a struct.
    ///
    /// # Errors
    /// More fields than the limit.
    pub fn new(input: &'r mut Reader<'a>) -> Result<Self, DecodeError> {
        let left = input.count()?;
        Ok(Self { input, left, id: 0, in_pieces: false })
    }

    /// The number of the next field, if there is one.
    ///
    /// # Errors
    /// The input ends, or numbers do not ascend.
    pub fn id(&mut self) -> Result<Option<u64>, DecodeError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        let header = self.input.number()?;
        let id = header >> 1;
        if id <= self.id || id > HIGHEST_ID {
            return Err(DecodeError::Invalid("fields that do not ascend"));
        }
        (self.left, self.id, self.in_pieces) = (left, id, header & 1 == 1);
        Ok(Some(id))
    }

    /// Reads the field as what it is, from the pieces of older versions too.
    ///
    /// # Errors
    /// It is no such value.
    pub fn known<T: Crdt>(&mut self) -> Result<T, DecodeError> {
        if self.in_pieces {
            return self.input.scoped(|input, live| together(input, live));
        }
        self.input.scoped(|input, live| {
            let field = T::decode(input)?;
            if field.is_bottom() { Err(DecodeError::Invalid("a field that holds nothing")) } else { checked(field, live) }
        })
    }

    /// Keeps the field without understanding it. Where a struct consists of `dots_alone`, its newer versions do so too.
    ///
    /// # Errors
    /// It is no field, or one without dots against the rule.
    pub fn unknown(&mut self, unknown: &mut Unknown, dots_alone: bool) -> Result<(), DecodeError> {
        let field = if self.in_pieces { self.input.scoped(Pieces::decode)? } else { Pieces::decode_plain(self.input)? };
        if dots_alone && field.pieces.iter().any(|piece| piece.dots.is_empty()) {
            return Err(DecodeError::Invalid("a field without dots in a struct of dots"));
        }
        unknown.fields.insert(self.id, field);
        Ok(())
    }
}

/// Makes a field of its pieces: all of them, as if nothing had ended; then what is not alive ends.
fn together<T: Crdt>(input: &mut Reader<'_>, live: &CausalContext) -> Result<T, DecodeError> {
    let pieces = Pieces::decode(input, live)?.pieces;
    let (mut field, mut seen) = (T::default(), CausalContext::new());
    for Piece { dots, bytes } in &pieces {
        let piece = input.nested(bytes, dots, |input| checked(T::decode(input)?, dots))?;
        field.join(&piece, Contexts { mine: &seen, theirs: dots });
        seen.union(dots);
    }
    let ended = seen.without(live);
    field.join(&T::default(), Contexts { mine: &seen, theirs: &ended });
    checked(field, live)
}

/// The value, if exactly these are its dots, each once.
fn checked<T: Crdt>(value: T, dots: &CausalContext) -> Result<T, DecodeError> {
    let (mut found, mut twice) = (CausalContext::new(), false);
    value.dots(&mut |dot| twice |= !found.insert(dot));
    if found == *dots && !twice { Ok(value) } else { Err(DecodeError::Invalid("dots that stand for nothing, or for two things")) }
}
