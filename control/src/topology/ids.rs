//! The names of clusters, topologies, keyspaces and partitions.

use serde::{Deserialize, Serialize};

/// The version of the [`Topology`](super::Topology): the Raft log index of the command that last
/// changed it. Strictly increasing.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

/// Names a cluster for ever; drawn at random when the cluster is founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

/// Names a keyspace. `SELECT n` takes this number. Never reused after a keyspace is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyspaceId(pub u32);

/// The keyspace `default`, which exists from the founding and cannot be dropped.
pub const DEFAULT_KEYSPACE: KeyspaceId = KeyspaceId(0);

/// One of a keyspace's fixed 2^k hash slices, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Partition(pub u16);
