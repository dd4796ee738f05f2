//! The types that openraft is instantiated with. It happens once, here: what a group decides on is
//! opaque to the engine.

use std::fmt;

use bytes::Bytes;
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};
use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::TokioRuntime;
use quorate_crdt::NodeId;
use serde::{Deserialize, Serialize};

/// Tokio with a seeded generator: under a paused clock, two runs of one seed are equal.
pub(super) type Runtime = DeterministicRng<TokioRuntime>;

/// What one entry of a log decides on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proposal {
    /// How many milliseconds have passed since the entry before of the same leader, by that
    /// leader's clock.
    pub(super) elapsed_ms: u64,
    /// The command, encoded; none if only time passes.
    pub(super) command: Option<Bytes>,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.command.as_ref().map_or(0, Bytes::len);
        write!(f, "{} ms and a command of {bytes} bytes", self.elapsed_ms)
    }
}

openraft::declare_raft_types!(
    /// Nodes are known by their number alone. Their addresses are in the topology, where the link
    /// looks them up.
    pub(super) Types:
        D = Proposal,
        R = Bytes,
        NodeId = NodeId,
        Node = openraft::EmptyNode,
        AsyncRuntime = Runtime,
);

pub(super) type LogId = LogIdOf<Types>;
pub(super) type Vote = VoteOf<Types>;
pub(super) type Membership = StoredMembershipOf<Types>;
pub(super) type Entry = openraft::alias::EntryOf<Types>;
pub(super) type SnapshotMeta = SnapshotMetaOf<Types>;
pub(super) type Snapshot = SnapshotOf<Types, Bytes>;
