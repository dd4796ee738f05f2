//! What a backup holds of a partition: the values that clients see, without the events that wrote
//! them. So a key can be restored into any cluster, under any partition and by any replica.

use bytes::Bytes;
use quorate_crdt::Hlc;
use serde::{Deserialize, Serialize};

/// One key, or a part of one that is longer than a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedKey {
    /// The client's key.
    pub key: Bytes,
    /// What `EXPIRE` and `PERSIST` last said. Every part of a long key repeats it, so that no part
    /// is ever restored without it.
    pub expiry: Option<SavedExpiry>,
    /// The rows, all of one kind.
    pub rows: Vec<SavedRow>,
}

/// When a key expires, and the stamp under which that was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SavedExpiry {
    /// The stamp.
    pub hlc: Hlc,
    /// Unix time in milliseconds; `None` means never.
    pub at: Option<u64>,
}

/// One row of a key. An element of a set has neither registers nor a count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRow {
    /// Which row.
    pub name: SavedName,
    /// Its concurrent values, oldest first.
    pub registers: Vec<SavedRegister>,
    /// What has been added to it since, over all replicas. A sum beyond the 64-bit range is saved
    /// as the nearest end of the range.
    pub count: Option<i64>,
}

/// Names a row within its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SavedName {
    /// The string or counter.
    String,
    /// A field of the hash.
    Field(Bytes),
    /// An element of the set.
    Member(Bytes),
}

/// One value of a string or field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRegister {
    /// The stamp of the write. Restored, the value keeps it, so that what was written later wins.
    pub hlc: Hlc,
    /// The value.
    pub value: Bytes,
    /// When the key expires, as far as this write knew; `None` means never.
    pub expires: Option<u64>,
}

/// Where a page ends, and the next one goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageEnd {
    /// The last key of the page.
    pub key: Bytes,
    /// The last row of it, if the key goes on in the next page.
    pub row: Option<SavedName>,
}

impl SavedKey {
    /// Roughly its bytes.
    pub fn weight(&self) -> usize {
        self.key.len() + self.rows.iter().map(SavedRow::weight).sum::<usize>()
    }
}

impl SavedRow {
    /// The bytes of its name and its values.
    pub fn weight(&self) -> usize {
        let values = self.registers.iter().map(|register| register.value.len());
        self.name.field().len() + values.sum::<usize>()
    }
}

impl SavedName {
    /// The field or element; empty for a string.
    pub fn field(&self) -> &[u8] {
        match self {
            Self::String => &[],
            Self::Field(field) | Self::Member(field) => field,
        }
    }
}
