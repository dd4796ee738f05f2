//! The replicated values: each a thin reading of a dot store, or a lattice of its own.
//!
//! | type | concurrent writes | what a reader sees | what stays for ever |
//! |---|---|---|---|
//! | [`LwwRegister`] | the greater stamp wins, then the greater value | one value | nothing else |
//! | [`MvRegister`] | all are kept until a write has seen them | all siblings | nothing else |
//! | [`PnCounter`] | all count | the sum | one entry per replica that ever wrote |
//! | [`ResetCounter`] | all count; a reset ends what it has seen | the sum | nothing after a reset |
//! | [`EwFlag`] | enabling wins | up or down | nothing |
//! | [`OrSet`] | adding wins | the elements | nothing of removed elements |
//! | [`OrMap`] | updating wins over removal | the keys and their values | nothing of removed keys |
//!
//! The causal ones (all but the first and the third) live in a [`Causal`](crate::Causal), whose context adds one number per replica that
//! ever wrote.

#![expect(clippy::return_self_not_must_use, reason = "a delta may be ignored where full states are exchanged")]

mod counter;
mod flag;
mod map;
mod register;
mod set;

pub use counter::{PnCounter, ResetCounter};
pub use flag::EwFlag;
pub use map::OrMap;
pub use register::{LwwRegister, MvRegister};
pub use set::OrSet;

/// A join semilattice: values that replicas merge until they agree.
pub trait Lattice {
    /// Makes `self` the least upper bound of both and says whether that changed it.
    ///
    /// **Laws**, over values that stem from one history (no two writers share a replica id): commutative, associative,
    /// idempotent; monotone, which is to say that merging either operand again changes nothing; and merging the delta of
    /// a mutation equals performing it. So deltas may be lost, repeated and reordered, and any of them may be replaced by
    /// a full state.
    fn merge(&mut self, other: &Self) -> bool;
}

/// Implements [`DotStore`](crate::DotStore) for a newtype by its only field.
macro_rules! dot_store_by_field {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> $crate::DotStore for $type {
            fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            fn join(&mut self, theirs: &Self, my_context: &impl $crate::Observed, their_context: &impl $crate::Observed) -> bool {
                self.0.join(&theirs.0, my_context, their_context)
            }

            fn dots(&self, visit: &mut impl FnMut($crate::Dot)) {
                $crate::DotStore::dots(&self.0, visit);
            }
        }
    };
}
use dot_store_by_field;
