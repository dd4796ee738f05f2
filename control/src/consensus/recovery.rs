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

use super::codec::{CodecError, decode, encode, seal};
use super::lives::{Lives, OWN};
use super::log::{COMMITTED, Disk, PURGED, SNAPSHOT, VOTE};
use super::machine::{StoredSnapshot, stored};
use super::types::{LogId, Membership, SnapshotMeta, Vote};
use crate::planted::RECOVERS_IN_PLACE;
use crate::state::{ControlState, GivenUp, LogIndex};
use crate::store::{Commit, Done, Store, StoreError};
use crate::topology::Topology;

/// How far index and term jump: more decisions and elections than any cluster makes while one of
/// its nodes is away.
const JUMP: u64 = 1 << 32;

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
    state: ControlState,
    /// The last entry of the survivor's log.
    last: LogId,
    /// Where the group goes on.
    next: LogId,
    given_up: GivenUp,
    unconfirmed: u64,
}

impl std::fmt::Debug for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovery")
            .field("node", &self.node)
            .field("last", &self.last)
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
        disk.check()?;
        let (mut state, last) = everything(&disk)?;
        let last = last
            .filter(|_| state.topology().nodes.contains_key(&node))
            .ok_or(RecoveryError::NotAMember { node })?;
        let committed = disk
            .read::<Option<LogId>>(COMMITTED, "the control commit marker")?
            .flatten();
        let vote = disk.read::<Vote>(VOTE, "the control vote")?;
        let term = vote.map_or(0, |vote| vote.leader_id().term());
        let jump = if RECOVERS_IN_PLACE.is_planted() {
            1
        } else {
            JUMP
        };
        let term = term.max(last.leader_id.term()).saturating_add(jump);
        let leader = Vote::new(term, node).leader_id().to_committed();
        let next = LogId::new(leader, last.index.saturating_add(jump));
        let given_up = state.go_on_without_others(LogIndex(next.index), node, kept);
        let unconfirmed = last.index - committed.map_or(0, |id| id.index.min(last.index));
        Ok(Self {
            disk,
            node,
            state,
            last,
            next,
            given_up,
            unconfirmed,
        })
    }

    /// The last entry of the node's log. Later ones of the lost nodes are gone.
    pub fn last(&self) -> LogIndex {
        LogIndex(self.last.index)
    }

    /// How many of the last entries the node had not heard to be decided. They are kept.
    pub fn unconfirmed(&self) -> u64 {
        self.unconfirmed
    }

    /// What is given up.
    pub fn given_up(&self) -> &GivenUp {
        &self.given_up
    }

    /// The topology that is left.
    pub fn topology(&self) -> &Arc<Topology> {
        self.state.topology()
    }

    /// Makes it so, in one durable batch: a process that is killed meanwhile leaves everything as
    /// it was or as it should be.
    ///
    /// # Errors
    /// [`RecoveryError::Store`]; then the recovery can be planned again.
    pub fn carry_out(self) -> Result<(), RecoveryError> {
        let alone = BTreeSet::from([self.node]);
        let membership = openraft::Membership::new_with_defaults(vec![alone], []);
        let snapshot = StoredSnapshot {
            meta: SnapshotMeta {
                last_log_id: Some(self.next),
                last_membership: Membership::new(Some(self.next), membership),
            },
            state: encode(&self.state)?,
        };
        let vote = Vote::new(self.next.leader_id.term(), self.node);
        let records = [
            (SNAPSHOT, seal(SNAPSHOT, &snapshot)?),
            (PURGED, seal(PURGED, &self.next)?),
            (COMMITTED, seal(COMMITTED, &Some(self.next))?),
            (VOTE, seal(VOTE, &vote)?),
        ];
        let pardon = Lives::pardoned(&self.disk)?.map(|record| (OWN, record));
        self.disk.replace(records.into_iter().chain(pardon))?;
        Ok(self.disk.store.persist()?)
    }
}

/// The state with every entry of the log applied, and the last of them.
fn everything(disk: &Disk) -> Result<(ControlState, Option<LogId>), RecoveryError> {
    let snapshot = stored(disk)?;
    let (mut state, mut last) = match snapshot {
        Some(snapshot) => (decode(&snapshot.state)?, snapshot.meta.last_log_id),
        None => (ControlState::default(), None),
    };
    let from = last.as_ref().map_or(0, |id| id.index + 1);
    for entry in disk.entries(&(from..))? {
        let id = entry.log_id();
        if let EntryPayload::Normal(command) = entry.payload {
            state.apply(LogIndex(id.index), command);
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
