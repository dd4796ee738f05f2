//! Which default levels a node can meet with the nodes that it reaches.

use std::collections::BTreeMap;

use quorate_control::quorum::Group;
use quorate_control::topology::{Keyspace, Placement, Topology};
use quorate_crdt::NodeId;
use quorate_dynamo::Consistency;
use quorate_dynamo::preference::{Access, groups};

use crate::doors::Shortfall;

#[cfg(test)]
mod tests;

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
        let groups = groups(level, access, placement, topology, home);
        let possible = |group: &Group| group.needed <= group.members.len();
        groups.iter().all(possible).then(|| {
            groups.iter().find_map(|group| {
                let reached = group.members.iter();
                let reached = reached
                    .filter(|node| !unreachable.contains_key(node))
                    .count();
                (reached < group.needed).then_some((group.needed, reached))
            })
        })?
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
