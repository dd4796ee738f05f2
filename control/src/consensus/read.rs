//! Queries at three strengths, answered here or by the leader.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{LinearizerOption, ReadPolicy};
use quorate_crdt::NodeId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::engine::Engine;
use super::error::QueryError;
use super::machine::ReadLevel;
use super::messages::{Ask, Reply};
use crate::planted::READS_WITHOUT_A_MAJORITY;
use crate::topology::Topology;

/// How long one node may take to answer before another one is asked. Guess.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// What a node says to a query.
pub(super) enum Said {
    Answer(Bytes),
    /// It cannot answer as freshly as it was asked to. It knows of this leader.
    Elsewhere(Option<NodeId>),
    /// It does not know such a query.
    Malformed,
}

impl Engine {
    /// Answers a query, here or by asking the leader.
    pub(super) async fn query(
        &self,
        query: Bytes,
        level: ReadLevel,
        topology: &watch::Receiver<Arc<Topology>>,
        timeout: Duration,
    ) -> Result<Bytes, QueryError> {
        let until = Instant::now() + timeout;
        loop {
            let known = match timeout_at(until, self.answer_here(&query, level)).await {
                Err(_elapsed) => return Err(QueryError::TimedOut),
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
                return Err(QueryError::NoLeader);
            }
            sleep(pause).await;
        }
    }

    /// Answers a query from what this node has applied, if that is fresh enough.
    pub(super) async fn answer_here(&self, query: &[u8], level: ReadLevel) -> Said {
        let Some(raft) = self.raft() else {
            return Said::Elsewhere(None);
        };
        let policy = match level {
            ReadLevel::Strong => Some(LinearizerOption::from(ReadPolicy::ReadIndex)),
            ReadLevel::Lease => {
                let lease = self.lease();
                let option = LinearizerOption::new(Some(lease), false);
                Some(option.with_wait_timeout(Duration::ZERO))
            }
            ReadLevel::Stale => None,
        };
        let leads = || {
            let metrics = raft.metrics();
            metrics.borrow_watched().current_leader == Some(self.me())
        };
        if let Some(policy) = policy
            && !(READS_WITHOUT_A_MAJORITY.is_planted() && leads())
        {
            match raft.ensure_linearizable(policy).await {
                Ok(_) => {}
                Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                    return Said::Elsewhere(forward.leader_id);
                }
                // A stopped engine may be started again.
                Err(
                    RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))
                    | RaftError::Fatal(_),
                ) => return Said::Elsewhere(None),
            }
        }
        match self.parts.host.answer(query) {
            Ok(answer) => Said::Answer(answer),
            Err(_codec) => Said::Malformed,
        }
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
