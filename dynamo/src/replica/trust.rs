//! Equal contexts must mean equal rows. Where they do not, a bug or bit rot has struck, and one
//! replica alone cannot tell which copy is damaged.
//!
//! **Comparing.** Each replica keeps, for every other holder, the difference between their digests
//! at the last comparison under equal contexts. Replicas agree if they differ from this one by the
//! same amount. That others differ from this replica proves nothing as long as they also differ
//! from each other. A replica that is being filled has no vote.
//!
//! **Doubted.** A replica that differs from somebody and has no majority on its side. Its word
//! alone does not count: it answers only what a majority of the holders has exactly as it does.
//!
//! **Outvoted.** A replica that a majority contradicts. It answers nothing until one of that
//! majority has streamed it the partition and replaced what it held.
//!
//! **Tied.** If all have been compared and no majority agrees, each takes back from the others what
//! it has lost. Nothing that is left anywhere is dropped.
//!
//! Writes are joined and acknowledged all the time; they affect only the rows they name.

#[cfg(test)]
mod tests;

use quorate_control::quorum::majority;
use quorate_crdt::{CausalContext, Dot, NodeId};

use super::Replica;
use super::delta::{Delta, Part};
use super::heard::{Mend, Verdict};
use super::range::Range;
use super::row::Payload;
use crate::planted;
use crate::seen::Seen;

impl Replica {
    /// Compares digests with another holder that has reported. Returns whether the contexts are
    /// equal and the digests are not.
    pub fn compare(&mut self, node: NodeId, seen: &Seen) -> bool {
        if seen.filling {
            self.trust.compared.remove(&node);
        }
        if !seen.exact
            || seen.filling
            || self.filling
            || !self.is_exact()
            || seen.context != self.context
        {
            return false;
        }
        let difference = seen.digest.wrapping_sub(self.digest());
        if !planted::MISMATCH_IGNORED.is_planted() {
            self.trust.compared.insert(node, difference);
        }
        difference != 0
    }

    /// Decides who is right among this replica and the `others` that hold the partition.
    pub fn judge(&mut self, others: &[NodeId]) {
        self.trust.compared.retain(|node, _| others.contains(node));
        let voices: Vec<NodeId> = others
            .iter()
            .copied()
            .filter(|node| !self.heard_filling(*node))
            .collect();
        let compared: Vec<u128> = voices
            .iter()
            .filter_map(|node| self.trust.compared.get(node).copied())
            .collect();
        let needed = majority(voices.len() + 1);
        let same = |difference: u128| {
            compared
                .iter()
                .filter(|other| **other == difference)
                .count()
        };
        let outvoted = compared
            .iter()
            .copied()
            .filter(|difference| *difference != 0)
            .find(|difference| {
                let against = if planted::ANY_DIFFERENCE_OUTVOTES.is_planted() {
                    compared.len() - same(0)
                } else {
                    same(*difference)
                };
                against >= needed
            });
        self.trust.verdict = match outvoted {
            Some(by) => Verdict::Outvoted(by),
            None if same(0) == compared.len() || 1 + same(0) >= needed => Verdict::Sound,
            None if compared.len() == voices.len() => Verdict::Tied,
            None => Verdict::Suspect,
        };
    }

    /// How this replica must be mended; `None` if it need not be, or that is not decided yet.
    pub fn mend(&self) -> Option<Mend> {
        match self.trust.verdict {
            Verdict::Sound | Verdict::Suspect => None,
            Verdict::Tied => Some(Mend::TakeBack),
            Verdict::Outvoted(_) => Some(Mend::Replace),
        }
    }

    /// Whether the rows of `node` can mend this replica.
    pub fn is_mended_by(&self, node: NodeId) -> bool {
        let difference = self.trust.compared.get(&node).copied().unwrap_or_default();
        match self.trust.verdict {
            Verdict::Sound | Verdict::Suspect => false,
            Verdict::Tied => difference != 0,
            Verdict::Outvoted(by) => {
                difference == by || planted::ANY_DIFFERENCE_OUTVOTES.is_planted()
            }
        }
    }

    /// Whether some holder differs and no majority has the same rows as this replica.
    pub fn is_quarantined(&self) -> bool {
        self.trust.verdict != Verdict::Sound
    }

    /// Whether a majority contradicts this replica.
    pub fn is_outvoted(&self) -> bool {
        matches!(self.trust.verdict, Verdict::Outvoted(_))
    }

    /// Whether this replica's word counts only where a majority of the holders has the same.
    pub fn is_doubted(&self) -> bool {
        self.is_quarantined() && !self.is_outvoted()
    }

