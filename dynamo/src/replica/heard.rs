//! What the other holders of a partition have said: what they have seen, and whether they have the
//! same rows.

use std::collections::BTreeMap;

use quorate_control::topology::Epoch;
use quorate_crdt::{CausalContext, NodeId, ReplicaId};

use crate::planted;

/// What another primary last said that it knows.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) replica: ReplicaId,
    pub(super) context: CausalContext,
    /// What it last said that it knows of in some ranges only.
    pub(super) beyond: CausalContext,
    pub(super) filling: bool,
    /// The newest placement under which it has spoken, and what it said first under that, or first
    /// when it was filled. Whoever has this has all that was written under older placements; what
    /// came later comes by itself. `None`: it has not yet said all that it has.
    pub(super) first: Option<(Epoch, CausalContext)>,
    /// What its former lives have said, as long as this one has not said it too. Not empty: it has
    /// forgotten something, and what it says first is not its memory.
    pub(super) forgotten: CausalContext,
}

impl Heard {
    /// This word of a node comes after what was heard of it before.
    pub(super) fn follow(&mut self, held: Self, epoch: Epoch) {
        if held.replica == self.replica {
            self.context.union(&held.context);
            self.forgotten = held.forgotten;
            // What it said while it was being filled was not its memory.
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
        // That it is being filled is on the disk that it has now. It may be set back to an older
        // one again, which does not know that.
        if self.context.covers(&self.forgotten) {
            self.forgotten = CausalContext::new();
        }
        self.filling |= !self.forgotten.is_empty();
    }
}

/// What the comparisons with the others say of a replica.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    pub(super) verdict: Verdict,
    /// What the digest of each has more than the one here, by the last comparison under equal
    /// contexts. Events since then change both alike.
    pub(super) compared: BTreeMap<NodeId, u128>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody differs, or a majority has the same.
    #[default]
    Sound,
    /// Somebody differs, and not all have been compared.
    Suspect,
    /// All have been compared, and no majority has the same.
    Tied,
    /// A majority has the same, and that is by so much other than what is here.
    Outvoted(u128),
}

/// How a replica is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// What a majority has is put in the place of what is here.
    Replace,
    /// What has been lost here is taken back.
    TakeBack,
}
