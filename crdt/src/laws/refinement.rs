//! The law that says which value it is: a function of the operations seen.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt::Debug;

use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};

use super::history::{World, histories};
use super::{Event, Op, REPLICAS, Subject, check};
use crate::Effects;

/// An operation, with the operations that had been seen where it was performed. Deltas arrive in any order, so an
/// operation may be known where its past is not.
#[derive(Debug)]
pub struct SeenOp {
    /// What was done.
    pub op: Op,
    /// By which replica, below [`REPLICAS`].
    pub by: usize,
    /// Its place in the history: unique, and above all in its past.
    pub id: usize,
    /// What it had seen, ascending by id.
    pub past: Vec<Rc<SeenOp>>,
}

impl SeenOp {
    /// Whether this operation had seen the other one.
    pub fn saw(&self, other: &Self) -> bool {
        self.past.binary_search_by_key(&other.id, |seen| seen.id).is_ok()
    }
}

/// What readers see of a value (`view`) is what the operations seen say (`spec`, given them ascending by id), at every
/// replica and at every time; and whenever it changes by a merge, the merge tells effects.
pub fn refines<S: Subject, V: PartialEq + Debug>(spec: fn(&[Rc<SeenOp>]) -> V, view: fn(&S::State) -> V) {
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
                let op = Rc::new(SeenOp { op, by: at, id: ops.len(), past: known[at].clone() });
                ops.push(op.clone());
                known[at].push(op);
                prop_assert_eq!(view(&world.replicas[at]), spec(&known[at]), "after an operation, of {:#?}", known[at]);
                continue;
            }
            Event::Deliver { to, delta } => match world.delta(delta) {
                Some(delta) => (to, world.deltas[delta].clone(), alloc::vec![ops[delta].clone()]),
                None => continue,
            },
            Event::Exchange { from, to } => (to, world.replicas[from].state().clone(), known[from].clone()),
        };
        let before = view(&world.replicas[to]);
        let told = !world.merge(to, &sent).is_empty();
        known[to].extend(learnt);
        known[to].sort_by_key(|op| op.id);
        known[to].dedup_by_key(|op| op.id);
        let after = view(&world.replicas[to]);
        prop_assert_eq!(&after, &spec(&known[to]), "after a merge, of {:#?}", known[to]);
        prop_assert!(told || before == after, "a merge tells nothing and readers see {:?} instead of {:?}", after, before);
    }
    Ok(())
}
