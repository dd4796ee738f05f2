//! The events seen of one replica: a prefix and the runs above it.

use core::iter;

use smallvec::SmallVec;

use crate::ReplicaId;

/// Up to this many runs of another context are inserted one by one; more are merged in one linear
/// pass.
const FEW_RUNS: usize = 4;

/// The counters `first..=last`; never empty, never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) last: u64,
}

/// **Invariant:** every run starts at least two above the end of what precedes it, or it would be
/// part of it. Prefix and runs are not both empty once the entry is in a context.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    pub(super) replica: ReplicaId,
    pub(super) prefix: u64,
    pub(super) runs: SmallVec<[Run; 1]>,
}

impl Seen {
    /// One run of at least one event.
    #[inline]
    pub(super) fn only(replica: ReplicaId, run: Run) -> Self {
        if run.first == 1 {
            Self {
                replica,
                prefix: run.last,
                runs: SmallVec::new(),
            }
        } else {
            Self {
                replica,
                prefix: 0,
                runs: SmallVec::from_buf([run]),
            }
        }
    }

    pub(super) fn contains(&self, counter: u64) -> bool {
        if counter <= self.prefix {
            return counter > 0;
        }
        let at = self.runs.partition_point(|run| run.last < counter);
        self.runs.get(at).is_some_and(|run| run.first <= counter)
    }

    /// Which of the counters `64 * word .. 64 * word + 63` were seen, lowest bit first.
    pub(super) fn word(&self, word: u64) -> u64 {
        let Some(low) = word.checked_mul(64) else {
            return 0;
        };
        let high = low + 63;
        if low > 0 && high <= self.prefix {
            return u64::MAX;
        }
        let from = self.runs.partition_point(|run| run.last < low);
        let runs = self.runs[from..]
            .iter()
            .take_while(|run| run.first <= high)
            .copied();
        let prefix = (self.prefix > 0 && self.prefix >= low).then_some(Run {
            first: 1,
            last: self.prefix,
        });
        prefix.into_iter().chain(runs).fold(0, |bits, run| {
            bits | mask(run.first.max(low) - low, run.last.min(high) - low)
        })
    }

    pub(super) fn has_gaps(&self) -> bool {
        !self.runs.is_empty()
    }

    #[inline]
    pub(super) fn max(&self) -> u64 {
        self.runs.last().map_or(self.prefix, |run| run.last)
    }

    /// The prefix as a run, then the runs.
    pub(super) fn intervals(&self) -> impl Iterator<Item = Run> + '_ {
        let prefix = (self.prefix > 0).then_some(Run {
            first: 1,
            last: self.prefix,
        });
        prefix.into_iter().chain(self.runs.iter().copied())
    }

    /// Needs `1 <= first <= last`. Says whether any of the events is new.
    #[inline]
    pub(super) fn insert_run(&mut self, first: u64, last: u64) -> bool {
        if last <= self.prefix {
            return false;
        }
        if first - 1 <= self.prefix {
            self.prefix = last;
            if self.has_gaps() {
                self.absorb();
            }
            return true;
        }
        let from = self.runs.partition_point(|run| run.last < first - 1);
        let to = self
            .runs
            .partition_point(|run| run.first <= last.saturating_add(1));
        if from == to {
            self.runs.insert(from, Run { first, last });
            return true;
        }
        let merged = Run {
            first: first.min(self.runs[from].first),
            last: last.max(self.runs[to - 1].last),
        };
        if merged == self.runs[from] {
            return false;
        }
        self.runs[from] = merged;
        self.runs.drain(from + 1..to);
        true
    }

    pub(super) fn union(&mut self, other: &Self) -> bool {
        if !self.has_gaps() && !other.has_gaps() {
            let grows = other.prefix > self.prefix;
            self.prefix = self.prefix.max(other.prefix);
            return grows;
        }
        if self.covers(other) {
            return false;
        }
        if other.runs.len() <= FEW_RUNS {
            if other.prefix > self.prefix {
                self.prefix = other.prefix;
                self.absorb();
            }
            for run in &other.runs {
                self.insert_run(run.first, run.last);
            }
        } else {
            self.prefix = self.prefix.max(other.prefix);
            self.runs.extend(other.runs.iter().copied());
            self.runs.sort_by_key(|run| run.first);
            self.runs.dedup_by(|next, kept| {
                let touches = next.first - 1 <= kept.last;
                if touches {
                    kept.last = kept.last.max(next.last);
                }
                touches
            });
            self.absorb();
        }
        true
    }

    /// Their runs are maximal and so are ours, so each of theirs must lie inside one of ours.
    pub(super) fn covers(&self, other: &Self) -> bool {
        if other.prefix > self.prefix {
            return false;
        }
        let mut mine = self.runs.iter().peekable();
        other
            .runs
            .iter()
            .filter(|run| run.last > self.prefix)
            .all(|theirs| {
                while mine.next_if(|run| run.last < theirs.last).is_some() {}
                mine.peek().is_some_and(|run| run.first <= theirs.first)
            })
    }

    /// Restores the invariant after the prefix has grown: runs that it reaches become part of it.
    fn absorb(&mut self) {
        let mut reached = 0;
        for run in &self.runs {
            if run.first - 1 > self.prefix {
                break;
            }
            self.prefix = self.prefix.max(run.last);
            reached += 1;
        }
        if reached > 0 {
            self.runs.drain(..reached);
        }
    }

    /// The interval that contains `counter`, or else the next one above it.
    fn at_or_after(&self, counter: u64) -> Option<Run> {
        if counter <= self.prefix {
            return Some(Run {
                first: 1,
                last: self.prefix,
            });
        }
        self.runs
            .get(self.runs.partition_point(|run| run.last < counter))
            .copied()
    }
}

/// The bits `first..=last`, both below 64.
pub(super) fn mask(first: u64, last: u64) -> u64 {
    (u64::MAX << first) & (u64::MAX >> (63 - last))
}

/// The parts of `run` that `theirs` has not seen, ascending.
pub(super) fn gaps_within(theirs: Option<&Seen>, run: Run) -> impl Iterator<Item = Run> + '_ {
    let mut cursor = Some(run.first);
    iter::from_fn(move || {
        loop {
            let first = cursor.filter(|&first| first <= run.last)?;
            let Some(seen) = theirs.and_then(|seen| seen.at_or_after(first)) else {
                cursor = None;
                return Some(Run {
                    first,
                    last: run.last,
                });
            };
            cursor = seen.last.checked_add(1);
            if seen.first > first {
                return Some(Run {
                    first,
                    last: run.last.min(seen.first - 1),
                });
            }
        }
    })
}
