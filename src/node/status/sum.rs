//! The figures of one keyspace, summed over its partitions; which of its partitions move, and who
//! lacks what.

use std::collections::BTreeMap;

use quorate_control::topology::{Keyspace, KeyspaceId, Partition, Phase, Placement, Topology};
use quorate_crdt::NodeId;
use quorate_dynamo::protocol::ReplicaSummary;

use crate::doors::{LackReason, Lacking, Moving, WaitReason, Waiting, short_name_of};
use crate::node::figures::Answers;

/// The replicas of all nodes that told of them.
pub(super) struct Replicas<'a> {
    at: BTreeMap<(NodeId, KeyspaceId, Partition), &'a ReplicaSummary>,
    answered: &'a Answers,
}

impl<'a> Replicas<'a> {
    pub(super) fn of(answered: &'a Answers) -> Self {
        let each = answered.iter().flat_map(|(&node, answer)| {
            let replicas = answer
                .iter()
                .flat_map(|figures| &figures.replicas)
                .flatten();
            replicas.map(move |summary| ((node, summary.keyspace, summary.partition), summary))
        });
        Self {
            at: each.collect(),
            answered,
        }
    }

    /// What `node` told of its replica.
    pub(super) fn get(
        &self,
        node: NodeId,
        keyspace: KeyspaceId,
        partition: Partition,
    ) -> Option<&'a ReplicaSummary> {
        self.at.get(&(node, keyspace, partition)).copied()
    }

    /// Whether the node told of its replicas.
    pub(super) fn answers(&self, node: NodeId) -> bool {
        let answer = self.answered.get(&node).and_then(Option::as_ref);
        answer.is_some_and(|figures| figures.replicas.is_some())
    }
}

/// The figures of one keyspace, summed over its partitions.
pub(super) struct Sum {
    pub(super) rows: u64,
    pub(super) recent: u64,
    pub(super) residuals: u64,
    pub(super) contexts_equal: bool,
    pub(super) digests_equal: bool,
    /// Nothing moves, and nothing is being filled.
    pub(super) settled: bool,
    /// Partitions whose replicas have equal contexts and different digests.
    pub(super) mismatches: usize,
}

impl Sum {
    pub(super) fn of(id: KeyspaceId, keyspace: &Keyspace, replicas: &Replicas<'_>) -> Self {
        let mut sum = Self {
            rows: 0,
            recent: 0,
            residuals: 0,
            contexts_equal: true,
            digests_equal: true,
            settled: true,
            mismatches: 0,
        };
        for (partition, placement) in keyspace.partitions() {
            sum.add(placement, |node| replicas.get(node, id, partition));
        }
        sum
    }

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

/// The partitions that move, and what they wait for; `None` if none does.
pub(super) fn moving(
    topology: &Topology,
    id: KeyspaceId,
    keyspace: &Keyspace,
    replicas: &Replicas<'_>,
) -> Option<Moving> {
    let mut moving = Moving::default();
    let mut waits: BTreeMap<(NodeId, WaitReason), u32> = BTreeMap::new();
    for (partition, placement) in keyspace.partitions() {
        let Some(transition) = &placement.transition else {
            continue;
        };
        moving.partitions += 1;
        moving.copying += u32::from(transition.phase == Phase::Copying);
        let owing = placement.holders().into_iter();
        for node in owing.filter(|node| placement.owes(*node).is_some()) {
            let reason = match replicas.get(node, id, partition) {
                _ if !replicas.answers(node) => WaitReason::Silent,
                Some(replica) if replica.filling => WaitReason::Filling,
                None if transition.phase == Phase::Copying => WaitReason::Filling,
                _ => WaitReason::Reporting,
            };
            *waits.entry((node, reason)).or_default() += 1;
        }
    }
    let waiting = |((node, reason), partitions)| Waiting {
        node: short_name_of(node, topology),
        partitions,
        reason,
    };
    moving.waiting_for = waits.into_iter().map(waiting).collect();
    (moving.partitions > 0).then_some(moving)
}

/// The nodes that do not have what they should hold.
pub(super) fn lacking(
    topology: &Topology,
    id: KeyspaceId,
    keyspace: &Keyspace,
    replicas: &Replicas<'_>,
) -> Vec<Lacking> {
    let mut lacks: BTreeMap<(NodeId, LackReason), u32> = BTreeMap::new();
    for (partition, placement) in keyspace.partitions() {
        let holders = placement.holders();
        let told = |node: NodeId| replicas.get(node, id, partition);
        let most = most_frequent(holders.iter().filter_map(|&node| Some(told(node)?.context)));
        for node in holders {
            let reason = match told(node) {
                _ if !replicas.answers(node) => LackReason::Silent,
                None => LackReason::Absent,
                Some(replica) if replica.filling => LackReason::Filling,
                Some(replica) if replica.quarantined => LackReason::Quarantined,
                Some(replica) if most != Some(replica.context) => LackReason::Behind,
                Some(_) => continue,
            };
            *lacks.entry((node, reason)).or_default() += 1;
        }
    }
    let lacking = |((node, reason), partitions)| Lacking {
        node: short_name_of(node, topology),
        partitions,
        reason,
    };
    lacks.into_iter().map(lacking).collect()
}

/// The context that the most replicas have; `None` if another one is as frequent, because then
/// nobody knows who is behind.
fn most_frequent(contexts: impl Iterator<Item = u128>) -> Option<u128> {
    let mut counts: BTreeMap<u128, u32> = BTreeMap::new();
    for context in contexts {
        *counts.entry(context).or_default() += 1;
    }
    let most = counts.values().copied().max()?;
    let mut frequent = counts.into_iter().filter(|(_, count)| *count == most);
    let (first, _) = frequent.next()?;
    frequent.next().is_none().then_some(first)
}
