//! What the nodes of the control group say to each other, and the way there.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use quorate_crdt::NodeId;
use serde::{Deserialize, Serialize};

use super::codec::{decode, encode};
use super::propose::ProposeError;
use super::types::{Snapshot, SnapshotMeta, Types, Vote};
use crate::state::{Command, Response};

/// The way to other nodes, which the node's driver provides.
///
/// **Law:** an answer comes from the node that was called, over a channel on which it proved who it
/// is. Requests and answers have up to 64 MiB; one call does not hold up another, or a snapshot
/// would hold up heartbeats.
pub trait Link: Send + Sync + 'static {
    /// Sends `request` to `to`, whose [`ControlGroup::serve`](super::ControlGroup::serve) answers
    /// it. Ends after `timeout` at the latest.
    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, LinkError>> + Send>>;
}

/// There is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The request has certainly not reached the node.
    #[error("the node cannot be reached")]
    Unreachable,
    /// The request may have reached the node, and it may act on it.
    #[error("the node did not answer in time")]
    TimedOut,
}

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
}

#[derive(Serialize, Deserialize)]
pub(super) enum Reply {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    Snapshot(SnapshotResponse<Types>),
    Transfer(TransferLeaderResponse<Types>),
    Proposed(Result<Response, ProposeError>),
    Failed(ServeError),
}

/// Why a node did not serve a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(super) enum ServeError {
    #[error("the request is not one of this version")]
    Malformed,
    #[error("the request speaks for another node than the one that sent it")]
    Impostor,
    #[error("the node is stopping")]
    Stopping,
}

/// Why a call brought no reply of the right kind.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Served(#[from] ServeError),
    #[error("the answer is of another kind than the question")]
    Mismatch,
}

/// Calls one node.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) link: Arc<dyn Link>,
    pub(super) me: NodeId,
    pub(super) target: NodeId,
    /// How soon an unreachable node is tried again; a heartbeat's time, so that a healed link is
    /// found as soon as it can matter.
    pub(super) retry: Duration,
}

impl Peer {
    pub(super) async fn call(
        &self,
        request: &Request,
        timeout: Duration,
    ) -> Result<Reply, CallError> {
        let bytes = encode(request).map_err(|_codec| ServeError::Malformed)?;
        let reply = self.link.call(self.target, bytes, timeout).await?;
        match decode(&reply) {
            Ok(Reply::Failed(error)) => Err(error.into()),
            Ok(reply) => Ok(reply),
            Err(_codec) => Err(CallError::Mismatch),
        }
    }

    async fn ask<T>(
        &self,
        request: Request,
        (action, option): (RPCTypes, RPCOption),
        pick: impl FnOnce(Reply) -> Option<T>,
    ) -> Result<T, RPCError<Types>> {
        let timeout = option.soft_ttl();
        match self.call(&request, timeout).await {
            Ok(reply) => pick(reply).ok_or_else(|| NetworkError::new(&CallError::Mismatch).into()),
            Err(CallError::Link(LinkError::TimedOut)) => Err(Timeout {
                action,
                id: self.me,
                target: self.target,
                timeout,
            }
            .into()),
            Err(error) => Err(Unreachable::new(&error).into()),
        }
    }
}

/// Makes a [`Peer`] for every node that openraft talks to.
pub(super) struct Peers(pub(super) Peer);

impl RaftNetworkFactory<Types> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: NodeId, _: &openraft::EmptyNode) -> Peer {
        Peer {
            target,
            ..self.0.clone()
        }
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        self.ask(
            Request::Append(rpc),
            (RPCTypes::AppendEntries, option),
            |reply| match reply {
                Reply::Append(reply) => Some(reply),
                _ => None,
            },
        )
        .await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask(Request::Vote(rpc), (RPCTypes::Vote, option), vote_of)
            .await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask(Request::PreVote(rpc), (RPCTypes::Vote, option), vote_of)
            .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let request = Request::Snapshot {
            vote,
            meta: snapshot.meta,
            state: snapshot.snapshot,
        };
        let sent = self.ask(
            request,
            (RPCTypes::InstallSnapshot, option),
            |reply| match reply {
                Reply::Snapshot(reply) => Some(reply),
                _ => None,
            },
        );
        // Biased, because an unbiased choice would draw from the scheduler's generator for nothing.
        tokio::select! {
            biased;
            sent = sent => Ok(sent?),
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        self.ask(
            Request::Transfer(req),
            (RPCTypes::TransferLeader, option),
            |reply| match reply {
                Reply::Transfer(reply) => Some(reply),
                _ => None,
            },
        )
        .await
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(self.retry)))
    }
}

fn vote_of(reply: Reply) -> Option<VoteResponse<Types>> {
    match reply {
        Reply::Vote(reply) => Some(reply),
        _ => None,
    }
}
