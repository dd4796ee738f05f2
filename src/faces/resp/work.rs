//! Turns a data command into requests, and their answers into one reply.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use quorate_dynamo::op::{Answer, Expiry, Kind, Op, Reply, RequestError};
use smallvec::{SmallVec, smallvec};

use super::output::Output;
use super::refuse::{Extent, Refused, request_error};
use crate::doors::Data;

/// A data command, translated into requests.
#[derive(Debug)]
pub(crate) struct Work {
    /// One operation per key, submitted together.
    pub ops: SmallVec<[Op; 1]>,
    /// How the answers become a reply.
    pub shape: Shape,
}

impl Work {
    /// A command on one key.
    pub(crate) fn one(op: Op, shape: Shape) -> Self {
        Self {
            ops: smallvec![op],
            shape,
        }
    }
}

/// How answers become a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The answer itself.
    Plain,
    /// `+OK`, whatever the answers say.
    Ok,
    /// The only element of a list of one.
    First,
    /// 1 if the only element of a list of one is there, otherwise 0.
    Present,
    /// The list, which becomes a set in RESP3.
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
    /// The number in a field of a hash, for which Redis has an error of its own.
    FieldNumber,
    /// What `OBJECT ENCODING` calls a kind.
    Encoding,
}

/// Milliseconds since 1970 by this machine's clock, the origin of clients' relative expiries.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// Microseconds since 1970 by this machine's clock.
pub(crate) fn now_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}

/// The result of one request.
pub(crate) type Outcome = Result<Answer, RequestError>;

/// The most bytes of values that a command may name one by one, even if it names the same value
/// many times: as much as one answer between nodes. Collections do not count, because they are
/// stored once and returned whole.
pub(crate) const REPLY_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The results of a command's requests, in the order of its keys, as long as they fit in one reply.
#[derive(Debug)]
pub(crate) struct Outcomes {
    list: SmallVec<[Outcome; 1]>,
    /// Bytes of the values that the command named one by one.
    named: usize,
    /// The node holds too many answers already to wait for the rest of these.
    overloaded: bool,
}

impl Outcomes {
    pub(crate) fn with_capacity(requests: usize) -> Self {
        Self {
            list: SmallVec::with_capacity(requests),
            named: 0,
            overloaded: false,
        }
    }

    /// Adds the next result. Once they exceed one reply, none is kept.
    pub(crate) fn push(&mut self, outcome: Outcome) {
        if let Ok(Answer { reply, .. }) = &outcome {
            self.named += match reply {
                Reply::Value(value) => value.len(),
                Reply::Values(values) => values.iter().flatten().map(Bytes::len).sum(),
                _ => 0,
            };
        }
        self.list.push(outcome);
        if self.too_much() {
            self.list = SmallVec::new();
        }
    }

    /// Limits the answers of this command to `bytes`, except for one answer, because the node holds
    /// too many already. Beyond it the command is refused.
    pub(crate) fn bound(&mut self, bytes: usize) {
        self.overloaded |= self.list.len() > 1 && self.named > bytes;
        if self.too_much() {
            self.list = SmallVec::new();
        }
    }

    /// Whether the command is refused, whatever the other requests answer.
    pub(crate) fn too_much(&self) -> bool {
        self.overloaded || self.too_long()
    }

    /// Whether it is refused for the length of the reply.
    pub(crate) fn too_long(&self) -> bool {
        self.named > REPLY_BYTES_MAX
    }
}

/// The error that the command is answered with, if there is one: of several the first, but of a
/// change one that leaves its outcome open, because who reads that nothing was applied asks again.
fn failed(shape: Shape, writes: bool, outcomes: &[Outcome]) -> Option<&RequestError> {
    let absent =
        |error: &&RequestError| shape == Shape::Each && matches!(error, RequestError::WrongKind);
    let mut errors = outcomes
        .iter()
        .filter_map(|outcome| outcome.as_ref().err())
        .filter(|error| !absent(error));
    let open = if writes {
        errors.clone().find(|error| error.may_be_applied())
    } else {
        None
    };
    open.or_else(|| errors.next())
}

