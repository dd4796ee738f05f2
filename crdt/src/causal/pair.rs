//! A store together with the context it is true in.

use core::mem;
use core::ops::Deref;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::{CausalContext, DotStore};
use crate::types::Lattice;
use crate::{Dot, ReplicaId};

/// A causal value: what is alive, and all that was ever seen. The state of a replica and a delta are the same type.
///
/// **Invariant:** every live dot is in the context; bytes that say otherwise do not decode. Equal values have equal bytes.
///
/// Reads go through [`Deref`] to the store; mutators are defined per store (`Causal<OrSet<T>>::add`, …), change this value
/// in place and return the delta for the others, which may be ignored if full states are exchanged instead.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct Causal<S> {
    pub(crate) store: S,
    pub(crate) context: CausalContext,
}

/// A delta was not merged, because it claims events that this replica never issued: its sender is broken, or this replica
/// has lost its memory and must go on under a new incarnation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("claims event {claimed} of {replica:?}, which has issued {issued}")]
pub struct UnissuedEvents {
    /// This replica.
    pub replica: ReplicaId,
    /// The highest of its events that the delta claims to know.
    pub claimed: u64,
    /// How many it has issued.
    pub issued: u64,
}

/// The context of a write in progress: hands out its dot and collects what its delta must say was seen.
pub(crate) struct Writing<'a> {
    context: &'a mut CausalContext,
    covered: CausalContext,
}

impl<S: DotStore> Causal<S> {
    /// Nothing alive, nothing seen: the bottom of the lattice.
    pub fn new() -> Self {
        Self::default()
    }

    /// All events this value knows of, visible or not.
    pub fn context(&self) -> &CausalContext {
        &self.context
    }

    /// Takes the value apart, for instance to keep many stores under one context.
    pub fn into_parts(self) -> (S, CausalContext) {
        (self.store, self.context)
    }

    /// Merges what a less trusted sender gave to the replica `me`, and says whether that changed anything.
    ///
    /// # Errors
    /// The sender claims events that `me` never issued. Merged, they would hide the events that `me` issues next under the
    /// same dots; so nothing has changed.
    pub fn merge_checked(&mut self, me: ReplicaId, delta: &Self) -> Result<bool, UnissuedEvents> {
        let (claimed, issued) = (delta.context.max(me), self.context.max(me));
        if claimed > issued {
            return Err(UnissuedEvents { replica: me, claimed, issued });
        }
        Ok(self.merge(delta))
    }

    pub(crate) fn write(&mut self, change: impl FnOnce(&mut S, &mut Writing<'_>) -> S) -> Self {
        let mut writing = Writing { context: &mut self.context, covered: CausalContext::new() };
        let store = change(&mut self.store, &mut writing);
        Self { store, context: writing.covered }
    }

    /// Ends all that is alive here. The delta says that it was seen and holds nothing.
    pub(crate) fn remove_observed(&mut self) -> Self {
        let mut context = CausalContext::new();
        mem::take(&mut self.store).dots(&mut |dot| {
            context.insert(dot);
        });
        Self { store: S::default(), context }
    }
}

impl Writing<'_> {
    /// Issues the next event of `replica`.
    pub(crate) fn next(&mut self, replica: ReplicaId) -> Dot {
        let counter = self.context.max(replica).checked_add(1).expect("invariant: contexts are decoded with counters below 2^63");
        let dot = Dot::new(replica, counter);
        self.context.insert(dot);
        self.covered.insert(dot);
        dot
    }

    /// Says that the write overwrites these.
    pub(crate) fn drops(&mut self, dots: impl IntoIterator<Item = Dot>) {
        self.covered.extend(dots);
    }
}

impl<S: DotStore> Lattice for Causal<S> {
    fn merge(&mut self, other: &Self) -> bool {
        let alive = self.store.join(&other.store, &self.context, &other.context);
        let seen = self.context.union(&other.context);
        alive || seen
    }
}

impl<S> Deref for Causal<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.store
    }
}

impl<'de, S: DotStore + Deserialize<'de>> Deserialize<'de> for Causal<S> {
    /// Refuses a store with a dot that its context does not contain.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (store, context): (S, CausalContext) = Deserialize::deserialize(deserializer)?;
        let mut covered = true;
        store.dots(&mut |dot| covered &= context.contains(dot));
        if covered { Ok(Self { store, context }) } else { Err(D::Error::custom("a live dot that was not seen")) }
    }
}
