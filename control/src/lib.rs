//! The Raft group of Quorate and what it decides.

pub mod placement;
pub mod quorum;
pub mod state;
pub mod store;
pub mod topology;
