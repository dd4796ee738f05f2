//! Answers what other nodes ask of one group.

use std::sync::Arc;

use openraft::vote::RaftLeaderId;
use quorate_crdt::NodeId;
use tokio::time::Instant;

use super::engine::Engine;
use super::error::QueryError;
use super::messages::{Ask, Reply, ServeError};
use super::propose::Proposer;
use super::read::Said;
use super::types::{Snapshot, Vote};
use crate::planted::REPORTS_FOR_OTHERS;

/// A node's part in one group, as other nodes reach it.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) engine: Arc<Engine>,
    pub(super) proposer: Arc<Proposer>,
}

impl Part {
    /// Answers what `from` asks.
    pub(super) async fn serve(&self, from: NodeId, ask: Ask) -> Result<Reply, ServeError> {
        let engine = &self.engine;
        if !self.may_ask(from, &ask)? {
            return Err(ServeError::Impostor);
        }
        match ask {
            Ask::Propose { commands, timeout } => {
                let outcomes = self.proposer.propose_once(commands, timeout).await;
                Ok(if outcomes.iter().all(Option::is_none) {
                    self.elsewhere(from)
                } else {
                    Reply::Proposed(outcomes)
                })
            }
            Ask::Query { query, level } => Ok(match engine.answer_here(&query, level).await {
                Said::Answer(answer) => Reply::Answered(Ok(answer)),
                Said::Elsewhere(leader) => Reply::Elsewhere(leader),
                Said::Malformed => Reply::Answered(Err(QueryError::Malformed)),
            }),
            Ask::Index => Ok(match engine.index_for_others().await {
                Ok(index) => Reply::Index(index),
                Err(leader) => Reply::Elsewhere(leader.filter(|&leader| leader != from)),
            }),
            Ask::Status => Ok(Reply::Status(engine.status())),
            Ask::Excluded => {
                let excluded = engine.excludes(from).await;
                Ok(excluded.map_or_else(|| self.elsewhere(from), Reply::Excluded))
            }
            Ask::HandOver { .. } if engine.leader() != Some(engine.me()) => {
                Ok(self.elsewhere(from))
            }
            Ask::HandOver { to, timeout } => {
                let until = Instant::now() + timeout;
                Ok(Reply::HandedOver(engine.hand_over_here(to, until).await))
            }
            ask => self.serve_engine(ask).await,
        }
    }

    fn elsewhere(&self, from: NodeId) -> Reply {
        let leader = self.engine.leader();
        Reply::Elsewhere(leader.filter(|&leader| leader != from))
    }

    async fn serve_engine(&self, ask: Ask) -> Result<Reply, ServeError> {
        let raft = self.engine.raft().ok_or(ServeError::Absent)?;
        let asks_for_a_vote = matches!(ask, Ask::Vote(_) | Ask::PreVote(_) | Ask::Transfer(_));
        if asks_for_a_vote && !self.engine.lives.may_vote() {
            return Err(ServeError::InDoubt);
        }
        if matches!(ask, Ask::Append(_) | Ask::Snapshot { .. }) {
            self.engine.heard.send_replace(Instant::now());
        }
        let reply = match ask {
            Ask::Append(rpc) => raft.append_entries(rpc).await.map(Reply::Append),
            Ask::Vote(rpc) => raft.vote(rpc).await.map(Reply::Vote),
            Ask::PreVote(rpc) => raft.pre_vote(rpc).await.map(Reply::Vote),
            Ask::Snapshot { vote, meta, state } => {
                // Checked here, because the engine stops for good over a snapshot that its state
                // machine cannot read.
                let checked = self.engine.parts.host.check(&state);
                checked.map_err(|_codec| ServeError::Malformed)?;
                let snapshot = Snapshot {
                    meta,
                    snapshot: state,
                };
                let installed = raft.install_full_snapshot(vote, snapshot).await;
                return installed
                    .map(Reply::Snapshot)
                    .map_err(|_fatal| ServeError::Stopping);
            }
            Ask::Transfer(rpc) => {
                let transferred = raft.handle_transfer_leader(rpc).await;
                return transferred
                    .map(Reply::Transfer)
                    .map_err(|_fatal| ServeError::Stopping);
            }
            // Answered before.
            Ask::Propose { .. }
            | Ask::Query { .. }
            | Ask::Index
            | Ask::Status
            | Ask::Excluded
            | Ask::HandOver { .. } => {
                return Err(ServeError::Malformed);
            }
        };
        reply.map_err(|_fatal| ServeError::Stopping)
    }

    /// Whether `from` may ask it. The link has proved who sent it, and no node may lead, campaign
    /// or report for another.
    fn may_ask(&self, from: NodeId, ask: &Ask) -> Result<bool, ServeError> {
        let is_of = |vote: &Vote| *vote.leader_id().node_id() == from;
        Ok(match ask {
            Ask::Append(rpc) => is_of(&rpc.vote),
            Ask::Vote(rpc) | Ask::PreVote(rpc) => is_of(&rpc.vote),
            Ask::Snapshot { vote, .. } => is_of(vote),
            Ask::Transfer(rpc) => is_of(rpc.from_leader()),
            Ask::Query { .. } | Ask::Index | Ask::Status | Ask::Excluded | Ask::HandOver { .. } => {
                true
            }
            Ask::Propose { commands, .. } => {
                for command in commands {
                    let speaks_for = self.engine.parts.host.speaks_for(command);
                    let speaks_for = speaks_for.map_err(|_codec| ServeError::Malformed)?;
                    if speaks_for.is_some_and(|node| node != from)
                        && !REPORTS_FOR_OTHERS.is_planted()
                    {
                        return Ok(false);
                    }
                }
                true
            }
        })
    }
}
