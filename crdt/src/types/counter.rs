//! Numbers that many replicas add to.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Lattice, dot_store_by_field};
use crate::{Causal, DotFun, ReplicaId};

/// Counts up and down: per replica what it has added and what it has taken away, both growing (Shapiro et al. 2011).
///
/// **Law:** merging takes the maximum per replica and direction, so nothing is counted twice. It cannot be reset; for
/// that see [`ResetCounter`]. Smaller and faster than that one, because it needs no context.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct PnCounter {
    /// Ascending by replica; never (_, 0, 0).
    tallies: Vec<(ReplicaId, u128, u128)>,
}

impl PnCounter {
    /// Zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `by` and returns the delta, which carries this replica's total and is therefore safe to repeat.
    pub fn increment(&mut self, replica: ReplicaId, by: u64) -> Self {
        self.count(replica, by, 0)
    }

    /// Takes `by` away and returns the delta.
    pub fn decrement(&mut self, replica: ReplicaId, by: u64) -> Self {
        self.count(replica, 0, by)
    }

    /// The sum over all replicas. Honest counters stay far inside `i128`; forged totals saturate instead of wrapping.
    pub fn value(&self) -> i128 {
        let total = |of: fn(&(ReplicaId, u128, u128)) -> u128| {
            let sum = self.tallies.iter().map(of).fold(0, u128::saturating_add);
            i128::try_from(sum).unwrap_or(i128::MAX)
        };
        total(|tally| tally.1) - total(|tally| tally.2)
    }

    fn count(&mut self, replica: ReplicaId, up: u64, down: u64) -> Self {
        if up == 0 && down == 0 {
            return Self::new();
        }
        let at = self.slot(replica);
        let (_, ups, downs) = &mut self.tallies[at];
        *ups = ups.saturating_add(u128::from(up));
        *downs = downs.saturating_add(u128::from(down));
        Self { tallies: vec![self.tallies[at]] }
    }

    fn slot(&mut self, replica: ReplicaId) -> usize {
        self.tallies.binary_search_by_key(&replica, |tally| tally.0).unwrap_or_else(|at| {
            self.tallies.insert(at, (replica, 0, 0));
            at
        })
    }
}

impl Lattice for PnCounter {
    fn merge(&mut self, other: &Self) -> bool {
        let known = self.tallies.len();
        let mut changed = false;
        let mut at = 0;
        for &(replica, ups, downs) in &other.tallies {
            while at < known && self.tallies[at].0 < replica {
                at += 1;
            }
            if at < known && self.tallies[at].0 == replica {
                let mine = &mut self.tallies[at];
                changed |= ups > mine.1 || downs > mine.2;
                (mine.1, mine.2) = (mine.1.max(ups), mine.2.max(downs));
            } else {
                self.tallies.push((replica, ups, downs));
            }
        }
        if self.tallies.len() > known {
            // Two ascending runs: the stable sort merges them in one pass.
            self.tallies.sort_by_key(|tally| tally.0);
            changed = true;
        }
        changed
    }
}

impl<'de> Deserialize<'de> for PnCounter {
    /// Refuses replicas that do not ascend or have counted nothing.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tallies: Vec<(ReplicaId, u128, u128)> = Vec::deserialize(deserializer)?;
        let ascending = tallies.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !ascending || tallies.iter().any(|&(_, ups, downs)| ups == 0 && downs == 0) {
            return Err(D::Error::custom("replicas do not ascend or have counted nothing"));
        }
        Ok(Self { tallies })
    }
}

/// A counter that can be reset, and can therefore live in a map whose keys can be removed.
///
/// One live entry per replica, holding what that replica has added since it last saw a reset. A reset ends the entries it
/// has seen. An addition concurrent with a reset survives it together with what that replica had added before
/// (Baquero, Almeida, Lerche, "The problem with embedded CRDT counters and a solution", 2016, describes the anomaly).
///
/// Used as `Causal<ResetCounter>`.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResetCounter(DotFun<i128>);

dot_store_by_field! { [] ResetCounter }

impl ResetCounter {
    /// The sum over all replicas; saturates only on forged totals.
    pub fn value(&self) -> i128 {
        self.0.iter().fold(0, |sum, (_, total)| sum.saturating_add(*total))
    }
}

impl Causal<ResetCounter> {
    /// Adds `by`, which may be negative, and returns the delta.
    pub fn add(&mut self, replica: ReplicaId, by: i64) -> Self {
        self.write(|store, context| {
            let dot = context.next(replica);
            let mut total = i128::from(by);
            store.0.retain(|old, value| {
                let mine = old.replica == replica;
                if mine {
                    total = total.saturating_add(*value);
                    context.drops([old]);
                }
                !mine
            });
            store.0.insert(dot, total);
            ResetCounter([(dot, total)].into_iter().collect())
        })
    }

    /// Back to zero, as far as seen here; returns the delta.
    pub fn reset(&mut self) -> Self {
        self.remove_observed()
    }
}
