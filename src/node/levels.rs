//! What a level lacks with those nodes that can answer, and which default levels a node can meet
//! with the nodes that it reaches.

use std::collections::BTreeMap;

use quorate_control::quorum::Group;
use quorate_control::topology::{Keyspace, Placement, Topology};
use quorate_crdt::NodeId;
use quorate_dynamo::Consistency;
use quorate_dynamo::preference::{Access, groups};

use crate::doors::Shortfall;

#[cfg(test)]
mod tests;

/// A group of replicas of which too few can answer.
pub(super) struct Short {
    /// How many must answer.
    pub(super) needed: usize,
    /// How many can.
    pub(super) answering: usize,
    /// Those that cannot.
    pub(super) missing: Vec<NodeId>,
    /// The placement does not have as many, whoever answers.
    pub(super) never: bool,
}

/// What `level` lacks in a partition, for clients of the datacenter `home`, when only those answer
/// that `can`.
pub(super) fn short(
    level: Consistency,
    access: Access,
    placement: &Placement,
    topology: &Topology,
    home: &str,
    can: impl Fn(NodeId) -> bool,
) -> Vec<Short> {
    let lacks = |group: Group| {
        let all = group.members.len();
        let missing: Vec<NodeId> = group
            .members
            .into_iter()
            .filter(|node| !can(*node))
            .collect();
        let answering = all - missing.len();
        (answering < group.needed).then_some(Short {
            needed: group.needed,
            answering,
            missing,
            never: group.needed > all,
        })
    };
    groups(level, access, placement, topology, home)
        .into_iter()
        .filter_map(lacks)
        .collect()
}

/// The first default level that cannot be met for clients of `me` while these nodes cannot be
/// reached. A level that a placement could not meet with all its replicas either does not count:
/// a keyspace that lives in other datacenters makes no node here useless.
pub(super) fn shortfall(
    topology: &Topology,
    me: NodeId,
    unreachable: &BTreeMap<NodeId, u64>,
) -> Option<Shortfall> {
    if unreachable.is_empty() {
        return None;
    }
    let home = topology.datacenter_of(me)?;
    let of_partition = |level, access, placement: &Placement| {
        let reached = |node| !unreachable.contains_key(&node);
        let lacks = short(level, access, placement, topology, home, reached);
        let possible = lacks.iter().all(|group| !group.never);
        lacks
            .first()
            .filter(|_| possible)
            .map(|group| (group.needed, group.answering))
    };
    let of_level = |keyspace: &Keyspace, text: &str, access| {
        let level: Consistency = text.parse().ok()?;
        let mut placements = keyspace.placement.iter();
        let (required, reached) =
            placements.find_map(|placement| of_partition(level, access, placement))?;
        Some(Shortfall {
            keyspace: keyspace.name.clone(),
            writes: access == Access::Write,
            level,
            required,
            reached,
        })
    };
    topology.keyspaces.values().find_map(|keyspace| {
        of_level(keyspace, &keyspace.read, Access::Read)
            .or_else(|| of_level(keyspace, &keyspace.write, Access::Write))
    })
}
