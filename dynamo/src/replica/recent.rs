//! Events that some primary may not know yet, and where their effect lies.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use quorate_crdt::{CausalContext, Dot};

use super::range::{Range, Within};
use crate::planted;

/// The events, oldest first by when they came here: beyond its bound a replica forgets those, whoever issued them, because most replicas
/// have had the longest time to learn them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recent {
    by_dot: BTreeMap<Dot, (u64, Range)>,
    by_arrival: BTreeMap<u64, Dot>,
    bytes: usize,
    /// What was known by all the last time that was looked at. None of it is kept.
    known_by_all: CausalContext,
}

fn weight(range: &Range) -> usize {
    let bytes = |within: &Within| if let Within::Row(_, field) = within { field.len() } else { 0 };
    160 + match range {
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
        self.by_dot.get(dot).map(|(_, range)| range)
    }

    pub(super) fn dots(&self) -> impl Iterator<Item = &Dot> {
        self.by_dot.keys()
    }

    /// Events whose effect lies in just this range.
    pub(super) fn within(&self, range: &Range) -> Vec<Dot> {
        self.by_dot.iter().filter(|(_, (_, held))| held == range).map(|(dot, _)| *dot).collect()
    }

    /// The number of the next event to arrive.
    pub(super) fn next_arrival(&self) -> u64 {
        self.by_arrival.last_key_value().map_or(1, |(last, _)| last + 1)
    }

    pub(super) fn insert(&mut self, dot: Dot, arrival: u64, range: Range) {
        self.remove(&dot);
        self.bytes += weight(&range);
        self.by_arrival.insert(arrival, dot);
        self.by_dot.insert(dot, (arrival, range));
    }

    fn remove(&mut self, dot: &Dot) {
        if let Some((arrival, range)) = self.by_dot.remove(dot) {
            self.by_arrival.remove(&arrival);
            self.bytes -= weight(&range);
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

    /// Forgets the oldest beyond so many and so many bytes; returns them.
    pub(super) fn forget_oldest(&mut self, max: usize, bytes_max: usize) -> Vec<Dot> {
        let mut dots = Vec::new();
        while self.len() > max || self.bytes > bytes_max {
            let oldest = if planted::RECENT_DROPS_LOWEST.is_planted() {
                self.by_dot.first_key_value().map(|(dot, _)| *dot)
            } else {
                self.by_arrival.first_key_value().map(|(_, dot)| *dot)
            };
            let Some(dot) = oldest else { break };
            self.remove(&dot);
            dots.push(dot);
        }
        dots
    }
}
