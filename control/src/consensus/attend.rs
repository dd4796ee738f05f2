//! A node's part in a group of voters only: it runs the group's engine while it votes, and keeps
//! nothing of the group's state once it has no part any more.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{InitializeError, RaftError};
use quorate_crdt::NodeId;
use tokio::sync::watch;
use tokio::time::sleep;

use super::apply::Raft;
use super::engine::Engine;
use super::messages::{Ask, Reply};
use crate::planted::LEAVES_BEFORE_THE_OTHERS_AGREE;
use crate::topology::Topology;

/// How long to wait before something that did not work is tried again, or the others are asked
/// again whether they go on without this node.
const PAUSE: Duration = Duration::from_secs(1);
/// How long they may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The node that founds the groups: the first one of the cluster.
pub(super) const FOUNDER: NodeId = NodeId(1);

/// Makes a group of this node alone, unless there is a group already.
pub(super) async fn initialize(raft: &Raft) -> Result<(), Box<dyn Error + Send + Sync>> {
    #[expect(
        clippy::zero_sized_map_values,
        reason = "the engine's form of a set of nodes"
    )]
    let alone = BTreeMap::from([(FOUNDER, openraft::EmptyNode::default())]);
    match raft.initialize(alone).await {
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(Box::new(error)),
    }
}

/// Runs for ever.
pub(super) async fn attend(engine: Arc<Engine>, mut topology: watch::Receiver<Arc<Topology>>) {
    loop {
        let votes = votes(&engine, &topology.borrow_and_update());
        let done = if votes {
            join(&engine).await
        } else {
            leave(&engine, &topology).await
        };
        match done {
            Ok(true) => {
                if topology.changed().await.is_err() {
                    return;
                }
            }
            Ok(false) => sleep(PAUSE).await,
            Err(error) => {
                let group = engine.group();
                tracing::warn!(%group, %error, "this node's part in a group cannot change now");
                sleep(PAUSE).await;
            }
        }
    }
}

fn votes(engine: &Engine, topology: &Topology) -> bool {
    let me = topology.nodes.get(&engine.me());
    me.is_some_and(|info| info.voter)
}

/// Runs the engine. The founder founds the group unless it has had a part in it before.
async fn join(engine: &Engine) -> io::Result<bool> {
    if engine.raft().is_none() {
        engine.start().await.map_err(io::Error::other)?;
    }
    if engine.me() == FOUNDER
        && !engine.parts.log.is_begun().map_err(io::Error::other)?
        && let Some(raft) = engine.raft()
    {
        initialize(&raft).await.map_err(io::Error::other)?;
    }
    Ok(true)
}

/// Stops the engine and forgets the state, once the others have agreed to go on without this node.
/// Until then they may need its vote. Returns whether there is nothing left to do.
async fn leave(engine: &Engine, topology: &watch::Receiver<Arc<Topology>>) -> io::Result<bool> {
    if engine.parts.log.is_empty().map_err(io::Error::other)? {
        engine.stop().await;
        return Ok(true);
    }
    if engine.raft().is_none() {
        engine.start().await.map_err(io::Error::other)?;
    }
    if !is_excluded(engine, topology).await {
        return Ok(false);
    }
    engine.stop().await;
    // Between the question and the stop the group may have taken the node in again, and from then
    // on it counts on what the node has acknowledged.
    if !is_excluded(engine, topology).await {
        return Ok(false);
    }
    engine.erase().await?;
    let group = engine.group();
    tracing::info!(%group, "this node has no part in the group any more and keeps nothing of it");
    Ok(true)
}

async fn is_excluded(engine: &Engine, topology: &watch::Receiver<Arc<Topology>>) -> bool {
    if LEAVES_BEFORE_THE_OTHERS_AGREE.is_planted() {
        return true;
    }
    let known = engine.leader().filter(|&leader| leader != engine.me());
    let guess = || engine.any_voter(&topology.borrow());
    let Some(asked) = known.or_else(guess) else {
        return false;
    };
    match engine.peer(asked).ask(Ask::Excluded, ANSWER_WITHIN).await {
        Ok(Reply::Excluded(excluded)) => excluded,
        Ok(Reply::Elsewhere(leader)) => {
            engine
                .hint
                .send_replace(leader.filter(|&leader| leader != asked));
            false
        }
        Ok(_) | Err(_) => {
            engine.hint.send_replace(None);
            false
        }
    }
}
