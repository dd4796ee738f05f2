//! The cluster's nodes as an operator sees them: who answers, what each runs and holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_control::topology::{Keyspace, NodeInfo, Topology};
use quorate_crdt::NodeId;
use quorate_gossip::wire;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::hub::{ASK_TIMEOUT, Call, VERSION, tagged};
use super::shared::Shared;
use crate::doors::{Member, NodeState};

/// The version that `node` runs; `None` if it does not answer within [`ASK_TIMEOUT`].
async fn version_of(shared: &Shared, node: NodeId) -> Option<String> {
    if node == shared.settings.node {
        return Some(VERSION.to_owned());
    }
    let answer = shared
        .transport
        .call(node, tagged(Call::Version, &[]), ASK_TIMEOUT)
        .await
        .ok()?;
    String::from_utf8(answer.to_vec()).ok()
}

/// How long members may take to notice that a node has gone.
const NOTICE: Duration = Duration::from_secs(4);

/// Whether the node answers this one, or any other member reaches it.
pub(super) async fn answers(shared: &Shared, node: NodeId) -> bool {
    version_of(shared, node).await.is_some() || is_reached(shared, node).await
}

/// As [`answers`], after the other members have had the time to notice that the node has gone.
pub(super) async fn still_answers(shared: &Shared, node: NodeId) -> bool {
    let begun = Instant::now();
    loop {
        if version_of(shared, node).await.is_some() {
            return true;
        }
        if !is_reached(shared, node).await {
            return false;
        }
        if begun.elapsed() >= NOTICE {
            return true;
        }
        tokio::time::sleep(NOTICE / 10).await;
    }
}

/// Whether a member besides this one reaches the node.
async fn is_reached(shared: &Shared, node: NodeId) -> bool {
    let question = tagged(Call::Reaches, &wire::encode(&node));
    let mut asked = JoinSet::new();
    for &other in shared.hub.topology().nodes.keys() {
        if other != node && other != shared.settings.node {
            let answer = shared.transport.call(other, question.clone(), ASK_TIMEOUT);
            asked.spawn(async move { answer.await.is_ok_and(|answer| answer.as_ref() == [1]) });
        }
    }
    while let Some(answer) = asked.join_next().await {
        if answer.unwrap_or(false) {
            return true;
        }
    }
    false
}

/// All nodes, asked at once.
pub(super) async fn list(shared: &Arc<Shared>) -> Vec<Member> {
    let topology = shared.hub.topology();
    let mut asked = JoinSet::new();
    for &node in topology.nodes.keys() {
        let shared = Arc::clone(shared);
        asked.spawn(async move { (node, version_of(&shared, node).await) });
    }
    let mut versions = BTreeMap::new();
    while let Some(answer) = asked.join_next().await {
        versions.extend(answer);
    }
    let unreachable = shared.hub.unreachable.load();
    let leaving = shared.control.group().read(|state| state.leaving().clone());
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
            voter: info.voter,
            down_since,
            partitions: held.get(node).copied().unwrap_or(0),
            leaving: leaving.contains(node),
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
