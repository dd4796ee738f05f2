//! Writes replicas to disk, reads them back when a node starts, and erases them. See [`journal`]
//! for the keys.

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

use super::erased::Erased;
use super::journal::{
    self, FENCE, FLOOR, LONG_RESIDUAL, LONG_ROW, MARK, META, PREFIX, RESIDUAL, is_long, meta_key,
    prefix,
};
use super::known::{CLOSED, Known, PLACED};
use super::range::Range;
use super::row::{Row, RowKey, RowKind};
use super::{Life, Replica};
use crate::fence::LockId;
use crate::planted;
use crate::seen::At;

/// The record of a replica. The context is borrowed for writing and owned after reading.
#[derive(Serialize, Deserialize)]
struct Meta<C> {
    id: ReplicaId,
    context: C,
    filling: bool,
    placed: Epoch,
}

impl Replica {
    /// From now on the replica's changes are recorded for the disk, starting with its id.
    pub fn persist_as(&mut self, keyspace: KeyspaceId, partition: Partition) {
        self.journal.prefix = Some(prefix(keyspace, partition));
        self.journal.touch();
    }

    /// Moves all changes since the last call into `batch`. Rows, `recent` and context go together,
    /// so that no crash can separate them.
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

    /// Records that there is no replica here any more. This comes after the changes of this turn,
    /// because rows that they delete are still on disk. Returns what is left on disk; `None` if
    /// nothing is.
    pub fn erase(mut self, batch: &mut Batch) -> Option<Erased> {
        let prefix = self.journal.place()?;
        self.drain_into(batch);
        batch.delete(Space::Causal, meta_key(prefix));
        let mut keys: Vec<(Space, Bytes)> = self
            .residuals
            .iter()
            .map(|(range, _)| {
                (
                    Space::Causal,
                    journal::residual_key(prefix, &journal::encode(range)),
                )
            })
            .collect();
        let (marks, mut rows) = self.remains.take();
        keys.extend(
            marks
                .into_iter()
                .map(|number| (Space::Causal, journal::mark_key(prefix, number))),
        );
        keys.extend(
            self.fences
                .iter()
                .map(|(lock, _)| (Space::Causal, journal::fence_key(prefix, lock))),
        );
        if self.fences.floor() > 0 {
            keys.push((Space::Causal, journal::floor_key(prefix)));
        }
        rows.push(self.rows.take(&Range::ALL, None));
        let erased = Erased::new(prefix, rows, self.recent, keys);
        (!erased.is_empty()).then_some(erased)
    }
}

/// Replicas by their partition.
pub type Held = BTreeMap<At, Replica>;

/// Reads every replica of the partitions that `owned` names, and what else is remembered about
/// them. Of what erased replicas have left, only the keys are read.
///
/// # Errors
/// [`StoreError`] of the engine, or `Damaged` if a record cannot be decoded.
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
    let mut erased = |place: At, space, key: &[u8]| {
        if owned(place.0, place.1) {
            left.entry(place)
                .or_insert_with(|| Erased::at(place.0, place.1))
                .find(space, key);
        }
    };
    read(store, Space::Causal, &mut |place, key, value| {
        match (replicas.get_mut(&place), key.first()) {
            (Some(replica), _) => restore_causal(replica, key, value)?,
            (None, Some(&(RESIDUAL | LONG_RESIDUAL | MARK | FENCE | FLOOR))) => {
                erased(place, Space::Causal, key);
            }
            _ => {}
        }
        Ok(())
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

/// Reads a residual, a mark or a fence.
fn restore_causal(replica: &mut Replica, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    match key.split_first() {
        Some((&RESIDUAL, range)) => {
            let (range, context) = (decode(range, "residual")?, decode(value, "residual")?);
            replica.residuals.restore(range, context);
        }
        Some((&LONG_RESIDUAL, _)) => {
            let (range, context): (Range, CausalContext) = decode(value, "residual")?;
            replica.residuals.restore(range, context);
        }
        Some((&MARK, number)) if !planted::MARK_FORGOTTEN.is_planted() => {
            let what = "mark of removed rows";
            let number = number
                .try_into()
                .map_err(|_length| StoreError::Damaged { what })?;
            let (range, dead) = decode(value, what)?;
            replica
                .remains
                .restore(u64::from_be_bytes(number), range, dead);
        }
        Some((&FENCE, lock)) => {
            let what = "fence";
            let lock = lock
                .try_into()
                .map_err(|_length| StoreError::Damaged { what })?;
            let rank = decode(value, what)?;
            replica.fences.restore(LockId::from_bytes(lock), rank);
        }
        Some((&FLOOR, [])) => replica
            .fences
            .restore_floor(decode(value, "floor of fences")?),
        _ => {}
    }
    Ok(())
}

/// Reads a row, without the entries that marks call dead.
fn restore_row(
    replica: &mut Replica,
    place: At,
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
        // Written before long names were hashed, on an engine that accepts them. It moves to its
        // hashed name.
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

type Record<'a> = dyn FnMut(At, &[u8], &[u8]) -> Result<(), StoreError> + 'a;

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

/// The partition that a key of the store belongs to; `None` if it is not a key of the data plane.
pub fn place_of(key: &[u8]) -> Option<At> {
    key.first_chunk().map(|prefix| place_at(*prefix))
}

fn place_at(bytes: [u8; PREFIX]) -> At {
    let keyspace = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    (
        KeyspaceId(keyspace),
        Partition(u16::from_be_bytes([bytes[4], bytes[5]])),
    )
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

fn decode<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|_shape| StoreError::Damaged { what })
}
