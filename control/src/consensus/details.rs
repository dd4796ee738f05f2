//! What one node knows of a group: its status, details for operators, the last entries of its log.

use std::fmt;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::entry::RaftEntry;
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, Instant as _, ServerState};
use quorate_crdt::NodeId;

use super::engine::Engine;
use super::status::{GroupStatus, Role};
use super::types::{Entry, LogId, Proposal};
use crate::state::LogIndex;
use crate::store::StoreError;

/// A group in detail, as one node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupDetails {
    /// The first entry that the node's log still has.
    pub first_log: LogIndex,
    /// Up to where the snapshot goes; `None` without one.
    pub snapshot: Option<LogIndex>,
    /// Up to where the node knows that a majority has the log.
    pub committed: LogIndex,
    /// The other members, as the leader knows them; empty on other nodes.
    pub followers: Vec<FollowerDetails>,
    /// On the leader: how long ago a message was sent that a majority has answered since.
    pub majority_heard: Option<Duration>,
}

/// Another member of a group, as the leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerDetails {
    /// The member.
    pub node: NodeId,
    /// The last entry that it certainly has; `None` before its first answer.
    pub matched: Option<LogIndex>,
    /// How many entries it lacks at most.
    pub behind: u64,
    /// How long ago it last answered; `None` before its first answer.
    pub heard: Option<Duration>,
}

/// An entry of a log, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its position.
    pub index: LogIndex,
    /// The term of the leader that wrote it.
    pub term: u64,
    /// What it decides.
    pub kind: LogLineKind,
}

/// What an entry decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogLineKind {
    /// A leader takes office.
    Leader,
    /// The voters; during a change, those of both sets.
    Members(Vec<NodeId>),
    /// A command in words, without its secrets.
    Command(String),
    /// Nothing but time: so many milliseconds.
    Time(u64),
    /// A command that this version of the program does not know.
    Unknown,
}

impl fmt::Display for LogLineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => write!(f, "a leader takes office"),
            Self::Members(voters) => {
                let voters: Vec<String> = voters.iter().map(NodeId::to_string).collect();
                write!(f, "voters {}", voters.join(", "))
            }
            Self::Command(words) => f.write_str(words),
            Self::Time(millis) => write!(f, "{millis} ms pass"),
            Self::Unknown => write!(f, "a command of another version"),
        }
    }
}

impl Engine {
    pub(super) fn status(&self) -> GroupStatus {
        let standing = self.lives.standing();
        let marks = self.parts.marks.borrow().clone();
        let differs = *self.differs.borrow();
        let Some(raft) = self.raft() else {
            return GroupStatus {
                term: 0,
                last_log: LogIndex(0),
                applied: LogIndex(0),
                leader: self.leader(),
                role: Role::Absent,
                voters: Vec::new(),
                joint: false,
                learners: Vec::new(),
                standing,
                marks,
                differs,
            };
        };
        let receiver = raft.metrics();
        let metrics = receiver.borrow_watched();
        let membership = metrics.membership_config.membership();
        GroupStatus {
            term: metrics.current_term,
            last_log: LogIndex(metrics.last_log_index.unwrap_or(0)),
            applied: LogIndex(metrics.last_applied.as_ref().map_or(0, |id| id.index)),
            leader: metrics.current_leader,
            role: match metrics.state {
                ServerState::Leader => Role::Leader,
                ServerState::Follower => Role::Follower,
                ServerState::Candidate => Role::Candidate,
                ServerState::Learner => Role::Learner,
                ServerState::Shutdown => Role::Absent,
            },
            voters: membership.voter_ids().collect(),
            joint: membership.get_joint_config().len() > 1,
            learners: membership.learner_ids().collect(),
            standing,
            marks,
            differs,
        }
    }

    pub(super) fn details(&self) -> GroupDetails {
        let Some(raft) = self.raft() else {
            return GroupDetails::default();
        };
        let receiver = raft.metrics();
        let metrics = receiver.borrow_watched();
        let last = metrics.last_log_index.unwrap_or(0);
        let heard = metrics.heartbeat.as_ref();
        let follower = |(&node, matched): (&NodeId, &Option<LogId>)| FollowerDetails {
            node,
            matched: matched.as_ref().map(|id| LogIndex(id.index)),
            behind: last.saturating_sub(matched.as_ref().map_or(0, |id| id.index)),
            heard: heard
                .and_then(|heard| heard.get(&node)?.as_ref())
                .map(|heard| heard.elapsed()),
        };
        let progress = metrics.replication.iter().flatten();
        GroupDetails {
            first_log: LogIndex(metrics.purged.as_ref().map_or(0, |id| id.index + 1)),
            snapshot: metrics.snapshot.as_ref().map(|id| LogIndex(id.index)),
            committed: LogIndex(metrics.local_committed.as_ref().map_or(0, |id| id.index)),
            followers: progress
                .filter(|(node, _)| **node != metrics.id)
                .map(follower)
                .collect(),
            majority_heard: metrics.last_quorum_acked.as_ref().map(|at| at.elapsed()),
        }
    }

    fn in_words(&self, proposal: &Proposal) -> LogLineKind {
        match &proposal.command {
            None => LogLineKind::Time(proposal.elapsed_ms),
            Some(command) => {
                let words = self.parts.host.in_words(command);
                words.map_or(LogLineKind::Unknown, LogLineKind::Command)
            }
        }
    }

    /// The last entries of this node's log, oldest first.
    pub(super) fn tail(&self, entries: u64) -> Result<Vec<LogLine>, StoreError> {
        let last = self.raft().and_then(|raft| {
            let metrics = raft.metrics();
            metrics.borrow_watched().last_log_index
        });
        let Some(last) = last else {
            return Ok(Vec::new());
        };
        let from = (last + 1).saturating_sub(entries);
        let found = self.parts.log.entries(&(from..=last))?;
        let line = |entry: Entry| {
            let id = entry.log_id();
            LogLine {
                index: LogIndex(id.index),
                term: id.leader_id.term(),
                kind: match entry.payload {
                    EntryPayload::Blank => LogLineKind::Leader,
                    EntryPayload::Membership(membership) => {
                        LogLineKind::Members(membership.voter_ids().collect())
                    }
                    EntryPayload::Normal(proposal) => self.in_words(&proposal),
                },
            }
        };
        Ok(found.into_iter().map(line).collect())
    }
}
