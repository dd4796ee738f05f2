//! The status document, drawn from what every node says about itself.

mod control;
mod levels;
mod sum;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_control::topology::{Keyspace, KeyspaceId, NodeInfo, Replication, Topology};
use quorate_crdt::NodeId;
use quorate_gossip::wire;
use tokio::task::JoinSet;

use super::figures::{Answers, NodeFigures};
use super::hub::{ASK_TIMEOUT, Call, tagged};
use super::members;
use super::shared::Shared;
use crate::doors::{KeyspaceStatus, NodeState, NodeStatus, Status};
use sum::{Replicas, Sum};

#[cfg(test)]
mod tests;

/// What the answering node itself knows about the others.
#[derive(Debug, Default)]
struct Sights {
    /// Milliseconds since 1970.
    now_ms: u64,
    /// Nodes that the failure detector considers unreachable, and since when.
    unreachable: BTreeMap<NodeId, u64>,
    /// How many milliseconds the clock of each node is ahead.
    clocks: BTreeMap<NodeId, i64>,
    /// Round trips.
    rtt: BTreeMap<NodeId, Duration>,
    /// Nodes that are being removed.
    leaving: Vec<NodeId>,
    /// Nodes that vote now.
    voters: BTreeSet<NodeId>,
}

impl Shared {
    /// The status document, from what every node says now.
    pub(super) async fn status(&self) -> Status {
        let topology = self.hub.topology();
        let answers = self.ask_all(&topology).await;
        let group = self.control.group();
        let sights = Sights {
            now_ms: self.world.clock.now().unix_millis,
            unreachable: BTreeMap::clone(&self.hub.unreachable.load()),
            clocks: BTreeMap::clone(&self.hub.clocks.load()),
            rtt: self.round_trips(),
            leaving: group.read(|state| state.leaving().iter().copied().collect()),
            voters: self.voters(&topology),
        };
        let mut findings = draw(&topology, &answers, &sights);
        let volatile = group.read(|state| state.volatile().clone());
        findings.status.volatile_voters = voters_among(&topology, &sights.voters, &volatile);
        self.hub.meter.mismatches(findings.mismatches);
        findings.status
    }

    /// Asks every node for its figures, all at once.
    pub(super) async fn ask_all(&self, topology: &Topology) -> Answers {
        let me = self.settings.node;
        let mut asked = JoinSet::new();
        for &node in topology.nodes.keys().filter(|&&node| node != me) {
            let call = self
                .transport
                .call(node, tagged(Call::Figures, &[]), ASK_TIMEOUT);
            asked.spawn(async move {
                let answer = call.await.ok();
                let figures = answer.and_then(|answer| wire::decode::<NodeFigures>(&answer).ok());
                (node, figures)
            });
        }
        let mut answers = Answers::from([(me, Some(self.hub.figures().await))]);
        while let Some(answer) = asked.join_next().await {
            answers.extend(answer);
        }
        answers
    }
}

/// The status, and a figure that only the metrics show.
struct Findings {
    status: Status,
    /// Partitions whose replicas have equal contexts and different digests: a bug, or bit rot.
    mismatches: usize,
}

/// The names of the voters among these nodes.
fn voters_among(
    topology: &Topology,
    voters: &BTreeSet<NodeId>,
    nodes: &BTreeSet<NodeId>,
) -> Vec<String> {
    voters
        .intersection(nodes)
        .filter_map(|voter| topology.nodes.get(voter))
        .map(|info| info.name.to_string())
        .collect()
}

/// The cluster as it answered.
fn draw(topology: &Topology, answers: &Answers, sights: &Sights) -> Findings {
    let replicas = Replicas::of(answers);
    let held = members::held(topology);
    let nodes: Vec<_> = topology
        .nodes
        .iter()
        .map(|(&node, info)| NodeStatus {
            partitions: held.get(&node).copied().unwrap_or(0),
            ..node_status(node, info, answers, sights)
        })
        .collect();
    let all_up = nodes.iter().all(|node| node.state != NodeState::Down);
    let mut keyspaces = Vec::new();
    let (mut settled, mut mismatches) = (true, 0);
    for (&id, keyspace) in &topology.keyspaces {
        let sum = Sum::of(id, keyspace, &replicas);
        settled &= sum.settled && sum.residuals == 0;
        mismatches += sum.mismatches;
        keyspaces.push(keyspace_status(topology, id, keyspace, &sum, &replicas));
    }
    let (control, leader) = control::view(&sights.voters, answers);
    let status = Status {
        cluster: format!("{:032x}", topology.cluster.0),
        at_ms: sights.now_ms,
        epoch: topology.epoch.0,
        leader: leader
            .and_then(|leader| topology.nodes.get(&leader))
            .map(|info| info.name.to_string()),
        control,
        nodes,
        keyspaces,
        ..Status::default()
    };
    let mut status = status.concluded();
    status.converged &= all_up && settled;
    Findings { status, mismatches }
}

fn node_status(node: NodeId, info: &NodeInfo, answers: &Answers, sights: &Sights) -> NodeStatus {
    let figures = answers.get(&node).and_then(Option::as_ref);
    let down_since = sights.unreachable.get(&node).copied();
    let micros = |rtt: &Duration| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
    NodeStatus {
        name: info.name.to_string(),
        number: node.0,
        datacenter: info.datacenter.to_string(),
        rack: info.rack.to_string(),
        address: info.quic.to_string(),
        version: figures.map(|figures| figures.version.clone()),
        state: match (figures, down_since) {
            (None, _) => NodeState::Down,
            (Some(_), Some(_)) => NodeState::Suspect,
            (Some(_), None) => NodeState::Alive,
        },
        down_since,
        voter: sights.voters.contains(&node),
        leaving: sights.leaving.contains(&node),
        partitions: 0,
        rtt_us: sights.rtt.get(&node).map(micros),
        load: figures.map(|figures| figures.load),
        clock_offset_ms: sights.clocks.get(&node).copied(),
    }
}

fn keyspace_status(
    topology: &Topology,
    id: KeyspaceId,
    keyspace: &Keyspace,
    sum: &Sum,
    replicas: &Replicas<'_>,
) -> KeyspaceStatus {
    KeyspaceStatus {
        name: keyspace.name.to_string(),
        partitions: keyspace.partition_count() as u32,
        replication: replication(topology, &keyspace.replication),
        defaults: levels::defaults(topology, keyspace),
        rows: sum.rows,
        recent: sum.recent,
        residuals: sum.residuals,
        contexts_equal: sum.contexts_equal,
        digests_equal: sum.digests_equal,
        moving: sum::moving(topology, id, keyspace, replicas),
        lacking: sum::lacking(topology, id, keyspace, replicas),
        levels: levels::levels(topology, id, keyspace, replicas),
    }
}

fn replication(topology: &Topology, replication: &Replication) -> BTreeMap<String, u8> {
    let count = |datacenter: &str| {
        topology
            .nodes
            .values()
            .filter(|info| &*info.datacenter == datacenter)
            .count()
    };
    let datacenters = topology.datacenters().into_iter();
    datacenters
        .map(|datacenter| {
            (
                datacenter.to_string(),
                replication.replicas_in(datacenter, count(datacenter)) as u8,
            )
        })
        .collect()
}