    /// Whether the replica executes requests.
    pub fn serves(&self) -> bool {
        let stopped = self.is_outvoted()
            || (self.is_quarantined() && planted::DOUBT_STOPS_WRITES.is_planted());
        !self.filling && !stopped
    }

    /// Whether `node` may copy this replica. It may have lost rows that its context covers, so
    /// while it is in doubt, only a node that compares itself with it may.
    pub fn may_be_copied_by(&self, node: NodeId) -> bool {
        match self.trust.verdict {
            Verdict::Sound => true,
            Verdict::Suspect | Verdict::Tied => !self.heard_filling(node),
            Verdict::Outvoted(_) => false,
        }
    }

    /// Whether the replica's word counts by itself.
    pub fn vouches(&self) -> bool {
        !self.filling && !self.is_quarantined()
    }

    /// Whether another replica with exactly the same context has other rows in `ranges`. One of the
    /// two has lost something, and joining its delta would lose it here as well.
    pub fn contradicts(&self, delta: &Delta, ranges: &[Range], digest: u128) -> bool {
        let both_exact = self.is_exact() && delta.residuals.is_empty();
        both_exact
            && delta.context == self.context
            && self.digest_of(ranges) != digest
            && !planted::MISMATCH_IGNORED.is_planted()
    }

    /// Takes a piece of the stream that mends this replica.
    pub fn take_mending(&mut self, delta: &Delta, mend: Mend) {
        for part in &delta.parts {
            self.take_back(part, &delta.context, mend);
        }
        if mend == Mend::Replace {
            self.join(delta);
        }
    }

    /// Takes back entries that the source has and this replica has seen but no longer has: they
    /// were lost here. Entries that an event unknown to the source may have removed are left alone;
    /// it must be known where all those events lie.
    fn take_back(&mut self, part: &Part, theirs: &CausalContext, mend: Mend) {
        let unseen: Option<Vec<Range>> = self
            .context
            .missing(theirs)
            .map(|dot| self.recent.get(&dot).cloned())
            .collect();
        let Some(unseen) = unseen else { return };
        for (name, row) in part
            .rows
            .iter()
            .filter(|(name, _)| part.range.contains(name))
        {
            if unseen.iter().any(|range| range.contains(name))
                || !self.residuals.within(&Range::Row(name.clone())).is_empty()
            {
                continue;
            }
            let here = self.rows.get(name);
            let held = |dot: Dot| {
                here.and_then(|here| here.iter().find(|(other, _)| *other == dot))
                    .map(|(_, payload)| payload)
            };
            // If two payloads of one event differ, nobody can say which is right, but everybody
            // must choose the same.
            let right = |payload: &Payload, held: &Payload| {
                mend == Mend::Replace || format!("{payload:?}") < format!("{held:?}")
            };
            let lost: Vec<(Dot, Payload)> = row
                .iter()
                .filter(|(dot, payload)| {
                    self.context.contains(*dot)
                        && held(*dot).is_none_or(|held| held != *payload && right(payload, held))
                })
                .map(|(dot, payload)| (dot, payload.clone()))
                .collect();
            if !lost.is_empty() {
                self.remains.revive(
                    name,
                    &lost.iter().map(|(dot, _)| *dot).collect(),
                    &mut self.journal,
                );
                self.change_row(name, |row| {
                    for (dot, payload) in lost {
                        row.insert(dot, payload);
                    }
                });
            }
        }
    }

    /// The stream has brought everything that `source` has. The other holders must be compared
    /// again.
    pub fn finish_mending(&mut self, source: NodeId, mend: Mend) {
        match mend {
            Mend::Replace => self.trust.compared.clear(),
            Mend::TakeBack => drop(self.trust.compared.remove(&source)),
        }
        self.trust.verdict = if self.trust.compared.is_empty() {
            Verdict::Sound
        } else {
            Verdict::Suspect
        };
    }

    /// Whether this replica's rows are exactly what its context says.
    pub fn is_exact(&self) -> bool {
        self.residuals.len() == 0
    }

    /// Loses a row as bit rot does: context and `recent` do not change.
    #[cfg(test)]
    pub(crate) fn rot(&mut self, name: &super::row::RowKey) {
        self.change_row(name, |row| row.retain(|_, _| false));
    }

    /// Forgets all comparisons, as a new life does.
    #[cfg(test)]
    pub(crate) fn forget_comparisons(&mut self) {
        self.trust = super::heard::Trust::default();
    }
}
