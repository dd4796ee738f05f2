//! A tree whose nodes can be moved.

mod log;
mod node;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use self::log::{Log, New};
pub use self::node::NodeKey;
use super::delegate::by_field;
use crate::causal::{DotFun, DotMap};
use crate::codec::{DecodeError, Kind, Reader, Tag, Writer};
use crate::{
    CausalContext, Contexts, Crdt, Dot, DotStore, Edit, Effects, Plain, ReplicaId, Stamp, Tx,
    Undotted,
};

/// A tree of nodes that can be created, moved, removed and described by an `M`, for instance
/// folders, outlines or scenes (Kleppmann, Mulligan, Gomes, Beresford, "A highly-available move
/// operation for replicated trees", TPDS 2022). For example, Amy moves `a` into `b` while Ben, a
/// moment later, moves `b` into `a`: only Amy's move takes effect.
///
/// | concurrently | result |
/// |---|---|
/// | two moves of one node | the one with the greater stamp |
/// | a under b and b under a | only the one with the lower stamp; the other would make a cycle and has no effect |
/// | move and remove of one node | the one with the greater stamp |
/// | create or move below a node, and remove of that node | it disappears with the node, until the node is moved back |
/// | two descriptions of one node | the one with the greater stamp |
///
/// **Law:** the tree is the result of all moves, applied in the order of their stamps; a move that
/// would make a cycle is skipped. So it is always a tree, whatever the network does. For a move
/// that arrives late, the later ones are undone and redone: O(later moves + moves of the node).
///
/// What grows: one entry per creation, move and removal, until [`truncate`](Edit::truncate), and
/// one description per node, even if it was removed.
#[derive(Clone)]
pub struct Tree<M> {
    /// What was done to each node.
    nodes: DotMap<NodeKey, Ops<M>>,
    /// Computed from `nodes`.
    log: Log,
}

/// What was done to a node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
enum Op<M> {
    /// Put below another node; the first move is the creation.
    Move(Stamp, NodeKey),
    Describe(Stamp, M),
}

impl<M> Op<M> {
    fn stamp(&self) -> Stamp {
        match self {
            Self::Move(stamp, _) | Self::Describe(stamp, _) => *stamp,
        }
    }
}

/// What was done to one node: all moves, and the descriptions that nothing has overwritten.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Ops<M>(DotFun<Op<M>>);

impl<M> Default for Ops<M> {
    fn default() -> Self {
        Self(DotFun::default())
    }
}

impl<M: Plain + Ord> Ops<M> {
    fn description(&self) -> Option<(Stamp, &M)> {
        self.0
            .iter()
            .filter_map(|(_, op)| {
                if let Op::Describe(stamp, meta) = op {
                    Some((*stamp, meta))
                } else {
                    None
                }
            })
            .max()
    }
}

/// What a merge changed in the operations of one node.
#[derive(Debug, Default)]
struct Turn {
    ended: Vec<(Stamp, Dot)>,
    /// Stamp and dot of each new move, with the new parent.
    new: Vec<(Stamp, Dot, NodeKey)>,
    described: bool,
}

impl Effects for Turn {
    fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.new.is_empty() && !self.described
    }
}

impl<M: Plain + Ord> Crdt for Ops<M> {
    by_field!(Ops);

    fn stamps(&self, visit: &mut dyn FnMut(Stamp)) {
        self.0.iter().map(|(_, op)| op.stamp()).for_each(visit);
    }

    type Effects = Turn;

