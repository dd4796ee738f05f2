//! Keeps the membership of a Raft group equal to what the topology says. The leader does it, one
//! change at a time.
//!
//! The topology says which nodes should vote; it does not know who is alive. Here nobody becomes a
//! voter who does not answer, and nobody who has left keeps a vote because a newcomer is late:
//!
//! ```text
//! voters 1 2 3, wanted 1 2 4
//! 4 answers and has caught up          1 2 4
//! 4 is silent, 3 is still a member     1 2 3, until 4 answers
//! 4 is silent, 3 has left              1 2, and 4 as soon as it answers
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::{RaftDataMetrics, RaftServerMetrics};
use openraft::{ChangeMembers, EmptyNode, Instant as _};
use quorate_crdt::NodeId;
use tokio::sync::watch;
use tokio::time::sleep;

use super::apply::Raft;
use super::machine::GroupId;
use super::types::Types;
use crate::planted::{LATECOMER_KEEPS_THE_GONE, SILENT_MAJORITY, SILENT_VOTER};
use crate::quorum::majority;
use crate::topology::Topology;

/// How many entries behind the leader's log a learner may be and still become a voter: few enough
/// that it does not hold up commits. Guess.
const LAG_MAX: u64 = 64;

/// How long a node may have been silent and still count as one that answers. Guess: many
/// heartbeats, also of a wide network.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// How long to wait before what could not be done is tried again. Guess.
const PAUSE: Duration = Duration::from_millis(50);

/// Who has a part in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attendance {
    /// Every node: those that the topology names as voters vote, the others follow.
    Everybody,
    /// The nodes that the topology names as voters, and no others.
    Voters,
}

/// The part of the nodes in a group as it should be.
pub(super) struct Wanted {
    pub(super) members: BTreeSet<NodeId>,
    voters: BTreeSet<NodeId>,
    /// All nodes of the cluster, whether or not they have a part.
    nodes: BTreeSet<NodeId>,
}

impl Attendance {
    pub(super) fn of(group: GroupId) -> Self {
        if group == GroupId::TOPOLOGY {
            Self::Everybody
        } else {
            Self::Voters
        }
    }

    pub(super) fn wanted(self, topology: &Topology) -> Wanted {
        let nodes: BTreeSet<NodeId> = topology.nodes.keys().copied().collect();
        let voters: BTreeSet<NodeId> = topology.voters().collect();
        let members = match self {
            Self::Everybody => nodes.clone(),
            Self::Voters => voters.clone(),
        };
        Wanted {
            members,
            voters,
            nodes,
        }
    }
}

/// Runs for ever. A change that cannot be made yet is tried again after [`PAUSE`].
pub(super) async fn reconcile(
    mut running: watch::Receiver<Option<Raft>>,
    group: GroupId,
    attendance: Attendance,
    mut topology: watch::Receiver<Arc<Topology>>,
) {
    loop {
        let Some(raft) = (match running.wait_for(Option::is_some).await {
            Ok(raft) => raft.clone(),
            Err(_) => return,
        }) else {
            continue;
        };
        // Who leads and who is in the group; not what changes with every sign of life.
        let mut server = raft.server_metrics();
        let data = raft.data_metrics();
        // What a stopped engine has published last stays; it may be started again.
        while !running.has_changed().unwrap_or(true) {
            let wanted = attendance.wanted(&topology.borrow_and_update());
            let seen = Seen::by(&server.borrow_watched(), &data.borrow_watched());
            let change = next_change(&seen, &wanted);
            match change {
                Next::Change(change) => {
                    let kind = change.to_string();
                    match raft.change_membership(change, true).await {
                        Ok(_) => {
                            tracing::info!(%group, change = kind, "the membership of a group has changed");
                        }
                        Err(error) => {
                            tracing::debug!(%group, change = kind, %error, "the membership of a group cannot change now");
                            sleep(PAUSE).await;
                        }
                    }
                }
                Next::Wait => sleep(PAUSE).await,
                // Biased, so that two runs of one seed are equal.
                Next::Settled => tokio::select! {
                    biased;
                    changed = topology.changed() => if changed.is_err() { return },
                    changed = server.changed() => if changed.is_err() { break },
                },
            }
        }
        sleep(PAUSE).await;
    }
}

enum Next {
    Change(ChangeMembers<NodeId, EmptyNode>),
    /// There is a change to make, but a node has to answer or to catch up first.
    Wait,
    /// There is nothing to do for this node.
    Settled,
}

