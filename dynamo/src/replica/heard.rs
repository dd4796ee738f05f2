//! What the other holders of a partition have reported: what they have seen, and whether they have
//! the same rows.

use std::collections::BTreeMap;

use quorate_control::topology::Epoch;
use quorate_crdt::{CausalContext, NodeId, ReplicaId};

use super::shut::{Shut, ended};
use crate::planted;

/// The last report of another holder.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) replica: ReplicaId,
    pub(super) context: CausalContext,
    /// Events that it last said it knows of and has not seen.
    pub(super) beyond: CausalContext,
    pub(super) filling: bool,
    /// The newest placement under which it has reported, and its first report under that placement
    /// (or its first since it was filled). Whoever has seen that report has everything that was
    /// written under older placements; later writes arrive anyway. `None` while it has not yet
    /// reported all that it has.
    pub(super) first: Option<(Epoch, CausalContext)>,
    /// What its former lives reported and its present one has not. If this is not empty, it has
    /// forgotten something, and its first report is not a complete memory.
    pub(super) forgotten: CausalContext,
    /// Its former lives, as far as this replica has heard of them since it was read from disk.
    pub(super) former: Vec<ReplicaId>,
    /// What it has said about its fences.
    pub(super) shut: Option<Box<Shut>>,
}

impl Heard {
    /// Carries over what is still true from the report before this one.
    ///
    /// `former` is what the replica has been told about its former lives. Once it has been told and
    /// filled, nobody has what it still lacks of that, so it is no longer waited for.
    pub(super) fn follow(&mut self, held: Self, epoch: Epoch, former: &CausalContext) {
        self.former = held.former;
        if held.replica != self.replica {
            ended(&mut self.former, held.replica);
        } else if let (Some(shut), Some(before)) = (&mut self.shut, held.shut) {
            shut.follow(*before);
        }
        if held.replica == self.replica {
            self.context.union(&held.context);
            self.forgotten = held.forgotten;
            // What it said while it was being filled was not a complete memory.
            let remembers =
                self.filling || !held.filling || planted::FIRST_KEPT_OVER_FILLING.is_planted();
            if remembers
                && held
                    .first
                    .as_ref()
                    .is_some_and(|(since, _)| *since >= epoch)
            {
                self.first = held.first;
            }
        } else if !planted::FORMER_LIVES_FORGOTTEN.is_planted() {
            self.forgotten = held.context;
            self.forgotten.union(&held.forgotten);
        }
        // The replica's disk now says that it is being filled. But the disk may be set back once
        // more to a copy that does not say so, so this is remembered here as well.
        let lacking = self.forgotten.without(&self.context);
        let filled = !self.filling && former.covers(&lacking);
        if lacking.is_empty() || filled {
            self.forgotten = CausalContext::new();
        }
        self.filling |= !self.forgotten.is_empty();
    }
}

/// What comparisons with the other holders say about a replica.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    pub(super) verdict: Verdict,
    /// For each holder, its digest minus the digest here at the last comparison under equal
    /// contexts. Later events change both digests alike.
    pub(super) compared: BTreeMap<NodeId, u128>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody differs, or a majority has the same rows.
    #[default]
    Sound,
    /// Somebody differs, and not everybody has been compared.
    Suspect,
    /// Everybody has been compared, and no majority has the same rows.
    Tied,
    /// A majority has the same rows, and its digest differs from the one here by this much.
    Outvoted(u128),
}

/// How a replica is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// Its rows are replaced by those of a majority.
    Replace,
    /// It takes back from others what it has lost.
    TakeBack,
}
