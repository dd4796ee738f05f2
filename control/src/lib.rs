//! The Raft group of Quorate and what it decides.

#[cfg(feature = "consensus")]
pub mod consensus;
pub mod placement;
pub mod planted;
pub mod quorum;
pub mod state;
pub mod store;
pub mod topology;