/// The group as this node sees it.
struct Seen {
    leads: bool,
    /// All members, voters or not.
    members: BTreeSet<NodeId>,
    /// The voters; during a change, those of both sets.
    voters: BTreeSet<NodeId>,
    /// Whether the voters are being changed.
    joint: bool,
    /// Those that have answered within [`SILENCE_MAX`].
    answer: BTreeSet<NodeId>,
    /// Those whose log is at most [`LAG_MAX`] entries behind.
    caught_up: BTreeSet<NodeId>,
}

impl Seen {
    fn by(server: &RaftServerMetrics<Types>, data: &RaftDataMetrics<Types>) -> Self {
        let membership = server.membership_config.membership();
        let members: BTreeSet<NodeId> = membership.nodes().map(|(&node, _)| node).collect();
        let heard = data.heartbeat.as_ref();
        let answers = |node: &NodeId| {
            let heard = heard.and_then(|heard| heard.get(node)?.as_ref());
            *node == server.id || heard.is_some_and(|heard| heard.elapsed() < SILENCE_MAX)
        };
        let progress = data.replication.as_ref();
        let last = data.last_log.as_ref().map_or(0, |last| last.index);
        let caught_up = |node: &NodeId| {
            let matched = progress.and_then(|progress| progress.get(node)?.as_ref());
            matched.is_some_and(|matched| matched.index + LAG_MAX >= last)
        };
        Self {
            leads: server.state.is_leader(),
            voters: membership.voter_ids().collect(),
            joint: membership.get_joint_config().len() > 1,
            answer: members.iter().copied().filter(answers).collect(),
            caught_up: members.iter().copied().filter(caught_up).collect(),
            members,
        }
    }

    /// Whether a node may become a voter: it would not hold up the next decision.
    fn is_ready(&self, node: NodeId) -> bool {
        self.caught_up.contains(&node) && (self.answer.contains(&node) || SILENT_VOTER.is_planted())
    }

    /// The voters to have next on the way to those of the topology: these, if all newcomers among
    /// them are ready. Otherwise the present ones without those that have left, whose places go to
    /// the newcomers that are ready.
    fn voters_next(&self, wanted: &Wanted) -> BTreeSet<NodeId> {
        let newcomers = wanted.voters.difference(&self.voters).copied();
        let (ready, late): (Vec<_>, Vec<_>) = newcomers.partition(|&node| self.is_ready(node));
        if late.is_empty() {
            return wanted.voters.clone();
        }
        if LATECOMER_KEEPS_THE_GONE.is_planted() {
            return self.voters.clone();
        }
        let stay = |node: &NodeId| wanted.nodes.contains(node);
        let mut next: BTreeSet<NodeId> = self.voters.iter().copied().filter(stay).collect();
        next.extend(ready.into_iter().take(self.voters.len() - next.len()));
        next
    }

    /// Whether a majority of the voters to be answers. If it did not, the change could never be
    /// committed, nor any later one: not even the removal of those that are dead.
    fn majority_answers(&self, voters: &BTreeSet<NodeId>) -> bool {
        SILENT_MAJORITY.is_planted()
            || voters.intersection(&self.answer).count() >= majority(voters.len())
    }
}

/// In this order: add every member as a learner, remove the learners that are no members any more,
/// make the right ones voters.
fn next_change(seen: &Seen, wanted: &Wanted) -> Next {
    if !seen.leads || wanted.nodes.is_empty() {
        return Next::Settled;
    }
    #[expect(
        clippy::zero_sized_map_values,
        reason = "the engine's form of a set of nodes"
    )]
    let absent: BTreeMap<_, _> = wanted
        .members
        .difference(&seen.members)
        .map(|&node| (node, EmptyNode::default()))
        .collect();
    if !absent.is_empty() {
        return Next::Change(ChangeMembers::AddNodes(absent));
    }
    let learners = seen.members.difference(&seen.voters).copied();
    let gone: BTreeSet<_> = learners
        .filter(|node| !wanted.members.contains(node))
        .collect();
    if !gone.is_empty() {
        return Next::Change(ChangeMembers::RemoveNodes(gone));
    }
    let next = seen.voters_next(wanted);
    if next != seen.voters || seen.joint {
        return if seen.joint || seen.majority_answers(&next) {
            Next::Change(ChangeMembers::ReplaceAllVoters(next))
        } else {
            Next::Wait
        };
    }
    if wanted.voters == next {
        Next::Settled
    } else {
        Next::Wait
    }
}

#[cfg(test)]
mod tests;
