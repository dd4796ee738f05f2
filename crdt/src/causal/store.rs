//! Dot stores: what is alive under a context.

mod fun;
mod map;
mod set;

#[cfg(test)]
mod tests;

pub use fun::DotFun;
pub use map::DotMap;
pub use set::DotSet;

use super::Observed;
use crate::Dot;

/// What is alive under a context, and how two of them become one.
///
/// A store never says on its own that something is gone: it is gone when its dot has been seen and is not here. So a
/// store is meaningless without the context it is true in, and [`join`](Self::join) takes both.
pub trait DotStore: Clone + Default {
    /// Whether nothing is alive. An empty store is equal to an absent one.
    fn is_empty(&self) -> bool;

    /// Keeps what both have, what is mine and `their_context` has not seen, and what is theirs and `my_context` has not
    /// seen. Returns whether `self` changed. The caller unites the contexts afterwards.
    ///
    /// **Law:** with the contexts united, a join semilattice (commutative, associative, idempotent) over states that
    /// stem from one history, which is to say: the same dot always stands for the same value.
    fn join(&mut self, theirs: &Self, my_context: &impl Observed, their_context: &impl Observed) -> bool;

    /// Visits every live dot. A dot may be visited more than once if the store holds it under several keys.
    fn dots(&self, visit: &mut impl FnMut(Dot));
}
