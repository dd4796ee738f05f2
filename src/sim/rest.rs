//! Whether a cluster is at rest, and if not, what is still to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_control::topology::{KeyspaceId, Partition, Placement, Topology};
use quorate_crdt::NodeId;
use quorate_dynamo::protocol::ReplicaSummary;

use super::Simulation;

/// What is not at rest: a name for the kind of it, and a sentence.
pub(super) type Unrest = (&'static str, String);

type Figures = BTreeMap<(NodeId, KeyspaceId, Partition), ReplicaSummary>;

/// The first thing that is still to be done; `None`: nothing is.
pub(super) async fn unrest(cluster: &Simulation) -> Option<Unrest> {
    let mut topologies: BTreeMap<NodeId, Arc<Topology>> = BTreeMap::new();
    for (&node, host) in &cluster.hosts {
        if let Some(data) = host.data() {
            topologies.insert(node, data.topology());
        }
    }
    let topology = topologies.values().max_by_key(|topology| topology.epoch)?.clone();
    for &node in topology.nodes.keys() {
        let host = cluster.hosts.get(&node);
        if let Some(failure) = host.and_then(super::host::Host::failure) {
            return Some(("gave-up", format!("node {} has given up: {failure}", node.0)));
        }
        match topologies.get(&node) {
            None => return Some(("does-not-start", format!("node {} has not started", node.0))),
            Some(seen) if seen.epoch != topology.epoch => {
                return Some(("topology-not-known", format!("node {} knows epoch {} and not {}", node.0, seen.epoch.0, topology.epoch.0)));
            }
            Some(_) if host.and_then(|host| host.started(crate::node::Started::leader)).flatten().is_none() => {
                return Some(("no-leader", format!("node {} knows no leader", node.0)));
            }
            Some(_) => {}
        }
    }
    let mut figures = Figures::new();
    for &node in topology.nodes.keys() {
        let Some(summaries) = cluster.hosts.get(&node).and_then(|host| host.started(crate::node::Started::summaries)) else { continue };
        for summary in summaries.await {
            figures.insert((node, summary.keyspace, summary.partition), summary);
        }
    }
    let mut places =
        topology.keyspaces.iter().flat_map(|(&id, keyspace)| keyspace.partitions().map(move |(partition, p)| (id, partition, p)));
    places.find_map(|(keyspace, partition, placement)| {
        let (kind, what) = unsettled(keyspace, partition, placement, &figures)?;
        Some((kind, format!("keyspace {} partition {}: {what}", keyspace.0, partition.0)))
    })
}

fn unsettled(keyspace: KeyspaceId, partition: Partition, placement: &Placement, figures: &Figures) -> Option<Unrest> {
    if let Some(transition) = &placement.transition {
        return Some((
            "move-does-not-end",
            format!("moving from {:?} to {:?}: {:?}, done {:?}", placement.replicas, transition.to, transition.phase, transition.done),
        ));
    }
    let mut first: Option<&ReplicaSummary> = None;
    for node in placement.holders() {
        let Some(summary) = figures.get(&(node, keyspace, partition)) else {
            return Some(("replica-missing", format!("node {} holds no replica", node.0)));
        };
        let first = *first.get_or_insert(summary);
        let differs = if summary.filling {
            ("filling-does-not-end", "is still being filled")
        } else if summary.residuals > 0 {
            ("residuals-stay", "has residuals")
        } else if summary.context != first.context {
            ("contexts-differ", "has not seen what the others have")
        } else if summary.digest != first.digest {
            ("digests-differ", "has seen the same as the others and holds something else")
        } else if summary.recent > 0 {
            ("recent-stays", "remembers events that all know")
        } else {
            continue;
        };
        return Some((differs.0, format!("node {} {}: {summary:?}", node.0, differs.1)));
    }
    None
}
