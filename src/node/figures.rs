//! What a node tells another about itself, for the status: the answer to `Call::Figures`.

use std::collections::BTreeMap;

use quorate_crdt::NodeId;
use quorate_dynamo::protocol::ReplicaSummary;
use serde::{Deserialize, Serialize};

use crate::doors::Load;

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeFigures {
    /// The version of its program.
    pub(super) version: String,
    /// Whom it follows in the control group.
    pub(super) following: Following,
    /// What it uses.
    pub(super) load: Load,
    /// Its replicas; `None` if its shards are too busy to tell in time.
    pub(super) replicas: Option<Vec<ReplicaSummary>>,
}

/// Whom a node follows in the control group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Following {
    /// The term that it is in.
    pub(super) term: u64,
    /// The leader of that term, as far as it knows.
    pub(super) leader: Option<NodeId>,
}

/// What each node answered; `None` if it did not.
pub(super) type Answers = BTreeMap<NodeId, Option<NodeFigures>>;
