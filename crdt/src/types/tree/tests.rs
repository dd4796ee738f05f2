//! Trees under random moves: replicas converge, and truncation changes nothing.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::{NodeKey, Op, Tree};
use crate::{Causal, NodeId, Now, ReplicaId, Replicated};

/// A step of a history: the replica, the kind of step, and three numbers to choose by.
type Step = (usize, u8, u8, u8, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(
        (0..3_usize, 0..8_u8, any::<u8>(), any::<u8>(), 0..6_u64),
        1..40,
    )
}

/// Drops what a mutator returns, where the test is about something else.
fn ignore<T>(_: T) {}

struct World {
    replicas: Vec<Replicated<Tree<u8>>>,
    sent: Vec<Causal<Tree<u8>>>,
}

impl World {
    /// Starts with a few nodes that all replicas know, or moves would seldom meet.
    fn new() -> Self {
        let replicas = (1..4)
            .map(|n| Replicated::new(ReplicaId::new(NodeId(n), 0)))
            .collect();
        let mut world = Self {
            replicas,
            sent: Vec::new(),
        };
        for n in 0..4 {
            world.step((0, 0, 0, n, 0));
        }
        world.settle();
        world
    }

    fn step(&mut self, (at, action, a, b, clock): Step) {
        let now = Now {
            unix_millis: 1_800_000_000_000 + clock,
            ..Now::default()
        };
        let nodes: Vec<NodeKey> = core::iter::once(NodeKey::ROOT)
            .chain(self.replicas[at].nodes())
            .collect();
        let pick = |number: u8| nodes[usize::from(number) % nodes.len()];
        let delta = match action {
            // Few nodes and many moves make cycles.
            0 | 1 if nodes.len() < 5 => {
                self.replicas[at].update_at(now, |tree, tx| ignore(tree.create(tx, pick(a), b)))
            }
            0..=4 => self.replicas[at]
                .update_at(now, |tree, tx| ignore(tree.move_to(tx, pick(a), pick(b)))),
            5 => self.replicas[at].update_at(now, |tree, tx| ignore(tree.remove(tx, pick(a)))),
            6 => {
                let other = self.replicas[usize::from(a) % 3].state().clone();
                self.replicas[at].merge(&other).unwrap();
                return;
            }
            _ => {
                if let Some(index) = usize::from(a).checked_rem(self.sent.len()) {
                    self.replicas[at].merge(&self.sent[index]).unwrap();
                }
                return;
            }
        };
        self.sent.push(delta);
    }

    /// All replicas see everything.
    fn settle(&mut self) {
        let all = self.replicas.clone();
        for replica in &mut self.replicas {
            for other in &all {
                replica.merge(other.state()).unwrap();
            }
        }
    }
}

fn parents(tree: &Tree<u8>) -> BTreeMap<NodeKey, Option<NodeKey>> {
    tree.nodes()
        .into_iter()
        .map(|node| (node, tree.log.parent(node)))
        .collect()
}

/// All moves in order, replayed from the start.
fn replayed(tree: &Tree<u8>) -> BTreeMap<NodeKey, Option<NodeKey>> {
    let mut moves = Vec::new();
    for (&node, ops) in tree.nodes.iter() {
        moves.extend(ops.0.iter().filter_map(|(dot, op)| {
            if let Op::Move(stamp, to) = op {
                Some((*stamp, dot, node, *to))
            } else {
                None
            }
        }));
    }
    moves.sort();
    let mut parents: BTreeMap<NodeKey, Option<NodeKey>> =
        tree.nodes().into_iter().map(|node| (node, None)).collect();
    for (_, _, node, to) in moves {
        let above = core::iter::successors(Some(to), |at| parents.get(at).copied().flatten());
        if above.take(100).all(|at| at != node) {
            parents.insert(node, Some(to));
        }
    }
    parents
}

