//! Checks what a request brings, and what would result from it, before anything is built.

use bytes::Bytes;

use crate::op::{KEY_BYTES_MAX, Limits, Mutation, OUTCOME_BYTES_MAX, Op, Query, RequestError};
use crate::planted;
use crate::value::is_reserved;

/// What a row costs beside its key and its content: events, numbers, its place in the store.
const ROW_BYTES: usize = 64;

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
