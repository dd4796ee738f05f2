//! Weighs what goes in and out: checks what a request brings and what would result from it, before
//! anything is built, and says how much memory messages and answers take.

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::op::{
    Answer, KEY_BYTES_MAX, Limits, Mutation, OUTCOME_BYTES_MAX, Op, Query, Reply, RequestError,
    TOKEN_BYTES_MAX,
};
use crate::planted;
use crate::protocol::{Effect, Message};
use crate::saved::{SavedKey, SavedRow};
use crate::value::is_reserved;

/// What a row costs beside its key and its content: events, numbers, its place in the store.
const ROW_BYTES: usize = 64;
/// What each string of an answer costs beside its bytes: its place in a list.
const STRING_BYTES: usize = 32;

/// Refuses a request that is too long itself or would make too much: the key is part of the name of
/// every row that a request makes, removes or asks about.
pub(super) fn check(op: &Op, limits: Limits) -> Result<(), RequestError> {
    let (Op::Query(key, _) | Op::Mutate(key, _)) = op else {
        return Ok(());
    };
    within(key.len(), KEY_BYTES_MAX)?;
    if is_reserved(key) {
        return Err(RequestError::ReservedKey);
    }
    if let Op::Mutate(_, Mutation::SetWith { token, .. }) = op
        && token.len() > TOKEN_BYTES_MAX
        && !planted::TOKEN_UNBOUNDED.is_planted()
    {
        return Err(RequestError::BadToken);
    }
    let (rows, bytes) = brought(op);
    within(bytes, limits.value_bytes)?;
    if planted::OUTCOME_UNBOUNDED.is_planted() {
        return Ok(());
    }
    within(bytes + rows * (key.len() + ROW_BYTES), OUTCOME_BYTES_MAX)
}

fn within(bytes: usize, max: usize) -> Result<(), RequestError> {
    if bytes <= max {
        Ok(())
    } else {
        Err(RequestError::TooLarge {
            bytes: bytes as u64,
            max: max as u64,
        })
    }
}

/// How many rows the request names, and how many bytes it brings beside the key.
fn brought(op: &Op) -> (usize, usize) {
    let names = |names: &[Bytes]| (names.len(), names.iter().map(Bytes::len).sum());
    match op {
        Op::Query(_, Query::Contains(elements) | Query::Fields(elements)) => names(elements),
        Op::Query(..) | Op::Partition(..) => (1, 0),
        Op::Mutate(_, mutation) => match mutation {
            Mutation::Set { value, .. } | Mutation::Append(value) => (1, value.len()),
            Mutation::SetWith { value, token } => (1, value.len() + token.len()),
            Mutation::Add(elements)
            | Mutation::Remove(elements)
            | Mutation::RemoveFields(elements) => names(elements),
            Mutation::SetFields(fields) => (
                fields.len(),
                fields
                    .iter()
                    .map(|(field, value)| field.len() + value.len())
                    .sum(),
            ),
            Mutation::IncrementField(field, _) => (1, field.len()),
            Mutation::Restore { rows, .. } => {
                (rows.len().max(1), rows.iter().map(SavedRow::weight).sum())
            }
            Mutation::Increment(_)
            | Mutation::Delete
            | Mutation::GetDelete
            | Mutation::ExpireAt(_)
            | Mutation::Persist
            | Mutation::Lapse { .. } => (1, 0),
        },
    }
}

impl Op {
    /// Roughly the bytes of memory that the operation takes while it is in flight.
    pub fn weight(&self) -> usize {
        let (Self::Query(key, _) | Self::Mutate(key, _)) = self else {
            return ROW_BYTES;
        };
        let (rows, bytes) = brought(self);
        key.len() + bytes + rows * ROW_BYTES
    }
}

impl Reply {
    /// Roughly the bytes of memory that the answer takes while it waits to be sent.
    pub fn weight(&self) -> usize {
        let sum = |strings: &[Bytes]| strings.iter().map(Bytes::len).sum();
        let strings: usize = match self {
            Self::Value(value) => value.len(),
            Self::Values(values) => values.iter().flatten().map(Bytes::len).sum(),
            Self::List(values) | Self::Keys { keys: values, .. } => sum(values),
            Self::Siblings { token, values } => token.len() + sum(values),
            Self::Pairs(pairs) => pairs
                .iter()
                .map(|(field, value)| field.len() + value.len())
                .sum(),
            Self::Page { keys, .. } => keys.iter().map(SavedKey::weight).sum(),
            _ => 0,
        };
        strings + self.own_weight()
    }

    /// The same without the bytes of the strings: at the answering replica they are shared with its
    /// rows.
    pub(super) fn own_weight(&self) -> usize {
        match self {
            Self::Done
            | Self::Nil
            | Self::Integer(_)
            | Self::Kind(_)
            | Self::Expiry(_)
            | Self::Value(_) => 0,
            Self::Integers(numbers) => numbers.len() * size_of::<i64>(),
            Self::Values(values) => values.len() * STRING_BYTES,
            Self::List(values)
            | Self::Keys { keys: values, .. }
            | Self::Siblings { values, .. } => values.len() * STRING_BYTES,
            Self::Pairs(pairs) => 2 * pairs.len() * STRING_BYTES,
            Self::Page { keys, .. } => {
                let rows = keys.iter().map(|key| 1 + key.rows.len());
                rows.sum::<usize>() * ROW_BYTES
            }
        }
    }
}

impl Message {
    /// Roughly the bytes that the message has on the wire.
    pub fn weight(&self) -> usize {
        ROW_BYTES
            + match self {
                Self::Write { delta, .. } | Self::Hint { delta, .. } => delta.sent_bytes(),
                Self::Different { delta, .. } | Self::Repair { delta, .. } => delta.sent_bytes(),
                Self::Chunk { piece, .. } => piece.delta.sent_bytes(),
                Self::Forward { request, .. } => request.op.weight(),
                Self::Forwarded {
                    result: Ok(Answer { reply, .. }),
                    ..
                } => reply.weight(),
                Self::Read { ranges, .. } => ranges.len() * ROW_BYTES,
                Self::Seen(all) => {
                    let fencing = all.iter().filter_map(|seen| seen.fencing.as_ref());
                    let fences = fencing.map(|fencing| fencing.fences.len());
                    (all.len() + fences.sum::<usize>()) * ROW_BYTES
                }
                Self::Lapsed { keys, .. } => keys.iter().map(Bytes::len).sum(),
                _ => 0,
            }
    }
}

impl Effect {
    /// Roughly the bytes that leave with this effect. It bounds how much one batch of inputs may
    /// produce.
    pub fn weight(&self) -> usize {
        match self {
            Self::Send { message, .. } => message.weight(),
            Self::Reply {
                result: Ok(Answer { reply, .. }),
                ..
            } => ROW_BYTES + reply.weight(),
            _ => ROW_BYTES,
        }
    }
}
