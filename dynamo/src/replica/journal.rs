//! What a replica's changes are on disk, and reading them back.
//!
//! Key layouts, all behind a prefix of keyspace (u32) and partition (u16), big-endian: `Rows`: key
//! length (u32), key, kind (u8), field → row; a longer name than any store takes: `0xff`, SHA-256
//! of it → name, row. `Recent`: node (u64), incarnation (u32), counter (u64) → arrival, range.
//! `Causal`: `m` → id, context, filling, placed; `r` and the range → residual context, or `R` and
//! SHA-256 of a long range → range, residual context; `d` and number (u64) of a mark → range, dead
//! events (see `remains`); see also `known`. Values are postcard.
//!
//! **Invariant:** whatever a client may name, no key of the store is longer than [`NAME_MAX`] and
//! the prefix: every engine takes it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use quorate_control::store::{Batch, Space, Store, StoreError};
use quorate_control::topology::{Epoch, KeyspaceId, Partition};
use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Replica;
use super::erased::Erased;
use super::known::{CLOSED, Known, PLACED};
use super::life::Life;
use super::range::Range;
use super::row::{Row, RowKey, RowKind};
use crate::planted;

pub(super) const PREFIX: usize = 6;
const META: u8 = b'm';
const RESIDUAL: u8 = b'r';
const LONG_RESIDUAL: u8 = b'R';
const MARK: u8 = b'd';
/// The first byte of a hashed row name; that of any other is 0, the top of a length.
const LONG_ROW: u8 = 0xff;
/// The longest name that is a key of the store itself. fjall takes keys of 65,535 bytes; the rest
/// is reserve.
const NAME_MAX: usize = 60_000;

/// Changes of a replica since they were last drained. Records nothing until the replica is given a
/// place on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    prefix: Option<[u8; PREFIX]>,
    batch: Batch,
    /// Whether id, context or filling have changed.
    touched: bool,
    scratch: Vec<u8>,
}

/// With a context that is borrowed when it is written and owned when it is read.
#[derive(Serialize, Deserialize)]
struct Meta<C> {
    id: ReplicaId,
    context: C,
    filling: bool,
    placed: Epoch,
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

    /// As [`encode`], in one allocation.
    fn encode(&mut self, value: &impl Serialize) -> Bytes {
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

    /// What the keys of all its records begin with; `None`: nothing is recorded.
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

    pub(super) fn release(&mut self, range: &Range) {
        let Some(prefix) = self.prefix else { return };
        self.batch
            .delete(Space::Causal, residual_key(prefix, &encode(range)));
    }
}

impl Replica {
    /// From now on the replica's changes are recorded for the disk, starting with its id.
    pub fn persist_as(&mut self, keyspace: KeyspaceId, partition: Partition) {
        self.journal.prefix = Some(prefix(keyspace, partition));
        self.journal.touch();
    }

