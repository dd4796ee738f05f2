//! Registers: one value, overwritten.

use serde::{Deserialize, Serialize};

use crate::causal::DotFun;
use crate::codec::Kind;
use crate::value::{dot_store_by_field, undotted};
use crate::{Edit, Lattice, Plain, ReplicaId, Stamp, Tx};

/// A register in which the last writer wins: the value with the greatest [`Stamp`], and among equal
/// stamps the greatest value (Johnson & Thomas, RFC 677). For example, Amy writes 1 and Ben, a
/// moment later, writes 2 without having seen it: both see 2, and 1 is lost.
///
/// **Law:** (stamp, value) is totally ordered, so replicas agree even on two values under one
/// stamp, which a replica that lost its memory can produce. A write gets a stamp above what it
/// overwrites, so it wins over everything it has seen, whatever the clocks say. Of concurrent
/// writes, all but one are lost. What grows: nothing.
///
/// The register has no dots, so it cannot be removed from a map; see [`LwwMap`](crate::LwwMap) and
/// [`MvRegister`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct LwwRegister<T> {
    latest: Option<(Stamp, T)>,
}

undotted! { [T: Plain + Ord] LwwRegister<T>, kind: LwwRegister, valid: |_| true,
    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        theirs.latest > self.latest && theirs.stamp().is_some_and(|stamp| stamp.replica == replica)
    }

    fn stamps(&self, visit: &mut dyn FnMut(Stamp)) {
        self.stamp().into_iter().for_each(visit);
    }
}

impl<T> LwwRegister<T> {
    /// The current value; `None` only before the first write.
    pub fn get(&self) -> Option<&T> {
        self.latest.as_ref().map(|(_, value)| value)
    }

    /// The stamp of the current value.
    pub fn stamp(&self) -> Option<Stamp> {
        self.latest.as_ref().map(|(stamp, _)| *stamp)
    }
}

impl<T: Plain + Ord> Edit<'_, LwwRegister<T>> {
    /// Writes the value, above everything here. The one exception: nothing can be stamped above the
    /// last of all stamps, in the year 2109, which only a forger gives; see
    /// [`Replicated::merge_at`](crate::Replicated::merge_at).
    pub fn set(&mut self, tx: &mut Tx<'_>, value: T) {
        let (state, delta) = self.parts();
        let written = Some((tx.stamp_after(state.stamp()), value));
        // Above the last of all stamps there is none: then the greater value wins, here as
        // everywhere.
        if written > state.latest {
            state.latest = written;
            delta.latest.clone_from(&state.latest);
        }
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

/// A register that keeps concurrent values side by side, as siblings, until a write that has seen
/// them replaces them (Almeida, Shoker, Baquero, arXiv 1603.01529, section 7.3). For example, Amy
/// writes 1 while Ben writes 2: both see the siblings 1 and 2, and the next write replaces both.
///
/// What grows: nothing but the context. There are as many siblings as concurrent writes that no
/// later write has seen.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MvRegister<T>(DotFun<T>);

dot_store_by_field! { [T: Plain] MvRegister<T>, DotFun<T>, |tag| tag.kind(Kind::MvRegister) }

impl<T: Clone> MvRegister<T> {
    /// The siblings, in an order that is the same at every replica. There are none before the first
    /// write and several only after concurrent ones.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }

    /// The value, if there is exactly one.
    pub fn get(&self) -> Option<&T> {
        let mut values = self.values();
        values.next().filter(|_| values.len() == 0)
    }
}

impl<T: Plain> Edit<'_, MvRegister<T>> {
    /// Replaces all siblings that this replica has seen.
    pub fn set(&mut self, tx: &mut Tx<'_>, value: T) {
        self.clear(tx);
        let dot = tx.issue();
        let (state, delta) = self.parts();
        state.0.insert(dot, value.clone());
        delta.0.insert(dot, value);
    }

    /// Removes all siblings that this replica has seen. Values written concurrently elsewhere stay.
    pub fn clear(&mut self, tx: &mut Tx<'_>) {
        let (state, delta) = self.parts();
        state.0.drain().for_each(|(dot, _)| tx.end(dot));
        delta.0.drain().for_each(drop);
    }
}

impl<T> Default for MvRegister<T> {
    fn default() -> Self {
        Self(DotFun::default())
    }
}
