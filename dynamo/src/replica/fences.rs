//! The fences of a replica: below which rank it refuses requests, lock by lock.
//!
//! **Law:** fences only rise, and two replicas join theirs as a maximum. They are as durable as the
//! rows, travel with every report, and are never dropped while a request that they refuse could
//! still arrive: only below the *floor*, which refuses all that a dropped fence had refused.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fence::{LockId, Rank};
use crate::planted;

/// Below which rank requests are refused.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Fences {
    /// Every token below this is refused, whatever its lock.
    floor: u64,
    /// For each lock, the lowest rank that is admitted.
    by_lock: BTreeMap<LockId, Rank>,
    /// How often any of it was raised since it was read from disk.
    #[serde(skip)]
    raised: u64,
}

impl PartialEq for Fences {
    fn eq(&self, other: &Self) -> bool {
        (self.floor, &self.by_lock) == (other.floor, &other.by_lock)
    }
}

impl Eq for Fences {}

impl Fences {
    /// The lowest rank that is admitted under a lock.
    pub fn of(&self, lock: LockId) -> Rank {
        let own = self.by_lock.get(&lock).copied().unwrap_or_default();
        own.max(Rank::of(self.floor, 0))
    }

    /// How many locks have a fence.
    pub fn len(&self) -> usize {
        self.by_lock.len()
    }

    /// Whether any lock has a fence.
    pub(super) fn names_locks(&self) -> bool {
        !self.by_lock.is_empty()
    }

    /// Whether nothing is refused.
    pub fn is_empty(&self) -> bool {
        self.floor == 0 && self.by_lock.is_empty()
    }

    /// Every token below this is refused.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// How often any of them was raised since they were read from disk.
    pub fn raised(&self) -> u64 {
        self.raised
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LockId, Rank)> + '_ {
        self.by_lock.iter().map(|(lock, rank)| (*lock, *rank))
    }

    pub(super) fn restore(&mut self, lock: LockId, rank: Rank) {
        self.by_lock.insert(lock, rank);
    }

    pub(super) fn restore_floor(&mut self, floor: u64) {
        self.floor = floor;
    }

    pub(super) fn knows(&self, lock: LockId) -> bool {
        self.by_lock.contains_key(&lock)
    }

    /// Raises the fence of a lock. Returns whether it was lower.
    pub(super) fn raise(&mut self, lock: LockId, rank: Rank) -> bool {
        let lower = rank > self.of(lock);
        if lower {
            self.by_lock.insert(lock, rank);
            self.raised += 1;
        }
        lower
    }

    /// Raises the floor. Returns the locks whose fences are no longer needed; `None` if it was not
    /// lower.
    pub(super) fn raise_floor(&mut self, floor: u64) -> Option<Vec<LockId>> {
        if floor <= self.floor {
            return None;
        }
        self.floor = floor;
        self.raised += 1;
        if planted::NEVER_COLLECTED.is_planted() {
            return Some(Vec::new());
        }
        let below = |_: &LockId, rank: &mut Rank| rank.token < floor;
        let gone = self.by_lock.extract_if(.., below);
        Some(gone.map(|(lock, _)| lock).collect())
    }
}
