//! Which nodes should hold a partition: rendezvous hashing (Thaler and Ravishankar, 1998), once per
//! datacenter and spread over its racks.
//!
//! Every node has a score for every partition, and the best scores win. Nothing is remembered, so
//! the result depends only on which nodes there are, not on the order in which they joined.

use std::collections::BTreeMap;

use quorate_crdt::NodeId;
use xxhash_rust::xxh3::xxh3_64;

use crate::topology::{Datacenter, KeyspaceId, NodeInfo, Partition, Replication};

#[cfg(test)]
mod tests;

/// The nodes that should hold `partition`, in preference order: the best node of every datacenter,
/// then the second best of every datacenter, and so on.
///
/// **Laws:** the replicas of a datacenter lie in as many different racks as possible. A node that
/// joins displaces at most one node of its datacenter from each partition and brings no third node
/// in. When a node leaves, one other takes its place and no other replica moves.
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
    /// How many nodes of the same rack score better. Racks take turns: the best of every rack goes
    /// before the second best of any.
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

/// XXH3-64 of keyspace, partition and node, each little-endian. Part of the agreed state: every
/// node and every later version must compute the same score.
fn score(keyspace: KeyspaceId, partition: Partition, node: NodeId) -> u64 {
    let mut bytes = [0; 14];
    bytes[..4].copy_from_slice(&keyspace.0.to_le_bytes());
    bytes[4..6].copy_from_slice(&partition.0.to_le_bytes());
    bytes[6..].copy_from_slice(&node.0.to_le_bytes());
    xxh3_64(&bytes)
}
