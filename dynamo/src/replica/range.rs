//! The parts of a partition that an event or a delta can be about.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::row::{RowKey, RowKind, RowName};
use crate::op::MARK_BITS;

/// A key's position in its partition: by hash, then by bytes. The hash decides nearly every
/// comparison without reading the key, which lies elsewhere in memory. Replicas exchange ranges in
/// this order, so it must never change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) hash: u64,
    pub(super) key: Bytes,
}

impl Position {
    pub(super) fn of(key: &Bytes) -> Self {
        Self {
            hash: xxh3_64(key),
            key: key.clone(),
        }
    }

    /// A position before all keys with this mark or a greater one, and after all others; `None` if
    /// no mark is that great.
    pub(super) fn before(mark: u64) -> Option<Self> {
        (mark >> MARK_BITS == 0).then(|| Self {
            hash: mark << (u64::BITS - MARK_BITS),
            key: Bytes::new(),
        })
    }

    /// Where the key comes in a scan.
    pub(super) fn mark(&self) -> u64 {
        self.hash >> (u64::BITS - MARK_BITS)
    }
}

/// A point between two rows of a partition. Rows are ordered by their keys' positions and, within a
/// key, by kind and field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cut<K = Bytes> {
    /// The key that the point lies in or next to.
    pub key: K,
    /// Where in the key.
    pub within: Within,
}

/// Where a [`Cut`] lies in its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Within {
    /// Before all rows of the key.
    Before,
    /// Right after this row of the key.
    Row(RowKind, Bytes),
    /// After all rows of the key.
    After,
}

/// A [`Cut`] or a row in comparable form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    key: Position,
    depth: Depth,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    Before,
    Row(RowName),
    After,
}

impl Cut {
    /// The point before all rows of the key.
    pub fn before(key: Bytes) -> Self {
        Self {
            key,
            within: Within::Before,
        }
    }

    /// The point after all rows of the key.
    pub fn behind(key: Bytes) -> Self {
        Self {
            key,
            within: Within::After,
        }
    }

    pub(super) fn point(&self) -> Point {
        let depth = match &self.within {
            Within::Before => Depth::Before,
            Within::Row(kind, field) => Depth::Row(RowName::new(*kind, field)),
            Within::After => Depth::After,
        };
        Point {
            key: Position::of(&self.key),
            depth,
        }
    }
}

impl Point {
    fn of(row: &RowKey) -> Self {
        Self {
            key: Position::of(&row.key),
            depth: Depth::Row(RowName::new(row.kind, &row.field)),
        }
    }
}

/// A row, all rows of a key, or all rows between two cuts. Two ranges are nested or disjoint,
/// except that slices may overlap each other or a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Range<K = Bytes> {
    /// One row.
    Row(RowKey<K>),
    /// All rows of this key, of every kind.
    Key(K),
    /// All rows after one cut and up to another.
    Slice {
        /// Where it begins; `None` means at the first row.
        after: Option<Cut<K>>,
        /// Where it ends; `None` means at the last row.
        through: Option<Cut<K>>,
    },
}

impl<K> Cut<K> {
    fn rename<L>(self, name: &mut impl FnMut(K) -> Option<L>) -> Option<Cut<L>> {
        Some(Cut {
            key: name(self.key)?,
            within: self.within,
        })
    }
}

impl<K> Range<K> {
    /// Maps the keys; `None` if `name` has none for one of them.
    pub(super) fn rename<L>(self, name: &mut impl FnMut(K) -> Option<L>) -> Option<Range<L>> {
        let mut cut = |cut: Option<Cut<K>>| match cut {
            Some(cut) => cut.rename(name).map(Some),
            None => Some(None),
        };
        match self {
            Self::Slice { after, through } => Some(Range::Slice {
                after: cut(after)?,
                through: cut(through)?,
            }),
            Self::Row(row) => row.rename(name).map(Range::Row),
            Self::Key(key) => name(key).map(Range::Key),
        }
    }
}

impl Range {
    /// The whole partition.
    pub const ALL: Self = Self::Slice {
        after: None,
        through: None,
    };

