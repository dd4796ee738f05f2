//! Parts of a partition that one event or one delta is about.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::row::{RowKey, RowKind};

/// A row, all rows of a key, or all rows of the keys in an interval. Two ranges nest or are disjoint, except slices, which may overlap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Range {
    /// One row.
    Row(RowKey),
    /// Every row of this key, of every kind.
    Key(Bytes),
    /// Every row of every key with `from <= key < to`; without `to`, to the end.
    Slice {
        /// The first key.
        from: Bytes,
        /// The first key beyond.
        to: Option<Bytes>,
    },
}

impl Range {
    /// The whole partition.
    pub const ALL: Self = Self::Slice { from: Bytes::new(), to: None };

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
            Self::Slice { from, to } => from <= key && to.as_ref().is_none_or(|to| key < to),
        }
    }

    /// What both have in common, if anything.
    pub fn clip(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Row(row), _) => other.contains(row).then(|| self.clone()),
            (_, Self::Row(row)) => self.contains(row).then(|| other.clone()),
            (Self::Key(key), _) => other.contains_key(key).then(|| self.clone()),
            (_, Self::Key(key)) => self.contains_key(key).then(|| other.clone()),
            (Self::Slice { from: a, to: b }, Self::Slice { from: c, to: d }) => {
                let from = a.max(c).clone();
                let to = match (b, d) {
                    (Some(b), Some(d)) => Some(b.min(d).clone()),
                    (one, other) => one.clone().or_else(|| other.clone()),
                };
                to.as_ref().is_none_or(|to| from < *to).then_some(Self::Slice { from, to })
            }
        }
    }

    /// The smallest of all row ranges of this key, for ordered maps keyed by range.
    pub(super) fn first_row_of(key: Bytes) -> Self {
        Self::Row(RowKey { key, kind: RowKind::String, field: Bytes::new() })
    }
}
