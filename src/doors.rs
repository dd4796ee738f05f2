//! What a node offers to whatever stands in front of it, as traits: [`Data`] reads and writes,
//! [`Admin`] changes the cluster, [`Status`] is what a node knows of it.
//!
//! A face knows these and never a node, so that its tests serve from a map and the simulator from
//! a node in virtual time.

mod admin;
mod data;
mod room;
mod status;

pub use admin::{Admin, AdminError, KeyspaceSpec};
pub use data::{Data, Pending, name_of};
pub use room::Room;
pub use status::{KeyspaceStatus, NodeState, NodeStatus, Status};
