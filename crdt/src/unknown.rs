//! The base of `#[derive(Crdt)]`: the layout of a struct's fields, and the fields of a newer
//! version, which an older one keeps and merges without understanding them.
//!
//! A struct is written as the number of its fields that are not bottom, then each of them,
//! ascending by number. A field in plain form is `number * 2`, the [tag](crate::codec::Tag) of its
//! type, and the field, [scoped](crate::codec::Writer::scoped) to its live dots. A field in pieces
//! is `number * 2 + 1`, the tag and, scoped to the live dots, the number of pieces and each piece:
//! which live dots it holds, which others, and its bytes, in which dots are places in the union of
//! both.

mod fields;
mod pieces;

pub use alloc::vec::Vec;

pub use self::fields::{FieldReader, FieldWriter};
pub use self::pieces::Unknown;
