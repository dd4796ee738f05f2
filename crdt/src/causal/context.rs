//! The exact set of events that a replica has seen: a version vector with exceptions.

mod seen;
mod wire;

#[cfg(test)]
mod tests;

use core::fmt;
use core::ops::RangeInclusive;

use smallvec::SmallVec;

use self::seen::{Run, Seen};
use crate::{Dot, ReplicaId};

/// An exact set of [`Dot`]s: for each replica a prefix `1..=n` and the sorted runs above it.
///
/// **Invariants:** canonical, so equal sets are equal values with equal hashes and equal bytes.
/// Replicas ascend. Runs ascend, are disjoint and do not touch. A replica of which nothing was seen
/// has no entry. A counter of 0 names no event: it is never contained, and inserting it changes
/// nothing.
///
/// Unlike a version vector, it can say "event 7 but not 6". So deltas may arrive in any order, or
/// not at all, and an event that never came never counts as seen.
///
/// The encoding is canonical, with every number relative to the one before it. Counters from 2^63
/// on do not decode, so that no sender can use up a replica's counters.
///
/// A single replica, such as the writer of a delta, is held without an allocation. Inserting the
/// next counter never allocates.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct CausalContext {
    replicas: SmallVec<[Seen; 1]>,
}

/// The index of a replica (`Ok`), or the index to insert it at (`Err`).
pub(crate) type Place = Result<usize, usize>;

/// Something that knows which events have been seen: a context, or the union of two without
/// building it.
pub trait Observed {
    /// Whether the event `dot` is known here, whether or not its effect is still visible.
    fn has_seen(&self, dot: Dot) -> bool;

    /// Visits the events seen, run by run, and returns true; or visits nothing and returns false,
    /// if this can only be asked dot by dot. With the runs of a small delta, a join need not search
    /// all of a large store.
    fn visit_runs(&self, _visit: &mut impl FnMut(ReplicaId, RangeInclusive<u64>)) -> bool {
        false
    }
}

impl CausalContext {
    /// The empty set: the context of a replica that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether no event at all has been seen.
    pub fn is_empty(&self) -> bool {
        self.replicas.is_empty()
    }

    /// Whether the event was seen. O(log replicas + log gaps).
    #[inline]
    pub fn contains(&self, dot: Dot) -> bool {
        self.of(dot.replica)
            .is_some_and(|seen| seen.contains(dot.counter))
    }

    /// Adds one event and says whether it was new.
    #[inline]
    pub fn insert(&mut self, dot: Dot) -> bool {
        self.insert_run(dot.replica, dot.counter, dot.counter)
    }

    /// Adds the events `first..=last` of one replica and says whether any was new. An empty run
    /// changes nothing.
    #[inline]
    pub fn insert_run(&mut self, replica: ReplicaId, first: u64, last: u64) -> bool {
        self.insert_run_at(self.place(replica), replica, first, last)
    }

    /// [`insert_run`](Self::insert_run) with the [`place`](Self::place) of the replica already
    /// known.
    #[inline]
    pub(crate) fn insert_run_at(
        &mut self,
        place: Place,
        replica: ReplicaId,
        first: u64,
        last: u64,
    ) -> bool {
        let first = first.max(1);
        if first > last {
            return false;
        }
        match place {
            Ok(at) => self.replicas[at].insert_run(first, last),
            Err(at) => {
                self.replicas
                    .insert(at, Seen::only(replica, Run { first, last }));
                true
            }
        }
    }

    /// The place of the replica; valid until another replica is inserted or removed.
    #[inline]
    pub(crate) fn place(&self, replica: ReplicaId) -> Place {
        self.replicas
            .binary_search_by(|seen| seen.replica.cmp(&replica))
    }

    /// [`max`](Self::max) with the [`place`](Self::place) of the replica already known.
    #[inline]
    pub(crate) fn max_at(&self, place: Place) -> u64 {
        place.map_or(0, |at| self.replicas[at].max())
    }

    /// Adds all events that `other` has seen and says whether any was new.
    ///
    /// **Law:** the least upper bound under [`covers`](Self::covers): commutative, associative,
    /// idempotent. Linear in both.
    pub fn union(&mut self, other: &Self) -> bool {
        let known = self.replicas.len();
        let mut changed = false;
        let mut at = 0;
        for theirs in &other.replicas {
            while at < known && self.replicas[at].replica < theirs.replica {
                at += 1;
            }
            if at < known && self.replicas[at].replica == theirs.replica {
                changed |= self.replicas[at].union(theirs);
            } else {
                self.replicas.push(theirs.clone());
            }
        }
        if self.replicas.len() > known {
            // Two ascending runs: the stable sort merges them in one pass.
            self.replicas.sort_by_key(|seen| seen.replica);
            changed = true;
        }
        changed
    }

    /// Whether every event that `other` has seen was seen here too: set inclusion, a partial order.
    /// Linear in both.
    pub fn covers(&self, other: &Self) -> bool {
        let mut mine = self.replicas.iter();
        other.replicas.iter().all(|theirs| {
            mine.find(|seen| seen.replica >= theirs.replica)
                .is_some_and(|seen| seen.replica == theirs.replica && seen.covers(theirs))
        })
    }

