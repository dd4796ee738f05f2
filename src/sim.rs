//! Whole clusters in virtual time: every behaviour can be replayed from its seed.

pub mod disk;
pub mod network;
pub mod trace;
