//! Causality and convergent replicated values: no I/O, no async.

pub mod causal;
pub mod id;

pub use causal::{CausalContext, DotFun, DotMap, DotSet, DotStore, Observed};
pub use id::{Dot, NodeId, ReplicaId};
