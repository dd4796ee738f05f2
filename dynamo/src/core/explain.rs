//! What a replica holds of one key, entry by entry, for `quorate explain`.

use bytes::Bytes;
use quorate_crdt::{Dot, ReplicaId};
use serde::{Deserialize, Serialize};

use super::Dynamo;
use crate::replica::{KeyRows, Payload, Range, RowKind};
use crate::seen::At;

/// The most rows that are shown: a collection may have millions.
const ROWS_MAX: usize = 100;
/// The most entries of a row that are shown.
const ENTRIES_MAX: usize = 100;
/// The most bytes of a value that are shown.
const VALUE_BYTES_MAX: usize = 256;

/// A key as one replica holds it, expired or not. It says what is there, not what a read answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// Under which id the replica writes.
    pub replica: ReplicaId,
    /// What it has seen of the whole partition.
    pub seen: Vec<SeenOf>,
    /// Whether it is being filled.
    pub filling: bool,
    /// Whether its word alone does not count.
    pub quarantined: bool,
    /// Hash of the live rows of the key: equal where the same is held.
    pub digest: u128,
    /// When the key expires, in milliseconds since 1970.
    pub expires_at: Option<u64>,
    /// How many live rows the key has.
    pub row_count: u64,
    /// The first hundred of them.
    pub rows: Vec<RowView>,
}

/// The events of one replica that another has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenOf {
    /// Whose events.
    pub replica: ReplicaId,
    /// All up to this one were seen.
    pub prefix: u64,
    /// The last one that was seen. If it is above `prefix`, some between are missing.
    pub max: u64,
}

/// One live row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowView {
    /// What it is part of.
    pub kind: RowKind,
    /// The element or field.
    pub field: Bytes,
    /// Its first hundred live entries.
    pub entries: Vec<EntryView>,
}

/// One live entry: more than one in a row are concurrent, or belong to a counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryView {
    /// The event that made it.
    pub dot: Dot,
    /// What it holds. A value is cut to its first 256 bytes.
    pub payload: Payload,
    /// The whole length of its value; 0 if it is not a value.
    pub value_bytes: u64,
}

impl Dynamo {
    /// What this core's replica holds of the key; `None` if it has no replica there.
    pub fn explain(&self, at: At, key: &Bytes) -> Option<KeyView> {
        let replica = self.replicas.get(&at)?;
        let context = replica.context();
        let seen = context.replicas().map(|of| SeenOf {
            replica: of,
            prefix: context.prefix(of),
            max: context.max(of),
        });
        let rows = replica.key(key);
        let shown = rows.into_iter().flat_map(KeyRows::iter);
        let shown = shown.take(ROWS_MAX).map(|(kind, field, row)| RowView {
            kind,
            field: field.clone(),
            entries: row
                .iter()
                .take(ENTRIES_MAX)
                .map(|(dot, payload)| entry(dot, payload))
                .collect(),
        });
        Some(KeyView {
            replica: replica.id(),
            seen: seen.collect(),
            filling: replica.filling(),
            quarantined: replica.is_quarantined(),
            digest: replica.digest_of(&[Range::Key(key.clone())]),
            expires_at: rows.and_then(KeyRows::expires_at),
            row_count: rows.map_or(0, |rows| rows.len() as u64),
            rows: shown.collect(),
        })
    }
}

fn entry(dot: Dot, payload: &Payload) -> EntryView {
    let mut payload = payload.clone();
    let mut value_bytes = 0;
    if let Some(value) = payload.value_mut() {
        value_bytes = value.len() as u64;
        // A copy, so that the answer does not keep the whole value alive.
        *value = Bytes::copy_from_slice(&value[..value.len().min(VALUE_BYTES_MAX)]);
    }
    EntryView {
        dot,
        payload,
        value_bytes,
    }
}
