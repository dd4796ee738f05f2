//! Deltas and ranges as they travel: each key once, however many rows and ranges name it, and in the memory of whoever takes them as well.
//!
//! A table of keys comes first; all else names a key by its place in that. Rows of one key lie together, so only the last key is compared.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use quorate_crdt::{CausalContext, Dot, ReplicaId};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::delta::{Delta, Part, Residual};
use super::range::Range;
use super::row::{Row, RowKey};
use crate::planted;

/// Keys in the order in which they were first named.
#[derive(Debug, Default)]
struct Keys(Vec<Bytes>);

impl Keys {
    fn number(&mut self, key: &Bytes) -> u32 {
        if self.0.last() != Some(key) || planted::KEY_IN_EVERY_ROW.is_planted() {
            self.0.push(key.clone());
        }
        self.0.len() as u32 - 1
    }

    fn range(&mut self, range: &Range) -> Range<u32> {
        let renamed = range.clone().rename(&mut |key| Some(self.number(&key)));
        renamed.expect("invariant: every key gets a number")
    }

    fn row(&mut self, row: &RowKey) -> RowKey<u32> {
        RowKey { key: self.number(&row.key), kind: row.kind, field: row.field.clone() }
    }

    fn named(&self, number: u32) -> Option<Bytes> {
        self.0.get(number as usize).cloned()
    }
}

/// [`Delta`], of what is borrowed when it is written and owned when it is read.
#[derive(Serialize, Deserialize)]
struct PackedDelta<C, R, S> {
    replica: ReplicaId,
    context: C,
    keys: Vec<Bytes>,
    parts: Vec<PackedPart<R, S>>,
    residuals: Vec<(Range<u32>, C)>,
}

#[derive(Serialize, Deserialize)]
struct PackedPart<R, S> {
    range: Range<u32>,
    rows: Vec<(RowKey<u32>, R)>,
    settled: S,
}

impl Serialize for Delta {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut keys = Keys::default();
        let parts = self.parts.iter().map(|part| PackedPart {
            range: keys.range(&part.range),
            rows: part.rows.iter().map(|(name, row)| (keys.row(name), row)).collect(),
            settled: &part.settled,
        });
        let parts: Vec<PackedPart<&Row, &Vec<Dot>>> = parts.collect();
        let residuals = self.residuals.iter().map(|residual| (keys.range(&residual.range), &residual.context)).collect();
        PackedDelta { replica: self.replica, context: &self.context, keys: keys.0, parts, residuals }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Delta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let packed = PackedDelta::<CausalContext, Row, Vec<Dot>>::deserialize(deserializer)?;
        let keys = Keys(packed.keys);
        let name = &mut |number| keys.named(number);
        let unpack = || {
            let mut delta = Self { replica: packed.replica, context: packed.context, ..Self::default() };
            for part in packed.parts {
                let rows = part.rows.into_iter().map(|(row, live)| Some((row.rename(name)?, live))).collect::<Option<_>>()?;
                delta.parts.push(Part { range: part.range.rename(name)?, rows, settled: part.settled });
            }
            for (range, context) in packed.residuals {
                delta.residuals.push(Residual { range: range.rename(name)?, context });
            }
            Some(delta)
        };
        unpack().ok_or_else(|| D::Error::custom("a key that is not in the table"))
    }
}

/// For `#[serde(with)]` on ranges.
pub(crate) fn serialize<S: Serializer>(ranges: &[Range], serializer: S) -> Result<S::Ok, S::Error> {
    let mut keys = Keys::default();
    let ranges: Vec<Range<u32>> = ranges.iter().map(|range| keys.range(range)).collect();
    (keys.0, ranges).serialize(serializer)
}

/// The other way.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Range>, D::Error> {
    let (keys, ranges): (Vec<Bytes>, Vec<Range<u32>>) = Deserialize::deserialize(deserializer)?;
    let keys = Keys(keys);
    let named = ranges.into_iter().map(|range| range.rename(&mut |number| keys.named(number))).collect::<Option<_>>();
    named.ok_or_else(|| D::Error::custom("a key that is not in the table"))
}
