//! The Raft group that runs [`crate::state`], on openraft. Nothing of openraft shows outside this
//! module.
//!
//! Voters decide; every other node is a learner, so every node reads the topology locally. The
//! leader itself keeps the group's membership what the topology says.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{InitializeError, RaftError};
use quorate_crdt::NodeId;
use tokio::sync::watch;
use tokio::task::AbortHandle;

mod codec;
mod config;
mod log;
mod machine;
mod members;
mod network;
mod propose;
mod serve;
mod types;

pub use config::{ConfigError, ConsensusConfig};
pub use network::{Link, LinkError};
pub use propose::ProposeError;

use crate::state::{Command, ControlState, LogIndex, Response};
use crate::store::{Commit, Store, StoreError};
use crate::topology::Topology;
use log::Disk;
use machine::{Shared, StateMachine};
use network::{Peer, Peers};
use types::{Raft, Runtime};

#[cfg(test)]
mod tests;

/// A future whose inside stays in this crate: whoever awaits it need not compile the engine once
/// more.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// This node's part in the control group. Cheap to clone; all clones are one. Needs a tokio runtime
/// with time.
#[derive(Clone)]
pub struct ControlGroup {
    inner: Arc<Inner>,
}

struct Inner {
    config: ConsensusConfig,
    raft: Raft,
    shared: Arc<Shared>,
    link: Arc<dyn Link>,
    reconciler: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.reconciler.abort();
    }
}

impl fmt::Debug for ControlGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlGroup")
            .field("node", &self.node())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// The control group did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The settings cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store failed, or what it holds of the control group is damaged. The node must then join
    /// again as a new one.
    #[error("the control group's log cannot be read")]
    Store(#[from] StoreError),
    /// The engine did not start.
    #[error("the consensus engine did not start")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The cluster was not founded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoundError {
    /// The founder is node 1.
    #[error("node {node} cannot found a cluster: the first node has the number 1")]
    NotFirst {
        /// This node.
        node: NodeId,
    },
    /// The founding was begun and is not known to have been finished. Founding again is safe.
    #[error("the founding was not finished")]
    Unfinished(#[from] ProposeError),
    /// The engine failed. Founding again is safe.
    #[error("the consensus engine is not running")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a node does in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Decides, as long as a majority of the voters follows.
    Leader,
    /// Votes.
    Follower,
    /// Asks to be elected.
    Candidate,
    /// Follows without a vote.
    Learner,
    /// Has stopped.
    Stopped,
}

/// How the group looks from this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlStatus {
    /// The number of the current leadership; never falls.
    pub term: u64,
    /// The last entry of this node's log, committed or not.
    pub last_log: LogIndex,
    /// The last entry in this node's state.
    pub applied: LogIndex,
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
    /// What this node does.
    pub role: Role,
    /// Who votes now, in ascending order; during a change, those of both sets.
    pub voters: Vec<NodeId>,
    /// Whether the voters are being changed: decisions need a majority of the old and of the new
    /// ones.
    pub joint: bool,
    /// Who follows without a vote, in ascending order.
    pub learners: Vec<NodeId>,
}

