//! Why a group does not start, a cluster is not founded, a proposal or a query has no answer, or
//! nobody else leads.

use std::time::Duration;

use quorate_crdt::NodeId;
use serde::{Deserialize, Serialize};

use super::config::ConsensusConfigError;
use crate::store::StoreError;

/// The groups did not start. Nothing runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The settings cannot work.
    #[error(transparent)]
    Config(#[from] ConsensusConfigError),
    /// The store failed, or what it holds of a group is damaged. If it is damaged, the node must
    /// join again as a new one.
    #[error("the control group's log cannot be read")]
    Store(#[from] StoreError),
    /// The engine did not start.
    #[error("the consensus engine did not start")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The cluster was not founded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoundError {
    /// The founder must be node 1.
    #[error("node {node} cannot found a cluster: the first node has the number 1")]
    NotFirst {
        /// This node.
        node: NodeId,
    },
    /// The founding began and may not have finished. Founding again is safe.
    #[error("the founding was not finished")]
    Unfinished(#[from] ProposeError),
    /// The engine failed. Founding again is safe.
    #[error("the consensus engine is not running")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A proposal without an answer. Every variant says what is now true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// No leader was found in time: this side has no majority of the voters. Not applied.
    #[error("the group has no leader on this side")]
    NoLeader,
    /// No answer came in time.
    #[error("the group did not decide in time")]
    TimedOut {
        /// Whether the command may have been applied, or may be later.
        may_be_applied: bool,
    },
    /// The leader was replaced while it was deciding. The command may have been applied, or may be
    /// later.
    #[error("the leader of the group changed while it was deciding")]
    LeaderChanged,
    /// The node that took the command is stopping, or its disk has failed. The command may have
    /// been applied, or may be later.
    #[error("the node that took the proposal is stopping")]
    Stopping,
    /// The command is too long, or another version of the program does not know it. Not applied.
    #[error("the group does not take the command")]
    Malformed,
}

/// A query without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Nobody on this side can show in time that what it knows is fresh enough: there is no
    /// majority of the voters.
    #[error("the group has no leader on this side that could answer")]
    NoLeader,
    /// No answer came in time.
    #[error("the group did not answer in time")]
    TimedOut,
    /// Nobody on this side can show that what it knows is fresh enough.
    #[error("no node on this side can show that what it knows is at most {within:?} old")]
    TooStale {
        /// What was asked for.
        within: Duration,
        /// How old the state of the node that was asked first may be at most; `None` if nothing is
        /// known of that.
        known: Option<Duration>,
    },
    /// Another version of the program does not know the query or the answer.
    #[error("the group does not know the query")]
    Malformed,
}

/// Why the leadership was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// No leader was found in time: this side has no majority of the voters. Nothing has changed.
    #[error("the group has no leader on this side")]
    NoLeader,
    /// Only a voter can lead. Nothing has changed.
    #[error("node {node} does not vote in the group")]
    NotAVoter {
        /// The node.
        node: NodeId,
    },
    /// A witness leads only until somebody else can. Nothing has changed.
    #[error("node {node} is a witness, and leads only until somebody else can")]
    Witness {
        /// The node.
        node: NodeId,
    },
    /// The voter lacks entries: until it had them nobody could decide. Nothing has changed.
    #[error("node {node} is {entries} entries behind")]
    Behind {
        /// The node.
        node: NodeId,
        /// How many entries.
        entries: u64,
    },
    /// There is no other voter that has all entries. Nothing has changed.
    #[error("no other voter has all entries")]
    Nobody,
    /// It is not known who leads now.
    #[error("the leadership was offered, and nobody has said yet that it leads")]
    TimedOut,
}
