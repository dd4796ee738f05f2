//! The types that openraft is instantiated with. It happens once, here.

use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};
use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::TokioRuntime;
use quorate_crdt::NodeId;

use crate::state::{Command, Response};

/// Tokio with a seeded generator: under a paused clock, two runs of one seed are equal.
pub(super) type Runtime = DeterministicRng<TokioRuntime>;

openraft::declare_raft_types!(
    /// Nodes are known by their number alone. Their addresses are in the topology, where the link
    /// looks them up.
    pub(super) Types:
        D = Command,
        R = Response,
        NodeId = NodeId,
        Node = openraft::EmptyNode,
        AsyncRuntime = Runtime,
);

pub(super) type LogId = LogIdOf<Types>;
pub(super) type Vote = VoteOf<Types>;
pub(super) type Membership = StoredMembershipOf<Types>;
pub(super) type Entry = openraft::alias::EntryOf<Types>;
pub(super) type SnapshotMeta = SnapshotMetaOf<Types>;
pub(super) type Snapshot = SnapshotOf<Types, bytes::Bytes>;
