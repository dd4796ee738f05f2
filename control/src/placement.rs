//! Which nodes hold a partition: rendezvous hashing (Thaler and Ravishankar, 1998) per datacenter,
//! over as many racks as there are.
//!
//! Every node has a score for every partition, and the best scores win. No state is kept, so the
//! outcome depends on the members alone and not on the order in which they came.

use std::collections::BTreeMap;

use quorate_crdt::NodeId;
use xxhash_rust::xxh3::xxh3_64;

use crate::topology::{Datacenter, KeyspaceId, NodeInfo, Partition, Replication};

#[cfg(test)]
mod tests;

/// How many replicas [`Replication::Auto`] puts into a datacenter that has the nodes for them.
/// Default of Cassandra and Riak.
pub const AUTO_REPLICAS_MAX: usize = 3;

impl Replication {
    /// How many replicas of each partition `datacenter` holds when it has `nodes` nodes; never more
    /// than that.
    pub fn replicas_in(&self, datacenter: &Datacenter, nodes: usize) -> usize {
        let wanted = match self {
            Self::Auto => AUTO_REPLICAS_MAX,
            Self::Fixed(replicas) => replicas.get(datacenter).copied().map_or(0, usize::from),
        };
        wanted.min(nodes)
    }
}

/// The nodes that should hold `partition`, in preference order: first the best node of every
/// datacenter, then the second of every one, ….
///
/// **Laws:** a datacenter's replicas lie in as many different racks as it has; a node that joins
/// displaces at most one other of its datacenter from each partition and brings nobody else in; a
/// node that leaves is replaced and nobody else moves.
pub fn place<'a>(
    nodes: impl Iterator<Item = (NodeId, &'a NodeInfo)>,
    replication: &Replication,
    keyspace: KeyspaceId,
    partition: Partition,
) -> Vec<NodeId> {
    let mut datacenters: BTreeMap<&Datacenter, Vec<Candidate<'_>>> = BTreeMap::new();
    for (node, info) in nodes {
        let score = score(keyspace, partition, node);
        datacenters
            .entry(&info.datacenter)
            .or_default()
            .push(Candidate {
                node,
                rack: &info.rack,
                score,
                round: 0,
            });
    }
    let mut chosen = Vec::new();
    for (datacenter, mut candidates) in datacenters {
        rank(&mut candidates);
        candidates.truncate(replication.replicas_in(datacenter, candidates.len()));
        chosen.extend(
            candidates
                .into_iter()
                .enumerate()
                .map(|(position, candidate)| (position, candidate.score, candidate.node)),
        );
    }
    chosen.sort_unstable_by_key(|&(position, score, node)| {
        (position, std::cmp::Reverse(score), node)
    });
    chosen.into_iter().map(|(_, _, node)| node).collect()
}

struct Candidate<'a> {
    node: NodeId,
    rack: &'a str,
    score: u64,
    /// How many nodes of the same rack score better. Racks take turns, so all first ones go before
    /// any second one.
    round: usize,
}

fn rank(candidates: &mut [Candidate<'_>]) {
    candidates
        .sort_unstable_by_key(|candidate| (std::cmp::Reverse(candidate.score), candidate.node));
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for candidate in candidates.iter_mut() {
        let turns = seen.entry(candidate.rack).or_default();
        candidate.round = *turns;
        *turns += 1;
    }
    candidates.sort_by_key(|candidate| candidate.round);
}

/// Part of the agreed state: every node computes the same, for ever. The little-endian keyspace,
/// partition and node under XXH3-64.
fn score(keyspace: KeyspaceId, partition: Partition, node: NodeId) -> u64 {
    let mut bytes = [0; 14];
    bytes[..4].copy_from_slice(&keyspace.0.to_le_bytes());
    bytes[4..6].copy_from_slice(&partition.0.to_le_bytes());
    bytes[6..].copy_from_slice(&node.0.to_le_bytes());
    xxh3_64(&bytes)
}
