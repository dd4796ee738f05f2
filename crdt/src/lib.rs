//! Causality and convergent replicated values: no I/O, no async.

pub mod id;

pub use id::{Dot, NodeId, ReplicaId};
