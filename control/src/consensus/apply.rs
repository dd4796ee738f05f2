//! Connects a group's machine to its log: applies committed entries, makes and installs snapshots.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::Stream;
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, OptionalSend};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use super::codec::BYTES_MAX;
use super::hosted::{Frozen, Host};
use super::log::{Log, SNAPSHOT};
use super::mark::{MARKS_MAX, Mark, is_marked};
use super::types::{LogId, Membership, Snapshot, SnapshotMeta, Types};
use crate::state::LogIndex;
use crate::store::StoreError;

/// The longest state that a snapshot is made of: with what goes around it, it fits into a record
/// and a message.
const SNAPSHOT_BYTES_MAX: usize = BYTES_MAX - 1024 * 1024;

pub(super) type Raft = openraft::Raft<Types, StateMachine>;

/// How far a machine has come. It outlives the engine, which may be started anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Applied {
    pub(super) last: Option<LogId>,
    pub(super) membership: Membership,
}

/// What a group's machine and its records are known by.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) log: Log,
    pub(super) host: Arc<dyn Host>,
    pub(super) applied: Arc<watch::Sender<Applied>>,
    /// The hashes of the last states at certain entries, oldest first.
    pub(super) marks: Arc<watch::Sender<Vec<Mark>>>,
    /// Held while the snapshot record is written: a slow builder must not overwrite a newer
    /// snapshot that was installed meanwhile.
    pub(super) writing: Arc<Mutex<()>>,
}

