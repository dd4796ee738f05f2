//! The cluster's nodes as an operator sees them: who answers, what each runs and holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_control::topology::{Keyspace, NodeInfo, Topology};
use quorate_crdt::NodeId;
use tokio::task::JoinSet;

use super::shared::Shared;
use crate::doors::{Member, NodeState};

/// All nodes, asked at once.
pub(super) async fn list(shared: &Arc<Shared>) -> Vec<Member> {
    let topology = shared.hub.topology();
    let mut asked = JoinSet::new();
    for &node in topology.nodes.keys() {
        let shared = Arc::clone(shared);
        asked.spawn(async move { (node, shared.reach().version_of(node).await) });
    }
    let mut versions = BTreeMap::new();
    while let Some(answer) = asked.join_next().await {
        versions.extend(answer);
    }
    let unreachable = shared.hub.unreachable.load();
    let (leaving, drained) = shared
        .control
        .group()
        .read(|state| (state.leaving().clone(), state.drained().clone()));
    let voters = shared.voters(&topology);
    let held = held(&topology);
    let member = |(node, info): (&NodeId, &NodeInfo)| {
        let version = versions.remove(node).flatten();
        let down_since = unreachable.get(node).copied();
        Member {
            name: info.name.to_string(),
            datacenter: info.datacenter.to_string(),
            rack: info.rack.to_string(),
            address: info.quic.to_string(),
            state: match (&version, down_since) {
                (None, _) => NodeState::Down,
                (Some(_), Some(_)) => NodeState::Suspect,
                (Some(_), None) => NodeState::Alive,
            },
            version,
            voter: voters.contains(node),
            down_since,
            partitions: held.get(node).copied().unwrap_or(0),
            leaving: leaving.contains(node),
            drained: drained.contains(node),
            witness: info.witness,
        }
    };
    topology.nodes.iter().map(member).collect()
}

/// How many partitions each node holds or is being given.
pub(super) fn held(topology: &Topology) -> BTreeMap<NodeId, u32> {
    let mut held = BTreeMap::new();
    for (_, placement) in topology.keyspaces.values().flat_map(Keyspace::partitions) {
        for node in placement.holders() {
            *held.entry(node).or_default() += 1;
        }
    }
    held
}
