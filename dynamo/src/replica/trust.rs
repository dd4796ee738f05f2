//! Equal contexts must mean equal rows. Where they do not, a bug or bit rot has struck, and nobody
//! can say whom by looking at one replica.
//!
//! Each replica keeps, for every other holder, by how much its digest differed at the last
//! comparison under equal contexts. A majority is so many that have one and the same; that others
//! differ from this replica says nothing as long as they differ from each other as well. One that
//! is being filled has no voice.
//!
//! A replica that differs from somebody and has no majority on its side is *doubted*: its word
//! alone counts for nothing, and it answers what a majority of the holders has as it has it. One
//! that a majority contradicts is *outvoted*: it answers nothing until one of that majority has
//! streamed it the partition, and what it held is replaced. If all have been compared and no
//! majority has the same, each takes back from the others what it has lost: nothing that is left
//! anywhere is dropped. Writes are joined and acknowledged all the time; they touch the rows they
//! name.

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
    /// Another holder has spoken: if both have seen the same, they must have the same. Returns
    /// whether they have not.
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

    /// Works out who is right among this replica and the `others` that hold the partition.
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

    /// How this replica must be mended, if it is decided that it must.
    pub fn mend(&self) -> Option<Mend> {
        match self.trust.verdict {
            Verdict::Sound | Verdict::Suspect => None,
            Verdict::Tied => Some(Mend::TakeBack),
            Verdict::Outvoted(_) => Some(Mend::Replace),
        }
    }

    /// Whether this replica can be mended by what `node` has.
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

    /// Whether what this replica has may be contradicted by the others.
    pub fn is_quarantined(&self) -> bool {
        self.trust.verdict != Verdict::Sound
    }

    /// Whether what this replica has is contradicted by a majority.
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

    /// Whether `node` may copy what is here, which may lack what this replica says it has seen: in
    /// doubt, only one that compares itself with this.
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

    /// Whether another replica that has seen just what this one has seen, and says so with `delta`,
    /// has something else in `ranges`: one of them has lost something, and to join would be to lose
    /// it here too.
    pub fn contradicts(&self, delta: &Delta, ranges: &[Range], digest: u128) -> bool {
        let both_exact = self.is_exact() && delta.residuals.is_empty();
        both_exact
            && delta.context == self.context
            && self.digest_of(ranges) != digest
            && !planted::MISMATCH_IGNORED.is_planted()
    }

    /// A piece of the stream that mends this replica.
    pub fn take_mending(&mut self, delta: &Delta, mend: Mend) {
        for part in &delta.parts {
            self.take_back(part, &delta.context, mend);
        }
        if mend == Mend::Replace {
            self.join(delta);
        }
    }

    /// What the source has, what this replica has seen and has no longer, has been lost here:
    /// unless some event that the source has not seen has removed it, and of those it is known
    /// where their effect lies.
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
            // Of two payloads of one event nobody can say which is right; all must take the same.
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

    /// The stream that mends has brought all that `source` has. What others have is yet to be
    /// compared.
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

    /// Whether this replica's rows say just what its context says.
    pub fn is_exact(&self) -> bool {
        self.residuals.len() == 0
    }

    /// Flips what one row says, as bit rot does: context and `recent` stay what they are.
    #[cfg(test)]
    pub(crate) fn rot(&mut self, name: &super::row::RowKey) {
        self.change_row(name, |row| row.retain(|_, _| false));
    }

    /// What a new life knows: it has compared itself with nobody.
    #[cfg(test)]
    pub(crate) fn forget_comparisons(&mut self) {
        self.trust = super::heard::Trust::default();
    }
}
