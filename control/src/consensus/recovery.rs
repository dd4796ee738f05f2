//! A majority of the voters is lost for good: makes one survivor the only voter, offline.
//!
//! The survivor's log is all there is. What is in it is taken as decided, whether or not the
//! survivor had heard that it was; what only the lost voters had is gone. The group goes on at an
//! index and a term far beyond the survivor's, so that nothing that the lost voters decided without
//! it can be mistaken for newer.

use std::collections::BTreeSet;
use std::sync::Arc;

use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use openraft::vote::RaftLeaderId;
use quorate_crdt::NodeId;

use super::apply::{StoredSnapshot, stored};
use super::codec::{CodecError, decode, encode};
use super::lives::Lives;
use super::log::{COMMITTED, Disk, Log, PURGED, SNAPSHOT, VOTE};
use super::machine::{GroupId, Machine};
use super::types::{LogId, Membership, SnapshotMeta, Vote};
use crate::coordinate::Coordination;
use crate::planted::RECOVERS_IN_PLACE;
use crate::state::{ControlState, GivenUp, LogIndex};
use crate::store::{Batch, Commit, Done, Space, Store, StoreError};
use crate::topology::Topology;

/// How far index and term jump: more decisions and elections than any cluster makes while one of
/// its nodes is away.
const JUMP: u64 = 1 << 32;

/// How far a group of which nothing is left goes beyond the topology group: more than any restored
/// state is numbered beyond its log.
const LEAP: u64 = 1 << 50;

/// Why there is nothing to recover. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store holds of the control group cannot be read.
    #[error("the control group's snapshot cannot be read")]
    Unreadable,
    /// The store holds no decision that names the node.
    #[error(
        "the control group that this store knows has no node {node}: nothing can go on from it"
    )]
    NotAMember {
        /// The node of the store.
        node: NodeId,
    },
}

/// A recovery that is planned and not carried out yet. Nothing else may use the store meanwhile.
pub struct Recovery {
    disk: Disk,
    node: NodeId,
    topology: Rewritten<ControlState>,
    coordination: Rewritten<Coordination>,
    given_up: GivenUp,
}

/// A group of which one node is left: what it has decided, and where it goes on.
struct Rewritten<M> {
    log: Log,
    state: M,
    /// The last entry of the survivor's log.
    last: LogId,
    /// How many of the last entries the survivor had not heard to be decided.
    unconfirmed: u64,
    next: LogId,
}

impl std::fmt::Debug for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovery")
            .field("node", &self.node)
            .field("last", &self.topology.last)
            .field("given_up", &self.given_up)
            .finish_non_exhaustive()
    }
}

/// Synchronises for each commit: there is one writer, and it is in no hurry.
struct AtOnce(Arc<dyn Store>);

impl Commit for AtOnce {
    fn commit(&self, done: Done) {
        done(self.0.persist().map_err(Arc::new));
    }

    fn commit_durably(&self, done: Done) {
        self.commit(done);
    }
}

impl Recovery {
    /// Reads what `node` knows and works out what would be left of it if all nodes but this one and
    /// `kept` were lost. Changes nothing.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub fn plan(
        store: Arc<dyn Store>,
        node: NodeId,
        kept: &BTreeSet<NodeId>,
    ) -> Result<Self, RecoveryError> {
        let commit = Arc::new(AtOnce(Arc::clone(&store)));
        let disk = Disk { store, commit };
        let topology = Rewritten::<ControlState>::plan(&disk, GroupId::TOPOLOGY, node)?;
        let mut topology = topology
            .filter(|known| known.state.topology().nodes.contains_key(&node))
            .ok_or(RecoveryError::NotAMember { node })?;
        let coordination = match Rewritten::plan(&disk, GroupId::COORDINATION, node)? {
            Some(known) => known,
            None => Rewritten::anew(&disk, GroupId::COORDINATION, topology.next),
        };
        let next = LogIndex(topology.next.index);
        let given_up = topology.state.go_on_without_others(next, node, kept);
        Ok(Self {
            disk,
            node,
            topology,
            coordination,
            given_up,
        })
    }

    /// The last entry of the node's log. Later ones of the lost nodes are gone.
    pub fn last(&self) -> LogIndex {
        LogIndex(self.topology.last.index)
    }

    /// How many of the last entries the node had not heard to be decided. They are kept.
    pub fn unconfirmed(&self) -> u64 {
        self.topology.unconfirmed
    }

    /// What is given up.
    pub fn given_up(&self) -> &GivenUp {
        &self.given_up
    }

    /// The topology that is left.
    pub fn topology(&self) -> &Arc<Topology> {
        self.topology.state.topology()
    }

    /// Makes it so, in one durable batch: a process that is killed meanwhile leaves everything as
    /// it was or as it should be.
    ///
    /// # Errors
    /// [`RecoveryError::Store`]; then the recovery can be planned again.
    pub fn carry_out(self) -> Result<(), RecoveryError> {
        let batch = self.topology.write(self.node, Batch::default())?;
        let mut batch = self.coordination.write(self.node, batch)?;
        if let Some((key, record)) = Lives::pardoned(&self.disk)? {
            batch.put(Space::Control, key, record);
        }
        self.disk.store.apply(batch)?;
        Ok(self.disk.store.persist()?)
    }
}

