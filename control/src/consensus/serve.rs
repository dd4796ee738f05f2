//! Answers requests of other nodes of the group.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use openraft::vote::RaftLeaderId;
use quorate_crdt::NodeId;

use super::codec::{decode, encode};
use super::group::{ControlGroup, Purpose, seeded};
use super::messages::{Reply, Request, ServeError};
use super::types::{Snapshot, Vote};
use crate::planted::REPORTS_FOR_OTHERS;
use crate::state::ControlState;

impl ControlGroup {
    /// Answers a request that `from` sent over its [`Link`](super::link::Link). Garbage gets an
    /// answer that says so.
    pub fn serve(
        &self,
        from: NodeId,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        let group = self.clone();
        Box::pin(async move {
            let answering = group.answer(from, &request);
            seeded(&group.inner.config, Purpose::Serve, answering).await
        })
    }

    async fn answer(&self, from: NodeId, request: &[u8]) -> Bytes {
        let reply = match decode::<Request>(request) {
            Ok(Request::Life { lives }) => self.hear_of_life(from, &lives).await,
            Ok(request) if speaks_for(&request).is_none_or(|node| node == from) => {
                self.handle(request).await
            }
            Ok(_) => Err(ServeError::Impostor),
            Err(_codec) => Err(ServeError::Malformed),
        };
        let reply = reply.unwrap_or_else(Reply::Failed);
        encode(&reply).unwrap_or_default()
    }

    async fn hear_of_life(&self, from: NodeId, lives: &[u64]) -> Result<Reply, ServeError> {
        let remembers = self.inner.lives.hear(from, lives).await;
        let remembers = remembers.map_err(|_disk| ServeError::Stopping)?;
        Ok(Reply::Life { remembers })
    }

    async fn handle(&self, request: Request) -> Result<Reply, ServeError> {
        let raft = &self.inner.raft;
        let asks_for_a_vote = matches!(
            request,
            Request::Vote(_) | Request::PreVote(_) | Request::Transfer(_)
        );
        if asks_for_a_vote && !self.inner.lives.may_vote() {
            return Err(ServeError::InDoubt);
        }
        Ok(match request {
            Request::Append(rpc) => Reply::Append(
                raft.append_entries(rpc)
                    .await
                    .map_err(|_fatal| ServeError::Stopping)?,
            ),
            Request::Vote(rpc) => Reply::Vote(
                raft.vote(rpc)
                    .await
                    .map_err(|_fatal| ServeError::Stopping)?,
            ),
            Request::PreVote(rpc) => Reply::Vote(
                raft.pre_vote(rpc)
                    .await
                    .map_err(|_fatal| ServeError::Stopping)?,
            ),
            Request::Snapshot { vote, meta, state } => {
                // Checked here, because the engine stops for good over a snapshot that its state
                // machine cannot read.
                decode::<ControlState>(&state).map_err(|_codec| ServeError::Malformed)?;
                let installed = raft
                    .install_full_snapshot(
                        vote,
                        Snapshot {
                            meta,
                            snapshot: state,
                        },
                    )
                    .await;
                Reply::Snapshot(installed.map_err(|_fatal| ServeError::Stopping)?)
            }
            Request::Transfer(rpc) => Reply::Transfer(
                raft.handle_transfer_leader(rpc)
                    .await
                    .map_err(|_fatal| ServeError::Stopping)?,
            ),
            Request::Propose { command, timeout } => {
                Reply::Proposed(self.propose_once(&command, timeout).await)
            }
            // Answered before, because it is about the sender.
            Request::Life { .. } => return Err(ServeError::Malformed),
        })
    }
}

/// The node that the request speaks for. The link has proved who sent it, and no node may lead,
/// campaign or report for another.
fn speaks_for(request: &Request) -> Option<NodeId> {
    let node = |vote: &Vote| Some(*vote.leader_id().node_id());
    match request {
        Request::Append(rpc) => node(&rpc.vote),
        Request::Vote(rpc) | Request::PreVote(rpc) => node(&rpc.vote),
        Request::Snapshot { vote, .. } => node(vote),
        Request::Transfer(rpc) => node(rpc.from_leader()),
        Request::Life { .. } => None,
        Request::Propose { .. } if REPORTS_FOR_OTHERS.is_planted() => None,
        Request::Propose { command, .. } => command.speaks_for(),
    }
}
