//! The status document, drawn from what every node says about its replicas.

use std::collections::{BTreeMap, BTreeSet};

use quorate_control::topology::{
    Keyspace, KeyspaceId, NodeInfo, Partition, Placement, Replication, Topology,
};
use quorate_crdt::NodeId;
use quorate_dynamo::protocol::ReplicaSummary;
use quorate_gossip::wire;
use tokio::task::JoinSet;

use super::hub::{Call, tagged};
use super::reach::ASK_TIMEOUT;
use super::shared::Shared;
use crate::doors::{KeyspaceStatus, NodeState, NodeStatus, Status};

#[cfg(test)]
mod tests;

/// What each node answered; `None` if it did not.
type Answers = BTreeMap<NodeId, Option<Vec<ReplicaSummary>>>;

impl Shared {
    /// The status document, from what every node says now.
    pub(super) async fn status(&self) -> Status {
        let topology = self.hub.topology();
        let answers = self.ask_all(&topology).await;
        let findings = draw(
            &topology,
            self.control.group().leader(),
            &answers,
            &self.hub.unreachable.load(),
        );
        let volatile = self.control.group().read(|state| state.volatile().clone());
        let findings = findings
            .with_clocks(&topology, &self.hub.clocks.load())
            .with_votes(&topology, &volatile);
        self.hub.meter.mismatches(findings.mismatches);
        findings.status
    }

    /// Asks every node for its figures, all at once.
    async fn ask_all(&self, topology: &Topology) -> Answers {
        let me = self.settings.node;
        let mut asked = JoinSet::new();
        for &node in topology.nodes.keys().filter(|&&node| node != me) {
            let call = self
                .transport
                .call(node, tagged(Call::Summaries, &[]), ASK_TIMEOUT);
            asked.spawn(async move {
                let answer = call.await.ok();
                let figures =
                    answer.and_then(|answer| wire::decode::<Vec<ReplicaSummary>>(&answer).ok());
                (node, figures)
            });
        }
        let mut answers = Answers::from([(me, Some(self.hub.summaries().await))]);
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

impl Findings {
    /// Adds how many milliseconds the clock of each node is ahead, as far as that is known.
    fn with_clocks(mut self, topology: &Topology, clocks: &BTreeMap<NodeId, i64>) -> Self {
        for (status, node) in self.status.nodes.iter_mut().zip(topology.nodes.keys()) {
            status.clock_offset_ms = clocks.get(node).copied();
        }
        self
    }

    /// Names the voters whose stores are among the `volatile` ones.
    fn with_votes(mut self, topology: &Topology, volatile: &BTreeSet<NodeId>) -> Self {
        let forgetful = topology
            .nodes
            .iter()
            .filter(|(node, info)| info.voter && volatile.contains(node));
        self.status.volatile_voters = forgetful.map(|(_, info)| info.name.to_string()).collect();
        self
    }
}

/// The figures of one keyspace, summed over its partitions.
struct Sum {
    rows: u64,
    recent: u64,
    residuals: u64,
    contexts_equal: bool,
    digests_equal: bool,
    settled: bool,
    mismatches: usize,
}

type Figures<'a> = BTreeMap<(NodeId, KeyspaceId, Partition), &'a ReplicaSummary>;

/// The cluster as it answered. `suspects` are nodes that answered although the failure detector
/// considers them unreachable.
fn draw(
    topology: &Topology,
    leader: Option<NodeId>,
    answers: &Answers,
    suspects: &BTreeMap<NodeId, u64>,
) -> Findings {
    let figures: Figures<'_> = answers
        .iter()
        .flat_map(|(&node, answer)| {
            answer
                .iter()
                .flatten()
                .map(move |summary| ((node, summary.keyspace, summary.partition), summary))
        })
        .collect();
    let nodes: Vec<_> = topology
        .nodes
        .iter()
        .map(|(&node, info)| node_status(node, info, answers, suspects))
        .collect();
    let all_up = nodes.iter().all(|node| node.state != NodeState::Down);
    let mut keyspaces = Vec::new();
    let (mut settled, mut mismatches) = (true, 0);
    for (&id, keyspace) in &topology.keyspaces {
        let sum = sum(id, keyspace, &figures);
        settled &= sum.settled && sum.residuals == 0;
        mismatches += sum.mismatches;
        keyspaces.push(KeyspaceStatus {
            name: keyspace.name.to_string(),
            partitions: keyspace.partition_count() as u32,
            replication: replication(topology, &keyspace.replication),
            rows: sum.rows,
            recent: sum.recent,
            residuals: sum.residuals,
            contexts_equal: sum.contexts_equal,
            digests_equal: sum.digests_equal,
        });
    }
    let status = Status {
        cluster: format!("{:032x}", topology.cluster.0),
        epoch: topology.epoch.0,
        leader: leader
            .and_then(|leader| topology.nodes.get(&leader))
            .map(|info| info.name.to_string()),
        volatile_voters: Vec::new(),
        nodes,
        keyspaces,
        converged: false,
    };
    let mut status = status.concluded();
    status.converged &= all_up && settled;
    Findings { status, mismatches }
}

fn node_status(
    node: NodeId,
    info: &NodeInfo,
    answers: &Answers,
    suspects: &BTreeMap<NodeId, u64>,
) -> NodeStatus {
    let state = match answers.get(&node) {
        Some(Some(_)) if suspects.contains_key(&node) => NodeState::Suspect,
        Some(Some(_)) => NodeState::Alive,
        Some(None) | None => NodeState::Down,
    };
    NodeStatus {
        name: info.name.to_string(),
        number: node.0,
        datacenter: info.datacenter.to_string(),
        rack: info.rack.to_string(),
        state,
        clock_offset_ms: None,
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

fn sum(id: KeyspaceId, keyspace: &Keyspace, figures: &Figures<'_>) -> Sum {
    let mut sum = Sum {
        rows: 0,
        recent: 0,
        residuals: 0,
        contexts_equal: true,
        digests_equal: true,
        settled: true,
        mismatches: 0,
    };
    for (partition, placement) in keyspace.partitions() {
        sum.add(placement, |node| {
            figures.get(&(node, id, partition)).copied()
        });
    }
    sum
}

impl Sum {
    fn add<'a>(
        &mut self,
        placement: &Placement,
        figures: impl Fn(NodeId) -> Option<&'a ReplicaSummary>,
    ) {
        let replicas: Vec<Option<&ReplicaSummary>> =
            placement.holders().into_iter().map(figures).collect();
        let known = || replicas.iter().copied().flatten();
        let complete = !replicas.is_empty() && replicas.iter().all(Option::is_some);
        let first = known().next();
        let contexts_equal = complete
            && known().all(|figures| Some(figures.context) == first.map(|first| first.context));
        let digests_equal = complete
            && known().all(|figures| Some(figures.digest) == first.map(|first| first.digest));
        self.rows += known().map(|figures| figures.rows).max().unwrap_or(0);
        self.recent += known().map(|figures| figures.recent).sum::<u64>();
        self.residuals += known().map(|figures| figures.residuals).sum::<u64>();
        self.mismatches += usize::from(
            contexts_equal && !digests_equal && known().all(|figures| figures.residuals == 0),
        );
        self.contexts_equal &= contexts_equal;
        self.digests_equal &= digests_equal;
        self.settled &= placement.transition.is_none() && known().all(|figures| !figures.filling);
    }
}