    fn join(&mut self, theirs: &Self, contexts: Contexts<'_>) -> Turn {
        let moves = |(dot, op): (Dot, &Op<M>)| {
            if let Op::Move(stamp, to) = op {
                Some((*stamp, dot, *to))
            } else {
                None
            }
        };
        let gone = |dot: Dot| !theirs.0.contains(dot) && contexts.theirs.contains(dot);
        let fresh = |dot: Dot| !self.0.contains(dot) && !contexts.mine.contains(dot);
        let ended = self
            .0
            .iter()
            .filter_map(moves)
            .filter(|made| gone(made.1))
            .map(|(stamp, dot, _)| (stamp, dot))
            .collect();
        let new = theirs
            .0
            .iter()
            .filter_map(moves)
            .filter(|made| fresh(made.1))
            .collect();
        let before = self.description().map(|(_, meta)| meta.clone());
        DotFun::join(&mut self.0, &theirs.0, contexts.mine, contexts.theirs);
        Turn {
            ended,
            new,
            described: self.description().map(|(_, meta)| meta) != before.as_ref(),
        }
    }
}

impl<M: Plain + Ord> DotStore for Ops<M> {}

/// What a merge changed in a tree, ascending by node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TreeEffects {
    /// Nodes that have a parent for the first time, or another parent than before: created, moved
    /// or removed. The nodes below them went with them.
    pub moved: Vec<NodeKey>,
    /// Nodes with a new description.
    pub described: Vec<NodeKey>,
}

impl Effects for TreeEffects {
    fn is_empty(&self) -> bool {
        self.moved.is_empty() && self.described.is_empty()
    }
}

impl<M> Tree<M> {
    /// The parent of the node. `None` for the root, for removed nodes and for unknown ones.
    pub fn parent(&self, node: NodeKey) -> Option<NodeKey> {
        self.log
            .parent(node)
            .filter(|parent| *parent != NodeKey::TRASH)
    }

    /// The children of the node, ascending: the same at every replica.
    pub fn children(&self, node: NodeKey) -> impl DoubleEndedIterator<Item = NodeKey> + '_ {
        self.log.children(node)
    }

    /// Whether the node can be reached from the root: neither it nor anything it is in was removed.
    /// O(depth).
    pub fn contains(&self, node: NodeKey) -> bool {
        self.log.is_within(node, NodeKey::ROOT)
    }

    /// The nodes that can be reached from the root, without the root, each after its parent, with
    /// their depths from 1 on.
    pub fn walk(&self) -> Vec<(usize, NodeKey)> {
        let mut found = Vec::new();
        let mut open: Vec<(usize, NodeKey)> = self
            .children(NodeKey::ROOT)
            .rev()
            .map(|child| (1, child))
            .collect();
        while let Some((depth, node)) = open.pop() {
            found.push((depth, node));
            open.extend(self.children(node).rev().map(|child| (depth + 1, child)));
        }
        found
    }

    /// The removed nodes, without those that disappeared with them, ascending.
    /// [`move_to`](Edit::move_to) brings one back.
    pub fn removed(&self) -> impl DoubleEndedIterator<Item = NodeKey> + '_ {
        self.log.children(NodeKey::TRASH)
    }

    /// How many moves are stored, creations and removals included. [`truncate`](Edit::truncate)
    /// frees them.
    pub fn moves_len(&self) -> usize {
        self.log.len()
    }
}

impl<M: Plain + Ord> Tree<M> {
    /// The description of the node. `None` for the root, for unknown nodes, and while the creation
    /// has not arrived.
    pub fn meta(&self, node: NodeKey) -> Option<&M> {
        self.nodes.get(&node)?.description().map(|(_, meta)| meta)
    }

    /// All nodes that anything is known of, removed ones included, ascending. O(n log n).
    pub fn nodes(&self) -> Vec<NodeKey> {
        self.nodes.sorted_keys().into_iter().copied().collect()
    }

    fn of(nodes: DotMap<NodeKey, Ops<M>>) -> Self {
        let mut moves = Vec::new();
        for (&node, ops) in nodes.iter() {
            moves.extend(ops.0.iter().filter_map(|(dot, op)| match op {
                Op::Move(stamp, to) => Some(New {
                    at: (*stamp, dot, node),
                    to: *to,
                }),
                Op::Describe(..) => None,
            }));
        }
        let mut log = Log::default();
        log.change(&[], &moves);
        Self { nodes, log }
    }
}

