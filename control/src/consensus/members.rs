//! Keeps the membership of the Raft group equal to what the topology says. The leader does it, one
//! change at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{ChangeMembers, EmptyNode, Instant as _, RaftMetrics};
use quorate_crdt::NodeId;
use tokio::time::sleep;

use super::machine::{Raft, Shared};
use super::types::Types;
use crate::quorum::majority;
use crate::topology::Topology;

/// How many entries behind the leader's log a learner may be and still become a voter: few enough
/// that it does not hold up commits. Guess.
const LAG_MAX: u64 = 64;

/// How long a voter may have been silent and still count as one that answers. Guess: many
/// heartbeats, also of a wide network.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// Runs until the group stops. A change that cannot be made yet is tried again after `pause`.
pub(super) async fn reconcile(raft: Raft, shared: Arc<Shared>, pause: Duration) {
    let mut metrics = raft.metrics();
    let mut topology = shared.topology.subscribe();
    loop {
        let wanted = Arc::clone(&topology.borrow_and_update());
        let change = next_change(&metrics.borrow_watched(), &wanted);
        match change {
            Next::Change(change) => {
                let kind = change.to_string();
                match raft.change_membership(change, true).await {
                    Ok(_) => {
                        tracing::info!(change = kind, "the control group's membership has changed");
                    }
                    Err(error) => {
                        tracing::debug!(change = kind, %error, "the control group's membership cannot change now");
                        sleep(pause).await;
                    }
                }
            }
            Next::Wait => sleep(pause).await,
            // Biased, so that two runs of one seed are equal.
            Next::Settled => tokio::select! {
                biased;
                changed = topology.changed() => if changed.is_err() { return },
                changed = metrics.changed() => if changed.is_err() { return },
            },
        }
    }
}

enum Next {
    Change(ChangeMembers<NodeId, EmptyNode>),
    /// There is a change to make, but a node has to catch up first.
    Wait,
    /// There is nothing to do for this node.
    Settled,
}

/// In this order: add every node of the topology as a learner, make the right ones voters, remove
/// the nodes that have left the topology.
fn next_change(metrics: &RaftMetrics<Types>, topology: &Topology) -> Next {
    let membership = metrics.membership_config.membership();
    if !metrics.state.is_leader() || topology.nodes.is_empty() {
        return Next::Settled;
    }
    let present: BTreeSet<NodeId> = membership.nodes().map(|(&node, _)| node).collect();
    #[expect(
        clippy::zero_sized_map_values,
        reason = "the engine's form of a set of nodes"
    )]
    let absent: BTreeMap<_, _> = topology
        .nodes
        .keys()
        .filter(|node| !present.contains(node))
        .map(|&node| (node, EmptyNode::default()))
        .collect();
    if !absent.is_empty() {
        return Next::Change(ChangeMembers::AddNodes(absent));
    }
    let voting: BTreeSet<NodeId> = membership.voter_ids().collect();
    let wanted: BTreeSet<NodeId> = topology.voters().collect();
    if voting != wanted || membership.get_joint_config().len() > 1 {
        let joint = membership.get_joint_config().len() > 1;
        let ready = wanted
            .difference(&voting)
            .all(|&node| caught_up(metrics, node))
            && (joint || wanted_answer(metrics, &wanted));
        return if ready {
            Next::Change(ChangeMembers::ReplaceAllVoters(wanted))
        } else {
            Next::Wait
        };
    }
    let gone: BTreeSet<_> = present
        .into_iter()
        .filter(|node| !topology.nodes.contains_key(node))
        .collect();
    if gone.is_empty() {
        Next::Settled
    } else {
        Next::Change(ChangeMembers::RemoveNodes(gone))
    }
}

/// Whether a majority of the voters to be answers. If it did not, the change could never be
/// committed, nor any later one: not even the removal of those that are dead.
fn wanted_answer(metrics: &RaftMetrics<Types>, wanted: &BTreeSet<NodeId>) -> bool {
    let answers = |node: &&NodeId| {
        let heard = metrics
            .heartbeat
            .as_ref()
            .and_then(|heard| heard.get(*node))
            .and_then(Option::as_ref);
        **node == metrics.id || heard.is_some_and(|heard| heard.elapsed() < SILENCE_MAX)
    };
    wanted.iter().filter(answers).count() >= majority(wanted.len())
}

fn caught_up(metrics: &RaftMetrics<Types>, node: NodeId) -> bool {
    let matched = metrics
        .replication
        .as_ref()
        .and_then(|progress| progress.get(&node))
        .and_then(Option::as_ref);
    matched.is_some_and(|matched| matched.index + LAG_MAX >= metrics.last_log_index.unwrap_or(0))
}
