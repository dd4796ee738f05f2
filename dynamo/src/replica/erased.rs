//! What an erased replica has left on disk.
//!
//! The erasure itself is a small batch: the id is closed, and the record goes by which a start
//! knows that there is a replica. All else that it had, its rows, recent events, residuals and
//! marks, leaves the disk a few at a time.
//!
//! **Law:** where there is no record of a replica, whatever else lies at its place is left of an
//! erased one. Nothing reads it as data, and no replica is made there until all of it is gone: what
//! the new one wrote would have the same names. A start that finds some goes on removing it.

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
    /// Its rows, those among them that it had removed and that still lay there.
    rows: Vec<Taken>,
    recent: Recent,
    /// Keys of the store: of residuals and marks, and of all that a start has found.
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

    /// Of a replica that was erased before this start.
    pub(super) fn at(keyspace: KeyspaceId, partition: Partition) -> Self {
        Self {
            prefix: journal::prefix(keyspace, partition),
            rows: Vec::new(),
            recent: Recent::default(),
            keys: Vec::new(),
        }
    }

    /// Adds what was found in a space, under a key without the prefix of the place.
    pub(super) fn find(&mut self, space: Space, key: &[u8]) {
        self.keys
            .push((space, [&self.prefix[..], key].concat().into()));
    }

    /// Records that still lie on disk.
    pub fn len(&self) -> usize {
        self.rows.iter().map(Taken::len).sum::<usize>() + self.recent.len() + self.keys.len()
    }

    /// Whether nothing lies there any more.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Frees what up to so many of the rows hold in memory beside their names. Returns how many.
    pub fn free(&mut self, max: usize) -> usize {
        self.rows
            .iter_mut()
            .fold(0, |freed, rows| freed + rows.free(max - freed))
    }

    /// Removes up to so many records. Returns how many.
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
