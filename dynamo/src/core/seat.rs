//! Which core of which node this is.

use quorate_control::topology::Partition;
use quorate_crdt::NodeId;

/// Which core of which node this is, and in which life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The node.
    pub me: NodeId,
    /// The number under which the node's replicas issue events. The node has never written under it
    /// before, unless its last stop was provably complete.
    pub incarnation: u32,
    /// The number of this core, from 0.
    pub core: u8,
    /// How many cores the node has.
    pub cores: u8,
    /// A number that no other start of any node has drawn. It distinguishes the questions of this
    /// life from all others.
    pub life: u64,
    /// Whether the node returns to a cluster that knows it. A partition that it should hold and has
    /// nothing of must then be filled again.
    pub restarted: bool,
}

impl Seat {
    /// Whether this core owns the partition.
    pub fn owns(&self, partition: Partition) -> bool {
        partition.0 % u16::from(self.cores.max(1)) == u16::from(self.core)
    }
}
