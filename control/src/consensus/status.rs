//! What a node says of its part in a group.

use quorate_crdt::NodeId;
use serde::{Deserialize, Serialize};

use super::mark::Mark;
use crate::state::LogIndex;

/// What a node does in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Decides, as long as a majority of the voters follows it.
    Leader,
    /// Votes and follows the leader.
    Follower,
    /// Asks the voters to elect it.
    Candidate,
    /// Follows the leader without a vote.
    Learner,
    /// Has no part in the group and keeps nothing of it, or has stopped.
    Absent,
}

/// A group as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// The number of the current leadership; it never falls.
    pub term: u64,
    /// The last entry of this node's log, committed or not.
    pub last_log: LogIndex,
    /// The last entry that this node has applied.
    pub applied: LogIndex,
    /// The leader, as far as this node knows.
    pub leader: Option<NodeId>,
    /// What this node does.
    pub role: Role,
    /// The voters, in ascending order; during a change, those of both sets.
    pub voters: Vec<NodeId>,
    /// Whether the voters are being changed. Decisions then need a majority of the old ones and one
    /// of the new ones.
    pub joint: bool,
    /// The nodes that follow without a vote, in ascending order.
    pub learners: Vec<NodeId>,
    /// Whether this node's directory is trusted with a vote.
    pub standing: VoteTrust,
    /// The hashes of the node's last states at certain entries. All replicas have the same ones.
    pub marks: Vec<Mark>,
    /// The entry at which the node's state differed from that of a majority. It takes no part any
    /// more.
    pub differs: Option<LogIndex>,
}

/// What others think of this node's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VoteTrust {
    /// Too few voters have been told yet. The node does not vote.
    InDoubt,
    /// A majority of the voters knows this life, and nobody objects.
    Trusted,
    /// Somebody knows a later life than the directory remembers. The node does not vote any more.
    Forgetful,
}
