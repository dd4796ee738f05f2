//! The Raft group of Quorate and what it decides.

pub mod quorum;
pub mod store;
pub mod topology;
