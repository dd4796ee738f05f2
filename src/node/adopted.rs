//! The topology that a node acts on: the newest that it has written down.
//!
//! Replicas are made and erased, requests fenced and connections accepted by what the topology
//! says. A node that after a restart acted on an older one than before would erase what was decided
//! later and serve what was fenced. So a topology is written and synchronised before anybody sees
//! it, and every start begins with it. What replay, a snapshot or a grant says of the past is never
//! seen.

use std::ops::Deref;
use std::sync::Arc;

use quorate_control::store::{Batch, Commit, Space, Store, StoreError};
use quorate_control::topology::Topology;
use quorate_gossip::wire;
use tokio::sync::oneshot;

use crate::planted::{
    TOPOLOGY_GOES_BACK, TOPOLOGY_KEPT_LATE, TOPOLOGY_KEPT_UNSYNCED, TOPOLOGY_NOT_KEPT,
};

#[cfg(test)]
mod tests;

/// Where the topology is kept, in [`Space::Meta`]: CRC-32 (LE), then the topology as on the wire.
const KEPT: &[u8] = b"topology";
const DAMAGED: StoreError = StoreError::Damaged {
    what: "the node's topology",
};

/// A topology that this node has made durable, and none older after it. Only this module makes one:
/// whoever takes an `Adopted` cannot be handed anything else.
#[derive(Clone, Debug)]
pub(super) struct Adopted(Arc<Topology>);

impl Adopted {
    /// The topology, to share.
    pub(super) fn share(&self) -> Arc<Topology> {
        Arc::clone(&self.0)
    }
}

impl Deref for Adopted {
    type Target = Topology;

    fn deref(&self) -> &Topology {
        &self.0
    }
}

/// Keeps the topology of a node.
pub(super) struct Keeper {
    store: Arc<dyn Store>,
    commit: Arc<dyn Commit>,
    kept: Option<Adopted>,
}

impl Keeper {
    /// Looks for the topology that this node acted on last, and makes sure that it stays.
    ///
    /// # Errors
    /// [`StoreError`]; a damaged record is one: the node must not go on with less than it knew.
    pub(super) fn open(store: Arc<dyn Store>, commit: Arc<dyn Commit>) -> Result<Self, StoreError> {
        let kept = read(&*store)?;
        if kept.is_some() {
            // Read back is not yet durable: the process before may have been killed before it
            // synchronised.
            store.persist()?;
        }
        Ok(Self {
            store,
            commit,
            kept: kept.map(|topology| Adopted(Arc::new(topology))),
        })
    }

    /// The topology to begin with. Without one the node is no replica of anything and admits
    /// nobody.
    pub(super) fn kept(&self) -> Option<Adopted> {
        self.kept.clone()
    }

    /// Makes `decided` durable and adopts it. `None`: what is kept is as new, or newer.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was adopted.
    pub(super) async fn keep(
        &mut self,
        decided: &Arc<Topology>,
    ) -> Result<Option<Adopted>, Arc<StoreError>> {
        if !self.supersedes(decided) {
            return Ok(None);
        }
        let adopted = Adopted(Arc::clone(decided));
        let late = self
            .kept
            .replace(adopted.clone())
            .filter(|_| TOPOLOGY_KEPT_LATE.is_planted());
        if !TOPOLOGY_NOT_KEPT.is_planted() {
            self.store
                .apply(record(late.as_deref().unwrap_or(decided)))?;
            if !TOPOLOGY_KEPT_UNSYNCED.is_planted() {
                durable(&*self.commit).await?;
            }
        }
        Ok(Some(adopted))
    }

    fn supersedes(&self, decided: &Topology) -> bool {
        if decided.nodes.is_empty() {
            return false;
        }
        self.kept
            .as_ref()
            .is_none_or(|kept| TOPOLOGY_GOES_BACK.is_planted() || decided.epoch > kept.epoch)
    }
}

/// Writes down the topology with which a newcomer was admitted, durably: its first start begins
/// with it. Not over a newer one of the same cluster.
///
/// # Errors
/// [`StoreError`]; the newcomer can ask to be admitted again.
pub(crate) fn keep_granted(store: &dyn Store, granted: &Topology) -> Result<(), StoreError> {
    let newer = read(store)?
        .is_some_and(|kept| kept.cluster == granted.cluster && kept.epoch >= granted.epoch);
    if !newer {
        store.apply(record(granted))?;
    }
    store.persist()
}

/// The topology that this node acted on last, to be looked at before it starts.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn last_kept(store: &dyn Store) -> Result<Option<Topology>, StoreError> {
    read(store)
}

fn record(topology: &Topology) -> Batch {
    let body = wire::encode(topology);
    let mut value = crc32fast::hash(&body).to_le_bytes().to_vec();
    value.extend_from_slice(&body);
    let mut batch = Batch::default();
    batch.put(Space::Meta, KEPT, value);
    batch
}

fn read(store: &dyn Store) -> Result<Option<Topology>, StoreError> {
    let Some(value) = store.get(Space::Meta, KEPT)? else {
        return Ok(None);
    };
    let (crc, body) = value.split_first_chunk::<4>().ok_or(DAMAGED)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(DAMAGED);
    }
    wire::decode(body).map(Some).map_err(|_unreadable| DAMAGED)
}

/// Returns when everything applied so far is durable.
async fn durable(commit: &dyn Commit) -> Result<(), Arc<StoreError>> {
    let (done, waiting) = oneshot::channel();
    commit.commit_durably(Box::new(move |result| drop(done.send(result))));
    // A committer that drops its callback has died with its node.
    waiting.await.unwrap_or(Err(Arc::new(StoreError::Stopped)))
}