impl<M: Plain + Ord> Edit<'_, Tree<M>> {
    /// Creates a node. If the parent was removed or is unknown, the node is not visible until the
    /// parent is moved back or arrives.
    pub fn create(&mut self, tx: &mut Tx<'_>, parent: NodeKey, meta: M) -> NodeKey {
        let dot = tx.issue();
        let node = NodeKey::created_by(dot);
        let stamp = tx.stamp_after(self.log.last());
        self.note(node, dot, &Op::Move(stamp, parent));
        let dot = tx.issue();
        self.note(node, dot, &Op::Describe(stamp, meta));
        node
    }

    /// Moves the node, with everything below it, and says whether it did. It does not if the node
    /// is the root or unknown, if it would end up below itself, or if a forged move holds the last
    /// of all stamps, above which no move counts. Moving a removed node brings it back.
    pub fn move_to(&mut self, tx: &mut Tx<'_>, node: NodeKey, parent: NodeKey) -> bool {
        let stamp = tx.stamp_after(self.log.last());
        let possible = self.log.parent(node).is_some()
            && !self.log.is_within(parent, node)
            && Some(stamp) > self.log.last();
        if possible {
            let dot = tx.issue();
            self.note(node, dot, &Op::Move(stamp, parent));
        }
        possible
    }

    /// Removes the node, with everything below it, and says whether it was present.
    pub fn remove(&mut self, tx: &mut Tx<'_>, node: NodeKey) -> bool {
        node != NodeKey::ROOT && self.contains(node) && self.move_to(tx, node, NodeKey::TRASH)
    }

    /// Replaces the description of the node and says whether it did. It does not if the node is the
    /// root or unknown.
    pub fn set_meta(&mut self, tx: &mut Tx<'_>, node: NodeKey, meta: M) -> bool {
        let Some(ops) = self.nodes.get(&node) else {
            return false;
        };
        let stamp = tx.stamp_after(ops.description().map(|(stamp, _)| stamp));
        let old: Vec<Dot> = ops
            .0
            .iter()
            .filter(|(_, op)| matches!(op, Op::Describe(..)))
            .map(|(dot, _)| dot)
            .collect();
        self.end(tx, node, &old);
        let dot = tx.issue();
        self.note(node, dot, &Op::Describe(stamp, meta));
        true
    }

    /// Frees the space of moves that no longer have an effect, and says how many. It looks at all
    /// moves before the first one that is not in `stable` and drops those that later ones have
    /// overwritten and those that would have made a cycle, but never the newest move of all.
    ///
    /// Replicas converge to a tree whatever is passed. No node moves if every replica has seen the
    /// events in `stable`, and this replica has seen everything that each of them had issued before
    /// that. For instance, take the intersection of the contexts that all other replicas have
    /// reported, once this replica covers each report; a replica that joins later must start from a
    /// state that covers `stable`. Then no move can arrive that counts before those in `stable`,
    /// because every replica stamps above everything it has seen. If it is called too early, such a
    /// move may be judged differently than before. O(moves).
    pub fn truncate(&mut self, tx: &mut Tx<'_>, stable: &CausalContext) -> usize {
        let obsolete = self.log.obsolete(|dot| stable.contains(dot));
        for &(_, dot, node) in &obsolete {
            self.end(tx, node, &[dot]);
        }
        let (state, delta) = self.parts();
        state.log.change(&obsolete, &[]);
        delta.log.change(&obsolete, &[]);
        obsolete.len()
    }

    /// Adds an operation to the state and the delta.
    fn note(&mut self, node: NodeKey, dot: Dot, op: &Op<M>) {
        let (state, delta) = self.parts();
        for tree in [state, delta] {
            tree.nodes.start(node, dot, |ops| {
                ops.0.insert(dot, op.clone());
            });
            if let Op::Move(stamp, to) = op {
                tree.log.change(
                    &[],
                    &[New {
                        at: (*stamp, dot, node),
                        to: *to,
                    }],
                );
            }
        }
    }

    /// Ends operations of a node in the state and the delta, except in the log.
    fn end(&mut self, tx: &mut Tx<'_>, node: NodeKey, dots: &[Dot]) {
        let (state, delta) = self.parts();
        for &dot in dots {
            for tree in [&mut *state, &mut *delta] {
                tree.nodes.end(&node, dot, |ops| {
                    ops.0.remove(dot);
                });
            }
            tx.end(dot);
        }
    }
}

