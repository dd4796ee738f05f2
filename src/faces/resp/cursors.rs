//! Maps the decimal numbers that clients know as cursors to positions of scans.
//!
//! A cursor is `partition << 37 | entry`, which is below 2^53, so that clients that keep numbers as
//! doubles do not spoil it. Entry 0 is the beginning of the partition. Any other entry names a key
//! in a bounded table; the oldest are dropped first. A cursor whose entry was dropped, or that
//! comes from another node, means the beginning of its partition: the scan then shows some keys
//! twice but misses none.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use quorate_control::topology::{KeyspaceId, Partition};

const ENTRY_BITS: u32 = 37;
const ENTRY_MASK: u64 = (1 << ENTRY_BITS) - 1;
/// The most positions kept.
const POSITIONS_MAX: usize = 65_536;
/// The most bytes of keys kept.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The positions that cursors name.
#[derive(Debug)]
pub(crate) struct Cursors(Mutex<Table>);

#[derive(Debug)]
struct Table {
    next: u64,
    order: VecDeque<u64>,
    positions: BTreeMap<u64, (KeyspaceId, Partition, Bytes)>,
    bytes: usize,
}

impl Default for Cursors {
    /// Numbers start at random, so that a cursor of another node or of an earlier life matches no
    /// entry of this one.
    fn default() -> Self {
        let next = RandomState::new().hash_one(0u8) & ENTRY_MASK;
        Self(Mutex::new(Table {
            next,
            order: VecDeque::new(),
            positions: BTreeMap::new(),
            bytes: 0,
        }))
    }
}

impl Cursors {
    /// The cursor that continues in `partition` after the key `after`.
    pub(crate) fn save(
        &self,
        keyspace: KeyspaceId,
        partition: Partition,
        after: Option<Bytes>,
    ) -> u64 {
        let head = u64::from(partition.0) << ENTRY_BITS;
        let Some(after) = after else { return head };
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = table.next.max(1);
        table.next = (entry + 1) & ENTRY_MASK;
        table.bytes += after.len();
        table.positions.insert(entry, (keyspace, partition, after));
        table.order.push_back(entry);
        while table.order.len() > POSITIONS_MAX || table.bytes > BYTES_MAX {
            let Some(oldest) = table.order.pop_front() else {
                break;
            };
            let gone = table
                .positions
                .remove(&oldest)
                .map_or(0, |(_, _, key)| key.len());
            table.bytes -= gone;
        }
        head | entry
    }

    /// Where `cursor` continues. `None` if it is not a cursor at all.
    pub(crate) fn find(
        &self,
        keyspace: KeyspaceId,
        cursor: u64,
    ) -> Option<(Partition, Option<Bytes>)> {
        let partition = Partition(u16::try_from(cursor >> ENTRY_BITS).ok()?);
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = table.positions.get(&(cursor & ENTRY_MASK));
        let after = known
            .filter(|(k, p, _)| (*k, *p) == (keyspace, partition))
            .map(|(_, _, after)| after.clone());
        Some((partition, after))
    }
}

#[cfg(test)]
mod tests;
