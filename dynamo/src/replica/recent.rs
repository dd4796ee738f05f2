//! Events that some primary may not know yet, each with the range that it affects.

#[cfg(test)]
mod tests;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use quorate_crdt::{CausalContext, Dot};
use xxhash_rust::xxh3::xxh3_64;

use super::range::{Cut, Range, Within};
use crate::planted;

/// Recent events, indexed by dot and by range.
///
/// By arrival: a replica that must forget some forgets those that arrived first, whoever issued
/// them, because the others have had the longest time to learn them. By range: a replica that lacks
/// several events of one range is sent the range once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recent {
    /// Whether no other node holds the partition. Then nothing needs to be remembered.
    pub(super) alone: bool,
    by_dot: BTreeMap<Dot, (u64, Arc<Range>)>,
    by_range: BTreeMap<Name, Dots>,
    /// The number of the last event to arrive.
    arrivals: u64,
    bytes: usize,
    /// What all holders knew at the last check. None of these events are kept.
    known_by_all: CausalContext,
}

/// A range, shared by its events. It is ordered by hashes of its key and field, which decide nearly
/// every comparison without reading their bytes, and then by the range itself. So the rows of a key
/// are adjacent, and every replica has the same order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    key: u64,
    within: u64,
    range: Arc<Range>,
}

impl Name {
    fn of(range: Arc<Range>) -> Self {
        let (key, within) = match &*range {
            Range::Row(row) => (xxh3_64(&row.key), xxh3_64(&row.field)),
            Range::Key(key) => (xxh3_64(key), 0),
            Range::Slice { after, .. } => {
                (after.as_ref().map_or(0, |Cut { key, .. }| xxh3_64(key)), 0)
            }
        };
        Self { key, within, range }
    }
}

/// The events of one range, nearly always one. Once there have been several, it stays a set.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Dots {
    One(Dot),
    Many(BTreeSet<Dot>),
}

impl Dots {
    fn insert(&mut self, dot: Dot) {
        match self {
            Self::One(one) => *self = Self::Many(BTreeSet::from([*one, dot])),
            Self::Many(dots) => drop(dots.insert(dot)),
        }
    }

