//! Causality and convergent replicated values: no I/O, no async.

pub mod causal;
pub mod clock;
pub mod id;

pub use causal::{CausalContext, DotFun, DotMap, DotSet, DotStore, Observed};
pub use clock::{ClockConfigError, DRIFT_DEFAULT, DriftTooLarge, Hlc, HybridClock, Now, Stamp, StampOutOfRange};
pub use id::{Dot, NodeId, ReplicaId};
