//! Which consistency levels can be met now, from where, and if not, for want of whom.
//!
//! Partitions with the same replicas in the same state are counted once: a keyspace has thousands
//! of partitions and few such shapes.

use std::collections::{BTreeMap, BTreeSet};

use quorate_control::topology::{Keyspace, KeyspaceId, Partition, Phase, Placement, Topology};
use quorate_crdt::NodeId;
use quorate_dynamo::Consistency;
use quorate_dynamo::preference::{Access, copies_when_acknowledged};

use super::sum::Replicas;
use crate::doors::{AccessKind, Defaults, Levels, Unmet, short_name_of};
use crate::node::levels::short;

/// What decides which levels a partition can meet.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    replicas: BTreeSet<NodeId>,
    to: Option<(BTreeSet<NodeId>, Phase)>,
    /// The holders whose replicas can be read.
    readable: BTreeSet<NodeId>,
    /// The holders whose replicas take writes.
    writable: BTreeSet<NodeId>,
}

/// Partitions of one shape: one of them, and how many there are.
struct Alike<'a> {
    placement: &'a Placement,
    partitions: u32,
}

/// The default levels, and what a write at its one is worth.
pub(super) fn defaults(topology: &Topology, keyspace: &Keyspace) -> Defaults {
    Defaults {
        read: keyspace.read.to_string(),
        write: keyspace.write.to_string(),
        copies: copies_when_acknowledged(keyspace, topology),
    }
}

/// Which levels can be met from each datacenter that answers. One with nothing but witnesses has no
/// replicas of any keyspace, and its clients name a level.
pub(super) fn levels(
    topology: &Topology,
    id: KeyspaceId,
    keyspace: &Keyspace,
    replicas: &Replicas<'_>,
) -> Vec<Levels> {
    let mut shapes: BTreeMap<Shape, Alike<'_>> = BTreeMap::new();
    for (partition, placement) in keyspace.partitions() {
        let alike = shapes
            .entry(shape(id, partition, placement, replicas))
            .or_insert(Alike {
                placement,
                partitions: 0,
            });
        alike.partitions += 1;
    }
    let answering: BTreeSet<&str> = topology
        .nodes
        .iter()
        .filter(|(node, info)| replicas.answers(**node) && !info.witness)
        .map(|(_, info)| &*info.datacenter)
        .collect();
    let from = |home: &str| {
        let mut levels = Levels {
            datacenter: home.to_owned(),
            ..Levels::default()
        };
        for (wanted, default) in [
            (AccessKind::Read, &keyspace.read),
            (AccessKind::Write, &keyspace.write),
        ] {
            let default = default.parse::<Consistency>().ok();
            let numeric = default.filter(|level| !Consistency::NAMED.contains(level));
            for level in Consistency::NAMED.into_iter().chain(numeric) {
                match judge(level, wanted, home, topology, &shapes) {
                    Judgement::Met => match wanted {
                        AccessKind::Read => levels.read.push(level.to_string()),
                        AccessKind::Write => levels.write.push(level.to_string()),
                    },
                    Judgement::Unmet(unmet) => levels.unmet.push(unmet),
                    // Clients that name no level would be refused all the same.
                    Judgement::Never(unmet) => {
                        levels
                            .unmet
                            .extend((Some(level) == default).then_some(unmet));
                    }
                }
            }
        }
        levels
    };
    answering.into_iter().map(from).collect()
}

fn shape(
    id: KeyspaceId,
    partition: Partition,
    placement: &Placement,
    replicas: &Replicas<'_>,
) -> Shape {
    let holders = placement.holders();
    let told = |node: &NodeId| replicas.get(*node, id, partition);
    let set = |nodes: &[NodeId]| nodes.iter().copied().collect();
    Shape {
        replicas: set(&placement.replicas),
        to: placement
            .transition
            .as_ref()
            .map(|transition| (set(&transition.to), transition.phase)),
        readable: holders
            .iter()
            .copied()
            .filter(|node| told(node).is_some_and(|replica| !replica.filling))
            .collect(),
        writable: holders
            .into_iter()
            .filter(|node| replicas.answers(*node))
            .collect(),
    }
}

/// Whether a level can be met in all partitions.
enum Judgement {
    Met,
    Unmet(Unmet),
    /// The placement does not have the replicas that it needs, whoever answers.
    Never(Unmet),
}

fn judge(
    level: Consistency,
    wanted: AccessKind,
    home: &str,
    topology: &Topology,
    shapes: &BTreeMap<Shape, Alike<'_>>,
) -> Judgement {
    let access = match wanted {
        AccessKind::Read => Access::Read,
        AccessKind::Write => Access::Write,
    };
    let mut unmet = Unmet {
        level: level.to_string(),
        access: wanted,
        partitions: 0,
        required: 0,
        answering: 0,
        missing: Vec::new(),
    };
    let (mut never, mut missing, mut worst) = (false, BTreeSet::new(), 0);
    for (shape, alike) in shapes {
        let can = match wanted {
            AccessKind::Read => &shape.readable,
            AccessKind::Write => &shape.writable,
        };
        let lacks = short(level, access, alike.placement, topology, home, |node| {
            can.contains(&node)
        });
        unmet.partitions += if lacks.is_empty() {
            0
        } else {
            alike.partitions
        };
        for group in lacks {
            never |= group.never;
            let short = group.needed - group.answering;
            if short > worst {
                worst = short;
                (unmet.required, unmet.answering) = (group.needed as u32, group.answering as u32);
            }
            missing.extend(group.missing);
        }
    }
    let names = missing
        .into_iter()
        .map(|node| short_name_of(node, topology));
    unmet.missing = names.collect();
    match unmet.partitions {
        0 => Judgement::Met,
        _ if never => Judgement::Never(unmet),
        _ => Judgement::Unmet(unmet),
    }
}
