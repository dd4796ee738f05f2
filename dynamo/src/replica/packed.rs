//! Deltas and ranges on the wire: each key appears once, however many rows and ranges name it. The
//! receiver keeps each key once in memory, too.
//!
//! A table of keys comes first, and everything else refers to keys by index. Rows of one key are
//! adjacent, so the encoder compares only with the last key. The row of a range that is a row is
//! not named again. Events are encoded as distances from the one before.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::delta::{Delta, Part};
use super::range::Range;
use super::residuals::Residual;
use super::row::{Row, RowKey};
use crate::planted;

/// The table of keys, in order of first use.
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
        RowKey {
            key: self.number(&row.key),
            kind: row.kind,
            field: row.field.clone(),
        }
    }

    fn named(&self, number: u32) -> Option<Bytes> {
        self.0.get(number as usize).cloned()
    }
}

/// A [`Delta`] on the wire: borrowed for writing, owned after reading.
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
    rows: Vec<(Option<RowKey<u32>>, R)>,
    settled: S,
}

/// Runs of events of one replica: its node, its incarnation, the first counter, and the distance
/// from each event to the next.
type Dots = Vec<(u64, u32, u64, Vec<u64>)>;

fn named(dots: &[Dot]) -> Dots {
    let mut named: Dots = Vec::new();
    let mut before: Option<Dot> = None;
    for dot in dots {
        let follows =
            before.filter(|before| before.replica == dot.replica && before.counter < dot.counter);
        match (named.last_mut(), follows) {
            (Some((_, _, _, steps)), Some(before)) => steps.push(dot.counter - before.counter),
            _ => named.push((
                dot.replica.node.0,
                dot.replica.incarnation,
                dot.counter,
                Vec::new(),
            )),
        }
        before = Some(*dot);
    }
    named
}

fn dots(named: Dots) -> Option<Vec<Dot>> {
    let mut dots = Vec::new();
    for (node, incarnation, mut counter, steps) in named {
        let replica = ReplicaId::new(NodeId(node), incarnation);
        dots.push(Dot::new(replica, counter));
        for step in steps {
            counter = counter.checked_add(step)?;
            dots.push(Dot::new(replica, counter));
        }
    }
    Some(dots)
}

impl Serialize for Delta {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut keys = Keys::default();
        let parts = self.parts.iter().map(|part| PackedPart {
            range: keys.range(&part.range),
            rows: part
                .rows
                .iter()
                .map(|(name, row)| {
                    (
                        (!matches!(&part.range, Range::Row(row) if row == name))
                            .then(|| keys.row(name)),
                        row,
                    )
                })
                .collect(),
            settled: named(&part.settled),
        });
        let parts: Vec<PackedPart<&Row, Dots>> = parts.collect();
        let residuals = self
            .residuals
            .iter()
            .map(|residual| (keys.range(&residual.range), &residual.context))
            .collect();
        PackedDelta {
            replica: self.replica,
            context: &self.context,
            keys: keys.0,
            parts,
            residuals,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Delta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let packed = PackedDelta::<CausalContext, Row, Dots>::deserialize(deserializer)?;
        let keys = Keys(packed.keys);
        let name = &mut |number| keys.named(number);
        let unpack = || {
            let mut delta = Self {
                replica: packed.replica,
                context: packed.context,
                ..Self::default()
            };
            for part in packed.parts {
                let range = part.range.rename(name)?;
                let named = |(row, live): (Option<RowKey<u32>>, Row)| match (row, &range) {
                    (Some(row), _) => Some((row.rename(name)?, live)),
                    (None, Range::Row(row)) => Some((row.clone(), live)),
                    (None, _) => None,
                };
                let rows = part.rows.into_iter().map(named).collect::<Option<_>>()?;
                delta.parts.push(Part {
                    range,
                    rows,
                    settled: dots(part.settled)?,
                });
            }
            for (range, context) in packed.residuals {
                delta.residuals.push(Residual {
                    range: range.rename(name)?,
                    context,
                });
            }
            Some(delta)
        };
        unpack().ok_or_else(|| D::Error::custom("a key, a row or an event without a name"))
    }
}

/// Serializes ranges, for `#[serde(with)]`.
pub(crate) fn serialize<S: Serializer>(ranges: &[Range], serializer: S) -> Result<S::Ok, S::Error> {
    let mut keys = Keys::default();
    let ranges: Vec<Range<u32>> = ranges.iter().map(|range| keys.range(range)).collect();
    (keys.0, ranges).serialize(serializer)
}

/// Deserializes ranges, for `#[serde(with)]`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Range>, D::Error> {
    let (keys, ranges): (Vec<Bytes>, Vec<Range<u32>>) = Deserialize::deserialize(deserializer)?;
    let keys = Keys(keys);
    let named = ranges
        .into_iter()
        .map(|range| range.rename(&mut |number| keys.named(number)))
        .collect::<Option<_>>();
    named.ok_or_else(|| D::Error::custom("a key that is not in the table"))
}
