//! Partitions, quorums and repair: the leaderless data plane of Quorate, pure.
//!
//! [`Dynamo`] is the core: [`Input`](protocol::Input)s in, [`Effect`](protocol::Effect)s out, time
//! as an argument, the disk as batches to apply. [`replica::Replica`] is what it replicates,
//! [`preference`] decides whom a request asks, [`op`] is what clients may say.

mod core;

pub mod consistency;
mod names;
pub mod op;
pub mod planted;
pub mod preference;
pub mod protocol;
mod refusal;
pub mod replica;
mod seen;
mod value;

pub use crate::core::{Counters, Dynamo, HintCounters, Kept, Seat};
pub use consistency::Consistency;
