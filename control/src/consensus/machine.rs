//! Connects the pure [`ControlState`] to the log: applies committed entries, makes and installs
//! snapshots, publishes topologies.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::Stream;
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use super::codec::{decode, encode};
use super::log::{Disk, SNAPSHOT};
use super::types::{LogId, Membership, Snapshot, SnapshotMeta, Types};
use crate::state::{ControlState, LogIndex, Response};
use crate::store::StoreError;
use crate::topology::Topology;

pub(super) type Raft = openraft::Raft<Types, StateMachine>;

/// What the state machine writes and every handle of the group reads.
#[derive(Debug)]
pub(super) struct Shared {
    /// The state as applied. After a power loss a node may restart from a little before it.
    pub(super) state: watch::Sender<ControlState>,
    /// The topology as published. **Invariant:** a restart never falls behind it, because it is set
    /// only once the commit marker that leads to it is durable. So a replica that has fenced an
    /// epoch has fenced it for good.
    pub(super) topology: watch::Sender<Arc<Topology>>,
}

impl Default for Shared {
    fn default() -> Self {
        let state = ControlState::default();
        let topology = watch::Sender::new(Arc::clone(state.topology()));
        Self {
            state: watch::Sender::new(state),
            topology,
        }
    }
}

pub(super) struct StateMachine {
    disk: Disk,
    shared: Arc<Shared>,
    applied: Option<LogId>,
    membership: Membership,
    /// Held while the snapshot record is written: a slow builder must not overwrite a newer
    /// snapshot that was installed meanwhile.
    writing: Arc<Mutex<()>>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredSnapshot {
    pub(super) meta: SnapshotMeta,
    pub(super) state: Bytes,
}

impl StateMachine {
    pub(super) fn new(disk: Disk, shared: Arc<Shared>) -> Self {
        Self {
            disk,
            shared,
            applied: None,
            membership: Membership::default(),
            writing: Arc::default(),
        }
    }

    fn publish(&self) {
        let topology = Arc::clone(self.shared.state.borrow().topology());
        if topology.epoch > self.shared.topology.borrow().epoch {
            let shared = Arc::clone(&self.shared);
            let publish = move |published: &mut Arc<Topology>| {
                let newer = topology.epoch > published.epoch;
                if newer {
                    *published = topology;
                }
                newer
            };
            self.disk.commit.commit_durably(Box::new(move |result| {
                if result.is_ok() {
                    shared.topology.send_if_modified(publish);
                }
            }));
        }
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some(next) = poll_fn(|context| Pin::new(&mut entries).poll_next(context)).await {
            let (entry, responder) = next?;
            let id = entry.log_id();
            self.applied = Some(id);
            let response = match entry.payload {
                EntryPayload::Blank => Response::Done,
                EntryPayload::Membership(membership) => {
                    self.membership = Membership::new(Some(id), membership);
                    Response::Done
                }
                EntryPayload::Normal(command) => {
                    let mut response = Response::Done;
                    self.shared
                        .state
                        .send_modify(|state| response = state.apply(LogIndex(id.index), command));
                    response
                }
            };
            if let Some(responder) = responder {
                responder.send(response);
            }
        }
        self.publish();
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            disk: self.disk.clone(),
            state: self.shared.state.borrow().clone(),
            meta: SnapshotMeta {
                last_log_id: self.applied,
                last_membership: self.membership.clone(),
            },
            writing: Arc::clone(&self.writing),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Bytes) -> io::Result<()> {
        let state: ControlState =
            decode(&snapshot).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        keep(
            &self.disk,
            &self.writing,
            StoredSnapshot {
                meta: meta.clone(),
                state: snapshot,
            },
        )
        .await?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.shared.state.send_replace(state);
        self.publish();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let stored = stored(&self.disk).map_err(io::Error::other)?;
        Ok(stored.map(|stored| Snapshot {
            meta: stored.meta,
            snapshot: stored.state,
        }))
    }
}

pub(super) fn stored(disk: &Disk) -> Result<Option<StoredSnapshot>, StoreError> {
    disk.read(SNAPSHOT, "the control snapshot")
}

/// Stores the snapshot unless there is a newer one, and waits until it is durable, because the log
/// before it may be purged next.
async fn keep(disk: &Disk, writing: &Mutex<()>, snapshot: StoredSnapshot) -> io::Result<()> {
    {
        let _alone = writing.lock().await;
        let old = stored(disk).map_err(io::Error::other)?;
        if old.is_none_or(|old| old.meta.last_log_id < snapshot.meta.last_log_id) {
            disk.write(SNAPSHOT, &snapshot)?;
        }
    }
    disk.durable().await
}

/// The state at one index, on its way to the store.
pub(super) struct Builder {
    disk: Disk,
    state: ControlState,
    meta: SnapshotMeta,
    writing: Arc<Mutex<()>>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let state = encode(&self.state).map_err(io::Error::other)?;
        let meta = self.meta.clone();
        keep(
            &self.disk,
            &self.writing,
            StoredSnapshot {
                meta: meta.clone(),
                state: state.clone(),
            },
        )
        .await?;
        Ok(Snapshot {
            meta,
            snapshot: state,
        })
    }
}
