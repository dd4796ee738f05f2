//! The topology that a node acts on: the newest one that it has made durable.
//!
//! The topology decides which replicas are created and erased, which requests are fenced and which
//! connections are accepted. A node that restarts with an older topology than it had would erase
//! replicas that were placed later and serve requests that were fenced. So a topology is written
//! and synchronised before anybody sees it, and every start begins with it. Older topologies, which
//! a log replay, a snapshot or a grant can bring up, are never seen.

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

/// The key of the topology in [`Space::Meta`]. The value is a CRC-32 (LE), then the topology in its
/// wire format.
const KEPT: &[u8] = b"topology";
const DAMAGED: StoreError = StoreError::Damaged {
    what: "the node's topology",
};

/// A topology that this node has made durable, newer than any before it. Only this module makes
/// one, so code that takes an `Adopted` cannot be given anything else.
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

/// Makes the topologies of a node durable, each newer than the one before.
pub(super) struct Keeper {
    store: Arc<dyn Store>,
    commit: Arc<dyn Commit>,
    kept: Option<Adopted>,
}

impl Keeper {
    /// Reads the topology that this node acted on last, and makes sure that it is durable.
    ///
    /// # Errors
    /// [`StoreError`], also for a damaged record: the node must not go on with less than it knew.
    pub(super) fn open(store: Arc<dyn Store>, commit: Arc<dyn Commit>) -> Result<Self, StoreError> {
        let kept = read(&*store)?;
        if kept.is_some() {
            // What can be read need not be durable: the last process may have been killed before it
            // synchronised.
            store.persist()?;
        }
        Ok(Self {
            store,
            commit,
            kept: kept.map(|topology| Adopted(Arc::new(topology))),
        })
    }

    /// The topology to begin with. Without one the node holds no replica and admits nobody.
    pub(super) fn kept(&self) -> Option<Adopted> {
        self.kept.clone()
    }

    /// Makes `decided` durable and adopts it. Returns `None` if it is not newer than the topology
    /// that is kept.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing was adopted.
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

/// Writes down the topology that a newcomer was given with its admission, durably: its first start
/// begins with it. A newer one of the same cluster is left in place.
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

/// The topology that this node acted on last, for checks before it starts.
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
    // A committer that drops the callback has died with its node.
    waiting.await.unwrap_or(Err(Arc::new(StoreError::Stopped)))
}
