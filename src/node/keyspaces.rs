//! Making and changing keyspaces: which commands do it, which are refused here, and what would
//! move.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_control::state::{Alteration, Command, NewKeyspace};
use quorate_control::topology::{
    DEFAULT_PARTITIONS, Datacenter, KeyspaceId, NodeInfo, Placement, Replication, Topology,
    is_keyspace_name,
};
use quorate_crdt::NodeId;
use quorate_dynamo::Consistency;

use super::figures::Answers;
use super::shared::Shared;
use crate::doors::{AdminError, KeyspaceChange, KeyspaceSpec, NodePlan, PlannedMoves};

/// The command that makes the keyspace.
pub(super) fn creation(
    topology: &Topology,
    withdrawn: &BTreeSet<NodeId>,
    spec: KeyspaceSpec,
) -> Result<Command, AdminError> {
    if !is_keyspace_name(&spec.name) {
        return Err(AdminError::BadName);
    }
    if let Some(error) = impossible(topology, withdrawn, &spec.replication).or_else(|| {
        let levels = [spec.read, spec.write];
        unsatisfiable(topology, withdrawn, &spec.replication, levels)
    }) {
        return Err(error);
    }
    let default = topology.keyspaces.get(&KeyspaceId(0));
    let level = |given: Option<Consistency>, default: Option<&Arc<str>>| -> Arc<str> {
        given
            .map(|level| level.to_string().into())
            .or_else(|| default.cloned())
            .unwrap_or_else(|| "ONE".into())
    };
    let partitions = spec
        .partitions
        .or_else(|| topology.usual_partitions())
        .unwrap_or(DEFAULT_PARTITIONS);
    Ok(Command::CreateKeyspace(NewKeyspace {
        name: spec.name,
        replication: spec.replication,
        partitions,
        read: level(spec.read, default.map(|keyspace| &keyspace.read)),
        write: level(spec.write, default.map(|keyspace| &keyspace.write)),
        split: spec.split.unwrap_or_default(),
    }))
}

/// The command that changes the keyspace of this name.
pub(super) fn alteration(
    topology: &Topology,
    withdrawn: &BTreeSet<NodeId>,
    name: &str,
    change: KeyspaceChange,
) -> Result<Command, AdminError> {
    let (keyspace, held) = topology
        .keyspace_named(name)
        .ok_or_else(|| AdminError::UnknownKeyspace(name.into()))?;
    let moved = change.replication.as_ref();
    // With other replicas, the levels that stay must fit as well.
    let kept = |text: &str| moved.and_then(|_| text.parse().ok());
    let levels = [
        change.read.or_else(|| kept(&held.read)),
        change.write.or_else(|| kept(&held.write)),
    ];
    let replication = moved.unwrap_or(&held.replication);
    if let Some(error) = moved
        .and_then(|replication| impossible(topology, withdrawn, replication))
        .or_else(|| unsatisfiable(topology, withdrawn, replication, levels))
    {
        return Err(error);
    }
    let text = |level: Option<Consistency>| level.map(|level| level.to_string().into());
    Ok(Command::AlterKeyspace {
        keyspace,
        change: Alteration {
            replication: change.replication,
            read: text(change.read),
            write: text(change.write),
            split: change.split,
        },
    })
}

impl Shared {
    /// What is to be moved between two topologies for the keyspace of this name. The sizes are what
    /// the nodes say now.
    pub(super) async fn plan(
        &self,
        before: &Topology,
        after: &Topology,
        name: &str,
    ) -> PlannedMoves {
        let answers = self.ask_all(before).await;
        plan(before, after, name, &answers)
    }
}

/// The nodes that hold the partition in the end.
fn goal(placement: &Placement) -> &[NodeId] {
    let transition = placement.transition.as_ref();
    transition.map_or(&placement.replicas, |transition| &transition.to)
}

