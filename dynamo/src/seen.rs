//! What replicas tell each other of themselves.

use quorate_control::topology::{Epoch, KeyspaceId, Partition};
use quorate_crdt::{CausalContext, ReplicaId};
use serde::{Deserialize, Serialize};

/// Where a message belongs, and the placement it assumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The keyspace.
    pub keyspace: KeyspaceId,
    /// The partition.
    pub partition: Partition,
    /// The epoch of the partition's placement as the sender knows it; a replica that knows another
    /// refuses.
    pub epoch: Epoch,
}

/// One replica's report of what it has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "five facts that are true or not, each on its own"
)]
pub struct Seen {
    /// Which partition, and the placement the replica is fenced by.
    pub place: Place,
    /// The reporting replica.
    pub replica: ReplicaId,
    /// Everything it has seen.
    pub context: CausalContext,
    /// Events that it knows of in some ranges only, and that no stream under way may bring. Empty
    /// in the steady state.
    pub beyond: CausalContext,
    /// Digest of its live rows.
    pub digest: u128,
    /// Whether it is still being filled: it has what it says, but may have forgotten what it
    /// acknowledged.
    pub filling: bool,
    /// Whether it has more than it says: slices of a stream that is under way.
    pub partial: bool,
    /// Whether its rows say just what its context says, so that one with the same context must have
    /// the same digest.
    pub exact: bool,
    /// Whether it asks the receiver what its former lives had seen.
    pub waking: bool,
}
