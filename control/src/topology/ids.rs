//! The names of clusters, topologies, keyspaces and partitions; positions in a log, and tokens made
//! from them.

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

/// A position in the log of a group. Strictly increasing and never reused, so every [`Epoch`] and
/// every [`FencingToken`] is made from one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LogIndex(pub u64);

/// The number of a grant: of a lock, of permits, of an election. Who holds a lock later has a
/// higher one, so whoever has seen a token can refuse all lower ones.
///
/// **Law:** tokens strictly increase in the order of the grants, over all names, also across a
/// restore. Only the holders of one shared phase of a lock have the same.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct FencingToken(pub u64);
