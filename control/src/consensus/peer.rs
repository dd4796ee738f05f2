//! Calls to one other node, as openraft makes them.

use std::future::Future;
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

use super::codec::{decode, encode};
use super::link::{Link, LinkError};
use super::machine::GroupId;
use super::messages::{Ask, Reply, Request, ServeError};
use super::types::{Snapshot, Types, Vote};

/// Why a call got no reply of the right kind.
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
    pub(super) group: GroupId,
    /// How long to wait before an unreachable node is tried again: one heartbeat, so that a healed
    /// link is found as soon as it can matter.
    pub(super) retry: Duration,
}

impl Peer {
    /// The same, for another node.
    pub(super) fn to(&self, target: NodeId) -> Self {
        Self {
            target,
            ..self.clone()
        }
    }

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

    /// Asks the other node's part of the group.
    pub(super) async fn ask(&self, ask: Ask, timeout: Duration) -> Result<Reply, CallError> {
        self.call(&Request::Group(self.group, ask), timeout).await
    }

    async fn engine_asks<T>(
        &self,
        ask: Ask,
        action: RPCTypes,
        option: RPCOption,
        pick: impl FnOnce(Reply) -> Option<T>,
    ) -> Result<T, RPCError<Types>> {
        let timeout = option.soft_ttl();
        match self.ask(ask, timeout).await {
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
        self.0.to(target)
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        self.engine_asks(
            Ask::Append(rpc),
            RPCTypes::AppendEntries,
            option,
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
        self.engine_asks(Ask::Vote(rpc), RPCTypes::Vote, option, vote_of)
            .await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.engine_asks(Ask::PreVote(rpc), RPCTypes::Vote, option, vote_of)
            .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let ask = Ask::Snapshot {
            vote,
            meta: snapshot.meta,
            state: snapshot.snapshot,
        };
        let sent = self.engine_asks(
            ask,
            RPCTypes::InstallSnapshot,
            option,
            |reply| match reply {
                Reply::Snapshot(reply) => Some(reply),
                _ => None,
            },
        );
        // Biased, because an unbiased choice would needlessly draw a random number.
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
        self.engine_asks(
            Ask::Transfer(req),
            RPCTypes::TransferLeader,
            option,
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
