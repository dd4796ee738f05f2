//! A group as its driver holds it: proposing, asking, looking.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use quorate_crdt::NodeId;
use tokio::sync::{broadcast, watch};

use super::codec::{decode, encode};
use super::error::{ProposeError, QueryError};
use super::hosted::Hosted;
use super::lives::VoteTrust;
use super::machine::{GroupId, Machine, ReadLevel};
use super::serve::Part;
use crate::state::LogIndex;
use crate::topology::Topology;

/// A boxed future. What is inside is compiled in this crate, so a caller does not compile the
/// engine again.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// This node's part in a Raft group, and the way to the whole group. Cheap to clone. Unlike the
/// `Group` of `quorum`, it does not count answers: the engine does.
pub struct Group<M: Machine> {
    pub(super) part: Part,
    pub(super) hosted: Arc<Hosted<M>>,
    pub(super) topology: watch::Receiver<Arc<Topology>>,
}

impl<M: Machine> Clone for Group<M> {
    fn clone(&self) -> Self {
        Self {
            part: self.part.clone(),
            hosted: Arc::clone(&self.hosted),
            topology: self.topology.clone(),
        }
    }
}

impl<M: Machine> fmt::Debug for Group<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("group", &self.id())
            .field("node", &self.node())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// What a node does in a group.
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
    /// Has no part in the group and keeps nothing of it, or has stopped.
    Absent,
}

/// A group as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
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

impl<M: Machine> Group<M> {
    /// Has the group decide on a command, and returns the outcome. Any node may propose, whether or
    /// not it has a part in the group. A command that may have been taken is never sent again, so
    /// it is applied at most once.
    ///
    /// # Errors
    /// [`ProposeError`], after `timeout` at the latest. What the machine refuses is an outcome, not
    /// an error.
    pub fn propose(
        &self,
        command: &M::Command,
        timeout: Duration,
    ) -> Boxed<'static, Result<M::Outcome, ProposeError>> {
        let encoded = encode(command);
        let proposer = Arc::clone(&self.part.proposer);
        Box::pin(async move {
            let command = encoded.map_err(|_codec| ProposeError::Malformed)?;
            let outcome = proposer.propose(command, timeout).await?;
            decode(&outcome).map_err(|_codec| ProposeError::Malformed)
        })
    }

    /// Asks the group. Any node may ask, whether or not it has a part in the group.
    ///
    /// # Errors
    /// [`QueryError`], after `timeout` at the latest.
    pub fn query(
        &self,
        query: &M::Query,
        level: ReadLevel,
        timeout: Duration,
    ) -> Boxed<'static, Result<M::Answer, QueryError>> {
        let encoded = encode(query);
        let (engine, topology) = (Arc::clone(&self.part.engine), self.topology.clone());
        Box::pin(async move {
            let query = encoded.map_err(|_codec| QueryError::Malformed)?;
            let answer = engine.query(query, level, &topology, timeout).await?;
            decode(&answer).map_err(|_codec| QueryError::Malformed)
        })
    }

    /// Looks at what this node has applied, which may be stale; the default state if it has no part
    /// in the group. `read` must be quick: it holds up the machine.
    pub fn read<R>(&self, read: impl FnOnce(&M) -> R) -> R {
        self.hosted.read(read)
    }

    /// What this node's part of the group publishes, now and later; a slow reader may skip some.
    /// Whatever was seen here is still there after a restart or a power loss.
    pub fn published(&self) -> watch::Receiver<M::Published> {
        self.hosted.published()
    }

    /// The events of the commands that this node applies from now on, with the position of each. A
    /// reader that is too slow is told that it has missed some, and should look at the state.
    pub fn events(&self) -> broadcast::Receiver<(LogIndex, M::Event)> {
        self.hosted.events()
    }

    /// Which group it is.
    pub fn id(&self) -> GroupId {
        self.part.engine.group()
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.part.engine.me()
    }

    /// The leader, as far as this node knows. A leader that was cut off may still believe that it
    /// leads.
    pub fn leader(&self) -> Option<NodeId> {
        self.part.engine.leader()
    }

    /// The group as this node sees it.
    pub fn status(&self) -> GroupStatus {
        let engine = &self.part.engine;
        let standing = engine.lives.standing();
        let Some(raft) = engine.raft() else {
            return GroupStatus {
                term: 0,
                last_log: LogIndex(0),
                applied: LogIndex(0),
                leader: engine.leader(),
                role: Role::Absent,
                voters: Vec::new(),
                joint: false,
                learners: Vec::new(),
                standing,
            };
        };
        let receiver = raft.metrics();
        let metrics = receiver.borrow_watched();
        let membership = metrics.membership_config.membership();
        GroupStatus {
            term: metrics.current_term,
            last_log: LogIndex(metrics.last_log_index.unwrap_or(0)),
            applied: LogIndex(metrics.last_applied.as_ref().map_or(0, |id| id.index)),
            leader: metrics.current_leader,
            role: match metrics.state {
                ServerState::Leader => Role::Leader,
                ServerState::Follower => Role::Follower,
                ServerState::Candidate => Role::Candidate,
                ServerState::Learner => Role::Learner,
                ServerState::Shutdown => Role::Absent,
            },
            voters: membership.voter_ids().collect(),
            joint: membership.get_joint_config().len() > 1,
            learners: membership.learner_ids().collect(),
            standing,
        }
    }
}
