//! The Redis face: any Redis client speaks to the node through it.

pub mod client;
