//! The Raft group that runs [`crate::state`], on openraft. Nothing of openraft shows outside this
//! module.
//!
//! Voters decide. Every other node is a learner, so every node reads the topology locally. The
//! leader keeps the group's membership equal to what the topology says.
//!
//! ```text
//! config      times and sizes
//! error       why something was not done
//! link        the way to other nodes, provided by the driver
//! codec       messages and records as bytes
//! types       the types openraft is made with
//! messages    what nodes say to each other
//! log         log, vote and markers in the node's store
//! machine     committed entries into the state machine; snapshots; publishing topologies
//! peer        calls to one other node
//! members     keeps the Raft membership equal to the topology
//! recovery    one survivor as the only voter, offline
//! lives       whether this node may vote
//! group       this node's part, as its driver holds it
//! propose     proposals, here or at the leader
//! serve       answers to other nodes
//! ```
//!
//! Each file uses only files above it.

mod codec;
mod config;
mod error;
mod group;
mod link;
mod lives;
mod log;
mod machine;
mod members;
mod messages;
mod peer;
mod propose;
mod recovery;
mod serve;
mod types;

pub use config::{ConsensusConfig, ConsensusConfigError};
pub use error::{FoundError, OpenError, ProposeError};
pub use group::{Boxed, ControlGroup, ControlStatus, Role};
pub use link::{Link, LinkError};
pub use lives::VoteTrust;
pub use recovery::{Recovery, RecoveryError};

#[cfg(test)]
mod tests;
