//! Decides whether a cluster is at rest, and if not, what is still to be done.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_control::consensus::{GroupStatus, Role};
use quorate_control::topology::{Epoch, KeyspaceId, Partition, Placement, Topology};
use quorate_crdt::NodeId;
use quorate_dynamo::protocol::ReplicaSummary;

use super::cluster::Simulation;
use super::host::Host;
use crate::node::Started;

/// Whatever is not at rest: for each kind, the first description found.
pub(super) type Unrest = BTreeMap<&'static str, String>;

type Figures = BTreeMap<(NodeId, KeyspaceId, Partition), ReplicaSummary>;

/// Everything that is still to be done; empty at rest. One kind of unrest does not hide another.
pub(super) async fn unrest(cluster: &Simulation) -> Unrest {
    let mut found = Unrest::new();
    let topologies: BTreeMap<NodeId, Arc<Topology>> = cluster
        .hosts
        .iter()
        .filter_map(|(&node, host)| Some((node, host.data()?.topology())))
        .collect();
    let decided = cluster
        .hosts
        .values()
        .filter_map(|host| host.started(Started::decided));
    let Some(topology) = decided.max_by_key(|topology| topology.epoch) else {
        found.insert("does-not-start", "no node has started".to_owned());
        return found;
    };
    let mut figures = Figures::new();
    for &node in topology.nodes.keys() {
        let host = cluster.hosts.get(&node);
        // A member without a machine was admitted but does not know it yet: see
        // `join-does-not-end`.
        if let Some((kind, what)) =
            host.and_then(|host| ails(host, topologies.get(&node), topology.epoch))
        {
            found
                .entry(kind)
                .or_insert_with(|| format!("node {} {what}", node.0));
        }
        if let Some(summaries) = host.and_then(|host| host.started(Started::summaries)) {
            figures.extend(
                summaries
                    .await
                    .into_iter()
                    .map(|summary| ((node, summary.keyspace, summary.partition), summary)),
            );
        }
    }
    for (&keyspace, specified) in &topology.keyspaces {
        for (partition, placement) in specified.partitions() {
            if let Some((kind, what)) = unsettled(keyspace, partition, placement, &figures) {
                found.entry(kind).or_insert_with(|| {
                    format!("keyspace {} partition {}: {what}", keyspace.0, partition.0)
                });
            }
        }
    }
    // Only now, because it costs more than the rest.
    if found.is_empty() {
        let left = topology
            .nodes
            .keys()
            .filter_map(|node| Some((node, cluster.hosts.get(node)?.disk.get().remains().ok()?)));
        let left = left.filter(|(_, records)| *records > 0);
        found.extend(left.map(|(node, records)| {
            (
                "remains-stay",
                format!(
                    "node {}: {records} records are left of rows that are gone",
                    node.0
                ),
            )
        }));
    }
    found
}

/// Why a node does not serve, with its state in the control group where that is the cause.
fn ails(
    host: &Host,
    knows: Option<&Arc<Topology>>,
    newest: Epoch,
) -> Option<(&'static str, String)> {
    if let Some(failure) = host.failure() {
        return Some(("gave-up", format!("gave up: {failure}")));
    }
    let Some((knows, control)) = knows.zip(host.started(Started::control)) else {
        return Some(("does-not-start", "has not started".to_owned()));
    };
    let GroupStatus { role, leader, .. } = control;
    if role == Role::Absent {
        return Some((
            "control-stopped",
            "serves, but has stopped taking part in the control group".to_owned(),
        ));
    }
    if knows.epoch != newest {
        return Some((
            "topology-not-known",
            format!(
                "knows epoch {} instead of {}: {control:?}",
                knows.epoch.0, newest.0
            ),
        ));
    }
    if leader.is_none() {
        return Some(("no-leader", format!("knows no leader: {control:?}")));
    }
    let coordination = host.started(Started::coordination);
    let idle = coordination.filter(|group| group.role != Role::Absent && group.leader.is_none());
    if let Some(group) = idle {
        return Some((
            "no-coordination",
            format!("knows no leader of the coordination group: {group:?}"),
        ));
    }
    let missed = host
        .started(Started::unreachable)
        .into_iter()
        .flatten()
        .find(|node| knows.nodes.contains_key(node));
    if let Some(NodeId(missed)) = missed {
        return Some((
            "not-reached",
            format!("considers node {missed} unreachable"),
        ));
    }
    let kept = host.eye().keeps()?;
    Some((
        "memory-stays",
        format!(
            "still keeps {} {} although all is at rest",
            kept.held, kept.what
        ),
    ))
}

/// What a partition is still waiting for.
fn unsettled(
    keyspace: KeyspaceId,
    partition: Partition,
    placement: &Placement,
    figures: &Figures,
) -> Option<(&'static str, String)> {
    if let Some(transition) = &placement.transition {
        return Some((
            "move-does-not-end",
            format!(
                "moving from {:?} to {:?}: {:?}, done {:?}",
                placement.replicas, transition.to, transition.phase, transition.done
            ),
        ));
    }
    let mut first: Option<&ReplicaSummary> = None;
    for node in placement.holders() {
        let Some(summary) = figures.get(&(node, keyspace, partition)) else {
            return Some((
                "replica-missing",
                format!("node {} holds no replica", node.0),
            ));
        };
        let first = *first.get_or_insert(summary);
        let differs = if summary.filling {
            ("filling-does-not-end", "is still being filled")
        } else if summary.residuals > 0 {
            ("residuals-stay", "has residuals")
        } else if summary.context != first.context {
            (
                "contexts-differ",
                "has not seen the same events as the others",
            )
        } else if summary.digest != first.digest {
            (
                "digests-differ",
                "has seen the same events as the others but holds different rows",
            )
        } else if summary.recent > 0 {
            (
                "recent-stays",
                "still remembers events that all replicas know",
            )
        } else {
            continue;
        };
        return Some((
            differs.0,
            format!("node {} {}: {summary:?}", node.0, differs.1),
        ));
    }
    None
}
