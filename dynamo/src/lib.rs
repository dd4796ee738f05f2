//! Partitions, quorums and repair: the leaderless data plane of Quorate, pure.

pub mod consistency;
pub mod op;

pub use consistency::Consistency;
