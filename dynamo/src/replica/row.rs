//! Rows, of which a partition is made: one per string, set element, hash field or expiry, each with
//! its live dotted entries.

use bytes::Bytes;
use quorate_crdt::{Dot, DotFun, Hlc, Observed};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::planted;

/// Names a row. Rows of one key are adjacent, ordered by kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RowKey<K = Bytes> {
    /// The client's key.
    pub key: K,
    /// What the row is part of.
    pub kind: RowKind,
    /// The element or field; empty for strings and expiries.
    pub field: Bytes,
}

/// What a row is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RowKind {
    /// The key's register or counter.
    String,
    /// A field of the key's hash.
    Hash,
    /// An element of the key's set.
    Set,
    /// When a key of any kind expires, as set by `EXPIRE` and `PERSIST`. Not a value: a key with
    /// only this row does not exist.
    Expiry,
    /// Requests that have been executed, under the names their clients gave them. Not a value: a
    /// key with only this row does not exist.
    Request,
}

impl RowKind {
    /// How many kinds there are.
    pub const COUNT: usize = 5;
}

/// The live entries of a row: more than one only while concurrent writes have not been overwritten,
/// or for a counter, where each replica has one.
pub type Row = DotFun<Payload>;

/// What one event put into a row. It never decides a join: reading folds the live entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// A value; a read takes the greatest `(hlc, dot)`.
    Register {
        /// Stamped above everything the write overwrote.
        hlc: Hlc,
        /// The value.
        value: Bytes,
        /// When the key expires, as far as the write of this value knew; `None` means never.
        /// Meaningless in a hash field.
        expires: Option<u64>,
    },
    /// What one replica has added since the last reset it has seen; a read sums these.
    ///
    /// Wider than what a client may add or see: a single share can leave the 64-bit range while the
    /// sum stays in it.
    Count(i128),
    /// The element is in the set.
    Member,
    /// When the key expires. Together with the registers of the key's string this forms one
    /// register: a read takes the greatest `(hlc, dot)`.
    Expiry {
        /// Stamped above everything the write overwrote.
        hlc: Hlc,
        /// Unix time in milliseconds; `None` means never.
        at: Option<u64>,
    },
    /// What one named request has added. A read counts each name once, however many replicas have
    /// executed the request.
    Counted {
        /// The mark of the request.
        mark: u128,
        /// What it added.
        by: i64,
    },
    /// A named request that has been executed.
    Executed {
        /// The mark of the request.
        mark: u128,
        /// When, in Unix milliseconds: the wall clock of the executing node, but always later than
        /// the requests already remembered in this row. It only decides what is forgotten first.
        at: u64,
        /// The number that was answered, if the answer was a number.
        answer: Option<i64>,
    },
}

impl Payload {
    /// The stamp, if this kind of payload carries one.
    pub fn stamp(&self) -> Option<Hlc> {
        match self {
            Self::Register { hlc, .. } | Self::Expiry { hlc, .. } => Some(*hlc),
            Self::Count(_) | Self::Member | Self::Counted { .. } | Self::Executed { .. } => None,
        }
    }

    /// The same payload with the lowest stamp: it loses to everything concurrent.
    #[must_use]
    pub fn unstamped(&self) -> Self {
        let mut payload = self.clone();
        if let Self::Register { hlc, .. } | Self::Expiry { hlc, .. } = &mut payload {
            *hlc = Hlc::default();
        }
        payload
    }

    /// What this says about the key's expiry, if anything: the stamp, and the time (`None` means
    /// never).
    pub fn expiry(&self) -> Option<(Hlc, Option<u64>)> {
        match self {
            Self::Register { hlc, expires, .. } => Some((*hlc, *expires)),
            Self::Expiry { hlc, at } => Some((*hlc, *at)),
            Self::Count(_) | Self::Member | Self::Counted { .. } | Self::Executed { .. } => None,
        }
    }
}

impl<K> RowKey<K> {
    /// Maps the key; `None` if `name` has none for it.
    pub(super) fn rename<L>(self, name: &mut impl FnMut(K) -> Option<L>) -> Option<RowKey<L>> {
        Some(RowKey {
            key: name(self.key)?,
            kind: self.kind,
            field: self.field,
        })
    }
}

impl RowKey {
    /// The row of the key's register or counter.
    pub fn string(key: Bytes) -> Self {
        Self {
            key,
            kind: RowKind::String,
            field: Bytes::new(),
        }
    }

    /// The row of a field of the key's hash.
    pub fn field(key: Bytes, field: Bytes) -> Self {
        Self {
            key,
            kind: RowKind::Hash,
            field,
        }
    }

