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
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

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

/// A sign of life of one group for one node.
pub(super) struct Beat {
    pub(super) target: NodeId,
    pub(super) group: GroupId,
    pub(super) rpc: AppendEntriesRequest<Types>,
    /// How long the node may take to answer.
    pub(super) within: Duration,
    pub(super) answer: oneshot::Sender<Result<Reply, CallError>>,
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

/// The ways of one engine to one other node.
pub(super) struct Ways {
    peer: Peer,
    /// For signs of life, which travel together with those of other groups; `None` for everything
    /// else.
    beats: Option<UnboundedSender<Beat>>,
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
        self.engine_hears(self.ask(ask, timeout).await, action, timeout, pick)
    }

    /// What the engine makes of an answer.
    fn engine_hears<T>(
        &self,
        answer: Result<Reply, CallError>,
        action: RPCTypes,
        timeout: Duration,
        pick: impl FnOnce(Reply) -> Option<T>,
    ) -> Result<T, RPCError<Types>> {
        match answer {
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

/// Makes the [`Ways`] to every node that openraft talks to.
pub(super) struct Peers {
    pub(super) peer: Peer,
    pub(super) beats: UnboundedSender<Beat>,
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Ways;

    async fn new_client(&mut self, target: NodeId, _: &openraft::EmptyNode) -> Ways {
        Ways {
            peer: self.peer.to(target),
            beats: None,
        }
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, _: &openraft::EmptyNode) -> Ways {
        Ways {
            peer: self.peer.to(target),
            beats: Some(self.beats.clone()),
        }
    }
}

/// Has a sign of life carried to its node.
async fn carried(
    peer: &Peer,
    beats: &UnboundedSender<Beat>,
    rpc: AppendEntriesRequest<Types>,
) -> Result<Reply, CallError> {
    let (answer, answered) = oneshot::channel();
    let beat = Beat {
        target: peer.target,
        group: peer.group,
        rpc,
        within: peer.retry,
        answer,
    };
    let sent = beats.send(beat);
    sent.map_err(|_ended| ServeError::Stopping)?;
    answered.await.map_err(|_ended| ServeError::Stopping)?
}

impl RaftNetworkV2<Types> for Ways {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let timeout = option.soft_ttl();
        let answer = match &self.beats {
            Some(beats) => carried(&self.peer, beats, rpc).await,
            None => self.peer.ask(Ask::Append(rpc), timeout).await,
        };
        let pick = |reply| match reply {
            Reply::Append(reply) => Some(reply),
            _ => None,
        };
        self.peer
            .engine_hears(answer, RPCTypes::AppendEntries, timeout, pick)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.peer
            .engine_asks(Ask::Vote(rpc), RPCTypes::Vote, option, vote_of)
            .await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.peer
            .engine_asks(Ask::PreVote(rpc), RPCTypes::Vote, option, vote_of)
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
        let sent = self.peer.engine_asks(
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
        self.peer
            .engine_asks(
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
        Some(Backoff::new(std::iter::repeat(self.peer.retry)))
    }
}

fn vote_of(reply: Reply) -> Option<VoteResponse<Types>> {
    match reply {
        Reply::Vote(reply) => Some(reply),
        _ => None,
    }
}