impl<M: Plain + Ord> Crdt for Tree<M> {
    type Edit<'a>
        = Edit<'a, Self>
    where
        Self: 'a;
    type Effects = TreeEffects;

    fn tag(tag: &mut Tag) {
        tag.kind(Kind::Tree);
    }

    fn is_bottom(&self) -> bool {
        self.nodes.is_empty()
    }

    fn join(&mut self, theirs: &Self, contexts: Contexts<'_>) -> TreeEffects {
        let (mut ended, mut new, mut described) = (Vec::new(), Vec::new(), Vec::new());
        self.nodes
            .join_with(&theirs.nodes, contexts, |&node, _, _, turn| {
                ended.extend(
                    turn.ended
                        .into_iter()
                        .map(|(stamp, dot)| (stamp, dot, node)),
                );
                new.extend(turn.new.into_iter().map(|(stamp, dot, to)| New {
                    at: (stamp, dot, node),
                    to,
                }));
                if turn.described {
                    described.push(node);
                }
            });
        described.sort_unstable();
        TreeEffects {
            moved: self.log.change(&ended, &new),
            described,
        }
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        self.nodes.dots(visit);
    }

    fn dot_count(&self) -> usize {
        Crdt::dot_count(&self.nodes)
    }

    fn has_dot(&self, dot: Dot) -> bool {
        self.nodes.has_dot(dot)
    }

    fn named(&self, replica: ReplicaId) -> u64 {
        let of = |node: NodeKey| node.creation().filter(|dot| dot.replica == replica);
        let to = |op: &Op<M>| {
            if let Op::Move(_, to) = op {
                of(*to)
            } else {
                None
            }
        };
        let named = self.nodes.iter().flat_map(|(&node, ops)| {
            of(node)
                .into_iter()
                .chain(ops.0.iter().filter_map(move |(_, op)| to(op)))
        });
        named.map(|dot| dot.counter).max().unwrap_or(0)
    }

    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        self.nodes.contradicts(&theirs.nodes, replica)
    }

    fn stamps(&self, visit: &mut dyn FnMut(Stamp)) {
        self.nodes.stamps(visit);
    }

    fn part(&self, dots: &CausalContext, undotted: Undotted<'_>) -> Self {
        Self::of(self.nodes.part(dots, undotted))
    }

    fn edit<'a>(state: &'a mut Self, delta: &'a mut Self) -> Edit<'a, Self> {
        Edit::new(state, delta)
    }

    fn encode(&self, out: &mut Writer) {
        self.nodes.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let nodes: DotMap<NodeKey, Ops<M>> = DotMap::decode(input)?;
        let moved = nodes.iter().all(|(node, _)| node.creation().is_some());
        if moved {
            Ok(Self::of(nodes))
        } else {
            Err(DecodeError::Invalid("a move of the root"))
        }
    }
}

impl<M: Plain + Ord> DotStore for Tree<M> {}

impl<M> Default for Tree<M> {
    fn default() -> Self {
        Self {
            nodes: DotMap::default(),
            log: Log::default(),
        }
    }
}

/// Equal if they have the same operations, and therefore the same tree.
impl<M: Plain + Ord> PartialEq for Tree<M> {
    fn eq(&self, other: &Self) -> bool {
        self.nodes == other.nodes
    }
}

impl<M: Plain + Ord> Eq for Tree<M> {}

/// The nodes that can be reached, indented.
impl<M: Plain + Ord> fmt::Debug for Tree<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.walk()
                    .into_iter()
                    .map(|(depth, node)| (depth, node, self.meta(node))),
            )
            .finish()
    }
}
