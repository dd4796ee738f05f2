//! Equal contexts must mean equal rows. Where they do not, a bug or bit rot has struck, and nobody can say whom by looking at one replica.
//!
//! Each replica keeps, for every other holder, how the last comparison under equal contexts came out. One that differs from somebody
//! and has no majority on its side does not answer reads. Once a majority differs from it, it is wrong: it neither joins nor is copied from
//! until it has been streamed the partition by one of them, and what it held is replaced. If all were compared and no majority is possible,
//! all that differ take what either has: nothing that is left anywhere is dropped.

use std::collections::BTreeMap;

use quorate_control::quorum::majority;
use quorate_crdt::{Dot, NodeId};

use super::Replica;
use super::delta::{Delta, Part};
use super::row::{Payload, Row, RowKey};
use crate::planted;
use crate::protocol::Seen;

/// What the comparisons with the others say of a replica.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    verdict: Verdict,
    /// Whether each has the same, by the last comparison under equal contexts.
    compared: BTreeMap<NodeId, bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Verdict {
    /// Nobody differs, or a majority agrees.
    #[default]
    Sound,
    /// Somebody differs, and it is not decided who is right.
    Suspect,
    /// What this node has differs from what is right.
    Wrong(Mend),
}

/// How a replica is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mend {
    /// By whom.
    pub source: NodeId,
    /// Whether a majority has what the source has. Otherwise what either has is kept.
    pub majority: bool,
}

impl Replica {
    /// Another holder has spoken: if both have seen the same, they must have the same. Returns whether they have not.
    pub fn compare(&mut self, node: NodeId, seen: &Seen) -> bool {
        let comparable = seen.exact && !seen.filling && !self.filling && self.residuals.len() == 0 && seen.context == self.context;
        if !comparable || planted::MISMATCH_IGNORED.is_planted() {
            return comparable && seen.digest != self.digest();
        }
        let agrees = seen.digest == self.digest();
        self.trust.compared.insert(node, agrees);
        !agrees
    }

    /// Works out who is right among this replica and the `others` that hold the partition.
    pub fn judge(&mut self, others: &[NodeId]) {
        self.trust.compared.retain(|node, _| others.contains(node));
        if matches!(self.trust.verdict, Verdict::Wrong(_)) {
            return;
        }
        let needed = majority(others.len() + 1);
        let agree = 1 + self.trust.compared.values().filter(|agrees| **agrees).count();
        let differing: Vec<NodeId> = self.trust.compared.iter().filter(|(_, agrees)| !**agrees).map(|(node, _)| *node).collect();
        self.trust.verdict = match differing.first() {
            None => Verdict::Sound,
            Some(_) if agree >= needed => Verdict::Sound,
            Some(source) if differing.len() >= needed => Verdict::Wrong(Mend { source: *source, majority: true }),
            Some(source) if self.trust.compared.len() == others.len() => Verdict::Wrong(Mend { source: *source, majority: false }),
            Some(_) => Verdict::Suspect,
        };
    }

    /// How this replica must be mended, if it is wrong.
    pub fn mend(&self) -> Option<Mend> {
        if let Verdict::Wrong(mend) = self.trust.verdict { Some(mend) } else { None }
    }

    /// Whether what this replica has may be contradicted by the others.
    pub fn is_quarantined(&self) -> bool {
        self.trust.verdict != Verdict::Sound
    }

    /// Whether the replica may be read.
    pub fn serves(&self) -> bool {
        !self.filling && !self.is_quarantined()
    }

    /// A piece of the stream that mends this replica: what is here is disbelieved as far as the source has seen it.
    pub fn replace(&mut self, delta: &Delta, mend: Mend) {
        for part in &delta.parts {
            self.replace_part(part, delta, mend);
        }
        if mend.majority {
            self.join(delta);
        } else {
            // A join would drop what the source has lost.
            for part in &delta.parts {
                self.hold(&part.range, &delta.context);
            }
        }
    }

    fn replace_part(&mut self, part: &Part, delta: &Delta, mend: Mend) {
        let nothing = Row::new();
        let named: BTreeMap<&RowKey, &Row> = part.rows.iter().map(|(name, row)| (name, row)).collect();
        let mut rows = self.rows.names_in(&part.range);
        rows.extend(named.keys().filter(|name| part.range.contains(name)).map(|name| (*name).clone()));
        rows.sort_unstable();
        rows.dedup();
        for name in rows {
            let theirs = named.get(&name).copied().unwrap_or(&nothing);
            let row = self.rows.get(&name);
            let mine = row.into_iter().flat_map(Row::iter).map(|(dot, payload)| (dot, payload.clone()));
            let mine: Vec<(Dot, Payload)> = mine.filter(|(dot, _)| !mend.majority || !delta.context.contains(*dot)).collect();
            if mine.is_empty() && row.is_some_and(|row| row == theirs) {
                continue;
            }
            self.change_row(&name, |row| {
                row.retain(|_, _| false);
                for (dot, payload) in theirs.iter().map(|(dot, payload)| (dot, payload.clone())).chain(mine) {
                    // Of two payloads of one event nobody can say which is right; all must take the same.
                    let least =
                        row.iter().find(|(held, _)| *held == dot).is_some_and(|(_, held)| format!("{held:?}") > format!("{payload:?}"));
                    if !least {
                        row.insert(dot, payload);
                    }
                }
            });
        }
    }

    /// The stream that mends has brought everything.
    pub fn finish_mending(&mut self) {
        self.trust.verdict = Verdict::Sound;
        self.trust.compared.clear();
    }

    /// Whether this replica's rows say just what its context says.
    pub fn is_exact(&self) -> bool {
        self.residuals.len() == 0
    }

    /// Flips what one row says, as bit rot does: context and `recent` stay what they are.
    #[cfg(test)]
    pub(crate) fn rot(&mut self, name: &RowKey) {
        self.change_row(name, |row| row.retain(|_, _| false));
    }
}
