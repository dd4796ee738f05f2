//! Records the changes of a replica for the disk, and defines the keys under which everything is
//! stored.
//!
//! Every key begins with the keyspace (u32) and the partition (u16), big-endian. Values are
//! postcard.
//!
//! - `Rows`: key length (u32), key, kind (u8), field → row. If that name is longer than every store
//!   accepts: `0xff`, SHA-256 of the name → name, row.
//! - `Recent`: node (u64), incarnation (u32), counter (u64) → arrival, range.
//! - `Causal`: `m` → id, context, filling, placed. `r`, range → the residual's context; if the
//!   range is long, `R`, SHA-256 of the range → range, context. `d`, number of a mark (u64) →
//!   range, dead events (see `remains`). `f`, lock (16 bytes) → the lowest rank that is admitted
//!   under it. `F` → the lowest token that is admitted at all. For the others see `known`.
//!
//! **Invariant:** whatever names clients choose, no key of the store is longer than the prefix plus
//! [`NAME_MAX`], so every engine accepts it.

use bytes::Bytes;
use quorate_control::store::{Batch, Space};
use quorate_control::topology::{KeyspaceId, Partition};
use quorate_crdt::{CausalContext, Dot};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::range::Range;
use super::row::{Row, RowKey};
use crate::fence::{LockId, Rank};
use crate::planted;

pub(super) const PREFIX: usize = 6;
pub(super) const META: u8 = b'm';
pub(super) const RESIDUAL: u8 = b'r';
pub(super) const LONG_RESIDUAL: u8 = b'R';
pub(super) const MARK: u8 = b'd';
pub(super) const FENCE: u8 = b'f';
pub(super) const FLOOR: u8 = b'F';
/// The first byte of a hashed row name. Other names begin with 0, the highest byte of a length.
pub(super) const LONG_ROW: u8 = 0xff;
/// The longest name that is used as a key directly. fjall accepts keys of 65,535 bytes; the rest is
/// reserve.
pub(super) const NAME_MAX: usize = 60_000;

/// A replica's changes since the last drain. Records nothing until the replica has been given a
/// place on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    pub(super) prefix: Option<[u8; PREFIX]>,
    pub(super) batch: Batch,
    /// Whether the record of the replica itself must be written.
    pub(super) touched: bool,
    scratch: Vec<u8>,
}

impl Journal {
    pub(super) fn touch(&mut self) {
        self.touched = true;
    }

    pub(super) fn row(&mut self, name: &RowKey, row: &Row) {
        let Some(prefix) = self.prefix else { return };
        let (key, long) = row_key(prefix, name);
        if row.is_empty() {
            self.batch.delete(Space::Rows, key);
        } else if let Some(name) = long {
            self.batch.put(Space::Rows, key, encode(&(name, row)));
        } else {
            let row = self.encode(row);
            self.batch.put(Space::Rows, key, row);
        }
    }

    /// Like [`encode`], with a single allocation.
    pub(super) fn encode(&mut self, value: &impl Serialize) -> Bytes {
        self.scratch.clear();
        encode_to(&mut self.scratch, value);
        Bytes::copy_from_slice(&self.scratch)
    }

    pub(super) fn remember(&mut self, dot: Dot, arrival: u64, range: &Range) {
        let Some(prefix) = self.prefix else { return };
        let event = self.encode(&(arrival, range));
        self.batch.put(Space::Recent, dot_key(prefix, dot), event);
    }

    pub(super) fn forget(&mut self, dot: Dot) {
        let Some(prefix) = self.prefix else { return };
        self.batch.delete(Space::Recent, dot_key(prefix, dot));
    }

    pub(super) fn hold(&mut self, range: &Range, context: &CausalContext) {
        let Some(prefix) = self.prefix else { return };
        let name = encode(range);
        let value = if is_long(&name) {
            encode(&(range, context))
        } else {
            encode(context)
        };
        self.batch
            .put(Space::Causal, residual_key(prefix, &name), value);
    }

    /// Whether changes are recorded at all.
    pub(super) fn is_kept(&self) -> bool {
        self.prefix.is_some()
    }

    /// The prefix of all keys of this replica; `None` if nothing is recorded.
    pub(super) fn place(&self) -> Option<[u8; PREFIX]> {
        self.prefix
    }

    pub(super) fn mark(&mut self, number: u64, range: &Range, dead: &CausalContext) {
        let Some(prefix) = self.prefix else { return };
        self.batch.put(
            Space::Causal,
            mark_key(prefix, number),
            encode(&(range, dead)),
        );
    }

