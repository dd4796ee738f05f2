//! Which nodes a request asks, and in which order; and how many answers a level needs from them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_control::quorum::{Group, majority};
use quorate_control::topology::{Datacenter, Epoch, Keyspace, Placement, Topology};
use quorate_crdt::NodeId;

use crate::consistency::Consistency;

/// Whether a request reads or writes. The two count in different replica sets while a partition
/// moves, and numeric levels give each a number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Counts in the replica set that is read now.
    Read,
    /// Counts in every replica set that is written now: the old one and, during a move, the new
    /// one.
    Write,
}

/// All nodes of the topology in the order in which `me` asks them: itself first, then its own
/// datacenter before others, then by round trip, then by id.
pub fn nearest(
    topology: &Topology,
    me: NodeId,
    round_trips: &BTreeMap<NodeId, Duration>,
) -> Vec<NodeId> {
    let home = topology.datacenter_of(me);
    let mut nodes: Vec<NodeId> = topology.nodes.keys().copied().collect();
    nodes.sort_by_cached_key(|node| {
        let elsewhere = topology.datacenter_of(*node) != home;
        (
            *node != me,
            elsewhere,
            round_trips.get(node).copied().unwrap_or(Duration::MAX),
            *node,
        )
    });
    nodes
}

/// The nodes that may keep a hint for an unreachable holder of the partition, best first. Nodes in
/// `me`'s datacenter come before others; within each group, racks without a holder come first; ties
/// keep the order of `nearest`. Holders themselves are left out, and so are witnesses.
pub fn fallbacks(
    topology: &Topology,
    placement: &Placement,
    me: NodeId,
    nearest: &[NodeId],
) -> Vec<NodeId> {
    let home = topology.datacenter_of(me);
    let place = |node: &NodeId| {
        topology
            .nodes
            .get(node)
            .map(|info| (&info.datacenter, &info.rack))
    };
    let is_witness = |node: &NodeId| topology.nodes.get(node).is_some_and(|info| info.witness);
    let holders = placement.holders();
    let taken: BTreeSet<_> = holders.iter().filter_map(place).collect();
    let mut others: Vec<NodeId> = nearest
        .iter()
        .copied()
        .filter(|node| !holders.contains(node) && !is_witness(node))
        .collect();
    others.sort_by_cached_key(|node| {
        (
            topology.datacenter_of(*node) != home,
            place(node).is_some_and(|place| taken.contains(&place)),
        )
    });
    others
}

/// The groups of answers that `level` needs, for each replica set that counts. `QUORUM` makes one
/// group per set, `EACH_QUORUM` one per datacenter of each set. `LOCAL_*` levels mean the
/// datacenter `home`.
pub fn groups(
    level: Consistency,
    access: Access,
    placement: &Placement,
    topology: &Topology,
    home: &str,
) -> Vec<Group> {
    let sets = match access {
        Access::Read => placement.readers(),
        Access::Write => placement.writers(),
    };
    let local = |set: &[NodeId]| -> Vec<NodeId> {
        set.iter()
            .copied()
            .filter(|node| {
                topology
                    .datacenter_of(*node)
                    .is_some_and(|datacenter| **datacenter == *home)
            })
            .collect()
    };
    let mut groups = Vec::with_capacity(1);
    for set in sets {
        let whole = |needed: usize| Group {
            members: set.to_vec(),
            needed,
        };
        match level {
            Consistency::One => groups.push(whole(1)),
            Consistency::Two => groups.push(whole(2)),
            Consistency::Three => groups.push(whole(3)),
            Consistency::Quorum => groups.push(whole(majority(set.len()))),
            Consistency::All => groups.push(whole(set.len())),
            Consistency::Numeric { read, write } => {
                groups.push(whole(usize::from(if access == Access::Read {
                    read
                } else {
                    write
                })));
            }
            Consistency::LocalOne => groups.push(Group {
                members: local(set),
                needed: 1,
            }),
            Consistency::LocalQuorum => {
                let members = local(set);
                groups.push(Group {
                    needed: majority(members.len()),
                    members,
                });
            }
            Consistency::EachQuorum => groups.extend(by_datacenter(set, topology)),
        }
    }
    groups
}

/// The fewest replicas that have a write when it is acknowledged at the default level of the
/// keyspace, over all its partitions and wherever the client is. During a move it is as many as the
/// larger set needs. 0 if the level acknowledges nothing, because there are too few replicas.
pub fn copies_when_acknowledged(keyspace: &Keyspace, topology: &Topology) -> u32 {
    let Ok(level) = keyspace.write.parse() else {
        return 0;
    };
    let of_set = |set: &[NodeId], epoch: Epoch, home: &str| {
        let alone = Placement::stable(epoch, set.to_vec());
        let groups = groups(level, Access::Write, &alone, topology, home);
        let possible = groups
            .iter()
            .all(|group| group.needed <= group.members.len());
        possible.then(|| groups.iter().map(|group| group.needed as u32).sum())
    };
    let homes = topology.datacenters();
    // Most partitions have the same few sets of replicas.
    let placements: BTreeMap<Vec<&[NodeId]>, Epoch> = keyspace
        .partitions()
        .map(|(_, placement)| (placement.writers().collect(), placement.epoch))
        .collect();
    let each = placements.iter().flat_map(|(sets, epoch)| {
        let from = |home: &&Datacenter| {
            let sets = sets.iter();
            sets.filter_map(|set| of_set(set, *epoch, home)).max()
        };
        homes.iter().filter_map(from).collect::<Vec<u32>>()
    });
    each.min().unwrap_or(0)
}

fn by_datacenter(set: &[NodeId], topology: &Topology) -> Vec<Group> {
    let mut members: BTreeMap<_, Vec<NodeId>> = BTreeMap::new();
    for node in set {
        members
            .entry(topology.datacenter_of(*node))
            .or_default()
            .push(*node);
    }
    members
        .into_values()
        .map(|members| Group {
            needed: majority(members.len()),
            members,
        })
        .collect()
}
