//! Causality and convergent replicated values: no I/O, no async, no clock reads, no randomness.
//!
//! Replicas change their own copy at any time and exchange what changed. Whatever is lost, repeated or reordered on the
//! way, replicas that have seen the same events hold the same value. Four ideas carry that:
//!
//! - A **lattice** ([`Lattice`]) is a type whose values merge: commutatively, associatively, idempotently. The order and
//!   number of merges then cannot matter.
//! - A **dot** ([`Dot`]) names one event: the n-th of one replica. A replica never issues a dot twice; whoever loses its
//!   memory goes on under a new incarnation of its [`ReplicaId`].
//! - A **context** ([`CausalContext`]) is the exact set of dots seen. What is in the context and not alive in the store was
//!   overwritten or removed, so removals need no tombstones and are never undone by an old message.
//! - A **delta** is a small value of the same type as the state, returned by each mutator: merging it is as good as having
//!   performed the mutation. Send deltas while they arrive, and a full state when in doubt; both are merged alike.
//!
//! ```
//! use quorate_crdt::{Causal, Lattice, NodeId, OrSet, ReplicaId};
//!
//! let (amy, ben) = (ReplicaId::new(NodeId(1), 0), ReplicaId::new(NodeId(2), 0));
//! let (mut at_amy, mut at_ben) = (Causal::<OrSet<&str>>::new(), Causal::<OrSet<&str>>::new());
//! let bread = at_amy.add(amy, "bread");
//! at_ben.merge(&bread);
//! let without = at_ben.remove(&"bread"); // Ben removes what he has seen …
//! let again = at_amy.add(amy, "bread"); //  … while Amy adds it again: adding wins.
//! at_amy.merge(&without);
//! at_ben.merge(&again);
//! assert!(at_amy == at_ben && at_amy.contains(&"bread"));
//! ```
//!
//! The values are in [`types`], what they are made of in [`causal`], time in [`clock`]. All encode with serde, canonically:
//! equal values have equal bytes. Decoding checks every invariant and never panics; [`Causal::merge_checked`] guards
//! against senders that forge events.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod causal;
#[cfg(feature = "std")]
pub mod clock;
pub mod codec;
pub mod id;
#[cfg(feature = "laws")]
pub mod laws;
mod replicated;
mod stamp;
mod sync;
pub mod types;
#[doc(hidden)]
pub mod unknown;
mod value;

pub use causal::{Causal, CausalContext, Delta, DotFun, DotMap, DotSet, MapEffects, Observed, UnissuedEvents};
#[cfg(feature = "std")]
pub use clock::{ClockConfigError, DRIFT_DEFAULT, DriftTooLarge, HybridClock};
pub use codec::{DecodeError, Limits};
pub use id::{Dot, NodeId, ReplicaId};
#[cfg(feature = "derive")]
pub use quorate_crdt_derive::Crdt;
pub use replicated::{Replicated, Tx};
pub use stamp::{Hlc, Now, Stamp, StampOutOfRange};
pub use sync::Summary;
pub use types::{
    Bloom, Bool, BoundedCounter, ClSet, CountMin, Counted, GSet, HyperLogLog, Lex, LwwMap, Max, Min, NodeKey, NotEnoughRights, Pair,
    PairEffects, RwSet, SortedSet, TopK, Tree, TreeEffects, TwoPhaseSet,
};
pub use types::{DwFlag, EwFlag, GCounter, LwwRegister, MvRegister, OrMap, OrSet, PnCounter, ResetCounter, SetEffects};
pub use value::{Changed, Contexts, Crdt, DotStore, Edit, Effects, Key, Lattice, Local, Plain, Schema, Undotted};
