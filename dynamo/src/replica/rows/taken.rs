//! Takes many rows out of a partition at once, by whole keys rather than row by row.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

use super::{KeyPart, KeyRows, RowMap, Rows, row_weight};
use crate::replica::range::{Position, Range};
use crate::replica::row::{Row, RowKey, RowName, row_digest};
use crate::replica::shown::is_guarded;

/// Rows that were taken out; only their names are still needed. Freeing the content of a million
/// rows takes a while, so it is done a few at a time.
#[derive(Clone, Debug, Default)]
pub(in crate::replica) struct Taken {
    /// Rows as they were taken out.
    keys: BTreeMap<Position, KeyRows>,
    /// Rows of which only the name is left.
    names: Vec<(Bytes, SmallVec<[RowName; 1]>)>,
    /// The number of rows in both.
    count: usize,
}

impl Taken {
    /// The number of rows.
    pub(in crate::replica) fn len(&self) -> usize {
        self.count
    }

    /// Removes one row and returns its name.
    pub(in crate::replica) fn next(&mut self) -> Option<RowKey> {
        if self.names.is_empty() {
            self.free(1);
        }
        let (key, names) = self.names.last_mut()?;
        let name = names.pop()?;
        let key = key.clone();
        if names.is_empty() {
            self.names.pop();
        }
        self.count -= 1;
        Some(RowKey {
            key,
            kind: name.kind(),
            field: name.field,
        })
    }

    /// Frees the content of up to `max` rows. Returns how many.
    pub(in crate::replica) fn free(&mut self, max: usize) -> usize {
        let mut freed = 0;
        while freed < max
            && let Some(mut first) = self.keys.first_entry()
        {
            let left = max - freed;
            let names: SmallVec<_> = std::iter::from_fn(|| first.get_mut().rows.pop())
                .take(left)
                .collect();
            freed += names.len();
            let key = first.key().key.clone();
            if names.len() < left {
                first.remove();
            }
            if !names.is_empty() {
                self.names.push((key, names));
            }
        }
        freed
    }

    /// Adds the name of a row that was found elsewhere.
    pub(in crate::replica) fn add(&mut self, name: &RowKey) {
        self.count += 1;
        let row = RowName::new(name.kind, &name.field);
        match self.names.last_mut() {
            Some((key, names)) if *key == name.key => names.push(row),
            _ => self.names.push((name.key.clone(), smallvec![row])),
        }
    }
}

impl RowMap {
    fn pop(&mut self) -> Option<RowName> {
        match self {
            Self::Few(rows) => rows.pop().map(|(name, _)| name),
            Self::Many(rows) => rows.pop_first().map(|(name, _)| name),
        }
    }

    /// Takes out the rows of the part for which `goes` holds.
    fn extract(&mut self, part: &KeyPart, goes: &dyn Fn(&Row) -> bool) -> Self {
        match self {
            Self::Few(rows) => {
                let all = std::mem::take(rows).into_iter();
                let (gone, stay): (SmallVec<_>, SmallVec<_>) =
                    all.partition(|(name, row)| part.holds(name) && goes(row));
                *rows = stay;
                Self::Few(gone)
            }
            Self::Many(rows) => {
                let from = part
                    .after
                    .as_ref()
                    .map_or(Bound::Unbounded, Bound::Excluded);
                let through = part
                    .through
                    .as_ref()
                    .map_or(Bound::Unbounded, Bound::Included);
                // A tree panics if a range begins beyond its end.
                if part
                    .after
                    .as_ref()
                    .zip(part.through.as_ref())
                    .is_some_and(|(after, through)| after >= through)
                {
                    return Self::default();
                }
                Self::Many(
                    rows.extract_if((from, through), |_, row| goes(row))
                        .collect(),
                )
            }
        }
    }
}

impl KeyRows {
    /// Takes out the rows of the part for which `goes` holds.
    fn extract(&mut self, key: &Bytes, part: &KeyPart, goes: &dyn Fn(&Row) -> bool) -> Self {
        let mut gone = Self {
            rows: self.rows.extract(part, goes),
            ..Self::default()
        };
        let mut scratch = Vec::new();
        for (name, row) in gone.rows.iter() {
            let name = RowKey {
                key: key.clone(),
                kind: name.kind(),
                field: name.field.clone(),
            };
            gone.counts[name.kind as usize] += 1;
            gone.guarded += u32::from(is_guarded(row));
            gone.digest = gone
                .digest
                .wrapping_add(row_digest(&mut scratch, &name, row));
            gone.bytes += row_weight(&name, row);
        }
        for (mine, gone) in self.counts.iter_mut().zip(gone.counts) {
            *mine -= gone;
        }
        self.guarded -= gone.guarded;
        self.digest = self.digest.wrapping_sub(gone.digest);
        self.bytes -= gone.bytes;
        gone
    }
}

