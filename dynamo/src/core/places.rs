//! What a core remembers of the places it holds or held, and the decision that ends a replica.

use std::collections::BTreeMap;

use quorate_control::store::Batch;
use quorate_control::topology::{Epoch, KeyspaceId, Partition, Placement, Topology};
use quorate_crdt::{CausalContext, NodeId};

use crate::planted;
use crate::replica::{Known, Replica};

/// A partition of a keyspace: where a replica stands.
pub(super) type At = (KeyspaceId, Partition);

/// What a core remembers of the places it held or holds.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// What the disk says: ids closed by erasures, and up to which epoch this core has placed
    /// replicas.
    pub(super) known: Known,
    /// Removals of replicas and what is remembered of places, not yet drained.
    pub(super) disk: Batch,
    /// Released replicas that have something the holders may lack, and what that is.
    pub(super) leaving: BTreeMap<At, (Release, CausalContext)>,
    /// What a replica that is about to leave had when it stopped serving, by the epoch at which it
    /// did.
    pub(super) fenced: BTreeMap<At, (Epoch, CausalContext)>,
    /// Whether a new life is under way.
    pub(super) renewal: Renewal,
    /// Whether something that is gone still lies on disk.
    pub(super) clearing: Clearing,
    /// How many rows that are gone may lie on disk, if that is more than the configured bound: one
    /// event may bring so many, or the disk had them.
    pub(super) removed_max: usize,
}

/// Whether a new life is under way, for replicas that must not issue events under the ids they
/// have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Renewal {
    #[default]
    No,
    Wanted,
    Asked,
}

impl Renewal {
    pub(super) fn want(&mut self) {
        if *self == Self::No {
            *self = Self::Wanted;
        }
    }
}

/// Whether something that is gone still lies on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Clearing {
    #[default]
    Done,
    /// Perhaps, and no timer runs.
    Wanted,
    /// The timer runs.
    Armed,
}

impl Clearing {
    pub(super) fn want(&mut self) {
        if *self == Self::Done {
            *self = Self::Wanted;
        }
    }
}

/// The decision that this node no longer keeps a replica. Nothing else leads to an erasure, and
/// only [`Release::by`] makes one.
#[derive(Debug)]
pub(super) struct Release {
    at: At,
    epoch: Epoch,
}

impl Release {
    /// Whether `topology` has decided that `me` does not keep the replica: it is newer than what
    /// placed the replica, and does not name `me`.
    pub(super) fn by(topology: &Topology, at: At, replica: &Replica, me: NodeId) -> Option<Self> {
        let newer =
            topology.epoch > replica.placed() || planted::ERASE_WHAT_IS_NOT_NAMED.is_planted();
        let named = placement_in(topology, at).is_some_and(|placement| placement.holds(me));
        (newer && !named).then_some(Self {
            at,
            epoch: topology.epoch,
        })
    }

    /// The place that is released.
    pub(super) fn at(&self) -> At {
        self.at
    }

    /// The epoch of the topology that released it.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }
}

fn placement_in(topology: &Topology, at: At) -> Option<&Placement> {
    topology.keyspaces.get(&at.0)?.placement(at.1)
}
