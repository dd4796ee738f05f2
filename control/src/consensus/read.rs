//! Queries at three strengths, answered here or by another node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{LinearizerOption, ReadPolicy};
use quorate_crdt::NodeId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::apply::Raft;
use super::engine::Engine;
use super::error::QueryError;
use super::machine::ReadLevel;
use super::messages::{Ask, Reply};
use super::types::Types;
use crate::planted::{
    LEASE_WITHOUT_BOUND, READS_BEFORE_APPLYING, READS_WITHOUT_A_MAJORITY, STALE_WITHOUT_BOUND,
};
use crate::topology::Topology;

/// How long one node may take to answer before another one is asked, and how long a reader that is
/// content with an old answer waits for a fresher one. Guess.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// What a node says to a query.
pub(super) enum Said {
    Answer(Bytes),
    /// It cannot answer as freshly as it was asked to. It knows of this leader.
    Elsewhere(Option<NodeId>),
    /// It does not know such a query.
    Malformed,
}

/// Why a node cannot show how fresh its state is: it does not lead, or no majority answers it. It
/// knows of this leader.
type Unshown = Option<NodeId>;

impl Engine {
    /// Answers a query, here or by asking another node.
    pub(super) async fn query(
        &self,
        query: Bytes,
        level: ReadLevel,
        topology: &watch::Receiver<Arc<Topology>>,
        timeout: Duration,
    ) -> Result<Bytes, QueryError> {
        let patience = match level {
            ReadLevel::Strong | ReadLevel::Lease => timeout,
            ReadLevel::Stale { .. } => timeout.min(ASK_TIMEOUT),
        };
        let until = Instant::now() + patience;
        let failed = |otherwise| match level {
            ReadLevel::Stale {
                within: Some(within),
            } => QueryError::TooStale {
                within,
                known: self.fresh.age(),
            },
            _ => otherwise,
        };
        loop {
            let known = match timeout_at(until, self.answer_here(&query, level)).await {
                Err(_elapsed) => return Err(failed(QueryError::TimedOut)),
                Ok(Said::Answer(answer)) => return Ok(answer),
                Ok(Said::Malformed) => return Err(QueryError::Malformed),
                Ok(Said::Elsewhere(leader)) => leader.or(*self.hint.borrow()),
            };
            let guess = || self.any_voter(&topology.borrow());
            let asked = known.filter(|&node| node != self.me()).or_else(guess);
            if let Some(asked) = asked {
                let left = until.saturating_duration_since(Instant::now());
                let ask = Ask::Query {
                    query: query.clone(),
                    level,
                };
                let reply = self.peer(asked).ask(ask, left.min(ASK_TIMEOUT)).await;
                match reply {
                    Ok(Reply::Answered(answer)) => return answer,
                    Ok(Reply::Elsewhere(Some(leader))) if leader != asked => {
                        self.hint.send_replace(Some(leader));
                    }
                    Ok(_) | Err(_) => drop(self.hint.send_replace(None)),
                }
            }
            let pause = self.timing().heartbeat();
            if Instant::now() + pause >= until {
                return Err(failed(QueryError::NoLeader));
            }
            sleep(pause).await;
        }
    }

    /// Answers a query from what this node has applied, if that is fresh enough.
    pub(super) async fn answer_here(&self, query: &[u8], level: ReadLevel) -> Said {
        let Some(raft) = self.raft() else {
            return Said::Elsewhere(None);
        };
        let now = Instant::now();
        let shown = match level {
            ReadLevel::Strong => self.is_complete(&raft, now).await,
            ReadLevel::Lease => match self.has_lease(&raft).await {
                // It leads, and its lease is over: at a slow pace before the next sign of life.
                Err(None) => self.is_complete(&raft, now).await,
                shown => shown,
            },
            ReadLevel::Stale {
                within: Some(within),
            } if !STALE_WITHOUT_BOUND.is_planted() => {
                let since = now.checked_sub(within).unwrap_or(now);
                self.is_complete(&raft, since).await
            }
            ReadLevel::Stale { .. } => Ok(()),
        };
        if let Err(leader) = shown {
            return Said::Elsewhere(leader);
        }
        match self.parts.host.answer(query) {
            Ok(answer) => Said::Answer(answer),
            Err(_codec) => Said::Malformed,
        }
    }

