//! Whom a request asks: the replicas of a partition in order of nearness, and what a level needs of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_control::quorum::{Group, majority};
use quorate_control::topology::{Placement, Topology};
use quorate_crdt::NodeId;

use crate::consistency::Consistency;

/// Whether a request reads or writes: numeric levels differ, and so do the replica sets during a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Counts in the set that is read now.
    Read,
    /// Counts in every set that is written now.
    Write,
}

/// The nodes that a request for one partition may use, best first: own datacenter before others, then by round trip, then by id.
/// Primaries hold the partition; fallbacks do not, and keep hints for primaries that cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreferenceList {
    /// Nodes that hold the partition.
    pub primaries: Vec<NodeId>,
    /// Nodes that do not; those in racks without a primary first.
    pub fallbacks: Vec<NodeId>,
}

impl PreferenceList {
    /// The list as `me` sees it.
    pub fn new(topology: &Topology, placement: &Placement, me: NodeId, round_trips: &BTreeMap<NodeId, Duration>) -> Self {
        let home = topology.datacenter_of(me);
        let nearness = |node: &NodeId| {
            let elsewhere = topology.datacenter_of(*node) != home;
            (*node != me, elsewhere, round_trips.get(node).copied().unwrap_or(Duration::MAX), *node)
        };
        let mut primaries = placement.holders();
        primaries.sort_by_key(nearness);
        let place = |node: &NodeId| topology.nodes.get(node).map(|info| (&info.datacenter, &info.rack));
        let taken: BTreeSet<_> = primaries.iter().filter_map(place).collect();
        let mut fallbacks: Vec<NodeId> = topology.nodes.keys().copied().filter(|node| !primaries.contains(node)).collect();
        fallbacks.sort_by_key(|node| (nearness(node).1, place(node).is_some_and(|place| taken.contains(&place)), nearness(node)));
        Self { primaries, fallbacks }
    }
}

/// What `level` needs, in each replica set that counts: `QUORUM` is one group a set, `EACH_QUORUM` one a datacenter of each set. `LOCAL_*` means `home`.
pub fn groups(level: Consistency, access: Access, placement: &Placement, topology: &Topology, home: &str) -> Vec<Group> {
    let sets = match access {
        Access::Read => placement.readers(),
        Access::Write => placement.writers(),
    };
    let local = |set: &[NodeId]| -> Vec<NodeId> {
        set.iter().copied().filter(|node| topology.datacenter_of(*node).is_some_and(|datacenter| **datacenter == *home)).collect()
    };
    let mut groups = Vec::with_capacity(1);
    for set in sets {
        let whole = |needed: usize| Group { members: set.to_vec(), needed };
        match level {
            Consistency::One => groups.push(whole(1)),
            Consistency::Two => groups.push(whole(2)),
            Consistency::Three => groups.push(whole(3)),
            Consistency::Quorum => groups.push(whole(majority(set.len()))),
            Consistency::All => groups.push(whole(set.len())),
            Consistency::Numeric { read, write } => groups.push(whole(usize::from(if access == Access::Read { read } else { write }))),
            Consistency::LocalOne => groups.push(Group { members: local(set), needed: 1 }),
            Consistency::LocalQuorum => {
                let members = local(set);
                groups.push(Group { needed: majority(members.len()), members });
            }
            Consistency::EachQuorum => groups.extend(by_datacenter(set, topology)),
        }
    }
    groups
}

fn by_datacenter(set: &[NodeId], topology: &Topology) -> Vec<Group> {
    let mut members: BTreeMap<_, Vec<NodeId>> = BTreeMap::new();
    for node in set {
        members.entry(topology.datacenter_of(*node)).or_default().push(*node);
    }
    members.into_values().map(|members| Group { needed: majority(members.len()), members }).collect()
}
