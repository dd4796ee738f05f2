//! A group as its driver holds it: proposing, asking, looking.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use quorate_crdt::NodeId;
use tokio::sync::{broadcast, watch};

use super::codec::{decode, encode};
use super::details::{GroupDetails, LogLine};
use super::error::{HandOverError, ProposeError, QueryError};
use super::hosted::Hosted;
use super::machine::{GroupId, Machine, ReadLevel};
use super::propose::CommitTimes;
use super::serve::Part;
use super::status::GroupStatus;
use crate::state::LogIndex;
use crate::store::StoreError;
use crate::topology::{Timing, Topology};

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

    /// Has the leader hand its leadership to `to`, or to any other voter that has all entries, and
    /// returns who leads then. Any node may ask. A voter that lacks entries is waited for: if it
    /// led before it had them, nobody could decide anything meanwhile.
    ///
    /// # Errors
    /// [`HandOverError`], after `timeout` at the latest.
    pub fn hand_over(
        &self,
        to: Option<NodeId>,
        timeout: Duration,
    ) -> Boxed<'static, Result<NodeId, HandOverError>> {
        let engine = Arc::clone(&self.part.engine);
        Box::pin(async move { engine.hand_over(to, timeout).await })
    }

    /// Has this node stand for election now, if a majority of the voters would elect it: they do
    /// not while they hear from a leader.
    ///
    /// # Errors
    /// [`ProposeError::Stopping`] if this node's part of the group does not run.
    pub fn stand_for_election(&self) -> Boxed<'static, Result<(), ProposeError>> {
        let raft = self.part.engine.raft();
        Box::pin(async move {
            let raft = raft.ok_or(ProposeError::Stopping)?;
            let elected = raft.trigger().elect(true).await;
            elected.map_err(|_fatal| ProposeError::Stopping)
        })
    }

    /// Has this node make a snapshot soon.
    ///
    /// # Errors
    /// [`ProposeError::Stopping`] if this node's part of the group does not run.
    pub fn snapshot(&self) -> Boxed<'static, Result<(), ProposeError>> {
        let raft = self.part.engine.raft();
        Box::pin(async move {
            let raft = raft.ok_or(ProposeError::Stopping)?;
            let begun = raft.trigger().snapshot().await;
            begun.map_err(|_fatal| ProposeError::Stopping)
        })
    }

    /// Has this node drop the entries of its log before `index` soon, as far as its snapshot
    /// contains them.
    ///
    /// # Errors
    /// [`ProposeError::Stopping`] if this node's part of the group does not run.
    pub fn compact(&self, index: LogIndex) -> Boxed<'static, Result<(), ProposeError>> {
        let raft = self.part.engine.raft();
        Box::pin(async move {
            let raft = raft.ok_or(ProposeError::Stopping)?;
            let Some(last) = index.0.checked_sub(1) else {
                return Ok(());
            };
            let begun = raft.trigger().purge_log(last).await;
            begun.map_err(|_fatal| ProposeError::Stopping)
        })
    }

    /// The group as each voter sees it; `None` for those that do not answer within the time.
    pub fn survey(
        &self,
        within: Duration,
    ) -> Boxed<'static, BTreeMap<NodeId, Option<GroupStatus>>> {
        let engine = Arc::clone(&self.part.engine);
        let topology = Arc::clone(&self.topology.borrow());
        Box::pin(async move { engine.survey(&topology, within).await })
    }

    /// What this node knows of the group in detail.
    pub fn details(&self) -> GroupDetails {
        self.part.engine.details()
    }

    /// The last entries of this node's log, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn log_tail(&self, entries: u64) -> Result<Vec<LogLine>, StoreError> {
        self.part.engine.tail(entries)
    }

    /// How much there is of what in the state that this node has applied.
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        self.hosted.read(Machine::figures)
    }

    /// What this node has had the group decide, and how long it took.
    pub fn commit_times(&self) -> CommitTimes {
        self.part.proposer.times()
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

    /// The pace of heartbeats and elections at which this node's part runs.
    pub fn timing(&self) -> Timing {
        self.part.engine.timing()
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
        self.part.engine.status()
    }
}
