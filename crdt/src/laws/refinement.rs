//! The law of refinement: a value is a function of the operations seen.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt::Debug;

use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};

use super::history::{Event, REPLICAS, World, histories};
use super::subject::{Op, Subject, check};
use crate::Effects;

/// An operation, with the operations that its replica had seen before it. Deltas arrive in any
/// order, so an operation may be known where its past is not.
#[derive(Debug)]
pub struct SeenOp {
    /// The operation itself.
    pub op: Op,
    /// The replica that performed it, below [`REPLICAS`].
    pub by: usize,
    /// Its number in the history: unique, above all in its past, and below 64.
    pub id: usize,
    /// The operations that it had seen, ascending by id.
    pub past: Vec<Rc<SeenOp>>,
}

impl SeenOp {
    /// Whether this operation had seen the other one.
    pub fn saw(&self, other: &Self) -> bool {
        self.past
            .binary_search_by_key(&other.id, |seen| seen.id)
            .is_ok()
    }
}

/// The operations among `known` that no known operation has ended. An operation ends those that
/// were alive where it was performed and for which `ends(it, other)` holds. What readers see of
/// most values with dots is a function of these. The caller must know which operations write
/// something and which only end others.
pub fn alive(known: &[Rc<SeenOp>], ends: impl Fn(&SeenOp, &SeenOp) -> bool) -> Vec<&SeenOp> {
    // An operation of the past may be unknown here, so it is looked up there. Ids ascend along
    // pasts, so pasts come first.
    let (mut all, mut open) = ([None; 64], known.iter().collect::<Vec<_>>());
    while let Some(op) = open.pop() {
        if all[op.id].replace(op).is_none() {
            open.extend(&op.past);
        }
    }
    let mut ended = [0; 64];
    for op in all.into_iter().flatten() {
        let ends_of_op = left(&op.past, &ended)
            .filter(|other| ends(op, other))
            .fold(0, |ends, other| ends | 1 << other.id);
        ended[op.id] = ends_of_op;
    }
    left(known, &ended).collect()
}

/// The operations that none of them has ended; `ended` has, per operation, a bit for each id that
/// it ended.
fn left<'a>(known: &'a [Rc<SeenOp>], ended: &[u64; 64]) -> impl Iterator<Item = &'a SeenOp> {
    let gone = known.iter().fold(0, |gone, op| gone | ended[op.id]);
    known
        .iter()
        .map(Rc::as_ref)
        .filter(move |op| gone >> op.id & 1 == 0)
}

/// At every replica and at every time, what readers see of a value (`view`) equals what the
/// operations seen say (`spec`, which gets them ascending by id). And whenever a merge changes the
/// view, it reports effects.
pub fn refines<S: Subject, V: PartialEq + Debug>(
    spec: fn(&[Rc<SeenOp>]) -> V,
    view: fn(&S::State) -> V,
) {
    check(histories(), |history| follow::<S, V>(&history, spec, view));
}

fn follow<S: Subject, V: PartialEq + Debug>(
    history: &[Event],
    spec: fn(&[Rc<SeenOp>]) -> V,
    view: fn(&S::State) -> V,
) -> Result<(), TestCaseError> {
    let mut world = World::<S::State>::new();
    let mut ops: Vec<Rc<SeenOp>> = Vec::new();
    let mut known: [Vec<Rc<SeenOp>>; REPLICAS] = Default::default();
    for event in history {
        let (to, sent, learnt) = match *event {
            Event::Mutate { at, op, clock } => {
                world.mutate::<S>(at, op, clock);
                let op = Rc::new(SeenOp {
                    op,
                    by: at,
                    id: ops.len(),
                    past: known[at].clone(),
                });
                ops.push(op.clone());
                known[at].push(op);
                prop_assert_eq!(
                    view(&world.replicas[at]),
                    spec(&known[at]),
                    "after an operation, of {:#?}",
                    known[at]
                );
                continue;
            }
            Event::Deliver { to, delta } => match world.delta(delta) {
                Some(delta) => (
                    to,
                    world.deltas[delta].clone(),
                    alloc::vec![ops[delta].clone()],
                ),
                None => continue,
            },
            Event::Exchange { from, to } => (
                to,
                world.replicas[from].state().clone(),
                known[from].clone(),
            ),
        };
        let before = view(&world.replicas[to]);
        let told = !world.merge(to, &sent).is_empty();
        known[to].extend(learnt);
        known[to].sort_by_key(|op| op.id);
        known[to].dedup_by_key(|op| op.id);
        let after = view(&world.replicas[to]);
        prop_assert_eq!(
            &after,
            &spec(&known[to]),
            "after a merge, of {:#?}",
            known[to]
        );
        prop_assert!(
            told || before == after,
            "a merge reports no effects, but readers see {:?} instead of {:?}",
            after,
            before
        );
    }
    Ok(())
}
