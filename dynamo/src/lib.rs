//! Partitions, quorums and repair: the leaderless data plane of Quorate, pure.

pub mod consistency;
pub mod op;
pub mod protocol;
pub mod replica;
mod value;

pub use consistency::Consistency;
