//! One value, overwritten.

use serde::{Deserialize, Serialize};

use crate::causal::DotFun;
use crate::codec::Kind;
use crate::value::{dot_store_by_field, undotted};
use crate::{Edit, Lattice, Plain, ReplicaId, Stamp, Tx};

/// The last writer wins: the value with the greatest [`Stamp`]; between equal stamps the greater
/// value (Johnson & Thomas, RFC 677).
///
/// **Law:** a total order on (stamp, value), so replicas agree even on two values under one stamp
/// (which a replica that lost its memory can produce). A write is stamped above what it overwrites,
/// so it wins over all it has seen, whatever the clocks say; of concurrent writes one is lost. What
/// grows: nothing.
///
/// It has no dots and can therefore not be removed from a map; see [`LwwMap`](crate::LwwMap) and
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
    /// The value that stands; `None` only before the first write.
    pub fn get(&self) -> Option<&T> {
        self.latest.as_ref().map(|(_, value)| value)
    }

    /// The stamp under which it was written.
    pub fn stamp(&self) -> Option<Stamp> {
        self.latest.as_ref().map(|(stamp, _)| *stamp)
    }
}

impl<T: Plain + Ord> Edit<'_, LwwRegister<T>> {
    /// Writes the value, above all that stands here, unless that has the last of all stamps, in the
    /// year 2109, as only a forger gives it: see
    /// [`Replicated::merge_at`](crate::Replicated::merge_at).
    pub fn set(&mut self, tx: &mut Tx<'_>, value: T) {
        let (state, delta) = self.parts();
        let written = Some((tx.stamp_after(state.stamp()), value));
        // Above the last of all stamps there is none: then the greater value stands, here as
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

/// Keeps concurrent values side by side until a write that has seen them replaces them (delta
/// paper, section 7.3).
///
/// What grows: nothing but the context; there are as many siblings as concurrent writes that
/// nothing has seen yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MvRegister<T>(DotFun<T>);

dot_store_by_field! { [T: Plain] MvRegister<T>, DotFun<T>, |tag| tag.kind(Kind::MvRegister) }

impl<T: Clone> MvRegister<T> {
    /// The siblings, in an order that is the same at every replica: none before the first write,
    /// several only after concurrent ones.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }

    /// The value, if there is one and only one.
    pub fn get(&self) -> Option<&T> {
        let mut values = self.values();
        values.next().filter(|_| values.len() == 0)
    }
}

impl<T: Plain> Edit<'_, MvRegister<T>> {
    /// Replaces all siblings seen here.
    pub fn set(&mut self, tx: &mut Tx<'_>, value: T) {
        self.clear(tx);
        let dot = tx.issue();
        let (state, delta) = self.parts();
        state.0.insert(dot, value.clone());
        delta.0.insert(dot, value);
    }

    /// Removes all siblings seen here. Values written concurrently elsewhere stay.
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
