//! Why a group does not start, a cluster is not founded, or a proposal has no answer.

use quorate_crdt::NodeId;
use serde::{Deserialize, Serialize};

use super::config::ConsensusConfigError;
use crate::store::StoreError;

/// The control group did not start. Nothing runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The settings cannot work.
    #[error(transparent)]
    Config(#[from] ConsensusConfigError),
    /// The store failed, or what it holds of the control group is damaged. If it is damaged, the
    /// node must join again as a new one.
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
    #[error("the control group has no leader on this side")]
    NoLeader,
    /// No answer came in time.
    #[error("the control group did not decide in time")]
    TimedOut {
        /// Whether the command may have been applied, or may be later.
        may_be_applied: bool,
    },
    /// The leader was replaced while it was deciding. The command may have been applied, or may be
    /// later.
    #[error("the leader of the control group changed while it was deciding")]
    LeaderChanged,
    /// The node that took the command is stopping, or its disk has failed. The command may have
    /// been applied, or may be later.
    #[error("the node that took the proposal is stopping")]
    Stopping,
}
