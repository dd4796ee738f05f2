//! What the nodes of the control group say to each other.

use std::time::Duration;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

use super::error::ProposeError;
use super::types::{SnapshotMeta, Types, Vote};
use crate::state::{Command, Response};

#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Snapshot {
        vote: Vote,
        meta: SnapshotMeta,
        state: Bytes,
    },
    Transfer(TransferLeaderRequest<Types>),
    Propose {
        command: Command,
        timeout: Duration,
    },
    /// The lives that the sender's directory remembers, the present one last.
    Life {
        lives: Vec<u64>,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) enum Reply {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    Snapshot(SnapshotResponse<Types>),
    Transfer(TransferLeaderResponse<Types>),
    Proposed(Result<Response, ProposeError>),
    Failed(ServeError),
    /// Whether the newest life that was heard of is among them.
    Life {
        remembers: bool,
    },
}

/// Why a node did not serve a request.
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
}