    /// The same rows as a slice. A row stays a row.
    #[must_use]
    pub fn as_slice(&self) -> Self {
        match self {
            Self::Key(key) => Self::Slice {
                after: Some(Cut::before(key.clone())),
                through: Some(Cut::behind(key.clone())),
            },
            Self::Row(_) | Self::Slice { .. } => self.clone(),
        }
    }

    /// Whether the row lies in this range.
    pub fn contains(&self, row: &RowKey) -> bool {
        match self {
            Self::Row(mine) => mine == row,
            Self::Key(mine) => *mine == row.key,
            Self::Slice {
                after: None,
                through: None,
            } => true,
            Self::Slice { after, through } => {
                let row = Point::of(row);
                after.as_ref().is_none_or(|after| after.point() < row)
                    && through
                        .as_ref()
                        .is_none_or(|through| row <= through.point())
            }
        }
    }

    /// Whether all rows of the key lie in this range.
    pub fn contains_key(&self, key: &Bytes) -> bool {
        match self {
            Self::Row(_) => false,
            Self::Key(mine) => mine == key,
            Self::Slice {
                after: None,
                through: None,
            } => true,
            Self::Slice { after, through } => {
                after
                    .as_ref()
                    .is_none_or(|after| after.point() <= Cut::before(key.clone()).point())
                    && through
                        .as_ref()
                        .is_none_or(|through| Cut::behind(key.clone()).point() <= through.point())
            }
        }
    }

    /// The intersection of two ranges; `None` if it is empty.
    pub fn clip(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Row(row), _) => other.contains(row).then(|| self.clone()),
            (_, Self::Row(row)) => self.contains(row).then(|| other.clone()),
            (Self::Key(key), _) if other.contains_key(key) => Some(self.clone()),
            (_, Self::Key(key)) if self.contains_key(key) => Some(other.clone()),
            (Self::Key(mine), Self::Key(theirs)) if mine != theirs => None,
            _ => self.as_slice().clip_slice(&other.as_slice()),
        }
    }

    fn clip_slice(&self, other: &Self) -> Option<Self> {
        let (
            Self::Slice {
                after: a,
                through: b,
            },
            Self::Slice {
                after: c,
                through: d,
            },
        ) = (self, other)
        else {
            return None;
        };
        let after = a.iter().chain(c).max_by_key(|cut| cut.point()).cloned();
        let through = b.iter().chain(d).min_by_key(|cut| cut.point()).cloned();
        let empty = after
            .as_ref()
            .zip(through.as_ref())
            .is_some_and(|(after, through)| after.point() >= through.point());
        (!empty).then_some(Self::Slice { after, through })
    }

    /// Whether this slice contains all of the other.
    pub(super) fn encloses(&self, other: &Self) -> bool {
        let (
            Self::Slice {
                after: a,
                through: b,
            },
            Self::Slice {
                after: c,
                through: d,
            },
        ) = (self, other)
        else {
            return false;
        };
        let begins = a
            .as_ref()
            .is_none_or(|a| c.as_ref().is_some_and(|c| a.point() <= c.point()));
        begins
            && b.as_ref()
                .is_none_or(|b| d.as_ref().is_some_and(|d| d.point() <= b.point()))
    }

    /// The union of two slices that overlap or touch; `None` if there is a gap between them.
    pub(super) fn joined(&self, other: &Self) -> Option<Self> {
        let (
            Self::Slice {
                after: a,
                through: b,
            },
            Self::Slice {
                after: c,
                through: d,
            },
        ) = (self, other)
        else {
            return None;
        };
        let reaches = |through: &Option<Cut>, after: &Option<Cut>| match (through, after) {
            (Some(through), Some(after)) => after.point() <= through.point(),
            _ => true,
        };
        if !reaches(b, c) || !reaches(d, a) {
            return None;
        }
        let after = a
            .as_ref()
            .zip(c.as_ref())
            .map(|(a, c)| if a.point() <= c.point() { a } else { c }.clone());
        let through = b
            .as_ref()
            .zip(d.as_ref())
            .map(|(b, d)| if b.point() >= d.point() { b } else { d }.clone());
        Some(Self::Slice { after, through })
    }

    /// The smallest row range of this key, for ordered maps keyed by range.
    pub(super) fn first_row_of(key: Bytes) -> Self {
        Self::Row(RowKey {
            key,
            kind: RowKind::String,
            field: Bytes::new(),
        })
    }
}