    /// The row of an element of the key's set.
    pub fn member(key: Bytes, element: Bytes) -> Self {
        Self {
            key,
            kind: RowKind::Set,
            field: element,
        }
    }

    /// The row of the key's expiry.
    pub fn expiry(key: Bytes) -> Self {
        Self {
            key,
            kind: RowKind::Expiry,
            field: Bytes::new(),
        }
    }
}

/// Joins the live entries of one row: keeps what both have, keeps mine that they have not seen,
/// takes theirs that I have not seen. Returns whether the row changed.
pub(super) fn join_entries(
    row: &mut Row,
    theirs: &Row,
    mine: &impl Observed,
    remote: &impl Observed,
) -> bool {
    let changed = row.join(theirs, mine, remote);
    if planted::PAYLOAD_DECIDES.is_planted() {
        keep_greatest(row);
    }
    changed
}

/// The bug [`PAYLOAD_DECIDES`](planted::PAYLOAD_DECIDES).
fn keep_greatest(row: &mut Row) {
    let winner = row
        .iter()
        .map(|(dot, payload)| (format!("{payload:?}"), dot))
        .max();
    row.retain(|dot, _| winner.as_ref().is_some_and(|(_, best)| *best == dot));
}

/// Sum of the hashes of the row's entries, modulo 2^128. It does not depend on their order, so
/// digests of rows add up to digests of keys and partitions.
pub(super) fn row_digest(scratch: &mut Vec<u8>, key: &RowKey, row: &Row) -> u128 {
    scratch.clear();
    for part in [&key.key, &key.field] {
        scratch.extend_from_slice(&(part.len() as u64).to_le_bytes());
        scratch.extend_from_slice(part);
    }
    scratch.push(key.kind as u8);
    let name = scratch.len();
    row.iter().fold(0, |sum, (dot, payload)| {
        scratch.truncate(name);
        push_entry(scratch, dot, payload);
        sum.wrapping_add(xxh3_128(scratch))
    })
}

fn push_entry(scratch: &mut Vec<u8>, dot: Dot, payload: &Payload) {
    scratch.extend_from_slice(&dot.replica.node.0.to_le_bytes());
    scratch.extend_from_slice(&dot.replica.incarnation.to_le_bytes());
    scratch.extend_from_slice(&dot.counter.to_le_bytes());
    match payload {
        Payload::Register {
            hlc,
            value,
            expires,
        } => {
            scratch.push(0);
            scratch.extend_from_slice(&hlc.as_u64().to_le_bytes());
            push_time(scratch, *expires);
            scratch.extend_from_slice(value);
        }
        Payload::Count(count) => {
            scratch.push(1);
            scratch.extend_from_slice(&count.to_le_bytes());
        }
        Payload::Member => scratch.push(2),
        Payload::Expiry { hlc, at } => {
            scratch.push(3);
            scratch.extend_from_slice(&hlc.as_u64().to_le_bytes());
            push_time(scratch, *at);
        }
        Payload::Counted { mark, by } => {
            scratch.push(4);
            scratch.extend_from_slice(&mark.to_le_bytes());
            scratch.extend_from_slice(&by.to_le_bytes());
        }
        Payload::Executed { mark, at, answer } => {
            scratch.push(5);
            scratch.extend_from_slice(&mark.to_le_bytes());
            scratch.extend_from_slice(&at.to_le_bytes());
            push_time(scratch, answer.map(i64::cast_unsigned));
        }
    }
}

fn push_time(scratch: &mut Vec<u8>, at: Option<u64>) {
    scratch.push(u8::from(at.is_some()));
    scratch.extend_from_slice(&at.unwrap_or_default().to_le_bytes());
}

/// Orders the rows of a key: by kind, then by hash of the field, then by field. The hash decides
/// nearly every comparison without reading the field, which lies elsewhere in memory; in a set of a
/// million elements that is most of the cost of a look-up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowName {
    /// The kind in the upper three bits, a hash of the field in the others.
    pub(super) tag: u64,
    pub(super) field: Bytes,
}

const KINDS: [RowKind; RowKind::COUNT] = [
    RowKind::String,
    RowKind::Hash,
    RowKind::Set,
    RowKind::Expiry,
    RowKind::Request,
];

impl RowName {
    pub(super) fn new(kind: RowKind, field: &Bytes) -> Self {
        let hash = if field.is_empty() {
            0
        } else {
            xxh3_64(field) >> 3
        };
        Self {
            tag: (kind as u64) << 61 | hash,
            field: field.clone(),
        }
    }

    pub(super) const fn without_field(kind: RowKind) -> Self {
        Self {
            tag: (kind as u64) << 61,
            field: Bytes::new(),
        }
    }

    pub(super) fn kind(&self) -> RowKind {
        KINDS[(self.tag >> 61) as usize]
    }
}