    pub(super) fn unmark(&mut self, number: u64) {
        let Some(prefix) = self.prefix else { return };
        self.batch.delete(Space::Causal, mark_key(prefix, number));
    }

    pub(super) fn fence(&mut self, lock: LockId, rank: Rank) {
        let Some(prefix) = self.prefix else { return };
        self.batch
            .put(Space::Causal, fence_key(prefix, lock), encode(&rank));
    }

    pub(super) fn forget_fence(&mut self, lock: LockId) {
        let Some(prefix) = self.prefix else { return };
        self.batch.delete(Space::Causal, fence_key(prefix, lock));
    }

    pub(super) fn floor(&mut self, floor: u64) {
        let Some(prefix) = self.prefix else { return };
        self.batch
            .put(Space::Causal, floor_key(prefix), encode(&floor));
    }

    pub(super) fn release(&mut self, range: &Range) {
        let Some(prefix) = self.prefix else { return };
        self.batch
            .delete(Space::Causal, residual_key(prefix, &encode(range)));
    }
}

pub(super) fn prefix(keyspace: KeyspaceId, partition: Partition) -> [u8; PREFIX] {
    let mut bytes = [0; PREFIX];
    bytes[..4].copy_from_slice(&keyspace.0.to_be_bytes());
    bytes[4..].copy_from_slice(&partition.0.to_be_bytes());
    bytes
}

pub(super) fn is_long(name: &[u8]) -> bool {
    name.len() > NAME_MAX && !planted::LONG_STORE_KEYS.is_planted()
}

/// The key that replaces a name that is too long.
fn hashed_key(prefix: [u8; PREFIX], marker: u8, name: &[u8]) -> Bytes {
    [&prefix[..], &[marker], &Sha256::digest(name)[..]]
        .concat()
        .into()
}

/// The row's key in the store, and its name if the key does not contain it.
pub(super) fn row_key(prefix: [u8; PREFIX], name: &RowKey) -> (Bytes, Option<Bytes>) {
    let mut bytes = Vec::with_capacity(PREFIX + 5 + name.key.len() + name.field.len());
    bytes.extend_from_slice(&prefix);
    bytes.extend_from_slice(&(name.key.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&name.key);
    bytes.push(name.kind as u8);
    bytes.extend_from_slice(&name.field);
    if is_long(&bytes[PREFIX..]) {
        let name = Bytes::from(bytes).slice(PREFIX..);
        return (hashed_key(prefix, LONG_ROW, &name), Some(name));
    }
    (bytes.into(), None)
}

pub(super) fn dot_key(prefix: [u8; PREFIX], dot: Dot) -> Bytes {
    let mut bytes = Vec::with_capacity(PREFIX + 20);
    bytes.extend_from_slice(&prefix);
    bytes.extend_from_slice(&dot.replica.node.0.to_be_bytes());
    bytes.extend_from_slice(&dot.replica.incarnation.to_be_bytes());
    bytes.extend_from_slice(&dot.counter.to_be_bytes());
    bytes.into()
}

pub(super) fn meta_key(prefix: [u8; PREFIX]) -> Bytes {
    let mut bytes = prefix.to_vec();
    bytes.push(META);
    bytes.into()
}

pub(super) fn mark_key(prefix: [u8; PREFIX], number: u64) -> Bytes {
    [&prefix[..], &[MARK], &number.to_be_bytes()]
        .concat()
        .into()
}

pub(super) fn fence_key(prefix: [u8; PREFIX], lock: LockId) -> Bytes {
    [&prefix[..], &[FENCE], &lock.to_bytes()].concat().into()
}

pub(super) fn floor_key(prefix: [u8; PREFIX]) -> Bytes {
    [&prefix[..], &[FLOOR]].concat().into()
}

pub(super) fn residual_key(prefix: [u8; PREFIX], range: &[u8]) -> Bytes {
    if is_long(range) {
        hashed_key(prefix, LONG_RESIDUAL, range)
    } else {
        [&prefix[..], &[RESIDUAL], range].concat().into()
    }
}

pub(super) fn encode(value: &impl Serialize) -> Bytes {
    let mut bytes = Vec::new();
    encode_to(&mut bytes, value);
    bytes.into()
}

fn encode_to(bytes: &mut Vec<u8>, value: &impl Serialize) {
    postcard::serialize_with_flavor(value, Append(bytes))
        .expect("invariant: rows, ranges and contexts always have a postcard form");
}

/// Lets postcard append to a vector.
struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
