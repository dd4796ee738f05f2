//! The fields of a struct as bytes.

use alloc::collections::btree_map;
use alloc::vec::Vec;
use core::iter::Peekable;

use super::pieces::{Field, Piece, Pieces, Unknown};
use crate::causal::{alive, live_dots};
use crate::codec::{DecodeError, Reader, Tag, Writer};
use crate::{CausalContext, Contexts, Crdt, Undotted};

/// The highest number that a field can have.
const HIGHEST_ID: u64 = u32::MAX as u64;

/// Writes the fields of a struct, ascending by number: those it knows and, in between, those it
/// does not know.
#[derive(Debug)]
pub struct FieldWriter<'a> {
    out: &'a mut Writer,
    unknown: Peekable<btree_map::Iter<'a, Field, Pieces>>,
}

impl<'a> FieldWriter<'a> {
    /// Begins a struct in which `known` of the known fields are not bottom.
    pub fn new(out: &'a mut Writer, known: usize, unknown: &'a Unknown) -> Self {
        out.number((known + unknown.fields.len()) as u64);
        Self {
            out,
            unknown: unknown.fields.iter().peekable(),
        }
    }

    /// Writes a field, unless it is bottom.
    pub fn field<T: Crdt>(&mut self, id: u64, field: &T) {
        while let Some(((other, tag), pieces)) = self.unknown.next_if(|(other, _)| other.0 < id) {
            pieces.encode(*other, tag, self.out);
        }
        if field.is_bottom() {
            return;
        }
        let (live, tag) = (live_dots(field), Tag::of::<T>());
        if let Some(pieces) = mixed(field, &live, &self.out.context()) {
            return pieces.encode(id, &tag, self.out);
        }
        self.out.number(id * 2);
        self.out.tag(&tag);
        self.out.scoped(&live, |out| field.encode(out));
    }

    /// Writes the remaining unknown fields, whose numbers are above all known ones.
    pub fn finish(self) {
        for ((id, tag), unknown) in self.unknown {
            unknown.encode(*id, tag, self.out);
        }
    }
}

/// A piece has dots or has none. A field with both kinds of parts is written as two pieces, so that
/// an older version can drop one and keep the other.
fn mixed<T: Crdt>(field: &T, live: &CausalContext, context: &CausalContext) -> Option<Pieces> {
    if live.is_empty() {
        return None;
    }
    let undotted = field.part(&CausalContext::new(), Undotted::Kept);
    if undotted.is_bottom() {
        return None;
    }
    let (none, dotted) = (CausalContext::new(), field.part(live, Undotted::Dropped));
    let undotted = Piece {
        bytes: encoded(&undotted, &none, context),
        of: context.clone(),
        dots: none,
    };
    let dotted = Piece {
        bytes: encoded(&dotted, live, context),
        of: CausalContext::new(),
        dots: live.clone(),
    };
    Some(Pieces {
        live: live.clone(),
        pieces: alloc::vec![undotted, dotted],
    })
}

fn encoded(part: &impl Crdt, dots: &CausalContext, context: &CausalContext) -> Vec<u8> {
    let mut out = Writer::within(context, dots);
    part.encode(&mut out);
    out.finish()
}

/// Reads what [`FieldWriter`] wrote. After each [`id`](Self::id), call either
/// [`known`](Self::known) or [`unknown`](Self::unknown).
#[derive(Debug)]
pub struct FieldReader<'r, 'a> {
    input: &'r mut Reader<'a>,
    left: usize,
    /// The current field, and the one before it.
    field: Field,
    before: Field,
    in_pieces: bool,
}

impl<'r, 'a> FieldReader<'r, 'a> {
    /// Begins a struct.
    ///
    /// # Errors
    /// There are more fields than the limit allows.
    pub fn new(input: &'r mut Reader<'a>) -> Result<Self, DecodeError> {
        let left = input.count()?;
        Ok(Self {
            input,
            left,
            field: Field::default(),
            before: Field::default(),
            in_pieces: false,
        })
    }

    /// Reads the number of the next field, if there is one.
    ///
    /// # Errors
    /// The input ends, or the numbers do not ascend.
    pub fn id(&mut self) -> Result<Option<u64>, DecodeError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        let header = self.input.number()?;
        let id = header >> 1;
        let field = (id, self.input.tag()?);
        if id == 0 || field <= self.field || id > HIGHEST_ID {
            return Err(DecodeError::Invalid("fields that do not ascend"));
        }
        self.before = core::mem::replace(&mut self.field, field);
        (self.left, self.in_pieces) = (left, header & 1 == 1);
        Ok(Some(id))
    }

    /// Reads a known field, also from the pieces of older versions.
    ///
    /// # Errors
    /// The bytes are not such a value.
    pub fn known<T: Crdt>(&mut self) -> Result<T, DecodeError> {
        if self.field.1 != Tag::of::<T>() || self.before.0 == self.field.0 {
            return Err(DecodeError::OtherType);
        }
        if self.in_pieces {
            return self.input.scoped(|input, live| together(input, live));
        }
        self.input.scoped(|input, live| {
            let field: T = input.exactly(live)?;
            if field.is_bottom() {
                Err(DecodeError::Invalid("a field that holds nothing"))
            } else {
                Ok(field)
            }
        })
    }

    /// Keeps a field without understanding it. If a struct consists of `dots_alone`, so do its
    /// newer versions.
    ///
    /// # Errors
    /// It is not a field, or it breaks the rule because it has no dots.
    pub fn unknown(&mut self, unknown: &mut Unknown, dots_alone: bool) -> Result<(), DecodeError> {
        let field = if self.in_pieces {
            self.input.scoped(Pieces::decode)?
        } else {
            Pieces::decode_plain(self.input)?
        };
        if dots_alone && field.pieces.iter().any(|piece| piece.dots.is_empty()) {
            return Err(DecodeError::Invalid(
                "a field without dots in a struct of dots",
            ));
        }
        unknown.fields.insert(self.field.clone(), field);
        Ok(())
    }
}

/// Builds a field from its pieces: all of them are joined as if nothing had ended, then what is not
/// alive is removed.
fn together<T: Crdt>(input: &mut Reader<'_>, live: &CausalContext) -> Result<T, DecodeError> {
    let read = Pieces::decode(input, live)?;
    let (mut field, mut seen) = (T::default(), CausalContext::new());
    for Piece { dots, bytes, .. } in &read.pieces {
        let piece: T = input.nested(bytes, dots, |input| {
            let piece = input.exactly(dots)?;
            let one_form = input.was_older() || encoded(&piece, dots, &input.context()) == *bytes;
            if one_form {
                Ok(piece)
            } else {
                Err(DecodeError::NotCanonical)
            }
        })?;
        field.join(
            &piece,
            Contexts {
                mine: &seen,
                theirs: dots,
            },
        );
        seen.union(dots);
    }
    let ended = seen.without(live);
    field.join(
        &T::default(),
        Contexts {
            mine: &seen,
            theirs: &ended,
        },
    );
    let (found, once) = alive(&field);
    if !once || found != *live {
        return Err(DecodeError::Invalid(
            "dots that stand for nothing, or for two things",
        ));
    }
    if mixed(&field, live, &input.context()).is_none_or(|written| written != read) {
        input.note_older();
    }
    Ok(field)
}
