//! Which elements were counted most often? A Space-Saving summary per replica.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::codec::{DecodeError, Kind, Reader, Writer};
use crate::types::delegate::without_dots;
use crate::{Changed, Contexts, Crdt, Edit, Key, Lattice, ReplicaId, Tx};

/// Finds the elements that were counted most often, with K counters per replica (Metwally, Agrawal,
/// El Abbadi, "Efficient computation of frequent and top-k elements in data streams", ICDT 2005,
/// the Space-Saving summary; Agarwal et al., "Mergeable summaries", PODS 2012, show that summaries
/// can be added).
///
/// **Bound:** if a replica has counted n in all, it has a counter for every element that it counted
/// more than n / K times. So [`top`](Self::top) misses no element that all replicas together
/// counted more than N / K times, with N the total of all replicas, and no count is too high by
/// more than N / K. [`Counted`] gives the bounds of each count.
///
/// **Law:** a lattice, because only a replica itself changes its summary, and the total of the
/// summary only grows: merging takes the summary with the greater total per replica. Counts are
/// estimates within exact bounds. What grows: K counters per replica that ever counted. The delta
/// of a change is the whole summary of the replica.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TopK<T, const K: usize = 64> {
    replicas: BTreeMap<ReplicaId, Summary<T>>,
}

/// What one replica has counted.
///
/// **Invariant:** at most K counters; their sum is everything counted, and no counter is less than
/// its excess.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Summary<T> {
    counters: BTreeMap<T, Counter>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Counter {
    count: u64,
    /// By how much the count may be too high: the count of the element that held this counter
    /// before.
    excess: u64,
}

/// An element and how often it was counted: at least `at_least` times and at most `at_most` times.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Counted<'a, T> {
    /// The element that was counted.
    pub element: &'a T,
    /// It was counted at least this often.
    pub at_least: u128,
    /// It was counted at most this often.
    pub at_most: u128,
}

impl<T: Ord> Summary<T> {
    /// The total counted. It only grows, and so orders the states of one summary.
    fn total(&self) -> u128 {
        self.counters
            .values()
            .map(|counter| u128::from(counter.count))
            .sum()
    }

    /// How often an element without a counter may have been counted.
    fn missed(&self, size: usize) -> u64 {
        if self.counters.len() < size {
            0
        } else {
            self.counters
                .values()
                .map(|counter| counter.count)
                .min()
                .unwrap_or(0)
        }
    }
}

impl<T: Key> Summary<T> {
    fn add(&mut self, size: usize, element: T, by: u64) -> bool {
        let known = self.counters.get(&element).copied();
        // If all counters are taken, the lowest one changes hands and keeps its count.
        let freed = if known.is_none() && self.counters.len() == size {
            self.counters
                .iter()
                .min_by_key(|(_, counter)| counter.count)
                .map(|(element, counter)| (element.clone(), counter.count))
        } else {
            None
        };
        let inherited = freed.as_ref().map_or(0, |(_, count)| *count);
        let before = known.unwrap_or(Counter {
            count: inherited,
            excess: inherited,
        });
        let Some(count) = before.count.checked_add(by) else {
            return false;
        };
        if let Some((other, _)) = freed {
            self.counters.remove(&other);
        }
        self.counters.insert(element, Counter { count, ..before });
        true
    }
}

impl<T: Key, const K: usize> TopK<T, K> {
    const SIZE: usize = {
        assert!(K > 0, "at least one counter");
        K
    };

