//! What a cluster agrees on, and the Raft groups by which it agrees.
//!
//! | module | what it is | who uses it |
//! |---|---|---|
//! | [`topology`] | the decided facts: nodes, keyspaces, who holds each partition; limits and names | everybody |
//! | [`quorum`] | counting answers, also over two replica sets at once | `dynamo`, and `state` |
//! | [`store`] | the disk as the cores see it | everybody who keeps something |
//! | [`state`] | the state machine: commands in, a new topology out | `consensus`, the node |
//! | [`coordinate`] | the state machine of the other group: locks, elections and their like | `consensus`, the node |
//! | `consensus` | the Raft groups that agree on commands (feature `consensus`) | the node |
//!
//! The first three are the ground: they know neither commands nor consensus, and they are all that
//! `dynamo` uses. `state` is pure: it names neither openraft nor tokio, and `consensus` is the only
//! module that does. `coordinate` stands beside it on the same ground; neither knows the other.

#[cfg(feature = "consensus")]
pub mod consensus;
pub mod coordinate;
pub mod planted;
pub mod quorum;
pub mod state;
pub mod store;
pub mod topology;
