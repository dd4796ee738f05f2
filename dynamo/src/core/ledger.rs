//! Records who was asked one question, what each answered, and what that decides.

#[cfg(test)]
mod tests;

use quorate_control::quorum::{Group, Tally, Unsatisfiable, Verdict};
use quorate_crdt::NodeId;

use crate::consistency::Consistency;
use crate::op::RequestError;
use crate::planted;
use crate::protocol::Refusal;

/// Why a node does not do its part of a request. The reason need not lie at the node that was
/// asked: the coordinator itself may be unable to use the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blame {
    /// The node where the reason lies.
    pub(super) by: NodeId,
    pub(super) reason: Refusal,
}

/// What happened at one node. A node without an entry was never asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// Asked; no answer yet.
    Asked,
    /// It did its part.
    Done,
    /// It cannot do its part yet, and is asked again.
    Postponed(Refusal),
    /// It will not do its part.
    Refused(Blame),
    /// Asked, but it became unreachable before it answered.
    Lost,
    /// Unreachable before it could be asked.
    Unreachable,
}

impl Entry {
    fn fails(self) -> bool {
        matches!(self, Self::Refused(_) | Self::Lost | Self::Unreachable)
    }
}

/// The record of one question: whom it was sent to, who has answered, and what that decides.
///
/// **Invariant:** an acknowledgement counts only if its node was sent this question and has
/// answered it. The [`Tally`] follows from the entries and from nothing else.
#[derive(Debug)]
pub(super) struct Ledger {
    groups: Vec<Group>,
    tally: Tally,
    book: Vec<(NodeId, Entry)>,
}

impl Ledger {
    /// A question that nobody has been sent yet.
    ///
    /// # Errors
    /// [`Unsatisfiable`] if a group needs more answers than it has members.
    pub(super) fn new(groups: Vec<Group>) -> Result<Self, Unsatisfiable> {
        let tally = Tally::new(&groups)?;
        let book = Vec::with_capacity(groups.first().map_or(0, |group| group.members.len()));
        Ok(Self {
            groups,
            tally,
            book,
        })
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.tally.verdict()
    }

    fn entry(&self, node: NodeId) -> Option<Entry> {
        self.book
            .iter()
            .find(|(held, _)| *held == node)
            .map(|(_, entry)| *entry)
    }

    fn set(&mut self, node: NodeId, entry: Entry) {
        let before = self.entry(node);
        match self.book.iter_mut().find(|(held, _)| *held == node) {
            Some((_, held)) => *held = entry,
            None => self.book.push((node, entry)),
        }
        if before.is_some_and(Entry::fails) {
            self.recount();
        } else if entry == Entry::Done {
            self.tally.ack(node);
        } else if entry.fails() {
            self.tally.fail(node);
        }
    }

    /// A tally keeps the first answer of each node. A node that failed and is asked again needs a
    /// new count.
    fn recount(&mut self) {
        let Ok(tally) = Tally::new(&self.groups) else {
            return;
        };
        self.tally = tally;
        for (node, entry) in &self.book {
            if *entry == Entry::Done {
                self.tally.ack(*node);
            } else if entry.fails() {
                self.tally.fail(*node);
            }
        }
    }

    /// The node already has what the question is about: it is this node, or it has said so before
    /// it was asked.
    pub(super) fn has(&mut self, node: NodeId) {
        self.set(node, Entry::Done);
    }

    /// The question is sent to the node, possibly again.
    pub(super) fn ask(&mut self, node: NodeId) {
        if self.entry(node) != Some(Entry::Done) {
            self.set(node, Entry::Asked);
        }
    }

    /// The node did its part. Returns false, and changes nothing, if it had answered before or was
    /// never asked.
    pub(super) fn answered(&mut self, node: NodeId) -> bool {
        let awaited = match self.entry(node) {
            None | Some(Entry::Unreachable) => planted::ACK_OF_ANYONE.is_planted(),
            Some(Entry::Done) => false,
            Some(Entry::Asked | Entry::Postponed(_) | Entry::Refused(_) | Entry::Lost) => true,
        };
        if awaited {
            self.set(node, Entry::Done);
        }
        awaited
    }