    /// At most `limit` elements, those with the highest upper bounds first, ties ascending by
    /// element: the same at every replica. O(replicas · K).
    pub fn top(&self, limit: usize) -> Vec<Counted<'_, T>> {
        let elements: BTreeSet<&T> = self
            .replicas
            .values()
            .flat_map(|summary| summary.counters.keys())
            .collect();
        let mut all: Vec<Counted<'_, T>> = elements
            .into_iter()
            .map(|element| self.count(element))
            .collect();
        all.sort_by_key(|counted| Reverse(counted.at_most));
        all.truncate(limit);
        all
    }

    /// How often an element was counted, whether or not it is among the most frequent. O(replicas ·
    /// log K).
    pub fn count<'a>(&self, element: &'a T) -> Counted<'a, T> {
        let (mut at_least, mut at_most) = (0, 0);
        for summary in self.replicas.values() {
            match summary.counters.get(element) {
                Some(counter) => {
                    at_least += u128::from(counter.count - counter.excess);
                    at_most += u128::from(counter.count);
                }
                None => at_most += u128::from(summary.missed(Self::SIZE)),
            }
        }
        Counted {
            element,
            at_least,
            at_most,
        }
    }

    /// How much was counted in all. Exact.
    pub fn total(&self) -> u128 {
        self.replicas.values().map(Summary::total).sum()
    }
}

impl<T: Key, const K: usize> Edit<'_, TopK<T, K>> {
    /// Counts the element `by` times. O(K). What would raise a counter above `u64::MAX` is not
    /// counted.
    pub fn add(&mut self, tx: &mut Tx<'_>, element: T, by: u64) {
        if by == 0 {
            return;
        }
        let (state, delta) = self.parts();
        let summary = state
            .replicas
            .entry(tx.replica())
            .or_insert_with(|| Summary {
                counters: BTreeMap::new(),
            });
        if summary.add(TopK::<T, K>::SIZE, element, by) {
            delta.replicas.insert(tx.replica(), summary.clone());
        }
    }
}

impl<T: Key, const K: usize> Lattice for TopK<T, K> {
    fn merge(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (replica, theirs) in &other.replicas {
            if self
                .replicas
                .get(replica)
                .is_none_or(|mine| mine.total() < theirs.total())
            {
                self.replicas.insert(*replica, theirs.clone());
                changed = true;
            }
        }
        changed
    }
}

impl<T: Key, const K: usize> Crdt for TopK<T, K> {
    without_dots!(|tag| {
        tag.kind(Kind::TopK);
        tag.size(K);
    });
    type Effects = Changed;

    fn join(&mut self, theirs: &Self, _: Contexts<'_>) -> Changed {
        Changed(self.merge(theirs))
    }

    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        let total = |sketch: &Self| sketch.replicas.get(&replica).map_or(0, Summary::total);
        let (mine, there) = (total(self), total(theirs));
        there > mine
            || there == mine && theirs.replicas.get(&replica) != self.replicas.get(&replica)
    }

    fn encode(&self, out: &mut Writer) {
        out.number(self.replicas.len() as u64);
        for (replica, summary) in &self.replicas {
            out.value(replica);
            out.number(summary.counters.len() as u64);
            for (element, counter) in &summary.counters {
                out.value(element);
                out.number(counter.count);
                out.number(counter.excess);
            }
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut replicas = BTreeMap::new();
        for _ in 0..input.count()? {
            let replica: ReplicaId = input.value()?;
            if replicas
                .last_key_value()
                .is_some_and(|(before, _)| *before >= replica)
            {
                return Err(DecodeError::Invalid("replicas that do not ascend"));
            }
            replicas.insert(
                replica,
                Summary {
                    counters: decode_counters(input, Self::SIZE)?,
                },
            );
        }
        Ok(Self { replicas })
    }
}

fn decode_counters<T: Key>(
    input: &mut Reader<'_>,
    size: usize,
) -> Result<BTreeMap<T, Counter>, DecodeError> {
    let mut counters = BTreeMap::new();
    let count = input.count()?;
    for _ in 0..count {
        let element: T = input.value()?;
        let counter = Counter {
            count: input.number()?,
            excess: input.number()?,
        };
        if counters
            .last_key_value()
            .is_some_and(|(before, _)| *before >= element)
            || counter.count <= counter.excess
        {
            return Err(DecodeError::Invalid(
                "elements that do not ascend, or were not counted",
            ));
        }
        counters.insert(element, counter);
    }
    if count == 0 || count > size {
        Err(DecodeError::Invalid("counters of another sketch"))
    } else {
        Ok(counters)
    }
}

impl<T, const K: usize> Default for TopK<T, K> {
    fn default() -> Self {
        Self {
            replicas: BTreeMap::new(),
        }
    }
}
