//! What a core remembers about the partitions that it holds or held, and the decision that ends a
//! replica.

use std::collections::BTreeMap;

use quorate_control::store::Batch;
use quorate_control::topology::{Epoch, Placement, Topology};
use quorate_crdt::{CausalContext, NodeId};

use crate::planted;
use crate::replica::{Known, Replica};
use crate::seen::At;

/// What a core remembers about the partitions that it holds or held.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// What the disk says: ids that erasures have closed, and up to which epoch this core has
    /// placed replicas.
    pub(super) known: Known,
    /// Changes for the disk about erased replicas and placements, not yet drained.
    pub(super) disk: Batch,
    /// Released replicas whose holders may still lack something, with what the replica had.
    pub(super) leaving: BTreeMap<At, (Release, CausalContext)>,
    /// What replicas that are about to leave had when they stopped serving, with the epoch at which
    /// they did.
    pub(super) stopped: BTreeMap<At, (Epoch, CausalContext)>,
    /// Whether a new life is needed.
    pub(super) renewal: Renewal,
    /// Whether removed data still lies on disk.
    pub(super) clearing: Clearing,
    /// How many removed rows may lie on disk, if that is more than the configured bound: a single
    /// event may leave more, or a start may find more.
    pub(super) removed_max: usize,
}

/// Whether a new life is needed, for replicas that may not issue events under their present ids.
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

/// Whether removed data still lies on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Clearing {
    #[default]
    Done,
    /// Perhaps, and no timer is armed.
    Wanted,
    /// The timer is armed.
    Armed,
}

impl Clearing {
    pub(super) fn want(&mut self) {
        if *self == Self::Done {
            *self = Self::Wanted;
        }
    }
}

/// The decision that this node no longer keeps a replica. An erasure needs one, and only
/// [`Release::by`] makes it.
#[derive(Debug)]
pub(super) struct Release {
    at: At,
    epoch: Epoch,
}

impl Release {
    /// Makes the decision if `topology` is newer than the placement of the replica and does not
    /// name `me`.
    pub(super) fn by(topology: &Topology, at: At, replica: &Replica, me: NodeId) -> Option<Self> {
        let newer =
            topology.epoch > replica.placed() || planted::ERASE_WHAT_IS_NOT_NAMED.is_planted();
        let named = placement_in(topology, at).is_some_and(|placement| placement.holds(me));
        (newer && !named).then_some(Self {
            at,
            epoch: topology.epoch,
        })
    }

    /// The partition of the replica.
    pub(super) fn at(&self) -> At {
        self.at
    }

    /// The epoch of the topology that releases it.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }
}

fn placement_in(topology: &Topology, at: At) -> Option<&Placement> {
    topology.keyspaces.get(&at.0)?.placement(at.1)
}