    /// The node was asked and will not do its part. Returns false if it was not asked.
    pub(super) fn refused(&mut self, node: NodeId, blame: Blame) -> bool {
        let awaited = matches!(
            self.entry(node),
            Some(Entry::Asked | Entry::Lost | Entry::Postponed(_))
        );
        if awaited {
            self.set(node, Entry::Refused(blame));
        }
        awaited
    }

    /// The node was asked and cannot do its part yet.
    pub(super) fn postponed(&mut self, node: NodeId, reason: Refusal) {
        if matches!(self.entry(node), Some(Entry::Asked)) {
            self.set(node, Entry::Postponed(reason));
        }
    }

    /// The node has become unreachable.
    pub(super) fn lost(&mut self, node: NodeId) {
        match self.entry(node) {
            None => self.set(node, Entry::Unreachable),
            Some(Entry::Asked | Entry::Postponed(_)) => self.set(node, Entry::Lost),
            Some(_) => {}
        }
    }

    pub(super) fn has_answered(&self, node: NodeId) -> bool {
        self.entry(node) == Some(Entry::Done)
    }

    /// Whether the node has refused, so that asking again is pointless.
    pub(super) fn has_refused(&self, node: NodeId) -> bool {
        matches!(self.entry(node), Some(Entry::Refused(_)))
    }

    /// The nodes that count and may still do their part, whether they have been asked or not.
    pub(super) fn open(&self) -> Vec<NodeId> {
        self.tally
            .members()
            .filter(|node| !self.has_answered(*node) && !self.has_refused(*node))
            .collect()
    }

    pub(super) fn was_asked(&self, node: NodeId) -> bool {
        !matches!(self.entry(node), None | Some(Entry::Unreachable))
    }

    pub(super) fn owes(&self, node: NodeId) -> bool {
        matches!(self.entry(node), Some(Entry::Asked | Entry::Lost))
    }

    /// The nodes that were asked and have not answered.
    pub(super) fn owing(&self) -> Vec<NodeId> {
        let owes = |(node, entry): &(NodeId, Entry)| {
            matches!(entry, Entry::Asked | Entry::Lost).then_some(*node)
        };
        self.book.iter().filter_map(owes).collect()
    }

    fn refusals(&self) -> Vec<(NodeId, Refusal)> {
        let reason = |(node, entry): &(NodeId, Entry)| match entry {
            Entry::Postponed(reason) => Some((*node, *reason)),
            Entry::Refused(blame) => Some((blame.by, blame.reason)),
            _ => None,
        };
        let mut refusals: Vec<(NodeId, Refusal)> = self.book.iter().filter_map(reason).collect();
        refusals.sort_unstable();
        refusals.dedup();
        refusals
    }

    /// The error for a question without enough answers: who refused and why; or else who was asked
    /// and did not answer.
    pub(super) fn failure(&self, level: Consistency, may_be_applied: bool) -> RequestError {
        let acked = self.tally.acked() as u32;
        let required = self.tally.required() as u32;
        let refused = self.refusals();
        let mut missing = self.owing();
        missing.sort_unstable();
        if !refused.is_empty() {
            RequestError::Refused {
                level,
                acked,
                required,
                refused,
                missing,
                may_be_applied,
            }
        } else if missing.is_empty() && !may_be_applied {
            RequestError::Unavailable {
                level,
                required,
                alive: acked,
                missing: self.tally.missing(),
            }
        } else {
            RequestError::TimedOut {
                level,
                acked,
                required,
                missing,
                may_be_applied,
            }
        }
    }

    /// The error for a whole collection under a token of which some holders have not answered.
    pub(super) fn not_closed(&self) -> RequestError {
        let refused = self.refusals();
        let mut missing = self.tally.missing();
        missing.retain(|node| !refused.iter().any(|(held, _)| held == node));
        RequestError::NotClosed { missing, refused }
    }

    /// For a planted bug only: after a change of the topology, takes every reachable node that does
    /// not owe an answer for one that has acknowledged.
    pub(super) fn believe_all_but_owing(
        &mut self,
        owing: &[NodeId],
        reachable: impl Fn(NodeId) -> bool,
    ) {
        for node in self.tally.members().collect::<Vec<_>>() {
            if !owing.contains(&node) && reachable(node) {
                self.has(node);
            }
        }
    }
}
