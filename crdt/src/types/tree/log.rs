//! The moves in order, and where they put the nodes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::node::NodeKey;
use crate::{Dot, Stamp};

/// The position of a move in the order of moves, with the node that it moves. Unique, because dots
/// are. A forged dot may occur twice; it still moves each of its nodes.
pub(super) type At = (Stamp, Dot, NodeKey);

/// All moves, replayed in order; those that would have made a cycle are skipped.
///
/// **Invariant:** a function of the set of moves alone, whatever the order of their arrival.
/// Parents make no cycle.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    moves: BTreeMap<At, Move>,
    parents: BTreeMap<NodeKey, NodeKey>,
    /// (Parent, child).
    children: BTreeSet<(NodeKey, NodeKey)>,
}

#[derive(Clone, Copy, Debug)]
struct Move {
    to: NodeKey,
    /// False if the move was skipped.
    counts: bool,
    /// Where the node was before; for a move that counts.
    from: Option<NodeKey>,
}

/// A move that is new to the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct New {
    pub(super) at: At,
    pub(super) to: NodeKey,
}

impl Log {
    pub(super) fn parent(&self, node: NodeKey) -> Option<NodeKey> {
        self.parents.get(&node).copied()
    }

    pub(super) fn children(&self, node: NodeKey) -> impl DoubleEndedIterator<Item = NodeKey> + '_ {
        self.children
            .range((node, NodeKey::ROOT)..=(node, NodeKey::LAST))
            .map(|pair| pair.1)
    }

    pub(super) fn len(&self) -> usize {
        self.moves.len()
    }

    pub(super) fn last(&self) -> Option<Stamp> {
        self.moves.last_key_value().map(|(at, _)| at.0)
    }

    /// Whether the node is the ancestor, or is somewhere below it. O(depth).
    pub(super) fn is_within(&self, node: NodeKey, ancestor: NodeKey) -> bool {
        let mut next = Some(node);
        while let Some(at) = next {
            if at == ancestor {
                return true;
            }
            next = self.parent(at);
        }
        false
    }

    /// Takes moves out, puts moves in, and returns the nodes that now have another parent. O(moves
    /// after the first of them).
    pub(super) fn change(&mut self, ended: &[At], new: &[New]) -> Vec<NodeKey> {
        let Some(first) = ended
            .iter()
            .copied()
            .chain(new.iter().map(|new| new.at))
            .min()
        else {
            return Vec::new();
        };
        let mut later = self.moves.split_off(&first);
        let mut before: BTreeMap<NodeKey, Option<NodeKey>> = BTreeMap::new();
        for node in later
            .keys()
            .copied()
            .chain(new.iter().map(|new| new.at))
            .map(|at| at.2)
        {
            before
                .entry(node)
                .or_insert_with(|| self.parents.get(&node).copied());
        }
        for (at, undone) in later.iter().rev() {
            if undone.counts {
                self.place(at.2, undone.from);
            }
        }
        for at in ended {
            later.remove(at);
        }
        later.extend(new.iter().map(|new| {
            (
                new.at,
                Move {
                    to: new.to,
                    counts: false,
                    from: None,
                },
            )
        }));
        for (at, Move { to, .. }) in later {
            // Most moves are creations: a node without children cannot be above its new parent.
            let counts = if self.children(at.2).next().is_none() {
                to != at.2
            } else {
                !self.is_within(to, at.2)
            };
            let from = if counts {
                self.place(at.2, Some(to))
            } else {
                None
            };
            self.moves.insert(at, Move { to, counts, from });
        }
        before
            .into_iter()
            .filter(|(node, parent)| self.parent(*node) != *parent)
            .map(|(node, _)| node)
            .collect()
    }

    /// The moves before the first unsettled one that can be dropped: all except those that put a
    /// node where it was when the last of them had been made. Replaying only these gives the same
    /// tree, because their edges are all edges of one tree. The newest move of all stays even if it
    /// was skipped: a replica that has seen it must go on stamping above it.
    pub(super) fn obsolete(&self, settled: impl Fn(Dot) -> bool) -> Vec<At> {
        let mut last: BTreeMap<NodeKey, At> = BTreeMap::new();
        let mut obsolete = Vec::new();
        let newest = self.moves.last_key_value().map(|(&at, _)| at);
        for (&at, made) in self.moves.iter().take_while(|(at, _)| settled(at.1)) {
            if made.counts {
                obsolete.extend(last.insert(at.2, at));
            } else if newest != Some(at) {
                obsolete.push(at);
            }
        }
        obsolete
    }

    /// Puts the node under another parent, or nowhere, and returns its old parent.
    fn place(&mut self, node: NodeKey, parent: Option<NodeKey>) -> Option<NodeKey> {
        let from = match parent {
            Some(parent) => self.parents.insert(node, parent),
            None => self.parents.remove(&node),
        };
        if let Some(from) = from {
            self.children.remove(&(from, node));
        }
        if let Some(parent) = parent {
            self.children.insert((parent, node));
        }
        from
    }
}
