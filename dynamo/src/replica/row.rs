//! Rows, of which a partition is made: one per string, set element, hash field or expiry, each with
//! its live dotted entries.

use bytes::Bytes;
use quorate_crdt::{Dot, DotFun, Hlc, Observed};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::fence::{LockId, Rank, Stamp};
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

/// What one event put into a row. It never decides a join: reading folds the live entries, and
/// takes the one with the greatest `(stamp, dot)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// A value.
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
    /// register.
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
    /// What was written under a fencing token, or over something that was. Boxed, because most
    /// entries are none of these.
    Guarded(Box<Guarded>),
}

/// An entry that is ordered by a fencing token before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarded {
    /// The lock.
    pub lock: LockId,
    /// Where it stands.
    pub stamp: Stamp,
    /// What it says.
    pub fact: Fact,
}

/// What a guarded entry says about its row. In the row of a key's string (its *head*) it also says
/// what is true of the whole key: rows of the key that rank lower are hidden behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// The row holds this value. As a head: the key is this string and nothing else.
    Value {
        /// The value.
        value: Bytes,
        /// When the key expires; meaningless in a hash field.
        expires: Option<u64>,
    },
    /// The element is in the set.
    Member,
    /// There is no such row. As a head: there is no such key.
    Gone,
    /// As a head: the key is a collection.
    Collection {
        /// When the key expires.
        expires: Option<u64>,
        /// Rows that rank lower than this are hidden.
        floor: Rank,
    },
}

impl Payload {
    /// The stamp. Payloads without one stand below all others.
    pub fn stamp(&self) -> Option<Stamp> {
        match self {
            Self::Register { hlc, .. } | Self::Expiry { hlc, .. } => Some(Stamp::at(*hlc)),
            Self::Guarded(guarded) => Some(guarded.stamp),
            Self::Count(_) | Self::Member | Self::Counted { .. } | Self::Executed { .. } => None,
        }
    }

    /// The rank of the request that wrote it.
    pub fn rank(&self) -> Rank {
        self.guarded().map_or(Rank::NONE, |held| held.stamp.rank)
    }

    /// The entry, if it is guarded.
    pub fn guarded(&self) -> Option<&Guarded> {
        if let Self::Guarded(guarded) = self {
            Some(guarded)
        } else {
            None
        }
    }

    /// Whether it is part of a sum, which tokens do not order.
    pub fn counts(&self) -> bool {
        matches!(self, Self::Count(_) | Self::Counted { .. })
    }

    /// The value, if it is one.
    pub fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Register { value, .. } => Some(value),
            Self::Guarded(guarded) => match &guarded.fact {
                Fact::Value { value, .. } => Some(value),
                _ => None,
            },
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn value_mut(&mut self) -> Option<&mut Bytes> {
        match self {
            Self::Register { value, .. } => Some(value),
            Self::Guarded(guarded) => match &mut guarded.fact {
                Fact::Value { value, .. } => Some(value),
                _ => None,
            },
            _ => None,
        }
    }

    /// The same payload with the lowest time: it loses to everything concurrent of its rank.
    #[must_use]
    pub fn unstamped(&self) -> Self {
        let mut payload = self.clone();
        match &mut payload {
            Self::Register { hlc, .. } | Self::Expiry { hlc, .. } => *hlc = Hlc::default(),
            Self::Guarded(guarded) => guarded.stamp.hlc = Hlc::default(),
            Self::Count(_) | Self::Member | Self::Counted { .. } | Self::Executed { .. } => {}
        }
        payload
    }

    /// What this says about the key's expiry, if anything: the stamp, and the time (`None` means
    /// never).
    pub fn expiry(&self) -> Option<(Stamp, Option<u64>)> {
        match self {
            Self::Register { hlc, expires, .. } => Some((Stamp::at(*hlc), *expires)),
            Self::Expiry { hlc, at } => Some((Stamp::at(*hlc), *at)),
            Self::Guarded(guarded) => {
                let at = match &guarded.fact {
                    Fact::Value { expires, .. } | Fact::Collection { expires, .. } => *expires,
                    Fact::Gone => None,
                    Fact::Member => return None,
                };
                Some((guarded.stamp, at))
            }
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
        Payload::Guarded(guarded) => push_guarded(scratch, guarded),
    }
}

fn push_guarded(scratch: &mut Vec<u8>, guarded: &Guarded) {
    let Guarded { lock, stamp, fact } = guarded;
    scratch.push(6);
    scratch.extend_from_slice(&lock.to_bytes());
    push_rank(scratch, stamp.rank);
    scratch.extend_from_slice(&stamp.hlc.as_u64().to_le_bytes());
    match fact {
        Fact::Value { value, expires } => {
            scratch.push(0);
            push_time(scratch, *expires);
            scratch.extend_from_slice(value);
        }
        Fact::Member => scratch.push(1),
        Fact::Gone => scratch.push(2),
        Fact::Collection { expires, floor } => {
            scratch.push(3);
            push_time(scratch, *expires);
            push_rank(scratch, *floor);
        }
    }
}

fn push_rank(scratch: &mut Vec<u8>, rank: Rank) {
    scratch.extend_from_slice(&rank.token.to_le_bytes());
    scratch.extend_from_slice(&rank.sequence.to_le_bytes());
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
