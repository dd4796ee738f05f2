//! What is shown of a key of which something was written under a fencing token: entries of a lower
//! rank are hidden behind those of a higher one.

use bytes::Bytes;

use super::KeyRows;
use crate::fence::{LockId, Rank};
use crate::replica::row::{Fact, Row, RowKind, RowName};
use crate::replica::shown::{highest, is_shown};

impl KeyRows {
    /// Whether any entry of the key is guarded.
    pub fn is_guarded(&self) -> bool {
        self.guarded > 0
    }

    /// The row of the key's string: if the key is guarded, what is true of the whole key.
    pub fn head(&self) -> Option<&Row> {
        self.rows.get(&RowName::without_field(RowKind::String))
    }

    /// Entries of the key that rank lower than this are hidden.
    pub fn floor(&self) -> Rank {
        if !self.is_guarded() {
            return Rank::NONE;
        }
        let head = self.head().into_iter().flat_map(Row::iter);
        head.filter_map(|(_, payload)| {
            let guarded = payload.guarded()?;
            match guarded.fact {
                Fact::Value { .. } | Fact::Gone => Some(guarded.stamp.rank),
                Fact::Collection { floor, .. } => Some(floor),
                Fact::Member => None,
            }
        })
        .max()
        .unwrap_or_default()
    }

    /// A row, if it is there for a reader.
    pub fn shown(&self, kind: RowKind, field: &Bytes) -> Option<&Row> {
        let row = self.get(kind, field)?;
        (!self.is_guarded() || is_shown(row, self.floor())).then_some(row)
    }

    /// The rows of a kind that are there for a reader.
    pub fn of_kind(&self, kind: RowKind) -> impl Iterator<Item = (&Bytes, &Row)> {
        let (guarded, floor) = (self.is_guarded(), self.floor());
        self.iter()
            .filter(move |(held, _, row)| *held == kind && (!guarded || is_shown(row, floor)))
            .map(|(_, field, row)| (field, row))
    }

    /// Whether there is a row of this kind for a reader.
    pub fn shows(&self, kind: RowKind) -> bool {
        self.count(kind) > 0 && (!self.is_guarded() || self.of_kind(kind).next().is_some())
    }

    /// How many rows of this kind there are for a reader. O(1), unless the key is guarded.
    pub fn shown_count(&self, kind: RowKind) -> usize {
        if self.is_guarded() {
            self.of_kind(kind).count()
        } else {
            self.count(kind)
        }
    }

    /// The highest rank in the whole key, with its lock; `None` if nothing is guarded.
    pub fn highest(&self) -> Option<(Rank, LockId)> {
        if !self.is_guarded() {
            return None;
        }
        self.iter().filter_map(|(_, _, row)| highest(row)).max()
    }

    /// The highest rank that a new entry of the row must not fall below: that of the row, or that
    /// behind which the key hides what ranks lower. `None` if neither is guarded.
    pub fn standing(&self, kind: RowKind, field: &Bytes) -> Option<(Rank, LockId)> {
        if !self.is_guarded() {
            return None;
        }
        let own = self.get(kind, field).and_then(highest);
        let floor = self.floor();
        let head = self.head().and_then(highest).map(|(_, lock)| (floor, lock));
        own.max(head.filter(|_| floor > Rank::NONE))
    }
}
