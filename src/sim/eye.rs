//! Watches a node's shards at every turn: each keeps its memory within bounds, and none acts on an
//! older topology than before.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use quorate_control::topology::Epoch;
use quorate_dynamo::Kept;

use crate::node::Onlooker;

/// What has been seen of one node's shards. Cheap to clone; outlives the node's lives.
#[derive(Clone, Default)]
pub(super) struct Eye(Arc<Mutex<Sight>>);

#[derive(Default)]
struct Sight {
    cores: BTreeMap<u8, Core>,
    /// Findings not yet reported: the check, and what it found.
    found: Vec<(&'static str, String)>,
}

#[derive(Default)]
struct Core {
    /// The newest topology it has acted on, in any life.
    epoch: Epoch,
    /// What it held at the last look, of the kinds of memory that must drain to nothing.
    keeps: Vec<Kept>,
}

impl Eye {
    fn lock(&self) -> MutexGuard<'_, Sight> {
        self.0
            .lock()
            .expect("invariant: no code panics while it looks")
    }

    /// The node has lost its memory, so it may act on old topologies again.
    pub(super) fn forget(&self) {
        self.lock().cores.clear();
    }

    /// What was found wrong since the last call.
    pub(super) fn found(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.lock().found)
    }

    /// Something still held that should be gone when all is at rest.
    pub(super) fn keeps(&self) -> Option<Kept> {
        self.lock()
            .cores
            .values()
            .flat_map(|core| &core.keeps)
            .copied()
            .next()
    }
}

impl Onlooker for Eye {
    fn acts(&self, core: u8, epoch: Epoch) {
        let mut sight = self.lock();
        let Sight { cores, found } = &mut *sight;
        let seen = cores.entry(core).or_default();
        if epoch < seen.epoch {
            found.push((
                "topology-went-back",
                format!(
                    "shard {core} acts on epoch {} after it acted on {}",
                    epoch.0, seen.epoch.0
                ),
            ));
        }
        seen.epoch = epoch;
    }

    fn keeps(&self, core: u8, kept: &[Kept]) {
        let mut sight = self.lock();
        let Sight { cores, found } = &mut *sight;
        if let Some(Kept {
            what, held, max, ..
        }) = kept.iter().find(|kept| kept.held > kept.max)
        {
            found.push((
                "memory-beyond-its-bound",
                format!("shard {core} keeps {held} {what}; the bound is {max}"),
            ));
        }
        let seen = cores.entry(core).or_default();
        seen.keeps.clear();
        seen.keeps
            .extend(kept.iter().filter(|kept| kept.passes && kept.held > 0));
    }
}
