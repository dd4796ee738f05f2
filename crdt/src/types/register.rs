//! One value, overwritten.

use serde::{Deserialize, Serialize};

use super::{Lattice, dot_store_by_field};
use crate::{Causal, DotFun, ReplicaId, Stamp};

/// The last writer wins: the value with the greatest [`Stamp`]; between equal stamps the greater value.
///
/// **Law:** a total order on (stamp, value), so replicas agree even on two values under one stamp (which a replica that
/// lost its memory can produce). State and delta alike; a delta is the register with the new value.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct LwwRegister<T> {
    latest: Option<(Stamp, T)>,
}

impl<T: Ord + Clone> LwwRegister<T> {
    /// Never written.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes `value` and returns the delta. Has no effect here if what stands is later; take the stamp from
    /// [`HybridClock::tick_after`](crate::HybridClock::tick_after) the one that stands, and it never is.
    pub fn set(&mut self, stamp: Stamp, value: T) -> Self {
        let delta = Self { latest: Some((stamp, value)) };
        self.merge(&delta);
        delta
    }

    /// The value that stands; `None` only before the first write.
    pub fn get(&self) -> Option<&T> {
        self.latest.as_ref().map(|(_, value)| value)
    }

    /// The stamp under which it was written.
    pub fn stamp(&self) -> Option<Stamp> {
        self.latest.as_ref().map(|(stamp, _)| *stamp)
    }
}

impl<T> Default for LwwRegister<T> {
    fn default() -> Self {
        Self { latest: None }
    }
}

impl<T: Ord + Clone> Lattice for LwwRegister<T> {
    fn merge(&mut self, other: &Self) -> bool {
        let later = other.latest > self.latest;
        if later {
            self.latest.clone_from(&other.latest);
        }
        later
    }
}

/// Keeps concurrent values side by side until a write that has seen them replaces them.
///
/// Used as `Causal<MvRegister<T>>`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "T: Clone + Deserialize<'de>"))]
pub struct MvRegister<T>(DotFun<T>);

dot_store_by_field! { [T: Clone] MvRegister<T> }

impl<T: Clone> MvRegister<T> {
    /// The siblings, in an order that is the same at every replica: none before the first write, several only after
    /// concurrent ones.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }
}

impl<T: Clone> Causal<MvRegister<T>> {
    /// Replaces all siblings seen here and returns the delta.
    pub fn set(&mut self, replica: ReplicaId, value: T) -> Self {
        self.write(|store, context| {
            let dot = context.next(replica);
            context.drops(store.0.drain().map(|(dot, _)| dot));
            store.0.insert(dot, value.clone());
            MvRegister([(dot, value)].into_iter().collect())
        })
    }

    /// Removes all siblings seen here and returns the delta. Values written concurrently elsewhere stay.
    pub fn clear(&mut self) -> Self {
        self.remove_observed()
    }
}

impl<T> Default for MvRegister<T> {
    fn default() -> Self {
        Self(DotFun::default())
    }
}