impl<M: Machine> Rewritten<M> {
    /// Where the group goes on if `node` is all that is left of it; `None` if the node has nothing.
    fn plan(disk: &Disk, group: GroupId, node: NodeId) -> Result<Option<Self>, RecoveryError> {
        let log = Log {
            disk: disk.clone(),
            group,
        };
        log.check()?;
        let (state, Some(last)) = everything::<M>(&log)? else {
            return Ok(None);
        };
        let committed = log.read::<Option<LogId>>(COMMITTED, "a group's commit marker")?;
        let committed = committed.flatten();
        let vote = log.read::<Vote>(VOTE, "a group's vote")?;
        let term = vote.map_or(0, |vote| vote.leader_id().term());
        let jump = if RECOVERS_IN_PLACE.is_planted() {
            1
        } else {
            JUMP
        };
        let term = term.max(last.leader_id.term()).saturating_add(jump);
        let leader = Vote::new(term, node).leader_id().to_committed();
        Ok(Some(Self {
            log,
            state,
            unconfirmed: last.index - committed.map_or(0, |id| id.index.min(last.index)),
            next: LogId::new(leader, last.index.saturating_add(jump)),
            last,
        }))
    }

    /// A group of which nothing is left goes on with nothing, far beyond everything that it can
    /// have decided: it has had at most as many recoveries as the topology group, which goes on at
    /// `beside`.
    fn anew(disk: &Disk, group: GroupId, beside: LogId) -> Self {
        let log = Log {
            disk: disk.clone(),
            group,
        };
        Self {
            log,
            state: M::default(),
            unconfirmed: 0,
            last: LogId::new(beside.leader_id, 0),
            next: LogId::new(beside.leader_id, beside.index.saturating_add(LEAP)),
        }
    }

    /// Adds to the batch what makes `node` the only voter.
    fn write(&self, node: NodeId, batch: Batch) -> Result<Batch, RecoveryError> {
        let (log, next) = (&self.log, &self.next);
        let alone = BTreeSet::from([node]);
        let membership = openraft::Membership::new_with_defaults(vec![alone], []);
        let snapshot = StoredSnapshot {
            meta: SnapshotMeta {
                last_log_id: Some(*next),
                last_membership: Membership::new(Some(*next), membership),
            },
            state: encode(&self.state)?,
        };
        let records = [
            log.sealed(SNAPSHOT, &snapshot)?,
            log.sealed(PURGED, next)?,
            log.sealed(COMMITTED, &Some(next))?,
            log.sealed(VOTE, &Vote::new(next.leader_id.term(), node))?,
        ];
        Ok(log.replacing(records, batch)?)
    }
}

/// The state with every entry of the log applied, and the last of them.
fn everything<M: Machine>(log: &Log) -> Result<(M, Option<LogId>), RecoveryError> {
    let (mut state, mut last) = match stored(log)? {
        Some(snapshot) => (decode(&snapshot.state)?, snapshot.meta.last_log_id),
        None => (M::default(), None),
    };
    let from = last.as_ref().map_or(0, |id| id.index + 1);
    let mut unheard = Vec::new();
    for entry in log.entries(&(from..))? {
        let id = entry.log_id();
        let index = LogIndex(id.index);
        if let EntryPayload::Normal(proposal) = entry.payload {
            state.pass(
                index,
                id.leader_id.term(),
                proposal.elapsed_ms,
                &mut unheard,
            );
            if let Some(command) = proposal.command {
                state.apply(index, decode(&command)?, &mut unheard);
            }
        }
        last = Some(id);
    }
    Ok((state, last))
}

impl From<CodecError> for RecoveryError {
    fn from(_: CodecError) -> Self {
        Self::Unreadable
    }
}