#[test]
fn truncating_keeps_the_newest_move_even_if_it_counts_for_nothing() {
    let [mut amy, mut ben] =
        [1, 2].map(|n| Replicated::<Tree<u8>>::new(ReplicaId::new(NodeId(n), 0)));
    let (mut one, mut other) = (NodeKey::ROOT, NodeKey::ROOT);
    let created = amy.update(|tree, tx| {
        one = tree.create(tx, NodeKey::ROOT, 1);
        other = tree.create(tx, NodeKey::ROOT, 2);
    });
    ben.merge(&created).unwrap();
    amy.update(|tree, tx| ignore(tree.move_to(tx, one, other)));
    ben.update(|tree, tx| ignore(tree.move_to(tx, other, one)));
    amy.merge(ben.state()).unwrap();
    assert_eq!(
        (amy.parent(one), amy.parent(other)),
        (Some(other), Some(NodeKey::ROOT)),
        "the later one would make a cycle"
    );
    let (newest, stable) = (amy.log.last(), amy.state().context().clone());
    amy.update(|tree, tx| {
        assert_eq!(
            tree.truncate(tx, &stable),
            1,
            "the creation of the moved node"
        );
    });
    assert_eq!(
        amy.log.last(),
        newest,
        "the next move is stamped above everything seen"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_is_always_the_tree_that_a_replay_makes(steps in steps()) {
        let mut world = World::new();
        let last = steps.len();
        for (n, at) in steps.iter().map(|step| step.0).chain(0..3).enumerate() {
            match steps.get(n) {
                Some(step) => world.step(*step),
                None if n == last => world.settle(),
                None => {}
            }
            let tree: &Tree<u8> = &world.replicas[at];
            prop_assert_eq!(parents(tree), replayed(tree));
            for node in tree.nodes() {
                let above = core::iter::successors(Some(node), |at| tree.log.parent(*at));
                prop_assert!(above.take(100).count() < 100, "a cycle above {:?}", node);
                let parent = tree.log.parent(node);
                let is_child_of = |parent| tree.children(parent).any(|child| child == node);
                prop_assert!(parent.is_none_or(is_child_of));
            }
            let all = [NodeKey::ROOT, NodeKey::TRASH].into_iter().chain(tree.nodes());
            let below: usize = all.map(|node| tree.children(node).count()).sum();
            prop_assert!(below <= tree.nodes().len() + 1, "a node is the child of two");
            prop_assert!(tree.walk().iter().all(|&(_, node)| tree.contains(node)));
        }
    }

    #[test]
    fn truncating_what_is_stable_moves_nothing_now_or_later(
        first in steps(),
        then in steps(),
        at in 0..3_usize,
    ) {
        let (mut whole, mut world) = (World::new(), World::new());
        for step in first {
            whole.step(step);
            world.step(step);
        }
        whole.settle();
        world.settle();
        let before = parents(&world.replicas[at]);
        let stable = world.replicas[at].state().context().clone();
        let kept = before.values().flatten().count();
        let delta = world.replicas[at].update(|tree, tx| ignore(tree.truncate(tx, &stable)));
        prop_assert_eq!(&parents(&world.replicas[at]), &before);
        let left = world.replicas[at].moves_len();
        prop_assert!(
            left == kept || left == kept + 1,
            "one move for each node that has a parent, and the last one"
        );
        // The others hear of it at any time.
        world.sent.push(delta.clone());
        whole.sent.push(Causal::new());
        for step in then {
            whole.step(step);
            world.step(step);
            prop_assert_eq!(parents(&whole.replicas[step.0]), parents(&world.replicas[step.0]));
        }
    }

    #[test]
    fn truncating_anything_at_any_time_still_converges_to_a_tree(
        first in steps(),
        then in steps(),
        at in 0..3_usize,
    ) {
        let mut world = World::new();
        for step in first {
            world.step(step);
        }
        let stable = world.replicas[at].state().context().clone();
        let delta = world.replicas[at].update(|tree, tx| ignore(tree.truncate(tx, &stable)));
        world.sent.push(delta);
        for step in then {
            world.step(step);
        }
        world.settle();
        prop_assert!(world.replicas.windows(2).all(|pair| pair[0] == pair[1]));
        prop_assert_eq!(parents(&world.replicas[0]), replayed(&world.replicas[0]));
        prop_assert_eq!(parents(&world.replicas[0]), parents(&world.replicas[1]));
    }
}
