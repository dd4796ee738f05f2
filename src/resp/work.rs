//! What a data command becomes: requests, and how their answers become one reply.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use quorate_dynamo::op::{Answer, Expiry, Kind, Op, Reply, RequestError};
use smallvec::{SmallVec, smallvec};

use super::encode::Encoder;
use super::refuse::{Extent, request_error};
use crate::data::Data;

/// A data command, translated.
#[derive(Debug)]
pub(crate) struct Work {
    /// One request for each key, submitted together.
    pub ops: SmallVec<[Op; 1]>,
    /// How the answers become a reply.
    pub shape: Shape,
}

impl Work {
    /// A command on one key.
    pub(crate) fn one(op: Op, shape: Shape) -> Self {
        Self { ops: smallvec![op], shape }
    }
}

/// How answers become a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As the answer is.
    Plain,
    /// `+OK`, whatever the answers say.
    Ok,
    /// The only one of a list of one.
    First,
    /// 1 if the only one of a list of one is there.
    Present,
    /// A list that is a set in RESP3.
    Set,
    /// The fields of pairs.
    Fields,
    /// The values of pairs.
    Values,
    /// Time to live in seconds.
    TtlSeconds,
    /// Time to live in milliseconds.
    TtlMillis,
    /// Unix time of the expiry in seconds.
    ExpirySeconds,
    /// Unix time of the expiry in milliseconds.
    ExpiryMillis,
    /// The sum of the numbers of all requests.
    Sum,
    /// The values of all requests; a key of another kind counts as absent, as in Redis.
    Each,
    /// The number in a field of a hash, about which Redis has an error of its own.
    FieldNumber,
}

/// Milliseconds since 1970, by this machine's clock: what relative expiries of clients are counted from.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The result of one request.
pub(crate) type Outcome = Result<Answer, RequestError>;

/// The results of the requests of one command, in the order of its keys.
pub(crate) type Outcomes = SmallVec<[Outcome; 1]>;

/// Writes the reply for the outcomes of all requests of one command.
pub(crate) fn encode(shape: Shape, writes: bool, outcomes: Outcomes, data: &dyn Data, to: &mut Encoder) {
    let keys = outcomes.len();
    let applied = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let mut replies: SmallVec<[Reply; 1]> = SmallVec::with_capacity(keys);
    for outcome in outcomes {
        match outcome {
            Ok(answer) => replies.push(answer.reply),
            Err(RequestError::WrongKind) if shape == Shape::Each => replies.push(Reply::Nil),
            Err(RequestError::NotAnInteger) if shape == Shape::FieldNumber => return to.error("ERR hash value is not an integer"),
            Err(error) => return to.error(&request_error(&error, Extent { writes, keys, applied }, &data.topology())),
        }
    }
    match shape {
        Shape::Ok => to.ok(),
        Shape::Sum => to.integer(replies.iter().map(number).sum()),
        Shape::Each => {
            to.array(replies.len());
            for reply in &replies {
                plain(reply, to);
            }
        }
        _ => match replies.first() {
            Some(reply) => single(shape, reply, to),
            None => to.null(),
        },
    }
}

fn number(reply: &Reply) -> i64 {
    match reply {
        Reply::Integer(number) => *number,
        _ => 0,
    }
}

/// The reply of a command with one request.
fn single(shape: Shape, reply: &Reply, to: &mut Encoder) {
    match (shape, reply) {
        (Shape::First, Reply::Values(values)) => to.bulk_or_null(values.first().and_then(Option::as_deref)),
        (Shape::First, Reply::Integers(numbers)) => to.integer(numbers.first().copied().unwrap_or(0)),
        (Shape::Present, Reply::Values(values)) => to.integer(i64::from(values.first().is_some_and(Option::is_some))),
        (Shape::Set, Reply::List(elements)) => {
            to.set(elements.len());
            bulks(elements.iter(), to);
        }
        (Shape::Fields, Reply::Pairs(pairs)) => {
            to.array(pairs.len());
            bulks(pairs.iter().map(|(field, _)| field), to);
        }
        (Shape::Values, Reply::Pairs(pairs)) => {
            to.array(pairs.len());
            bulks(pairs.iter().map(|(_, value)| value), to);
        }
        (_, Reply::Expiry(expiry)) => to.integer(expiry_number(shape, *expiry, now_ms())),
        _ => plain(reply, to),
    }
}

/// `-2` for no key, `-1` for no expiry, else the time in the unit of `shape`; seconds are rounded to the nearest, as Redis does.
fn expiry_number(shape: Shape, expiry: Expiry, now: u64) -> i64 {
    let at = match expiry {
        Expiry::NoKey => return -2,
        Expiry::Never => return -1,
        Expiry::At(at) => at,
    };
    let left = at.saturating_sub(now);
    let number = match shape {
        Shape::TtlSeconds => left.saturating_add(500) / 1000,
        Shape::TtlMillis => left,
        Shape::ExpirySeconds => at.saturating_add(500) / 1000,
        _ => at,
    };
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The reply that the answer is by its own type.
fn plain(reply: &Reply, to: &mut Encoder) {
    match reply {
        Reply::Done => to.ok(),
        Reply::Nil => to.null(),
        Reply::Integer(number) => to.integer(*number),
        Reply::Integers(numbers) => {
            to.array(numbers.len());
            for number in numbers {
                to.integer(*number);
            }
        }
        Reply::Value(value) => to.bulk(value),
        Reply::Values(values) => {
            to.array(values.len());
            for value in values {
                to.bulk_or_null(value.as_deref());
            }
        }
        Reply::List(elements) => strings(elements, to),
        Reply::Pairs(pairs) => {
            to.map(pairs.len());
            for (field, value) in pairs {
                to.bulk(field);
                to.bulk(value);
            }
        }
        Reply::Kind(kind) => to.simple(kind_name(*kind)),
        Reply::Expiry(expiry) => to.integer(expiry_number(Shape::ExpiryMillis, *expiry, 0)),
        Reply::Siblings { token, values } => {
            to.array(2);
            to.bulk(token);
            strings(values, to);
        }
        Reply::Keys { keys, .. } => strings(keys, to),
    }
}

/// An array of strings.
pub(crate) fn strings(elements: &[Bytes], to: &mut Encoder) {
    to.array(elements.len());
    bulks(elements.iter(), to);
}

fn bulks<'a>(elements: impl Iterator<Item = &'a Bytes>, to: &mut Encoder) {
    for element in elements {
        to.bulk(element);
    }
}

/// What `TYPE` calls a kind.
pub(crate) fn kind_name(kind: Option<Kind>) -> &'static str {
    match kind {
        None => "none",
        Some(Kind::String) => "string",
        Some(Kind::Hash) => "hash",
        Some(Kind::Set) => "set",
    }
}

#[cfg(test)]
mod tests;