    /// Moves all changes since the last call into `batch`: rows, `recent` and context together, so
    /// that a crash never separates them.
    pub fn drain_into(&mut self, batch: &mut Batch) {
        let Some(prefix) = self.journal.prefix else {
            return;
        };
        batch.changes.append(&mut self.journal.batch.changes);
        if std::mem::take(&mut self.journal.touched) {
            let meta = Meta {
                id: self.id,
                context: &self.context,
                filling: self.filling,
                placed: self.placed,
            };
            batch.put(Space::Causal, meta_key(prefix), self.journal.encode(&meta));
        }
    }
}

/// Replicas by the place they stand at.
pub type Held = BTreeMap<(KeyspaceId, Partition), Replica>;

/// Reads back every replica of the partitions that `owned` names, and what else is remembered of
/// them; what erased replicas have left is only named.
///
/// # Errors
/// [`StoreError`] of the engine, or `Damaged` when a record has not the shape it was written in.
pub fn restore(
    store: &dyn Store,
    owned: impl Fn(KeyspaceId, Partition) -> bool,
) -> Result<(Held, Known), StoreError> {
    let (mut replicas, mut known) = (BTreeMap::new(), Known::default());
    read(store, Space::Causal, &mut |place, key, value| {
        if key == [PLACED] {
            known.placed = known.placed.max(Some(decode(value, "epoch")?));
        } else if owned(place.0, place.1) && key == [CLOSED] {
            known.closed.insert(place, decode(value, "closed replica")?);
        } else if owned(place.0, place.1) && key == [META] {
            let meta: Meta<CausalContext> = decode(value, "replica")?;
            let mut replica = Replica::new(meta.id);
            replica.journal.prefix = Some(prefix(place.0, place.1));
            replica.context = meta.context;
            replica.filling = meta.filling;
            replica.placed = meta.placed;
            replica.life = Life::Continued;
            replicas.insert(place, replica);
        }
        Ok(())
    })?;
    let mut left = BTreeMap::new();
    let mut erased = |place: (KeyspaceId, Partition), space, key: &[u8]| {
        if owned(place.0, place.1) {
            left.entry(place)
                .or_insert_with(|| Erased::at(place.0, place.1))
                .find(space, key);
        }
    };
    read(store, Space::Causal, &mut |place, key, value| match (
        replicas.get_mut(&place),
        key.split_first(),
    ) {
        (Some(replica), Some((&RESIDUAL, range))) => {
            replica
                .residuals
                .restore(decode(range, "residual")?, decode(value, "residual")?);
            Ok(())
        }
        (Some(replica), Some((&LONG_RESIDUAL, _))) => {
            let (range, context): (Range, CausalContext) = decode(value, "residual")?;
            replica.residuals.restore(range, context);
            Ok(())
        }
        (Some(replica), Some((&MARK, number))) if !planted::MARK_FORGOTTEN.is_planted() => {
            let number = number.try_into().map_err(|_length| StoreError::Damaged {
                what: "mark of removed rows",
            })?;
            let (range, dead) = decode(value, "mark of removed rows")?;
            replica
                .remains
                .restore(u64::from_be_bytes(number), range, dead);
            Ok(())
        }
        (None, Some((&(RESIDUAL | LONG_RESIDUAL | MARK), _))) => {
            erased(place, Space::Causal, key);
            Ok(())
        }
        _ => Ok(()),
    })?;
    read(store, Space::Rows, &mut |place, key, value| {
        if let Some(replica) = replicas.get_mut(&place) {
            restore_row(replica, place, key, value)?;
        } else {
            erased(place, Space::Rows, key);
        }
        Ok(())
    })?;
    read(store, Space::Recent, &mut |place, key, value| {
        if let Some(replica) = replicas.get_mut(&place) {
            let (arrival, range) = decode(value, "recent event")?;
            replica.recent.insert(dot_of(key)?, arrival, range);
        } else {
            erased(place, Space::Recent, key);
        }
        Ok(())
    })?;
    known.erased = left;
    Ok((replicas, known))
}

/// Reads back a row, less what is dead of it.
fn restore_row(
    replica: &mut Replica,
    place: (KeyspaceId, Partition),
    key: &[u8],
    value: &[u8],
) -> Result<(), StoreError> {
    let (name, mut row): (Bytes, Row) = match key.first() {
        Some(&LONG_ROW) => decode(value, "row")?,
        _ => (Bytes::copy_from_slice(key), decode(value, "row")?),
    };
    let name = row_name(&name)?;
    let mut moved = replica.remains.bury(&name, &mut row) && !row.is_empty();
    if key.first() != Some(&LONG_ROW) && is_long(key) {
        // Written before long names were hashed, by an engine that takes them: it moves.
        replica
            .journal
            .batch
            .delete(Space::Rows, [&prefix(place.0, place.1)[..], key].concat());
        moved = true;
    }
    if moved {
        replica.journal.row(&name, &row);
    }
    if !row.is_empty() {
        replica.rows.update(&name, |held| *held = row);
    }
    Ok(())
}

type Record<'a> = dyn FnMut((KeyspaceId, Partition), &[u8], &[u8]) -> Result<(), StoreError> + 'a;

fn read(store: &dyn Store, space: Space, record: &mut Record<'_>) -> Result<(), StoreError> {
    let mut outcome = Ok(());
    store.scan(space, &[], None, &mut |key, value| {
        outcome = match key.split_first_chunk::<PREFIX>() {
            Some((place, key)) => record(place_at(*place), key, value),
            None => Err(StoreError::Damaged {
                what: "partition key",
            }),
        };
        if outcome.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    outcome
}

pub(super) fn prefix(keyspace: KeyspaceId, partition: Partition) -> [u8; PREFIX] {
    let mut bytes = [0; PREFIX];
    bytes[..4].copy_from_slice(&keyspace.0.to_be_bytes());
    bytes[4..].copy_from_slice(&partition.0.to_be_bytes());
    bytes
}

/// The place of the replica that a key of the store belongs to; `None` for no key of the data
/// plane.
pub fn place_of(key: &[u8]) -> Option<(KeyspaceId, Partition)> {
    key.first_chunk().map(|prefix| place_at(*prefix))
}

fn place_at(bytes: [u8; PREFIX]) -> (KeyspaceId, Partition) {
    let keyspace = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    (
        KeyspaceId(keyspace),
        Partition(u16::from_be_bytes([bytes[4], bytes[5]])),
    )
}

fn is_long(name: &[u8]) -> bool {
    name.len() > NAME_MAX && !planted::LONG_STORE_KEYS.is_planted()
}

/// In place of a name that is too long.
fn hashed_key(prefix: [u8; PREFIX], marker: u8, name: &[u8]) -> Bytes {
    [&prefix[..], &[marker], &Sha256::digest(name)[..]]
        .concat()
        .into()
}

/// The row's key in the store; and its name, if that is not the key itself.
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

fn row_name(bytes: &[u8]) -> Result<RowKey, StoreError> {
    let damaged = StoreError::Damaged { what: "row key" };
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Err(damaged);
    };
    let length = u32::from_be_bytes(*length) as usize;
    let Some((key, rest)) = rest.split_at_checked(length) else {
        return Err(damaged);
    };
    let Some((&kind, field)) = rest.split_first() else {
        return Err(damaged);
    };
    let kind = match kind {
        0 => RowKind::String,
        1 => RowKind::Hash,
        2 => RowKind::Set,
        3 => RowKind::Expiry,
        4 => RowKind::Request,
        _ => return Err(damaged),
    };
    Ok(RowKey {
        key: Bytes::copy_from_slice(key),
        kind,
        field: Bytes::copy_from_slice(field),
    })
}

pub(super) fn dot_key(prefix: [u8; PREFIX], dot: Dot) -> Bytes {
    let mut bytes = Vec::with_capacity(PREFIX + 20);
    bytes.extend_from_slice(&prefix);
    bytes.extend_from_slice(&dot.replica.node.0.to_be_bytes());
    bytes.extend_from_slice(&dot.replica.incarnation.to_be_bytes());
    bytes.extend_from_slice(&dot.counter.to_be_bytes());
    bytes.into()
}

fn dot_of(bytes: &[u8]) -> Result<Dot, StoreError> {
    let damaged = StoreError::Damaged { what: "event key" };
    let Some((node, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(damaged);
    };
    let Some((incarnation, rest)) = rest.split_first_chunk::<4>() else {
        return Err(damaged);
    };
    let Ok(counter) = <[u8; 8]>::try_from(rest) else {
        return Err(damaged);
    };
    let replica = ReplicaId::new(
        NodeId(u64::from_be_bytes(*node)),
        u32::from_be_bytes(*incarnation),
    );
    Ok(Dot::new(replica, u64::from_be_bytes(counter)))
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

/// Where postcard writes to.
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

fn decode<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|_shape| StoreError::Damaged { what })
}
