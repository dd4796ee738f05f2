//! This node's part in the control group: starting it, looking at it, stopping it. Proposing is in
//! `propose`, answering other nodes in `serve`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use quorate_crdt::NodeId;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::config::ConsensusConfig;
use super::error::OpenError;
use super::link::Link;
use super::lives::{Lives, VoteTrust};
use super::log::Disk;
use super::machine::{Raft, Shared, StateMachine};
use super::members;
use super::peer::{Peer, Peers};
use super::types::Runtime;
use crate::state::{ControlState, LogIndex};
use crate::store::{Commit, Store};
use crate::topology::Topology;

/// A boxed future. What is inside is compiled in this crate, so a caller does not compile the
/// engine again.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// This node's part in the control group. Cheap to clone; all clones are the same group. Needs a
/// tokio runtime with time.
#[derive(Clone)]
pub struct ControlGroup {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) config: ConsensusConfig,
    pub(super) raft: Raft,
    shared: Arc<Shared>,
    link: Arc<dyn Link>,
    pub(super) lives: Arc<Lives>,
    tasks: [AbortHandle; 2],
}

impl Inner {
    fn end_tasks(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end_tasks();
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

/// What a node does in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Decides, as long as a majority of the voters follows it.
    Leader,
    /// Votes and follows the leader.
    Follower,
    /// Asks the voters to elect it.
    Candidate,
    /// Follows the leader without a vote.
    Learner,
    /// Has stopped.
    Stopped,
}

/// The group as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlStatus {
    /// The number of the current leadership; it never falls.
    pub term: u64,
    /// The last entry of this node's log, committed or not.
    pub last_log: LogIndex,
    /// The last entry that this node has applied.
    pub applied: LogIndex,
    /// The leader, as far as this node knows.
    pub leader: Option<NodeId>,
    /// What this node does.
    pub role: Role,
    /// The voters, in ascending order; during a change, those of both sets.
    pub voters: Vec<NodeId>,
    /// Whether the voters are being changed. Decisions then need a majority of the old ones and one
    /// of the new ones.
    pub joint: bool,
    /// The nodes that follow without a vote, in ascending order.
    pub learners: Vec<NodeId>,
    /// Whether this node's directory is trusted with a vote.
    pub standing: VoteTrust,
}

impl ControlGroup {
    /// Continues from what the store holds. With an empty store it waits to be founded, or to hear
    /// from a leader that has admitted this node.
    ///
    /// # Errors
    /// [`OpenError`].
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
        let lives = Lives::begin(disk.clone(), config.node, config.seed).await?;
        let lives = Arc::new(lives);
        let peer = Peer {
            link: Arc::clone(&link),
            me: config.node,
            target: config.node,
            retry: config.heartbeat,
        };
        let peers = Peers(peer.clone());
        let starting = Raft::new(config.node, Arc::new(engine), peers, disk, machine);
        let raft = seeded(&config, Purpose::Engine, starting)
            .await
            .map_err(|error| OpenError::Engine(Box::new(error)))?;
        let reconciling = members::reconcile(raft.clone(), Arc::clone(&shared), config.heartbeat);
        let telling = Arc::clone(&lives).tell(raft.clone(), peer, config.heartbeat);
        let tasks = [
            tokio::spawn(seeded(&config, Purpose::Reconcile, reconciling)).abort_handle(),
            tokio::spawn(telling).abort_handle(),
        ];
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                raft,
                shared,
                link,
                lives,
                tasks,
            }),
        })
    }

    /// The current topology and every later one; a slow reader may skip some. A node that has seen
    /// an epoch here still has it after a restart or a power loss. Before anything is known it is
    /// the topology of [`ControlState::default`].
    pub fn state(&self) -> watch::Receiver<Arc<Topology>> {
        self.inner.shared.topology.subscribe()
    }

    /// Looks at what this node has applied, which may be stale. `read` must be quick: it holds up
    /// the state machine.
    pub fn read<R>(&self, read: impl FnOnce(&ControlState) -> R) -> R {
        read(&self.inner.shared.state.borrow())
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.inner.config.node
    }

    /// The leader, as far as this node knows. A leader that was cut off may still believe that it
    /// leads.
    pub fn leader(&self) -> Option<NodeId> {
        self.inner.raft.metrics().borrow_watched().current_leader
    }

    /// The group as this node sees it.
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
            standing: self.inner.lives.standing(),
        }
    }

    /// Stops this node's part. What was acknowledged is in the store; a proposal in flight may or
    /// may not be applied.
    pub fn shutdown(&self) -> Boxed<'_, ()> {
        self.inner.end_tasks();
        Box::pin(async {
            if let Err(error) = self.inner.raft.shutdown().await {
                tracing::warn!(%error, "the consensus engine did not stop cleanly");
            }
        })
    }

    pub(super) fn peer(&self, target: NodeId) -> Peer {
        Peer {
            link: Arc::clone(&self.inner.link),
            me: self.node(),
            target,
            retry: self.inner.config.heartbeat,
        }
    }
}

/// What a task of the group is for. Each purpose draws from its own sequence of random numbers.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Engine = 0,
    Reconcile = 1,
    Serve = 2,
}

/// Runs a future with its own sequence of random numbers, which openraft takes from its task.
pub(super) fn seeded<F: Future>(
    config: &ConsensusConfig,
    purpose: Purpose,
    future: F,
) -> impl Future<Output = F::Output> + use<F> {
    let purpose = purpose as u64;
    let seed = config.seed ^ config.node.0.rotate_left(32) ^ purpose.rotate_left(48);
    Runtime::scope(seed, future)
}
