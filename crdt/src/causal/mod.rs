//! Causality: contexts, which say what has been seen, and dot stores, which hold what is alive.
//!
//! A replicated value is a pair (store, context). The context is the exact set of events that the
//! value knows; the store holds those whose effect is still visible. A dot that is in the context
//! but not in the store was overwritten or removed, which is why a removal leaves no tombstone.
//! Rules and names follow Almeida, Shoker, Baquero, "Delta State Replicated Data Types" (arXiv
//! 1603.01529), section 7.

mod context;
mod index;
mod live;
mod pair;
mod ranks;
mod runs;
mod store;

pub(crate) use context::Place;
pub use context::{CausalContext, Observed};
pub(crate) use live::{alive, live_dots};
pub use pair::{Causal, Delta};
pub use ranks::Ranks;
pub use store::{DotFun, DotMap, DotSet, MapEffects};
