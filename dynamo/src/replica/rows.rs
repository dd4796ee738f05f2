//! The live rows of a partition replica, with their digests and counts. Keys are ordered by hash,
//! then by bytes.

mod guarded;
mod marks;
mod taken;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow, RangeBounds as _};

use bytes::Bytes;
use smallvec::SmallVec;

use super::range::{Cut, Position, Range, Within};
use super::row::{Row, RowKey, RowKind, RowName, row_digest};
use super::shown::is_guarded;
use crate::planted;

use marks::Marks;
pub(super) use marks::is_marked;
pub(super) use taken::Taken;

/// A key with more rows than this keeps them in a tree instead of a sorted vector. Guess: for so
/// few, a vector is as fast and far smaller.
const FEW: usize = 8;

/// Roughly what a row costs on the wire beside its own bytes.
const ROW_BYTES: usize = 64;

fn row_bytes(row: &Row) -> usize {
    ROW_BYTES
        + row
            .iter()
            .map(|(_, payload)| 24 + payload.value().map_or(0, Bytes::len))
            .sum::<usize>()
}

/// Roughly the memory that a row takes; 0 if it is not live.
pub(super) fn row_weight(name: &RowKey, row: &Row) -> usize {
    if row.is_empty() {
        0
    } else {
        name.key.len() + name.field.len() + row_bytes(row)
    }
}

/// All live rows. Rows without live entries are not kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    keys: BTreeMap<Position, KeyRows>,
    /// Keys by the time at which the reaper must look at them.
    due: BTreeSet<(u64, Bytes)>,
    count: u64,
    /// Keys of which more is left than an expiry or remembered requests.
    valued: u64,
    /// Rows with guarded entries.
    guarded: u64,
    pub(super) marks: Marks,
    /// Roughly the memory that all rows take.
    bytes: usize,
    digest: u128,
    scratch: Vec<u8>,
}

/// The rows of one key.
#[derive(Clone, Debug, Default)]
pub struct KeyRows {
    rows: RowMap,
    counts: [u32; RowKind::COUNT],
    /// Rows with guarded entries. If there are none, every live row is shown.
    guarded: u32,
    digest: u128,
    /// Roughly the memory that they take.
    bytes: usize,
}

#[derive(Clone, Debug)]
enum RowMap {
    Few(SmallVec<[(RowName, Row); 1]>),
    Many(BTreeMap<RowName, Row>),
}

impl Default for RowMap {
    fn default() -> Self {
        Self::Few(SmallVec::new())
    }
}

impl RowMap {
    fn get(&self, name: &RowName) -> Option<&Row> {
        match self {
            Self::Few(rows) => rows
                .iter()
                .find(|(held, _)| held == name)
                .map(|(_, row)| row),
            Self::Many(rows) => rows.get(name),
        }
    }

    /// The row of this name. If there is none, an empty one is inserted.
    fn get_or_make(&mut self, name: RowName) -> &mut Row {
        if let Self::Few(rows) = self
            && rows.len() >= FEW
        {
            *self = Self::Many(std::mem::take(rows).into_iter().collect());
        }
        match self {
            Self::Few(rows) => {
                let at = rows
                    .binary_search_by(|(held, _)| held.cmp(&name))
                    .unwrap_or_else(|at| {
                        rows.insert(at, (name, Row::new()));
                        at
                    });
                &mut rows[at].1
            }
            Self::Many(rows) => rows.entry(name).or_default(),
        }
    }

    fn remove(&mut self, name: &RowName) {
        match self {
            Self::Few(rows) => rows.retain(|(held, _)| held != name),
            Self::Many(rows) => drop(rows.remove(name)),
        }
    }

