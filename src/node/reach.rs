//! Whether a node answers anybody: asked before it is declared lost, or replaced, or given work.

use std::time::Duration;

use quorate_control::topology::Topology;
use quorate_crdt::NodeId;
use quorate_gossip::transport::Transport;
use quorate_gossip::wire;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::hub::{ASK_TIMEOUT, Call, VERSION, tagged};
use crate::planted::LIVING_TAKEN_FOR_LOST;

/// How long members may take to notice that a node has gone.
const NOTICE: Duration = Duration::from_secs(4);

/// One node's way to all others.
#[derive(Clone, Copy)]
pub(super) struct Reach<'a> {
    pub(super) me: NodeId,
    pub(super) transport: &'a dyn Transport,
}

impl Reach<'_> {
    /// The version that `node` runs; `None` if it does not answer within [`ASK_TIMEOUT`].
    pub(super) async fn version_of(&self, node: NodeId) -> Option<String> {
        if node == self.me {
            return Some(VERSION.to_owned());
        }
        let question = tagged(Call::Version, &[]);
        let answer = self
            .transport
            .call(node, question, ASK_TIMEOUT)
            .await
            .ok()?;
        String::from_utf8(answer.to_vec()).ok()
    }

    /// Whether the node answers this one, or any other member reaches it.
    pub(super) async fn answers(&self, topology: &Topology, node: NodeId) -> bool {
        self.version_of(node).await.is_some() || self.is_reached(topology, node).await
    }

    /// As [`answers`](Self::answers), after the other members have had the time to notice that the
    /// node has gone.
    pub(super) async fn still_answers(&self, topology: &Topology, node: NodeId) -> bool {
        if LIVING_TAKEN_FOR_LOST.is_planted() {
            return false;
        }
        let begun = Instant::now();
        loop {
            if self.version_of(node).await.is_some() {
                return true;
            }
            if !self.is_reached(topology, node).await {
                return false;
            }
            if begun.elapsed() >= NOTICE {
                return true;
            }
            tokio::time::sleep(NOTICE / 10).await;
        }
    }

    /// Whether a member besides this one reaches the node.
    async fn is_reached(&self, topology: &Topology, node: NodeId) -> bool {
        let question = tagged(Call::Reaches, &wire::encode(&node));
        let mut asked = JoinSet::new();
        for &other in topology.nodes.keys() {
            if other != node && other != self.me {
                let answer = self.transport.call(other, question.clone(), ASK_TIMEOUT);
                asked.spawn(async move { answer.await.is_ok_and(|answer| answer.as_ref() == [1]) });
            }
        }
        while let Some(answer) = asked.join_next().await {
            if answer.unwrap_or(false) {
                return true;
            }
        }
        false
    }
}
