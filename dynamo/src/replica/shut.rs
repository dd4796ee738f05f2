//! What another holder of a partition has said about its fences, and which lives it has had.

use quorate_control::topology::Epoch;
use quorate_crdt::{CausalContext, ReplicaId};

use super::fences::Fences;
use crate::seen::Seen;

/// How many former lives of a node are remembered. Guess: what is on its way is minutes old at
/// most.
const FORMER_MAX: usize = 16;

/// What another holder has said about its fences in its present life.
#[derive(Clone, Debug)]
pub(super) struct Shut {
    pub(super) epoch: Epoch,
    /// The replicas of the other holders, as far as it had heard of them.
    pub(super) lives: Vec<ReplicaId>,
    /// Its fences when it had nothing that is not here by now.
    pub(super) fences: Fences,
    /// Higher ones, with what it had then, until that is here.
    pub(super) higher: Option<(Fences, CausalContext)>,
}

impl Shut {
    /// What a report says; `None` if that does not count: nothing is fenced, or the replica has, or
    /// may have had, more than it reports.
    pub(super) fn said(seen: &Seen) -> Option<Box<Self>> {
        let fencing = seen.fencing.as_ref()?;
        (!seen.filling && !seen.partial).then(|| {
            Box::new(Self {
                epoch: seen.place.epoch,
                lives: fencing.lives.clone(),
                fences: Fences::default(),
                higher: Some((fencing.fences.clone(), seen.context.clone())),
            })
        })
    }

    /// Keeps what was said before and still counts. What is waited for is not replaced by the same
    /// fences with more events: while much is written, each report names some that have not arrived
    /// yet.
    pub(super) fn follow(&mut self, held: Self) {
        if held.epoch != self.epoch || held.lives != self.lives {
            return;
        }
        self.fences = held.fences;
        let same = |said: &(Fences, CausalContext)| {
            self.higher
                .as_ref()
                .is_some_and(|(fences, _)| *fences == said.0)
        };
        if let Some(waited_for) = held.higher.filter(same) {
            self.higher = Some(waited_for);
        }
        self.higher.take_if(|(fences, _)| *fences == self.fences);
    }

    /// Takes note of what is here by now.
    pub(super) fn look(&mut self, context: &CausalContext) {
        if let Some((fences, _)) = self.higher.take_if(|(_, had)| context.covers(had)) {
            self.fences = fences;
        }
    }
}

/// Adds a life that has ended.
pub(super) fn ended(former: &mut Vec<ReplicaId>, replica: ReplicaId) {
    former.retain(|held| *held != replica);
    if former.len() >= FORMER_MAX {
        former.remove(0);
    }
    former.push(replica);
}
