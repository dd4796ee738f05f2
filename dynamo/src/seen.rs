//! What replicas tell each other about themselves.

use quorate_control::topology::{Epoch, KeyspaceId, Partition};
use quorate_crdt::{CausalContext, ReplicaId};
use serde::{Deserialize, Serialize};

use crate::replica::Fences;

/// A partition of a keyspace: where a replica stands, whatever the placement.
pub type At = (KeyspaceId, Partition);

/// The replica that a message is for, and the placement under which it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The keyspace.
    pub keyspace: KeyspaceId,
    /// The partition.
    pub partition: Partition,
    /// The epoch of the partition's placement as the sender knows it. A node that knows another
    /// epoch refuses.
    pub epoch: Epoch,
}

impl Place {
    /// The partition under the placement of `epoch`.
    pub fn new(at: At, epoch: Epoch) -> Self {
        Self {
            keyspace: at.0,
            partition: at.1,
            epoch,
        }
    }

    /// The partition, whatever its placement.
    pub fn at(self) -> At {
        (self.keyspace, self.partition)
    }
}

/// One replica's report of what it has seen. Unlike `Heard`, which a receiver keeps, it says what
/// is true when it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "five facts that are true or not, each on its own"
)]
pub struct Seen {
    /// The partition, and the placement that the replica acts under.
    pub place: Place,
    /// The replica that reports.
    pub replica: ReplicaId,
    /// All events that it has seen.
    pub context: CausalContext,
    /// Events that it knows of and has not seen, and that no stream in progress may still bring.
    /// Empty in the steady state.
    pub beyond: CausalContext,
    /// Digest of its live rows.
    pub digest: u128,
    /// Whether it is still being filled: it has what it reports, but may have lost what it once
    /// acknowledged.
    pub filling: bool,
    /// Whether it has more than it reports: slices of a stream in progress.
    pub partial: bool,
    /// Whether its rows are exactly what its context says. Two such replicas with equal contexts
    /// must have equal digests.
    pub exact: bool,
    /// Whether it asks the receiver what its former lives had seen.
    pub waking: bool,
    /// What others have told it about its former lives, as long as it has not seen it. Empty in the
    /// steady state.
    pub former: CausalContext,
    /// The receiving node's replica, as far as the sender has heard of it. What was sent to an
    /// earlier one may be older than what that one has acknowledged.
    pub to: Option<ReplicaId>,
    /// What it says about locks; `None` if it has heard of none.
    pub fencing: Option<Box<Fencing>>,
}

/// What a replica says about locks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fencing {
    /// Below which rank it refuses requests.
    pub fences: Fences,
    /// The replicas of the other holders, as far as it has heard of them. It takes nothing any more
    /// from those that were there before. Empty if nothing but the lowest token is known here.
    pub lives: Vec<ReplicaId>,
}
