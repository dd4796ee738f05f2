//! Handing the leadership to another voter, without an election that somebody waits for.

use std::time::Duration;

use openraft::RaftMetrics;
use openraft::async_runtime::watch::WatchReceiver;
use quorate_crdt::NodeId;
use tokio::time::{Instant, sleep, timeout_at};

use super::apply::Raft;
use super::engine::Engine;
use super::error::HandOverError;
use super::link::LinkError;
use super::messages::{Ask, Reply};
use super::peer::CallError;
use super::types::Types;
use crate::planted::HANDS_OVER_BLINDLY;

impl Engine {
    /// Has the leader hand its leadership to `to`, or to any voter that has all entries, and
    /// returns who leads then.
    pub(super) async fn hand_over(
        &self,
        to: Option<NodeId>,
        timeout: Duration,
    ) -> Result<NodeId, HandOverError> {
        let until = Instant::now() + timeout;
        loop {
            let leader = self.leader();
            if leader == Some(self.me()) {
                return self.hand_over_here(to, until).await;
            }
            if let Some(leader) = leader {
                let timeout = until.saturating_duration_since(Instant::now());
                let ask = Ask::HandOver { to, timeout };
                match self.peer(leader).ask(ask, timeout).await {
                    Ok(Reply::HandedOver(result)) => return result,
                    Ok(Reply::Elsewhere(other)) => drop(self.hint.send_replace(other)),
                    Err(CallError::Link(LinkError::Unreachable) | CallError::Served(_)) => {}
                    Ok(_) | Err(_) => return Err(HandOverError::TimedOut),
                }
            }
            let pause = self.timing().heartbeat();
            if Instant::now() + pause >= until {
                return Err(HandOverError::NoLeader);
            }
            sleep(pause).await;
        }
    }

    /// The leader's side. It waits for the voter to catch up.
    pub(super) async fn hand_over_here(
        &self,
        to: Option<NodeId>,
        until: Instant,
    ) -> Result<NodeId, HandOverError> {
        loop {
            let raft = self.raft().ok_or(HandOverError::NoLeader)?;
            let chosen = self.choose(&raft.metrics().borrow_watched(), to);
            match chosen {
                Ok(heir) if heir == self.me() => return Ok(heir),
                Ok(heir) => return offer(&raft, heir, until).await,
                Err(error @ (HandOverError::NotAVoter { .. } | HandOverError::Witness { .. })) => {
                    return Err(error);
                }
                Err(error) => {
                    let pause = self.timing().heartbeat();
                    if Instant::now() + pause >= until {
                        return Err(error);
                    }
                    sleep(pause).await;
                }
            }
        }
    }

    /// Who is to lead next.
    fn choose(
        &self,
        metrics: &RaftMetrics<Types>,
        to: Option<NodeId>,
    ) -> Result<NodeId, HandOverError> {
        let Some(node) = to else {
            return self.heir(metrics).ok_or(HandOverError::Nobody);
        };
        let mut voters = metrics.membership_config.membership().voter_ids();
        if !voters.any(|voter| voter == node) {
            return Err(HandOverError::NotAVoter { node });
        }
        if self.is_witness(node) {
            return Err(HandOverError::Witness { node });
        }
        if node == metrics.id || HANDS_OVER_BLINDLY.is_planted() {
            return Ok(node);
        }
        let progress = metrics.replication.as_ref();
        let matched = progress.and_then(|progress| progress.get(&node)?.as_ref());
        let last = metrics.last_log_index.unwrap_or(0);
        let entries = last.saturating_sub(matched.map_or(0, |matched| matched.index));
        if entries == 0 {
            Ok(node)
        } else {
            Err(HandOverError::Behind { node, entries })
        }
    }
}

/// Offers the leadership and waits for another leader.
async fn offer(raft: &Raft, heir: NodeId, until: Instant) -> Result<NodeId, HandOverError> {
    let offered = raft.trigger().transfer_leader(heir).await;
    offered.map_err(|_fatal| HandOverError::NoLeader)?;
    let mut metrics = raft.metrics();
    let me = metrics.borrow_watched().id;
    let taken = async {
        loop {
            let leader = metrics.borrow_watched().current_leader;
            if let Some(leader) = leader.filter(|&leader| leader != me) {
                return Ok(leader);
            }
            let changed = metrics.changed().await;
            changed.map_err(|_stopped| HandOverError::TimedOut)?;
        }
    };
    let taken = timeout_at(until, taken).await;
    taken.unwrap_or(Err(HandOverError::TimedOut))
}
