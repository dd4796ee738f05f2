//! What a node offers to the outside, as traits: [`Data`] takes reads and writes, [`Coordinator`]
//! locks, [`Admin`] changes the cluster, and [`Status`] is what a node knows about it.
//!
//! A face knows these traits and never a node. So the tests of a face can serve it from a map, and
//! the simulator from a node in virtual time.

mod admin;
pub mod backup;
mod consensus;
mod coordination;
mod data;
mod explain;
mod lone;
mod pending;
mod refused;
mod room;
mod shortfall;
mod status;
pub(crate) mod waits;

pub use admin::{
    Admin, KeyspaceChange, KeyspacePlan, KeyspaceSpec, Lost, Member, NodePlan, PlannedMoves,
    RoleIn, TokenInfo, UserChange,
};
pub use consensus::{
    FollowerView, GroupDoor, GroupView, LogEntryView, LogView, QuorumView, StateView, VoterView,
};
pub use coordination::{CoordinationError, Coordinator};
pub(crate) use data::TIMEOUT_MAX;
pub use data::{Data, name_of, short_name_of};
pub use explain::{Explanation, HeldEntry, HeldKey, HeldRow, Holding, Printable};
pub use lone::LoneCoordinator;
pub use pending::Pending;
pub use refused::AdminError;
pub use room::Room;
pub use shortfall::Shortfall;
pub(crate) use status::bytes;
pub use status::{
    AccessKind, ControlView, Defaults, KeyspaceStatus, LackReason, Lacking, Levels, Load, Moving,
    NodeState, NodeStatus, Status, Unmet, WaitReason, Waiting,
};