    fn between<'a>(&'a self, part: &'a KeyPart) -> impl Iterator<Item = (&'a RowName, &'a Row)> {
        let (few, many) = match self {
            Self::Few(rows) => (Some(rows), None),
            Self::Many(rows) => {
                let from = part
                    .after
                    .as_ref()
                    .map_or(Bound::Unbounded, Bound::Excluded);
                (
                    None,
                    Some(
                        rows.range((from, Bound::Unbounded))
                            .take_while(|(name, _)| part.holds(name)),
                    ),
                )
            }
        };
        few.into_iter()
            .flatten()
            .map(|(name, row)| (name, row))
            .filter(|(name, _)| part.holds(name))
            .chain(many.into_iter().flatten())
    }

    fn after(&self, name: Option<RowName>) -> impl Iterator<Item = (&RowName, &Row)> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        let (few, many) = match self {
            Self::Few(rows) => (Some(rows), None),
            Self::Many(rows) => (None, Some(rows.range((from.clone(), Bound::Unbounded)))),
        };
        few.into_iter()
            .flatten()
            .map(|(name, row)| (name, row))
            .filter(move |(name, _)| (from.as_ref(), Bound::Unbounded).contains(name))
            .chain(many.into_iter().flatten())
    }

    fn iter(&self) -> impl Iterator<Item = (&RowName, &Row)> {
        let (few, many) = match self {
            Self::Few(rows) => (Some(rows), None),
            Self::Many(rows) => (None, Some(rows)),
        };
        few.into_iter()
            .flatten()
            .map(|(name, row)| (name, row))
            .chain(many.into_iter().flatten())
    }
}

impl KeyRows {
    /// A row, if it is live.
    pub fn get(&self, kind: RowKind, field: &Bytes) -> Option<&Row> {
        self.rows.get(&RowName::new(kind, field))
    }

    /// The number of live rows of a kind. O(1).
    pub fn count(&self, kind: RowKind) -> usize {
        self.counts[kind as usize] as usize
    }

    /// The number of live rows of all kinds. O(1).
    pub fn len(&self) -> usize {
        self.counts.iter().map(|count| *count as usize).sum()
    }

    /// Whether the key has no live row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All live rows, ordered by kind and then in an order that all replicas share.
    pub fn iter(&self) -> impl Iterator<Item = (RowKind, &Bytes, &Row)> {
        self.rows
            .iter()
            .map(|(name, row)| (name.kind(), &name.field, row))
    }

    /// The live rows after this one, or all of them, in the order of [`iter`](Self::iter).
    pub fn iter_after(
        &self,
        row: Option<(RowKind, Bytes)>,
    ) -> impl Iterator<Item = (RowKind, &Bytes, &Row)> {
        self.rows
            .after(row.map(|(kind, field)| RowName::new(kind, &field)))
            .map(|(name, row)| (name.kind(), &name.field, row))
    }

    /// Roughly the memory that they take. O(1).
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the key expires. Registers of its string and live expiries count together; the greatest
    /// by `(stamp, dot)` decides.
    ///
    /// **Law:** this depends on the live entries alone, so equal replicas agree. A `SET` overrides
    /// an earlier expiry.
    pub fn expires_at(&self) -> Option<u64> {
        let mut last = None;
        for kind in [RowKind::String, RowKind::Expiry] {
            let row = if self.count(kind) > 0 {
                self.rows.get(&RowName::without_field(kind))
            } else {
                None
            };
            for (dot, payload) in row.into_iter().flat_map(Row::iter) {
                let said = payload.expiry().map(|(stamp, at)| (stamp, dot, at));
                last = last.max(said.filter(|(_, _, at)| {
                    at.is_some() || !planted::EXPIRY_OUTLIVES_SET.is_planted()
                }));
            }
        }
        last.and_then(|(_, _, at)| at)
    }

    /// Whether any row makes the key exist.
    pub fn has_value(&self) -> bool {
        if self.is_guarded() {
            return [RowKind::String, RowKind::Hash, RowKind::Set]
                .into_iter()
                .any(|kind| self.shows(kind));
        }
        self.len() > self.count(RowKind::Expiry) + self.count(RowKind::Request)
    }

