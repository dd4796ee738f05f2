//! The Raft groups of the cluster, on openraft. Nothing of openraft shows outside this module.
//!
//! The *topology* group runs [`crate::state`]. Every node that is not a voter of it is a learner,
//! so every node reads the topology locally. Every other group has the same voters and no learners:
//! other nodes keep nothing of it and ask its leader. Each group's leader keeps its membership
//! equal to what the topology says. All groups share the node's store and one connection per peer.
//!
//! ```text
//! config            sizes, and where the pace comes from
//! error             why something was not done
//! link              the way to other nodes, provided by the driver
//! codec             messages and records as bytes
//! types             the types openraft is made with, once for all groups
//! machine           what a group decides, as its author writes it
//! topology_machine  the topology as such a machine
//! coordination_machine  locks and their like as such a machine
//! status            what a node says of its part in a group
//! messages          what nodes say to each other
//! log               log, vote and markers in the node's store
//! mark              the hash of a state at one entry
//! hosted            a machine as the engine and its onlookers see it
//! apply             committed entries into the machine; snapshots
//! peer              calls to one other node
//! members           keeps the membership of a group equal to the topology
//! recovery          one survivor as the only voter, offline
//! lives             whether this node may vote
//! fresh             up to where the log must be applied to know what was decided before a moment
//! engine            one group's engine on this node
//! propose           proposals, here or at the leader
//! pulse             the signs of life of all groups at once
//! pace              heartbeats and elections as fast as the network allows
//! hand_over         handing the leadership to another voter
//! witness           a voter that leads only until somebody else can
//! details           what operators want to know; the tail of the log
//! survey            what the voters of a group say of themselves
//! agree             whether all replicas have the same state
//! read              queries at three strengths, here or at another node
//! attend            a part in a group of voters, as long as the node votes
//! serve             answers to other nodes of a group
//! group             a group as its driver holds it
//! registry          this node's part in all groups
//! ```
//!
//! Each file uses only files above it.

mod agree;
mod apply;
mod attend;
mod codec;
mod config;
mod coordination_machine;
mod details;
mod engine;
mod error;
mod fresh;
mod group;
mod hand_over;
mod hosted;
mod link;
mod lives;
mod log;
mod machine;
mod mark;
mod members;
mod messages;
mod pace;
mod peer;
mod propose;
mod pulse;
mod read;
mod recovery;
mod registry;
mod serve;
mod status;
mod survey;
mod topology_machine;
mod types;
mod witness;

pub use config::{ConsensusConfig, ConsensusConfigError, Pace};
pub use details::{FollowerDetails, GroupDetails, LogLine, LogLineKind};
pub use error::{FoundError, HandOverError, OpenError, ProposeError, QueryError};
pub use group::{Boxed, Group};
pub use link::{Link, LinkError};
pub use machine::{GroupId, Machine, ReadLevel};
pub use mark::Mark;
pub use propose::CommitTimes;
pub use recovery::{Recovery, RecoveryError};
pub use registry::{Consensus, ControlGroup, GroupReport};
pub use status::{GroupStatus, Role, VoteTrust};

#[cfg(test)]
mod tests;