fn plan(before: &Topology, after: &Topology, name: &str, answers: &Answers) -> PlannedMoves {
    let mut plan = PlannedMoves::default();
    let mut nodes: BTreeMap<NodeId, NodePlan> = BTreeMap::new();
    let Some((id, keyspace)) = after.keyspace_named(name) else {
        return plan;
    };
    for (&node, info) in &after.nodes {
        let line = NodePlan {
            node: info.name.to_string(),
            datacenter: info.datacenter.to_string(),
            ..NodePlan::default()
        };
        nodes.insert(node, line);
    }
    let sizes = sizes(id, answers);
    for (partition, placement) in keyspace.partitions() {
        let held = before.keyspaces.get(&id);
        let held = held.and_then(|keyspace| keyspace.placement(partition));
        let held: &[NodeId] = held.map_or(&[], goal);
        let bytes = sizes.get(&partition.0).copied().unwrap_or(0);
        let mut moves = false;
        for (node, line) in &mut nodes {
            let (has, gets) = (held.contains(node), goal(placement).contains(node));
            line.partitions += u32::from(has);
            line.partitions_then += u32::from(gets);
            if gets && !has {
                line.receives += 1;
                line.bytes += bytes;
            }
            moves |= has != gets && !held.is_empty();
        }
        plan.partitions += 1;
        plan.moving += u32::from(moves);
    }
    plan.nodes = nodes.into_values().collect();
    plan.bytes = plan.nodes.iter().map(|line| line.bytes).sum();
    plan
}

/// Roughly the bytes of each partition of the keyspace: those of its largest replica.
fn sizes(keyspace: KeyspaceId, answers: &Answers) -> BTreeMap<u16, u64> {
    let mut sizes = BTreeMap::new();
    let told = answers.values().flatten();
    let told = told.flat_map(|figures| figures.replicas.iter().flatten());
    for replica in told.filter(|replica| replica.keyspace == keyspace) {
        let size = sizes.entry(replica.partition.0).or_insert(0);
        *size = replica.bytes.max(*size);
    }
    sizes
}

/// Whether anything is placed on the node.
fn holds(withdrawn: &BTreeSet<NodeId>, node: NodeId, info: &NodeInfo) -> bool {
    !info.witness && !withdrawn.contains(&node)
}

/// The first datacenter that cannot hold what it should.
fn impossible(
    topology: &Topology,
    withdrawn: &BTreeSet<NodeId>,
    replication: &Replication,
) -> Option<AdminError> {
    let Replication::Fixed(wanted) = replication else {
        return None;
    };
    wanted.iter().find_map(|(datacenter, &replicas)| {
        let nodes = topology
            .nodes
            .iter()
            .filter(|(node, info)| info.datacenter == *datacenter && holds(withdrawn, **node, info))
            .count() as u32;
        if nodes == 0 {
            let housing = topology.nodes.iter();
            let housing = housing.filter(|(node, info)| holds(withdrawn, **node, info));
            let known: BTreeSet<&str> = housing.map(|(_, info)| &*info.datacenter).collect();
            let known: Vec<&str> = known.into_iter().collect();
            return Some(AdminError::UnknownDatacenter {
                datacenter: (&**datacenter).into(),
                known: known.join(", ").into(),
            });
        }
        (nodes < u32::from(replicas)).then(|| AdminError::TooFewNodes {
            datacenter: (&**datacenter).into(),
            replicas,
            nodes,
        })
    })
}

/// The first of these default levels, of reads and of writes, for which the keyspace would never
/// have enough replicas.
fn unsatisfiable(
    topology: &Topology,
    withdrawn: &BTreeSet<NodeId>,
    replication: &Replication,
    [read, write]: [Option<Consistency>; 2],
) -> Option<AdminError> {
    let replicas_in = |datacenter: &Datacenter| {
        let nodes = topology.nodes.iter().filter(|(node, info)| {
            info.datacenter == *datacenter && holds(withdrawn, **node, info)
        });
        replication.replicas_in(datacenter, nodes.count()) as u32
    };
    let replicas = topology.datacenters().into_iter().map(replicas_in).sum();
    let needs = |level, writes| match level {
        Consistency::Two => 2,
        Consistency::Three => 3,
        Consistency::Numeric { write, .. } if writes => write.into(),
        Consistency::Numeric { read, .. } => read.into(),
        // The others need a part of what there is.
        _ => 1,
    };
    [(read, false), (write, true)]
        .into_iter()
        .find_map(|(level, writes)| {
            let level = level?;
            let required: u32 = needs(level, writes);
            (required > replicas).then_some(AdminError::Unsatisfiable {
                level,
                required,
                replicas,
            })
        })
}

#[cfg(test)]
mod tests;