    /// Returns once this node has applied everything that was decided before `since`.
    async fn is_complete(&self, raft: &Raft, since: Instant) -> Result<(), Unshown> {
        let complete = async {
            let index = self.fresh.index(since, self.ask_index(raft)).await?;
            if READS_BEFORE_APPLYING.is_planted() {
                return Ok(());
            }
            let mut applied = self.parts.applied.subscribe();
            let reached = applied.wait_for(|applied| {
                let last = applied.last.as_ref();
                last.is_some_and(|last| last.index >= index)
            });
            reached.await.map(drop).map_err(|_ended| None)
        };
        timeout(ASK_TIMEOUT, complete).await.unwrap_or(Err(None))
    }

    /// Up to where everything is applied that is decided now, as the leader says.
    async fn ask_index(&self, raft: &Raft) -> Result<u64, Unshown> {
        let leader = match self.index_here(raft).await {
            Err(Some(leader)) if leader != self.me() => leader,
            here => return here,
        };
        match self.peer(leader).ask(Ask::Index, ASK_TIMEOUT).await {
            Ok(Reply::Index(index)) => Ok(index),
            Ok(Reply::Elsewhere(leader)) => Err(leader),
            Ok(_) | Err(_) => Err(None),
        }
    }

    /// The same, as this node says if it leads: it asks a majority whether it still does.
    async fn index_here(&self, raft: &Raft) -> Result<u64, Unshown> {
        if READS_WITHOUT_A_MAJORITY.is_planted() && self.leads(raft) {
            let applied = self.parts.applied.borrow();
            return Ok(applied.last.as_ref().map_or(0, |last| last.index));
        }
        let shown = raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
        let shown = shown.map_err(unshown)?;
        Ok(shown.read_log_id().index())
    }

    /// The same, for another node, which shares the question with all others that ask now.
    pub(super) async fn index_for_others(&self) -> Result<u64, Unshown> {
        let raft = self.raft().ok_or(None)?;
        let index = self.fresh.index(Instant::now(), self.index_here(&raft));
        index.await
    }

    /// Returns once this node has applied everything that was decided, if it leads and a majority
    /// has answered it within [`lease`](Self::lease).
    async fn has_lease(&self, raft: &Raft) -> Result<(), Unshown> {
        if LEASE_WITHOUT_BOUND.is_planted() && self.leads(raft) {
            return Ok(());
        }
        let option = LinearizerOption::new(Some(self.lease()), false);
        let option = option.with_wait_timeout(Duration::ZERO);
        let shown = raft.ensure_linearizable(option).await;
        shown.map(drop).map_err(unshown)
    }

    fn leads(&self, raft: &Raft) -> bool {
        let metrics = raft.metrics();
        let leader = metrics.borrow_watched().current_leader;
        leader == Some(self.me())
    }

    /// Whether a node has no part in the group any more, for certain: a majority follows this
    /// leader, and the membership that they have agreed on does not name the node.
    pub(super) async fn excludes(&self, node: NodeId) -> Option<bool> {
        let raft = self.raft()?;
        raft.ensure_linearizable(ReadPolicy::ReadIndex).await.ok()?;
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let settled = metrics.membership_config == metrics.committed_membership_config;
        let named = metrics
            .committed_membership_config
            .get_node(&node)
            .is_some();
        Some(settled && !named)
    }
}

fn unshown(error: RaftError<Types, LinearizableReadError<Types>>) -> Unshown {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => forward.leader_id,
        // A stopped engine may be started again.
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) | RaftError::Fatal(_) => {
            None
        }
    }
}