    /// Whether anything is left that a removal would remove: a value, or an expiry without one.
    pub fn has_left(&self) -> bool {
        if self.is_guarded() {
            return self.has_value() || self.expires_at().is_some();
        }
        !self.is_empty()
    }

    /// When the reaper must look at the key: when it expires, or at once if only an expiry is left.
    fn due(&self) -> Option<u64> {
        if self.has_value() {
            return self.expires_at();
        }
        let left = if self.is_guarded() {
            self.expires_at().is_some()
        } else {
            self.count(RowKind::Expiry) > 0
        };
        left.then_some(0)
    }
}

impl Rows {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Roughly the memory that all rows take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn digest(&self) -> u128 {
        self.digest
    }

    /// Whether any row has a guarded entry.
    pub(super) fn is_guarded(&self) -> bool {
        self.guarded > 0
    }

    pub(super) fn key(&self, key: &Bytes) -> Option<&KeyRows> {
        self.keys.get(&Position::of(key))
    }

    pub(super) fn get(&self, row: &RowKey) -> Option<&Row> {
        self.key(&row.key)?.get(row.kind, &row.field)
    }

    /// All keys, by position.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&Bytes, &KeyRows)> {
        self.keys
            .iter()
            .map(|(position, rows)| (&position.key, rows))
    }

    /// The keys after this one, by position; all of them without one.
    pub(super) fn keys_after(
        &self,
        key: Option<&Bytes>,
    ) -> impl Iterator<Item = (&Bytes, &KeyRows)> {
        let from = key.map_or(Bound::Unbounded, |key| Bound::Excluded(Position::of(key)));
        self.keys
            .range((from, Bound::Unbounded))
            .map(|(position, rows)| (&position.key, rows))
    }

    /// The keys from a mark on, by position, each with its mark.
    pub(super) fn keys_from(&self, mark: u64) -> impl Iterator<Item = (u64, &Bytes, &KeyRows)> {
        Position::before(mark)
            .into_iter()
            .flat_map(|from| self.keys.range(from..))
            .map(|(position, rows)| (position.mark(), &position.key, rows))
    }

    /// The number of keys that exist at this time. Costs a step for each key that has expired and
    /// has not been removed yet.
    pub(super) fn keys_alive(&self, unix_millis: u64) -> u64 {
        let expired = self.expired(unix_millis);
        let expired = expired.filter(|key| self.key(key).is_some_and(KeyRows::has_value));
        self.valued - expired.count() as u64
    }

    /// The number of keys that exist at this time and will expire.
    pub(super) fn keys_expiring(&self, unix_millis: u64) -> u64 {
        (self.due.len() - self.expired(unix_millis).count()) as u64
    }

    /// Keys that expire at or before `unix_millis`, earliest first. Keys of which only an expiry is
    /// left come before them.
    pub(super) fn expired(&self, unix_millis: u64) -> impl Iterator<Item = &Bytes> {
        self.due
            .iter()
            .take_while(move |(at, _)| *at <= unix_millis)
            .map(|(_, key)| key)
    }

    /// Changes one row. `change` gets an empty row if it was not live; a row that is empty
    /// afterwards is removed.
    pub(super) fn update<R>(&mut self, name: &RowKey, change: impl FnOnce(&mut Row) -> R) -> R {
        let position = Position::of(&name.key);
        let rows = self.keys.entry(position).or_default();
        let (was_due, had_value) = (rows.due(), rows.has_value());
        let row = rows.rows.get_or_make(RowName::new(name.kind, &name.field));
        let weight = row_weight(name, row);
        let (was_live, before) = (!row.is_empty(), row_digest(&mut self.scratch, name, row));
        let was_guarded = is_guarded(row);
        let result = change(row);
        let (is_live, after) = (!row.is_empty(), row_digest(&mut self.scratch, name, row));
        let now_guarded = is_guarded(row);
        if now_guarded {
            self.marks.note(name, row);
        }
        rows.guarded = rows.guarded + u32::from(now_guarded) - u32::from(was_guarded);
        self.guarded = self.guarded + u64::from(now_guarded) - u64::from(was_guarded);
        let weight_after = row_weight(name, row);
        rows.bytes = rows.bytes + weight_after - weight;
        self.bytes = self.bytes + weight_after - weight;
        let difference = after.wrapping_sub(before);
        rows.digest = rows.digest.wrapping_add(difference);
        self.digest = self.digest.wrapping_add(difference);
        rows.counts[name.kind as usize] += u32::from(is_live);
        rows.counts[name.kind as usize] -= u32::from(was_live);
        self.count = self.count + u64::from(is_live) - u64::from(was_live);
        if !is_live {
            rows.rows.remove(&RowName::new(name.kind, &name.field));
        }
        let due = rows.due();
        if due != was_due {
            was_due.map(|at| self.due.remove(&(at, name.key.clone())));
            self.due.extend(due.map(|at| (at, name.key.clone())));
        }
        self.valued = self.valued + u64::from(rows.has_value()) - u64::from(had_value);
        if rows.counts == [0; RowKind::COUNT] {
            self.keys.remove(&Position::of(&name.key));
        }
        result
    }

    /// The names of all live rows in the range, key by key.
    pub(super) fn names_in(&self, range: &Range) -> Vec<RowKey> {
        let mut names = Vec::new();
        self.visit(range, &mut |name, _| names.push(name));
        names
    }

    /// All live rows in the range, key by key.
    pub(super) fn copy_of(&self, range: &Range) -> Vec<(RowKey, Row)> {
        let mut rows = Vec::new();
        self.visit(range, &mut |name, row| rows.push((name, row.clone())));
        rows
    }

    /// Digest of the live rows in the range. Those of whole keys and of the whole partition are
    /// kept; other rows are hashed one by one.
    pub(super) fn digest_of(&self, range: &Range) -> u128 {
        match range {
            Range::Slice {
                after: None,
                through: None,
            } => self.digest,
            Range::Key(key) => self.key(key).map_or(0, |rows| rows.digest),
            Range::Row(name) => self
                .get(name)
                .map_or(0, |row| row_digest(&mut Vec::new(), name, row)),
            Range::Slice { .. } => {
                let mut scratch = Vec::new();
                let mut sum = 0u128;
                for (key, rows, part) in self.slice(range) {
                    if part == KeyPart::WHOLE {
                        sum = sum.wrapping_add(rows.digest);
                        continue;
                    }
                    for (name, row) in rows.rows.between(&part) {
                        let name = RowKey {
                            key: key.clone(),
                            kind: name.kind(),
                            field: name.field.clone(),
                        };
                        sum = sum.wrapping_add(row_digest(&mut scratch, &name, row));
                    }
                }
                sum
            }
        }
    }

    /// Roughly what the live rows in the range cost on the wire. Stops counting beyond `enough`.
    pub(super) fn bytes_in(&self, range: &Range, enough: usize) -> usize {
        match range {
            Range::Row(name) => {
                name.key.len() + name.field.len() + self.get(name).map_or(ROW_BYTES, row_bytes)
            }
            Range::Key(key) => ROW_BYTES + self.key(key).map_or(0, |rows| rows.bytes),
            Range::Slice { .. } => {
                let mut total = 0;
                self.walk(range, &mut |key, name, row| {
                    total += key.len() + name.field.len() + row_bytes(row);
                    if total > enough {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                });
                total
            }
        }
    }

    /// Where a piece of about `bytes_max` bytes of the slice ends, after at least one row; `None`
    /// if it reaches the slice's end.
    pub(super) fn end_of_piece(&self, slice: &Range, bytes_max: usize) -> Option<Cut> {
        let (mut total, mut last, mut end) = (0, None, None);
        self.walk(slice, &mut |key, name, row| {
            if total > bytes_max {
                end = last.take();
                return ControlFlow::Break(());
            }
            total += key.len() + name.field.len() + row_bytes(row);
            if total > bytes_max {
                last = Some(Cut {
                    key: key.clone(),
                    within: Within::Row(name.kind(), name.field.clone()),
                });
            }
            ControlFlow::Continue(())
        });
        end
    }

    fn visit(&self, range: &Range, see: &mut dyn FnMut(RowKey, &Row)) {
        self.walk(range, &mut |key, name, row| {
            see(
                RowKey {
                    key: key.clone(),
                    kind: name.kind(),
                    field: name.field.clone(),
                },
                row,
            );
            ControlFlow::Continue(())
        });
    }

    /// Visits the live rows in the range in order, until told to stop.
    fn walk(&self, range: &Range, see: &mut dyn FnMut(&Bytes, &RowName, &Row) -> ControlFlow<()>) {
        let _: ControlFlow<()> = match range {
            Range::Row(name) => match self.get(name) {
                Some(row) => see(&name.key, &RowName::new(name.kind, &name.field), row),
                None => ControlFlow::Continue(()),
            },
            Range::Key(key) => self.key(key).map_or(ControlFlow::Continue(()), |rows| {
                rows.rows
                    .iter()
                    .try_for_each(|(name, row)| see(key, name, row))
            }),
            Range::Slice { .. } => self.slice(range).try_for_each(|(key, rows, part)| {
                if part == KeyPart::WHOLE {
                    rows.rows
                        .iter()
                        .try_for_each(|(name, row)| see(key, name, row))
                } else {
                    rows.rows
                        .between(&part)
                        .try_for_each(|(name, row)| see(key, name, row))
                }
            }),
        };
    }

    /// The keys with rows in the slice, each with the part of it that lies there.
    fn slice<'a>(
        &'a self,
        range: &'a Range,
    ) -> impl Iterator<Item = (&'a Bytes, &'a KeyRows, KeyPart)> {
        let Range::Slice { after, through } = range else {
            unreachable!("invariant: only slices are walked key by key")
        };
        let end = through.as_ref().map(|cut| Position::of(&cut.key));
        // A tree range panics if its start lies beyond its end, so the end is tested key by key.
        let from = after.as_ref().map_or(Bound::Unbounded, |cut| {
            Bound::Included(Position::of(&cut.key))
        });
        let keys = self
            .keys
            .range((from, Bound::Unbounded))
            .take_while(move |(position, _)| end.as_ref().is_none_or(|end| *position <= end));
        keys.filter_map(|(position, rows)| {
            let part = KeyPart::of(&position.key, after.as_ref(), through.as_ref())?;
            Some((&position.key, rows, part))
        })
    }
}

/// The rows of one key that lie in a slice: after one row and up to another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPart {
    after: Option<RowName>,
    through: Option<RowName>,
}

impl KeyPart {
    const WHOLE: Self = Self {
        after: None,
        through: None,
    };

    fn of(key: &Bytes, after: Option<&Cut>, through: Option<&Cut>) -> Option<Self> {
        let mut part = Self::WHOLE;
        match after.filter(|cut| cut.key == *key).map(|cut| &cut.within) {
            Some(Within::After) => return None,
            Some(Within::Row(kind, field)) => part.after = Some(RowName::new(*kind, field)),
            Some(Within::Before) | None => {}
        }
        match through.filter(|cut| cut.key == *key).map(|cut| &cut.within) {
            Some(Within::Before) => return None,
            Some(Within::Row(kind, field)) => part.through = Some(RowName::new(*kind, field)),
            Some(Within::After) | None => {}
        }
        Some(part)
    }

    fn holds(&self, name: &RowName) -> bool {
        self.after.as_ref().is_none_or(|after| after < name)
            && self.through.as_ref().is_none_or(|through| name <= through)
    }
}