impl Rows {
    /// Whether `goes` holds for more than `max` rows of the range.
    pub(in crate::replica) fn has_more(
        &self,
        max: usize,
        range: &Range,
        goes: Option<&dyn Fn(&Row) -> bool>,
    ) -> bool {
        let mut count = 0;
        let mut keys = self.parts(range);
        keys.any(|(_, rows, part)| {
            count += match goes {
                None if part == KeyPart::WHOLE => rows.len(),
                None => rows.rows.between(&part).take(max + 1 - count).count(),
                Some(goes) => rows
                    .rows
                    .between(&part)
                    .filter(|(_, row)| goes(row))
                    .take(max + 1 - count)
                    .count(),
            };
            count > max
        })
    }

    /// The keys with rows in the range, each with the part of it that lies there.
    fn parts<'a>(
        &'a self,
        range: &'a Range,
    ) -> Box<dyn Iterator<Item = (&'a Bytes, &'a KeyRows, KeyPart)> + 'a> {
        match range {
            Range::Row(_) => Box::new(std::iter::empty()),
            Range::Key(key) => Box::new(
                self.keys
                    .get_key_value(&Position::of(key))
                    .map(|(at, rows)| (&at.key, rows, KeyPart::WHOLE))
                    .into_iter(),
            ),
            Range::Slice { .. } => Box::new(self.slice(range)),
        }
    }

    /// Takes out all rows of a key or a slice for which `goes` holds; `None` takes all. Apart from
    /// `goes`, a whole key costs no more than one row.
    pub(in crate::replica) fn take(
        &mut self,
        range: &Range,
        goes: Option<&dyn Fn(&Row) -> bool>,
    ) -> Taken {
        if *range == Range::ALL && goes.is_none() {
            let all = std::mem::take(self);
            return Taken {
                count: all.count as usize,
                keys: all.keys,
                names: Vec::new(),
            };
        }
        let before = self.count;
        let mut taken = Taken::default();
        let Some(bounds) = bounds(range) else {
            return taken;
        };
        let mut pieces = Vec::new();
        let (due, valued, kept) = (
            &mut self.due,
            &mut self.valued,
            (
                &mut self.digest,
                &mut self.bytes,
                &mut self.count,
                &mut self.guarded,
            ),
        );
        let mut forget = |rows: &KeyRows| {
            *kept.0 = kept.0.wrapping_sub(rows.digest);
            *kept.1 -= rows.bytes;
            *kept.2 -= rows.len() as u64;
            *kept.3 -= u64::from(rows.guarded);
        };
        let every = |_: &Row| true;
        let whole = self.keys.extract_if(bounds, |position, rows| {
            let Some(part) = KeyPart::of_key(&position.key, range) else {
                return false;
            };
            let (was_due, had_value) = (rows.due(), rows.has_value());
            let all = part == KeyPart::WHOLE
                && goes.is_none_or(|goes| rows.rows.iter().all(|(_, row)| goes(row)));
            if all {
                forget(rows);
            } else {
                let piece = rows.extract(&position.key, &part, goes.unwrap_or(&every));
                forget(&piece);
                if !piece.is_empty() {
                    pieces.push((position.clone(), piece));
                }
            }
            let is_due = if all { None } else { rows.due() };
            *valued -= u64::from(had_value && (all || !rows.has_value()));
            if is_due != was_due {
                was_due.map(|at| due.remove(&(at, position.key.clone())));
                due.extend(is_due.map(|at| (at, position.key.clone())));
            }
            all || rows.is_empty()
        });
        taken
            .keys
            .extend(whole.filter(|(_, rows)| !rows.is_empty()));
        taken.keys.extend(pieces);
        taken.count = (before - self.count) as usize;
        taken
    }
}

impl KeyPart {
    /// The part of the key that lies in the range.
    fn of_key(key: &Bytes, range: &Range) -> Option<Self> {
        match range {
            Range::Row(_) => None,
            Range::Key(mine) => (mine == key).then_some(Self::WHOLE),
            Range::Slice { after, through } => Self::of(key, after.as_ref(), through.as_ref()),
        }
    }
}

/// The positions of the keys in a range; `None` if it has none.
fn bounds(range: &Range) -> Option<(Bound<Position>, Bound<Position>)> {
    let (from, through) = match range {
        Range::Row(_) => return None,
        Range::Key(key) => (Some(Position::of(key)), Some(Position::of(key))),
        Range::Slice { after, through } => (
            after.as_ref().map(|cut| Position::of(&cut.key)),
            through.as_ref().map(|cut| Position::of(&cut.key)),
        ),
    };
    // A tree panics if a range begins beyond its end.
    if from
        .as_ref()
        .zip(through.as_ref())
        .is_some_and(|(from, through)| from > through)
    {
        return None;
    }
    Some((
        from.map_or(Bound::Unbounded, Bound::Included),
        through.map_or(Bound::Unbounded, Bound::Included),
    ))
}
