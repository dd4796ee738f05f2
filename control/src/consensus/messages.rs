//! What the nodes of the groups say to each other.

use std::time::Duration;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use quorate_crdt::NodeId;
use serde::{Deserialize, Serialize};

use super::error::{HandOverError, ProposeError, QueryError};
use super::machine::{GroupId, ReadLevel};
use super::status::GroupStatus;
use super::types::{SnapshotMeta, Types, Vote};

#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    /// For the sender's and the receiver's part in one group.
    Group(GroupId, Ask),
    /// The lives that the sender's directory remembers, the present one last.
    Life { lives: Vec<u64> },
    /// Signs of life of the sender, which leads all these groups.
    Beats(Vec<(GroupId, AppendEntriesRequest<Types>)>),
}

/// What is asked of a group.
#[derive(Serialize, Deserialize)]
pub(super) enum Ask {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Snapshot {
        vote: Vote,
        meta: SnapshotMeta,
        state: Bytes,
    },
    Transfer(TransferLeaderRequest<Types>),
    /// To be proposed by the receiver if it leads, in this order.
    Propose {
        commands: Vec<Bytes>,
        timeout: Duration,
    },
    Query {
        query: Bytes,
        level: ReadLevel,
    },
    /// Up to where everything is applied that is decided now.
    Index,
    /// The group as the receiver sees it.
    Status,
    /// Whether the sender has no part in the group any more, for certain.
    Excluded,
    /// To be done by the receiver if it leads.
    HandOver {
        to: Option<NodeId>,
        timeout: Duration,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) enum Reply {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    Snapshot(SnapshotResponse<Types>),
    Transfer(TransferLeaderResponse<Types>),
    /// What came of each command; `None` if the node does not lead and has done nothing with it.
    Proposed(Vec<Option<Result<Bytes, ProposeError>>>),
    Answered(Result<Bytes, QueryError>),
    Index(u64),
    Status(GroupStatus),
    Excluded(bool),
    HandedOver(Result<NodeId, HandOverError>),
    /// The node does not lead, so it has done nothing. It knows of this leader.
    Elsewhere(Option<NodeId>),
    Failed(ServeError),
    /// Whether the newest life that was heard of is among them.
    Life {
        remembers: bool,
    },
    /// What each group says to its sign of life.
    Beats(Vec<Reply>),
}

/// Why a node did not serve a request. It has done nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(super) enum ServeError {
    #[error("the request is malformed or of another version")]
    Malformed,
    #[error("the request speaks for another node than the one that sent it")]
    Impostor,
    #[error("the node is stopping")]
    Stopping,
    #[error("the node does not vote: its directory may be older than one that it has run on")]
    InDoubt,
    #[error("the node has no part in the group")]
    Absent,
}