/// Writes the reply for the results of all requests of one command, element by element: the
/// client's pace bounds what waits for it.
pub(crate) async fn answer(
    shape: Shape,
    writes: bool,
    outcomes: &mut Outcomes,
    data: &dyn Data,
    to: &mut Output,
) -> io::Result<()> {
    if outcomes.too_long() {
        to.encoder.error(
            &Refused::ReplyTooLong {
                max: REPLY_BYTES_MAX,
            }
            .to_string(),
        );
        return Ok(());
    }
    let overloaded = outcomes.overloaded.then_some(&RequestError::Overloaded);
    if let Some(error) = overloaded.or_else(|| failed(shape, writes, &outcomes.list)) {
        let extent = Extent {
            writes,
            keys: outcomes.list.len(),
            applied: outcomes
                .list
                .iter()
                .filter(|outcome| outcome.is_ok())
                .count(),
            unknown: outcomes
                .list
                .iter()
                .filter(|outcome| outcome.as_ref().is_err_and(RequestError::may_be_applied))
                .count(),
        };
        let line = match error {
            RequestError::NotAnInteger if shape == Shape::FieldNumber => {
                "ERR hash value is not an integer".to_owned()
            }
            error => request_error(error, extent, &data.topology()),
        };
        to.encoder.error(&line);
        return Ok(());
    }
    // Only errors that the shape treats as absent are left.
    let mut replies = outcomes
        .list
        .drain(..)
        .map(|outcome| outcome.map_or(Reply::Nil, |answer| answer.reply));
    match shape {
        Shape::Ok => to.encoder.ok(),
        Shape::Sum => to
            .encoder
            .integer(replies.map(|reply| number(&reply)).sum()),
        Shape::Each => {
            to.encoder.array(replies.len());
            for reply in replies {
                plain(reply, to).await?;
            }
        }
        _ => match replies.next() {
            Some(reply) => single(shape, reply, to).await?,
            None => to.encoder.null(),
        },
    }
    Ok(())
}

fn number(reply: &Reply) -> i64 {
    match reply {
        Reply::Integer(number) => *number,
        _ => 0,
    }
}

/// The reply to a command with one request.
async fn single(shape: Shape, reply: Reply, to: &mut Output) -> io::Result<()> {
    match (shape, reply) {
        (Shape::First, Reply::Values(values)) => {
            to.bulk_or_null(values.into_iter().next().flatten()).await
        }
        (Shape::First, Reply::Integers(numbers)) => {
            to.encoder.integer(numbers.first().copied().unwrap_or(0));
            Ok(())
        }
        (Shape::Present, Reply::Values(values)) => {
            to.encoder
                .integer(i64::from(values.first().is_some_and(Option::is_some)));
            Ok(())
        }
        (Shape::Set, Reply::List(elements)) => {
            to.encoder.set(elements.len());
            to.bulks(elements).await
        }
        (Shape::Fields, Reply::Pairs(pairs)) => {
            to.encoder.array(pairs.len());
            to.bulks(pairs.into_iter().map(|(field, _)| field)).await
        }
        (Shape::Values, Reply::Pairs(pairs)) => {
            to.encoder.array(pairs.len());
            to.bulks(pairs.into_iter().map(|(_, value)| value)).await
        }
        (Shape::Encoding, Reply::Kind(kind)) => {
            match kind {
                None => to.encoder.null(),
                Some(Kind::String) => to.encoder.bulk(b"raw"),
                Some(Kind::Hash | Kind::Set) => to.encoder.bulk(b"hashtable"),
            }
            Ok(())
        }
        (_, Reply::Expiry(expiry)) => {
            to.encoder.integer(expiry_number(shape, expiry, now_ms()));
            Ok(())
        }
        (_, reply) => plain(reply, to).await,
    }
}

/// `-2` if there is no key, `-1` if it has no expiry, otherwise the time in the unit of `shape`.
/// Seconds are rounded to the nearest, as in Redis.
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

/// The reply that corresponds to the type of the answer.
async fn plain(reply: Reply, to: &mut Output) -> io::Result<()> {
    match reply {
        Reply::Done => to.encoder.ok(),
        Reply::Nil => to.encoder.null(),
        Reply::Integer(number) => to.encoder.integer(number),
        Reply::Integers(numbers) => {
            to.encoder.array(numbers.len());
            for number in numbers {
                to.encoder.integer(number);
            }
        }
        Reply::Value(value) => to.bulk(value).await?,
        Reply::Values(values) => {
            to.encoder.array(values.len());
            for value in values {
                to.bulk_or_null(value).await?;
            }
        }
        Reply::List(elements) | Reply::Keys { keys: elements, .. } => {
            to.encoder.array(elements.len());
            to.bulks(elements).await?;
        }
        Reply::Pairs(pairs) => {
            to.encoder.map(pairs.len());
            to.bulks(pairs.into_iter().flat_map(|(field, value)| [field, value]))
                .await?;
        }
        Reply::Kind(kind) => to.encoder.simple(kind_name(kind)),
        Reply::Expiry(expiry) => to
            .encoder
            .integer(expiry_number(Shape::ExpiryMillis, expiry, 0)),
        Reply::Siblings { token, values } => {
            to.encoder.array(2);
            to.bulk(token).await?;
            to.encoder.array(values.len());
            to.bulks(values).await?;
        }
        // No command asks for one.
        Reply::Page { .. } => to.encoder.array(0),
    }
    Ok(())
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