pub(super) struct StateMachine {
    parts: Parts,
    /// How long the state was when it was hashed last.
    hashed_bytes: usize,
    /// Held as long as it may be fed: the next one of the group waits for it.
    _turn: OwnedMutexGuard<()>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredSnapshot {
    pub(super) meta: SnapshotMeta,
    pub(super) state: Bytes,
}

impl StateMachine {
    pub(super) fn new(parts: Parts, turn: OwnedMutexGuard<()>) -> Self {
        Self {
            parts,
            hashed_bytes: 0,
            _turn: turn,
        }
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        let Applied { last, membership } = self.parts.applied.borrow().clone();
        Ok((last, membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let Parts {
            host,
            applied,
            marks,
            ..
        } = &self.parts;
        while let Some(next) = poll_fn(|context| Pin::new(&mut entries).poll_next(context)).await {
            let (entry, responder) = next?;
            let id = entry.log_id();
            let index = LogIndex(id.index);
            let outcome = match entry.payload {
                EntryPayload::Blank => Bytes::new(),
                EntryPayload::Membership(membership) => {
                    let membership = Membership::new(Some(id), membership);
                    applied.send_modify(|applied| applied.membership = membership);
                    Bytes::new()
                }
                EntryPayload::Normal(proposal) => host.apply(index, id.leader_id.term(), proposal),
            };
            // Only now: whoever waits for the entry looks at the state next.
            applied.send_modify(|applied| applied.last = Some(id));
            if is_marked(id.index, self.hashed_bytes) {
                let (hash, bytes) = host.hash();
                self.hashed_bytes = bytes;
                marks.send_modify(|marks| {
                    let excess = (marks.len() + 1).saturating_sub(MARKS_MAX);
                    marks.drain(..excess);
                    marks.push(Mark { index, hash });
                });
            }
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Arc::clone(host).publish(&*self.parts.log.disk.commit);
        Ok(())
    }

    /// The engine stops for good over a snapshot that cannot be made. Of a state that is too long
    /// there is none until it is shorter: then the log is kept from the last one on.
    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        let builder = self.get_snapshot_builder().await;
        let state = (builder.state)().ok();
        let fitting = state.filter(|state| state.len() <= SNAPSHOT_BYTES_MAX);
        match fitting {
            Some(state) => Some(Builder {
                state: Box::new(move || Ok(state.clone())),
                ..builder
            }),
            None if force => Some(builder),
            None => {
                let group = self.parts.log.group;
                tracing::warn!(%group, limit = SNAPSHOT_BYTES_MAX, "the state of a group is too long for a snapshot, so its log grows; release or delete some of what it holds");
                None
            }
        }
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let Applied { last, membership } = self.parts.applied.borrow().clone();
        Builder {
            log: self.parts.log.clone(),
            state: self.parts.host.freeze(),
            meta: SnapshotMeta {
                last_log_id: last,
                last_membership: membership,
            },
            writing: Arc::clone(&self.parts.writing),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Bytes) -> io::Result<()> {
        let Parts {
            log,
            host,
            applied,
            writing,
            ..
        } = &self.parts;
        let unreadable = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        host.check(&snapshot).map_err(unreadable)?;
        let stored = StoredSnapshot {
            meta: meta.clone(),
            state: snapshot.clone(),
        };
        keep(log, writing, stored).await?;
        host.install(&snapshot).map_err(unreadable)?;
        applied.send_replace(Applied {
            last: meta.last_log_id,
            membership: meta.last_membership.clone(),
        });
        Arc::clone(host).publish(&*log.disk.commit);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let stored = stored(&self.parts.log).map_err(io::Error::other)?;
        Ok(stored.map(|stored| Snapshot {
            meta: stored.meta,
            snapshot: stored.state,
        }))
    }
}

pub(super) fn stored(log: &Log) -> Result<Option<StoredSnapshot>, StoreError> {
    log.read(SNAPSHOT, "a group's snapshot")
}

/// Stores the snapshot unless there is a newer one, and waits until it is durable, because the log
/// before it may be purged next.
async fn keep(log: &Log, writing: &Mutex<()>, snapshot: StoredSnapshot) -> io::Result<()> {
    {
        let _alone = writing.lock().await;
        let old = stored(log).map_err(io::Error::other)?;
        if old.is_none_or(|old| old.meta.last_log_id < snapshot.meta.last_log_id) {
            log.write(SNAPSHOT, &snapshot)?;
        }
    }
    log.disk.durable().await
}

/// The state at one index, on its way to the store.
pub(super) struct Builder {
    log: Log,
    state: Frozen,
    meta: SnapshotMeta,
    writing: Arc<Mutex<()>>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let state = (self.state)().map_err(io::Error::other)?;
        let meta = self.meta.clone();
        let stored = StoredSnapshot {
            meta: meta.clone(),
            state: state.clone(),
        };
        keep(&self.log, &self.writing, stored).await?;
        Ok(Snapshot {
            meta,
            snapshot: state,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::encode;
    use super::super::hosted::Hosted;
    use super::super::log::Disk;
    use super::super::machine::GroupId;
    use super::super::types::Proposal;
    use super::*;
    use crate::coordinate::{
        ClientId, Coordination, CoordinationCommand, CoordinationDeed, METADATA_VALUE_BYTES_MAX,
        MetadataCommand, Name, ProposalId, RESTORE_PART_BYTES_MAX, RestoreCommand,
    };
    use crate::store::{Commit, Done, MemoryStore};

    struct AtOnce;

    impl Commit for AtOnce {
        fn commit(&self, done: Done) {
            done(Ok(()));
        }

        fn commit_durably(&self, done: Done) {
            done(Ok(()));
        }
    }

    /// As much as the group takes: the parts of a restoration that was broken off, and metadata.
    fn deeds() -> impl Iterator<Item = CoordinationDeed> {
        let part = |number: usize| {
            CoordinationDeed::Restore(RestoreCommand::Part {
                at: (number * RESTORE_PART_BYTES_MAX) as u64,
                bytes: vec![1; RESTORE_PART_BYTES_MAX].into(),
            })
        };
        let put = |number: usize| {
            CoordinationDeed::Metadata(MetadataCommand::Put {
                name: Name::try_from(Bytes::from(number.to_string())).unwrap(),
                value: vec![1; METADATA_VALUE_BYTES_MAX].into(),
                expected: None,
            })
        };
        (0..192).map(part).chain((0..254).map(put))
    }

    #[tokio::test]
    async fn a_state_that_is_too_long_has_no_snapshot_and_stops_no_engine() {
        let host = Arc::new(Hosted::<Coordination>::new());
        let disk = Disk {
            store: Arc::new(MemoryStore::new()),
            commit: Arc::new(AtOnce),
        };
        let parts = Parts {
            log: Log {
                disk,
                group: GroupId::COORDINATION,
            },
            host: Arc::clone(&host) as _,
            applied: Arc::default(),
            marks: Arc::default(),
            writing: Arc::default(),
        };
        let turn = Arc::<Mutex<()>>::default().lock_owned().await;
        let mut machine = StateMachine::new(parts, turn);
        let short = machine.try_create_snapshot_builder(false).await;
        assert!(short.unwrap().build_snapshot().await.is_ok());
        for (number, deed) in (1..).zip(deeds()) {
            let id = ProposalId {
                client: ClientId(1),
                number,
                awaited: number,
            };
            let command = encode(&CoordinationCommand { id, deed }).unwrap();
            let proposal = Proposal {
                elapsed_ms: 0,
                command: Some(command),
            };
            host.apply(LogIndex(number), 1, proposal);
        }
        assert!(machine.try_create_snapshot_builder(false).await.is_none());
    }
}