impl ControlGroup {
    /// Goes on from what the store holds; with an empty store, waits to be founded or to hear a
    /// leader that has admitted this node.
    ///
    /// # Errors
    /// [`OpenError`]; nothing runs then.
    pub fn open(
        config: ConsensusConfig,
        store: Arc<dyn Store>,
        commit: Arc<dyn Commit>,
        link: Arc<dyn Link>,
    ) -> Boxed<'static, Result<Self, OpenError>> {
        Box::pin(Self::start(config, store, commit, link))
    }

    async fn start(
        config: ConsensusConfig,
        store: Arc<dyn Store>,
        commit: Arc<dyn Commit>,
        link: Arc<dyn Link>,
    ) -> Result<Self, OpenError> {
        config.validate()?;
        let engine = config
            .engine()
            .validate()
            .map_err(|error| OpenError::Engine(Box::new(error)))?;
        let disk = Disk { store, commit };
        disk.check()?;
        let shared = Arc::new(Shared::default());
        let machine = StateMachine::new(disk.clone(), Arc::clone(&shared));
        let peers = Peers(Peer {
            link: Arc::clone(&link),
            me: config.node,
            target: config.node,
            retry: config.heartbeat,
        });
        let starting = Raft::new(config.node, Arc::new(engine), peers, disk, machine);
        let raft = seeded(&config, 0, starting)
            .await
            .map_err(|error| OpenError::Engine(Box::new(error)))?;
        let reconciling = members::reconcile(raft.clone(), Arc::clone(&shared), config.heartbeat);
        let reconciler = tokio::spawn(seeded(&config, 1, reconciling)).abort_handle();
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                raft,
                shared,
                link,
                reconciler,
            }),
        })
    }

    /// Makes a group of this node alone and founds the cluster in it. After a crash in between it
    /// may be called again; when the cluster has been founded already it answers
    /// [`Refusal::AlreadyFounded`](crate::state::Refusal::AlreadyFounded).
    ///
    /// # Errors
    /// [`FoundError`].
    pub fn found(&self, command: Command) -> Boxed<'_, Result<Response, FoundError>> {
        Box::pin(self.found_once(command))
    }

    async fn found_once(&self, command: Command) -> Result<Response, FoundError> {
        let node = self.node();
        if node != NodeId(1) {
            return Err(FoundError::NotFirst { node });
        }
        #[expect(
            clippy::zero_sized_map_values,
            reason = "the engine's form of a set of nodes"
        )]
        let alone = BTreeMap::from([(node, openraft::EmptyNode::default())]);
        match self.inner.raft.initialize(alone).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(FoundError::Engine(Box::new(error))),
        }
        Ok(self
            .propose(command, self.inner.config.election_max * 20)
            .await?)
    }

    /// Answers a request that `from` sent over its [`Link`]. Garbage gets an answer that says so.
    pub fn serve(
        &self,
        from: NodeId,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        let group = self.clone();
        Box::pin(async move { seeded(&group.inner.config, 2, group.answer(from, &request)).await })
    }

    /// The topology and every later one, though a slow reader may skip some. A node that has seen
    /// an epoch here has it after a restart and a power loss too. Before anything is known:
    /// [`ControlState::default`]'s.
    pub fn state(&self) -> watch::Receiver<Arc<Topology>> {
        self.inner.shared.topology.subscribe()
    }

    /// Looks at what this node has applied: possibly stale. `read` must be quick: it holds up the
    /// state machine.
    pub fn read<R>(&self, read: impl FnOnce(&ControlState) -> R) -> R {
        read(&self.inner.shared.state.borrow())
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.inner.config.node
    }

    /// Who leads, as far as this node knows. A leader that was cut off may still take itself for
    /// one.
    pub fn leader(&self) -> Option<NodeId> {
        self.inner.raft.metrics().borrow_watched().current_leader
    }

    /// How the group looks from here.
    pub fn status(&self) -> ControlStatus {
        let receiver = self.inner.raft.metrics();
        let metrics = receiver.borrow_watched();
        let membership = metrics.membership_config.membership();
        ControlStatus {
            term: metrics.current_term,
            last_log: LogIndex(metrics.last_log_index.unwrap_or(0)),
            applied: LogIndex(metrics.last_applied.as_ref().map_or(0, |id| id.index)),
            leader: metrics.current_leader,
            role: match metrics.state {
                ServerState::Leader => Role::Leader,
                ServerState::Follower => Role::Follower,
                ServerState::Candidate => Role::Candidate,
                ServerState::Learner => Role::Learner,
                ServerState::Shutdown => Role::Stopped,
            },
            voters: membership.voter_ids().collect(),
            joint: membership.get_joint_config().len() > 1,
            learners: membership.learner_ids().collect(),
        }
    }

    /// Stops this node's part. What was acknowledged is in the store; a proposal on its way may or
    /// may not be applied.
    pub fn shutdown(&self) -> Boxed<'_, ()> {
        self.inner.reconciler.abort();
        Box::pin(async {
            if let Err(error) = self.inner.raft.shutdown().await {
                tracing::warn!(%error, "the consensus engine did not stop cleanly");
            }
        })
    }

    fn peer(&self, target: NodeId) -> Peer {
        Peer {
            link: Arc::clone(&self.inner.link),
            me: self.node(),
            target,
            retry: self.inner.config.heartbeat,
        }
    }
}

/// Runs a future with its own sequence of random numbers, which openraft takes from its task.
fn seeded<F: Future>(
    config: &ConsensusConfig,
    purpose: u64,
    future: F,
) -> impl Future<Output = F::Output> + use<F> {
    let seed = config.seed ^ config.node.0.rotate_left(32) ^ purpose.rotate_left(48);
    Runtime::scope(seed, future)
}
