//! What each command does: turns its arguments into operations, or answers at once.

pub(crate) mod absent;
pub(crate) mod acl;
pub(crate) mod admin;
pub(crate) mod client;
pub(crate) mod command;
pub(crate) mod connection;
mod coordinator;
pub(crate) mod database;
pub(crate) mod hashes;
pub(crate) mod info;
pub(crate) mod keys;
pub(crate) mod locks;
pub(crate) mod meetings;
pub(crate) mod metadata;
pub(crate) mod own;
pub(crate) mod scan;
pub(crate) mod sets;
pub(crate) mod slowlog;
pub(crate) mod strings;

use bytes::Bytes;
use quorate_dynamo::op::{Mutation, Op, Query};

use super::parse::Args;
use super::refuse::Refused;
use super::work::{Shape, Work};

/// Reads the key that is the first argument.
fn query(args: Args<'_>, query: Query, shape: Shape) -> Result<Work, Refused> {
    Ok(Work::one(Op::Query(args.shared(1), query), shape))
}

/// Changes the key that is the first argument.
fn mutate(args: Args<'_>, mutation: Mutation, shape: Shape) -> Result<Work, Refused> {
    Ok(Work::one(Op::Mutate(args.kept(1), mutation), shape))
}

/// The arguments from number `from` on, to be kept.
fn kept(args: Args<'_>, from: usize) -> Vec<Bytes> {
    (from..args.len()).map(|index| args.kept(index)).collect()
}

/// The arguments from number `from` on, for use during the request.
fn shared(args: Args<'_>, from: usize) -> Vec<Bytes> {
    (from..args.len()).map(|index| args.shared(index)).collect()
}

/// A 64-bit number as Redis reads one: no plus sign, no blanks, no leading zeros.
fn integer(text: &[u8]) -> Result<i64, Refused> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    let parsed = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok());
    parsed.filter(|_| canonical).ok_or(Refused::NotAnInteger)
}

/// Refuses what `Spec::arity` cannot express.
fn arity(holds: bool, name: &'static str) -> Result<(), Refused> {
    if holds {
        Ok(())
    } else {
        Err(Refused::Arity {
            name: name.to_owned(),
        })
    }
}

/// What a client sent, as text for an error message.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether two words are equal except for case.
fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

#[cfg(test)]
mod tests;
