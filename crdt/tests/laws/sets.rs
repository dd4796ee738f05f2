//! Sets, sorted ones included.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use quorate_crdt::laws::{Op, SeenOp, alive};
use quorate_crdt::{ClSet, Edit, GSet, OrMap, OrSet, RwSet, SortedSet, TwoPhaseSet, Tx};

use crate::specs;
use crate::steps::is_step;

quorate_crdt::laws! {
    or_set: OrSet<u8>, |set, tx, op| specs::change_set(set, tx, op),
        spec: specs::set, view: specs::view_set;
    g_set: GSet<u8>, |set, tx, op| set.add(tx, op.argument),
        spec: |ops| {
            let steps = ops.iter().filter(|op| is_step(op, |seen, new| seen == new));
            steps.map(|op| op.op.argument).collect::<BTreeSet<_>>()
        },
        view: |set: &GSet<u8>| set.iter().copied().collect();
    two_phase_set: TwoPhaseSet<u8>, |set, tx, op| if op.action.is_multiple_of(2) {
        set.add(tx, op.argument)
    } else {
        set.remove(tx, &op.argument)
    };
    cl_set: ClSet<u8>, |set, tx, op| if op.action.is_multiple_of(2) {
        set.add(tx, op.argument)
    } else {
        set.remove(tx, &op.argument)
    };
    rw_set: RwSet<u8>, |set, tx, op| if op.action.is_multiple_of(2) {
        set.add(tx, op.argument);
    } else {
        set.remove(tx, &op.argument);
    },
        spec: rw_set_of, view: |set: &RwSet<u8>| set.sorted().into_iter().copied().collect();
    sorted_set: SortedSet<u8>, |set, tx, op| score(set, tx, op);
    map_of_sorted_sets: OrMap<u8, SortedSet<u8>>, |map, tx, op| if op.action % 8 == 7 {
        map.remove(tx, &(op.argument % 2));
    } else {
        map.update(tx, op.argument % 2, |set, tx| score(set, tx, op));
    };
}

/// An element is in the set if it has votes that nothing has overwritten, and all of them are for
/// it.
fn rw_set_of(ops: &[Rc<SeenOp>]) -> BTreeSet<u8> {
    let mut votes: BTreeMap<u8, Vec<bool>> = BTreeMap::new();
    for op in alive(ops, |later, earlier| {
        later.op.argument == earlier.op.argument
    }) {
        votes
            .entry(op.op.argument)
            .or_default()
            .push(op.op.action.is_multiple_of(2));
    }
    votes
        .into_iter()
        .filter(|(_, votes)| votes.iter().all(|vote| *vote))
        .map(|(element, _)| element)
        .collect()
}

fn score(set: &mut Edit<'_, SortedSet<u8>>, tx: &mut Tx<'_>, op: Op) {
    match op.action % 8 {
        0..3 => set.set(tx, op.argument, i64::from(op.action)),
        3..6 => set.increment(tx, op.argument, i64::from(op.action) - 100),
        6 => {
            set.remove(tx, &op.argument);
        }
        _ => set.clear(tx),
    }
}
