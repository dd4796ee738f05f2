//! Parts of a partition that one event or one delta is about.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::row::{RowKey, RowKind};

/// Where a key stands in its partition: by hash, then by bytes. The hash decides nearly every comparison without a look at the key's bytes,
/// which lie elsewhere in memory. Part of what replicas say to each other: it never changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) hash: u64,
    pub(super) key: Bytes,
}

impl Position {
    pub(super) fn of(key: &Bytes) -> Self {
        Self { hash: xxh3_64(key), key: key.clone() }
    }
}

/// A row, all rows of a key, or all rows of the keys in an interval. Two ranges nest or are disjoint, except slices, which may overlap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Range {
    /// One row.
    Row(RowKey),
    /// Every row of this key, of every kind.
    Key(Bytes),
    /// Every row of every key after one and up to another, in the order of their positions (hash, then bytes).
    Slice {
        /// The last key before the slice; `None`: it begins with the first.
        after: Option<Bytes>,
        /// The last key in the slice; `None`: it reaches to the end.
        through: Option<Bytes>,
    },
}

impl Range {
    /// The whole partition.
    pub const ALL: Self = Self::Slice { after: None, through: None };

    /// Whether the row lies in this range.
    pub fn contains(&self, row: &RowKey) -> bool {
        match self {
            Self::Row(mine) => mine == row,
            Self::Key(_) | Self::Slice { .. } => self.contains_key(&row.key),
        }
    }

    /// Whether all rows of the key lie in this range.
    pub fn contains_key(&self, key: &Bytes) -> bool {
        match self {
            Self::Row(_) => false,
            Self::Key(mine) => mine == key,
            Self::Slice { after: None, through: None } => true,
            Self::Slice { after, through } => {
                let key = Position::of(key);
                after.as_ref().is_none_or(|after| Position::of(after) < key)
                    && through.as_ref().is_none_or(|through| key <= Position::of(through))
            }
        }
    }

    /// What both have in common, if anything.
    pub fn clip(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Row(row), _) => other.contains(row).then(|| self.clone()),
            (_, Self::Row(row)) => self.contains(row).then(|| other.clone()),
            (Self::Key(key), _) => other.contains_key(key).then(|| self.clone()),
            (_, Self::Key(key)) => self.contains_key(key).then(|| other.clone()),
            (Self::Slice { after: a, through: b }, Self::Slice { after: c, through: d }) => {
                let after = a.iter().chain(c).max_by_key(|key| Position::of(key)).cloned();
                let through = b.iter().chain(d).min_by_key(|key| Position::of(key)).cloned();
                let empty =
                    after.as_ref().zip(through.as_ref()).is_some_and(|(after, through)| Position::of(after) >= Position::of(through));
                (!empty).then_some(Self::Slice { after, through })
            }
        }
    }

    /// The smallest of all row ranges of this key, for ordered maps keyed by range.
    pub(super) fn first_row_of(key: Bytes) -> Self {
        Self::Row(RowKey { key, kind: RowKind::String, field: Bytes::new() })
    }
}
