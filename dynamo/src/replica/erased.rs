//! What an erased replica has left on disk.
//!
//! The erasure itself is one small batch: it closes the replica's id and deletes the record that
//! says there is a replica. Everything else (rows, recent events, residuals, marks) is deleted a
//! few records at a time.
//!
//! **Law:** where there is no record of a replica, everything else on disk belongs to an erased
//! one. It is never read as data, and no replica is created there until all of it is gone, because
//! a new replica would write under the same keys. A node that finds such records when it starts
//! continues to delete them.

use bytes::Bytes;
use quorate_control::store::{Batch, Space};
use quorate_control::topology::{KeyspaceId, Partition};

use super::journal::{self, PREFIX};
use super::recent::Recent;
use super::rows::Taken;

/// What is left of one replica.
#[derive(Clone, Debug)]
pub struct Erased {
    prefix: [u8; PREFIX],
    /// Its rows, including those that it had removed and that were still on disk.
    rows: Vec<Taken>,
    recent: Recent,
    /// Keys of the store: of residuals and marks, and of everything that was found at a start.
    keys: Vec<(Space, Bytes)>,
}

impl Erased {
    pub(super) fn new(
        prefix: [u8; PREFIX],
        rows: Vec<Taken>,
        recent: Recent,
        keys: Vec<(Space, Bytes)>,
    ) -> Self {
        Self {
            prefix,
            rows,
            recent,
            keys,
        }
    }

    /// For a replica that was erased before this start.
    pub(super) fn at(keyspace: KeyspaceId, partition: Partition) -> Self {
        Self {
            prefix: journal::prefix(keyspace, partition),
            rows: Vec::new(),
            recent: Recent::default(),
            keys: Vec::new(),
        }
    }

    /// Adds a record that was found; `key` lacks the prefix of the partition.
    pub(super) fn find(&mut self, space: Space, key: &[u8]) {
        self.keys
            .push((space, [&self.prefix[..], key].concat().into()));
    }

    /// How many records are still on disk.
    pub fn len(&self) -> usize {
        self.rows.iter().map(Taken::len).sum::<usize>() + self.recent.len() + self.keys.len()
    }

    /// Whether nothing is left on disk.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Frees the memory that up to `max` of the rows hold beside their names. Returns how many were
    /// freed.
    pub fn free(&mut self, max: usize) -> usize {
        self.rows
            .iter_mut()
            .fold(0, |freed, rows| freed + rows.free(max - freed))
    }

    /// Deletes up to `max` records. Returns how many.
    pub fn clear(&mut self, max: usize, batch: &mut Batch) -> usize {
        let mut cleared = 0;
        while cleared < max
            && let Some((space, key)) = self.next()
        {
            batch.delete(space, key);
            cleared += 1;
        }
        cleared
    }

    fn next(&mut self) -> Option<(Space, Bytes)> {
        while let Some(rows) = self.rows.last_mut() {
            if let Some(name) = rows.next() {
                return Some((Space::Rows, journal::row_key(self.prefix, &name).0));
            }
            self.rows.pop();
        }
        let event = self
            .recent
            .pop()
            .map(|dot| (Space::Recent, journal::dot_key(self.prefix, dot)));
        event.or_else(|| self.keys.pop())
    }
}