    /// Removes an event. Returns whether none is left.
    fn remove(&mut self, dot: Dot) -> bool {
        match self {
            Self::One(one) => *one == dot,
            Self::Many(dots) => {
                dots.remove(&dot);
                dots.is_empty()
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = Dot> {
        let (one, many) = match self {
            Self::One(one) => (Some(*one), None),
            Self::Many(dots) => (None, Some(dots.iter().copied())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// Roughly the memory that an event takes beside its range, in trees that are half full.
pub(super) const EVENT_WEIGHT: usize = 100;
/// Roughly the memory that a range takes beside its own bytes.
const NAME_WEIGHT: usize = 60;
/// When events must be forgotten, one in this many of the allowed number goes as well, so that the
/// search is rarely repeated. Guess.
const SPARE: usize = 16;

pub(super) fn weight(range: &Range) -> usize {
    let bytes = |within: &Within| {
        if let Within::Row(_, field) = within {
            field.len()
        } else {
            0
        }
    };
    NAME_WEIGHT
        + size_of::<Range>()
        + match range {
            Range::Row(row) => row.key.len() + row.field.len(),
            Range::Key(key) => key.len(),
            Range::Slice { after, through } => after
                .iter()
                .chain(through)
                .map(|cut| cut.key.len() + bytes(&cut.within))
                .sum(),
        }
}

impl Recent {
    pub(super) fn len(&self) -> usize {
        self.by_dot.len()
    }

    /// Roughly the memory that all events take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, dot: &Dot) -> Option<&Range> {
        self.by_dot.get(dot).map(|(_, range)| &**range)
    }

    /// Whether all of `events` are remembered.
    pub(super) fn has_all(&self, events: &CausalContext) -> bool {
        events.runs().all(|(replica, run)| {
            let (from, to) = (
                Dot::new(replica, *run.start()),
                Dot::new(replica, *run.end()),
            );
            self.by_dot
                .range(from..=to)
                .zip(run)
                .all(|((dot, _), counter)| dot.counter == counter)
                && self.by_dot.contains_key(&to)
        })
    }

    /// Those of `events` that are remembered.
    pub(super) fn remembered_of(&self, events: &CausalContext) -> CausalContext {
        let dots = events.runs().flat_map(|(replica, run)| {
            let (from, to) = (
                Dot::new(replica, *run.start()),
                Dot::new(replica, *run.end()),
            );
            self.by_dot.range(from..=to).map(|(dot, _)| *dot)
        });
        dots.collect()
    }

    /// The ranges of these events, in order, after the range `after`, each with those of the events
    /// that lie in it.
    pub(super) fn ranges_of<'a>(
        &'a self,
        events: &CausalContext,
        after: Option<&Range>,
    ) -> impl Iterator<Item = (&'a Range, Vec<Dot>)> {
        let from = after.map_or(Bound::Unbounded, |after| {
            Bound::Excluded(Name::of(Arc::new(after.clone())))
        });
        self.by_range
            .range((from, Bound::Unbounded))
            .filter_map(|(name, dots)| {
                let dots: Vec<Dot> = dots.iter().filter(|dot| events.contains(*dot)).collect();
                (!dots.is_empty()).then_some((&*name.range, dots))
            })
    }

    /// Events whose effect lies in exactly this range.
    pub(super) fn within(&self, range: &Range) -> Vec<Dot> {
        self.by_range
            .get(&Name::of(Arc::new(range.clone())))
            .map_or_else(Vec::new, |dots| dots.iter().collect())
    }

    /// Up to `max` of the events that affect a single row of this key, or of the whole partition.
    pub(super) fn some_within(&self, range: &Range, max: usize) -> Vec<Dot> {
        let least = |key| Name {
            key,
            within: 0,
            range: Arc::new(Range::first_row_of(Bytes::new())),
        };
        let (from, key) = if let Range::Key(key) = range {
            let key = xxh3_64(key);
            (Bound::Included(least(key)), Some(key))
        } else {
            (Bound::Unbounded, None)
        };
        let near = self
            .by_range
            .range((from, Bound::Unbounded))
            .take_while(|(name, _)| key.is_none_or(|key| name.key == key));
        let rows =
            near.filter(|(name, _)| matches!(&*name.range, Range::Row(row) if range.contains(row)));
        rows.flat_map(|(_, dots)| dots.iter()).take(max).collect()
    }

    /// Those of `events` that affect something of a row or a key, or all of it and more. Those that
    /// affect exactly `range` are left out; `slices` are all slices that `events` affect.
    pub(super) fn beside(
        &self,
        range: &Range,
        events: &CausalContext,
        slices: &[(&Range, Vec<Dot>)],
    ) -> Vec<Dot> {
        let over = slices
            .iter()
            .filter(|(slice, _)| slice.clip(range).is_some());
        let mut dots: Vec<Dot> = over.flat_map(|(_, dots)| dots.iter().copied()).collect();
        let near = match range {
            Range::Row(row) => self.within(&Range::Key(row.key.clone())),
            Range::Key(_) => self.some_within(range, usize::MAX),
            Range::Slice { .. } => Vec::new(),
        };
        dots.extend(near.into_iter().filter(|dot| events.contains(*dot)));
        dots
    }

    /// The number of the next event to arrive.
    pub(super) fn next_arrival(&self) -> u64 {
        self.arrivals + 1
    }

    pub(super) fn insert(&mut self, dot: Dot, arrival: u64, range: Range) {
        self.remove(&dot);
        self.arrivals = self.arrivals.max(arrival);
        self.bytes += EVENT_WEIGHT;
        let range = match self.by_range.entry(Name::of(Arc::new(range))) {
            Entry::Occupied(mut held) => {
                held.get_mut().insert(dot);
                Arc::clone(&held.key().range)
            }
            Entry::Vacant(vacant) => {
                let range = Arc::clone(&vacant.key().range);
                self.bytes += weight(&range);
                vacant.insert(Dots::One(dot));
                range
            }
        };
        self.by_dot.insert(dot, (arrival, range));
    }

    fn remove(&mut self, dot: &Dot) {
        let Some((_, range)) = self.by_dot.remove(dot) else {
            return;
        };
        self.bytes -= EVENT_WEIGHT;
        if let Entry::Occupied(mut held) = self.by_range.entry(Name::of(range))
            && held.get_mut().remove(*dot)
        {
            let (name, _) = held.remove_entry();
            self.bytes -= weight(&name.range);
        }
    }

    /// Forgets an arbitrary event.
    pub(super) fn pop(&mut self) -> Option<Dot> {
        let dot = *self.by_dot.first_key_value()?.0;
        self.remove(&dot);
        Some(dot)
    }

    /// Forgets and returns the events that all holders have come to know since the last call. Only
    /// events that were unknown then can be among them.
    pub(super) fn forget_known(&mut self, known_by_all: CausalContext) -> Vec<Dot> {
        let mut dots = Vec::new();
        for (replica, run) in known_by_all.missing_runs(&self.known_by_all) {
            let (from, to) = (
                Dot::new(replica, *run.start()),
                Dot::new(replica, *run.end()),
            );
            dots.extend(self.by_dot.range(from..=to).map(|(dot, _)| *dot));
        }
        self.known_by_all = known_by_all;
        for dot in &dots {
            self.remove(dot);
        }
        dots
    }

    /// Whether all holders knew the event at the last check.
    pub(super) fn is_known_by_all(&self, dot: Dot) -> bool {
        self.known_by_all.contains(dot)
    }

    /// Forgets and returns the oldest events beyond `max` events or `bytes_max` bytes, and a few
    /// more, so that it need not search each time.
    pub(super) fn forget_oldest(&mut self, max: usize, bytes_max: usize) -> Vec<Dot> {
        if self.len() <= max && self.bytes <= bytes_max {
            return Vec::new();
        }
        let (max, bytes_max) = (max - max / SPARE, bytes_max - bytes_max / SPARE);
        let mut dots: Vec<(u64, Dot)> = self
            .by_dot
            .iter()
            .map(|(dot, (arrival, _))| (*arrival, *dot))
            .collect();
        if !planted::RECENT_DROPS_LOWEST.is_planted() {
            dots.sort_unstable();
        }
        let mut gone = Vec::new();
        for (_, dot) in dots {
            if self.len() <= max && self.bytes <= bytes_max {
                break;
            }
            self.remove(&dot);
            gone.push(dot);
        }
        gone
    }
}
