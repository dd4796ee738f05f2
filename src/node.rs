//! A whole node: shards, planes and disk, put together.
//!
//! Production starts nodes with [`Node::start`]; the simulator assembles the same parts over a
//! network, disk and clock of its own.

mod adopted;
mod assembly;
mod clock;
mod commits;
mod control;
mod disk;
mod doors;
mod embed;
mod guard;
mod hub;
mod members;
mod membership;
mod meter;
mod origin;
mod release;
mod running;
mod shard;
mod start;
mod status;
mod watched;

pub(crate) use adopted::{keep_granted, last_kept};
pub use assembly::{NodeParts, ShardRun};
pub use clock::{Clock, SystemClock};
pub(crate) use embed::{Begun, Setting, Started};
pub use running::DiskGauge;
pub use start::{Node, Options, StartError};
pub use watched::{Onlooker, Queues};