    /// The events seen here that `other` has not seen, as maximal runs, ascending.
    pub fn missing_runs<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (ReplicaId, RangeInclusive<u64>)> + 'a {
        self.replicas.iter().flat_map(move |mine| {
            let theirs = other.of(mine.replica);
            mine.intervals()
                .flat_map(move |run| seen::gaps_within(theirs, run))
                .map(move |run| (mine.replica, run.first..=run.last))
        })
    }

    /// The events seen here that `other` has not seen, one by one, ascending. There may be
    /// astronomically many: a hostile context can claim 2^64 events in a few bytes. Take a bounded
    /// number, or use [`missing_runs`](Self::missing_runs).
    pub fn missing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Dot> + 'a {
        self.missing_runs(other)
            .flat_map(|(replica, run)| run.map(move |counter| Dot::new(replica, counter)))
    }

    /// The largest `n` such that all of `1..=n` of this replica were seen; 0 if the first was not.
    pub fn prefix(&self, replica: ReplicaId) -> u64 {
        self.of(replica).map_or(0, |seen| seen.prefix)
    }

    /// The largest counter of this replica that was seen, whether or not there are gaps below it; 0
    /// if none.
    #[inline]
    pub fn max(&self, replica: ReplicaId) -> u64 {
        self.max_at(self.place(replica))
    }

    /// All events seen, as maximal runs, ascending.
    pub fn runs(&self) -> impl Iterator<Item = (ReplicaId, RangeInclusive<u64>)> + '_ {
        self.replicas.iter().flat_map(|seen| {
            seen.intervals()
                .map(|run| (seen.replica, run.first..=run.last))
        })
    }

    /// All events seen of one replica, as maximal runs, ascending.
    pub fn runs_of(&self, replica: ReplicaId) -> impl Iterator<Item = RangeInclusive<u64>> + '_ {
        self.of(replica)
            .into_iter()
            .flat_map(Seen::intervals)
            .map(|run| run.first..=run.last)
    }

    /// Which of the 64 counters from `64 * word` on were seen of this replica, lowest bit first.
    pub fn word(&self, replica: ReplicaId, word: u64) -> u64 {
        self.of(replica).map_or(0, |seen| seen.word(word))
    }

    /// The events that both have seen. Linear in the runs of both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::new();
        for mine in &self.replicas {
            let Some(theirs) = other.of(mine.replica) else {
                continue;
            };
            let mut theirs = theirs.intervals().peekable();
            for run in mine.intervals() {
                while theirs.next_if(|other| other.last < run.first).is_some() {}
                while let Some(other) = theirs
                    .peek()
                    .copied()
                    .filter(|other| other.first <= run.last)
                {
                    both.insert_run(
                        mine.replica,
                        run.first.max(other.first),
                        run.last.min(other.last),
                    );
                    if other.last > run.last {
                        break;
                    }
                    theirs.next();
                }
            }
        }
        both
    }

    /// The events seen here that `other` has not seen, as a set. Linear in the runs of both.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = Self::new();
        for (replica, run) in self.missing_runs(other) {
            rest.insert_run(replica, *run.start(), *run.end());
        }
        rest
    }

    /// The replicas of which at least one event was seen, ascending.
    pub fn replicas(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.replicas.iter().map(|seen| seen.replica)
    }

    /// Whether some event is missing below one that was seen. Without gaps, the context is a plain
    /// version vector.
    pub fn has_gaps(&self) -> bool {
        self.replicas.iter().any(Seen::has_gaps)
    }

    /// Forgets a replica and says whether it was known. Only for a closed id whose events every
    /// replica has seen: a forgotten event that comes back counts as new.
    pub fn remove_replica(&mut self, replica: ReplicaId) -> bool {
        self.place(replica)
            .map(|at| self.replicas.remove(at))
            .is_ok()
    }

    /// How many events were seen, saturating at `u64::MAX`.
    pub fn event_count(&self) -> u64 {
        self.replicas
            .iter()
            .flat_map(Seen::intervals)
            .fold(0, |sum, run| {
                sum.saturating_add((run.last - run.first).saturating_add(1))
            })
    }

    #[inline]
    fn of(&self, replica: ReplicaId) -> Option<&Seen> {
        self.place(replica).ok().map(|at| &self.replicas[at])
    }
}

impl Observed for CausalContext {
    fn has_seen(&self, dot: Dot) -> bool {
        self.contains(dot)
    }

    fn visit_runs(&self, visit: &mut impl FnMut(ReplicaId, RangeInclusive<u64>)) -> bool {
        for seen in &self.replicas {
            seen.intervals()
                .for_each(|run| visit(seen.replica, run.first..=run.last));
        }
        true
    }
}

impl<T: Observed> Observed for &T {
    fn has_seen(&self, dot: Dot) -> bool {
        (**self).has_seen(dot)
    }

    fn visit_runs(&self, visit: &mut impl FnMut(ReplicaId, RangeInclusive<u64>)) -> bool {
        (**self).visit_runs(visit)
    }
}

/// The union: what either has seen.
impl<A: Observed, B: Observed> Observed for (A, B) {
    fn has_seen(&self, dot: Dot) -> bool {
        self.0.has_seen(dot) || self.1.has_seen(dot)
    }
}

/// `{n1.0: 1..=4, 7..=9}`: one line, because it appears in every failed assertion of the protocol
/// tests.
impl fmt::Debug for CausalContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (n, seen) in self.replicas.iter().enumerate() {
            write!(f, "{}{:?}: ", if n > 0 { "; " } else { "" }, seen.replica)?;
            for (n, run) in seen.intervals().enumerate() {
                write!(
                    f,
                    "{}{}..={}",
                    if n > 0 { ", " } else { "" },
                    run.first,
                    run.last
                )?;
            }
        }
        f.write_str("}")
    }
}
