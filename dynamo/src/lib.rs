//! The leaderless data plane of Quorate: partitions, quorums and repair. Pure: no I/O, no clock, no
//! randomness of its own.
//!
//! [`Dynamo`] is the core. It takes [`Input`](protocol::Input)s and returns
//! [`Effect`](protocol::Effect)s; time comes in as an argument, and changes for the disk go out as
//! batches. [`replica::Replica`] is the data that it replicates, [`preference`] decides which nodes
//! a request asks, and [`op`] is what clients can ask for.

mod core;

pub mod consistency;
pub mod fence;
#[cfg(test)]
mod fixture;
mod names;
pub mod op;
pub mod planted;
pub mod preference;
pub mod protocol;
mod refusal;
pub mod replica;
mod seen;
mod value;

pub use crate::core::{
    Counters, Dynamo, EntryView, HintCounters, Kept, KeyView, RowView, Seat, SeenOf,
};
pub use consistency::Consistency;
