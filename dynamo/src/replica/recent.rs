//! Events that some primary may not know yet, and where their effect lies.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};

use super::range::{Range, Within};
use crate::planted;

/// The events, oldest first by when they came here: beyond its bound a replica forgets those, whoever issued them, because most replicas
/// have had the longest time to learn them. Also range by range, so that whoever lacks several events of one range is sent it once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recent {
    by_dot: BTreeMap<Dot, (u64, Arc<Range>)>,
    /// Events of one range share it.
    by_range: BTreeSet<(Arc<Range>, Dot)>,
    /// The number of the last event to arrive.
    arrivals: u64,
    bytes: usize,
    /// What was known by all the last time that was looked at. None of it is kept.
    known_by_all: CausalContext,
}

/// The least and the greatest of all events.
const FIRST: Dot = Dot::new(ReplicaId::new(NodeId(0), 0), 0);
const LAST: Dot = Dot::new(ReplicaId::new(NodeId(u64::MAX), u32::MAX), u64::MAX);

/// Roughly what an event takes beside its range, in two trees that are half full.
const EVENT_WEIGHT: usize = 120;
/// Once there are too many, one in so many is forgotten as well. Guess.
const SPARE: usize = 16;

fn weight(range: &Range) -> usize {
    let bytes = |within: &Within| if let Within::Row(_, field) = within { field.len() } else { 0 };
    size_of::<Range>()
        + match range {
            Range::Row(row) => row.key.len() + row.field.len(),
            Range::Key(key) => key.len(),
            Range::Slice { after, through } => after.iter().chain(through).map(|cut| cut.key.len() + bytes(&cut.within)).sum(),
        }
}

impl Recent {
    pub(super) fn len(&self) -> usize {
        self.by_dot.len()
    }

    /// Roughly what all of them take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, dot: &Dot) -> Option<&Range> {
        self.by_dot.get(dot).map(|(_, range)| &**range)
    }

    /// Whether all of the events are remembered.
    pub(super) fn has_all(&self, events: &CausalContext) -> bool {
        events.runs().all(|(replica, run)| {
            let (from, to) = (Dot::new(replica, *run.start()), Dot::new(replica, *run.end()));
            self.by_dot.range(from..=to).zip(run).all(|((dot, _), counter)| dot.counter == counter) && self.by_dot.contains_key(&to)
        })
    }

    /// The ranges after `after` of the events, in their order, each with those of the events that lie in it.
    pub(super) fn ranges_of<'a>(&'a self, events: &'a CausalContext, after: Option<&Range>) -> impl Iterator<Item = (&'a Range, Vec<Dot>)> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded((Arc::new(after.clone()), LAST)));
        let mut found = self.by_range.range((from, Bound::Unbounded)).filter(|(_, dot)| events.contains(*dot)).peekable();
        std::iter::from_fn(move || {
            let (range, dot) = found.next()?;
            let mut dots = vec![*dot];
            while let Some((_, dot)) = found.next_if(|(other, _)| other == range) {
                dots.push(*dot);
            }
            Some((&**range, dots))
        })
    }

    pub(super) fn dots(&self) -> impl Iterator<Item = &Dot> {
        self.by_dot.keys()
    }

    /// Events whose effect lies in just this range.
    pub(super) fn within(&self, range: &Range) -> Vec<Dot> {
        self.in_range(&Arc::new(range.clone())).map(|(_, dot)| *dot).collect()
    }

    /// Some of the events whose effect lies in a key or in the whole partition, `max` at the most.
    pub(super) fn some_within(&self, range: &Range, max: usize) -> Vec<Dot> {
        let from = if let Range::Key(key) = range { Range::first_row_of(key.clone()) } else { Range::first_row_of(Bytes::new()) };
        let held = self.by_range.range((Arc::new(from), FIRST)..).map(|(held, dot)| (&**held, *dot));
        let rows = held.take_while(|(held, _)| matches!(held, Range::Row(row) if range.contains(row)));
        rows.map(|(_, dot)| dot).take(max).collect()
    }

    fn in_range(&self, range: &Arc<Range>) -> impl Iterator<Item = &(Arc<Range>, Dot)> {
        self.by_range.range((Arc::clone(range), FIRST)..=(Arc::clone(range), LAST))
    }

    /// The number of the next event to arrive.
    pub(super) fn next_arrival(&self) -> u64 {
        self.arrivals + 1
    }

    pub(super) fn insert(&mut self, dot: Dot, arrival: u64, range: Range) {
        self.remove(&dot);
        let range = Arc::new(range);
        let held = self.in_range(&range).next().map(|(held, _)| Arc::clone(held));
        self.bytes += EVENT_WEIGHT + if held.is_some() { 0 } else { weight(&range) };
        let range = held.unwrap_or(range);
        self.arrivals = self.arrivals.max(arrival);
        self.by_range.insert((Arc::clone(&range), dot));
        self.by_dot.insert(dot, (arrival, range));
    }

    fn remove(&mut self, dot: &Dot) {
        if let Some((_, range)) = self.by_dot.remove(dot) {
            self.by_range.remove(&(Arc::clone(&range), *dot));
            self.bytes -= EVENT_WEIGHT;
            if self.in_range(&range).next().is_none() {
                self.bytes -= weight(&range);
            }
        }
    }

    /// Forgets what has become known by all since the last time; returns it. A gap in what is known of one life holds nothing else.
    pub(super) fn forget_known(&mut self, known_by_all: CausalContext) -> Vec<Dot> {
        let mut dots = Vec::new();
        for (replica, run) in known_by_all.missing_runs(&self.known_by_all) {
            let (from, to) = (Dot::new(replica, *run.start()), Dot::new(replica, *run.end()));
            dots.extend(self.by_dot.range(from..=to).map(|(dot, _)| *dot));
        }
        self.known_by_all = known_by_all;
        for dot in &dots {
            self.remove(dot);
        }
        dots
    }

    /// Whether all were known to know the event the last time that was looked at.
    pub(super) fn is_known_by_all(&self, dot: Dot) -> bool {
        self.known_by_all.contains(dot)
    }

    /// Forgets the oldest beyond so many and so many bytes, and some more, so that it need not look for them each time; returns them.
    pub(super) fn forget_oldest(&mut self, max: usize, bytes_max: usize) -> Vec<Dot> {
        if self.len() <= max && self.bytes <= bytes_max {
            return Vec::new();
        }
        let (max, bytes_max) = (max - max / SPARE, bytes_max - bytes_max / SPARE);
        let mut dots: Vec<(u64, Dot)> = self.by_dot.iter().map(|(dot, (arrival, _))| (*arrival, *dot)).collect();
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
