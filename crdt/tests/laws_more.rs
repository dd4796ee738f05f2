//! The laws of replicated types, for the smaller types and for those that are made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use quorate_crdt::laws::{Op, SeenOp, alive, replica};
use quorate_crdt::{
    Bloom, Bool, BoundedCounter, ClSet, CountMin, Edit, GCounter, GSet, HyperLogLog, Lex, LwwMap,
    LwwRegister, Max, Min, NodeKey, OrMap, OrSet, Pair, RwSet, SortedSet, TopK, Tree, TwoPhaseSet,
    Tx,
};

quorate_crdt::laws! {
    g_set: GSet<u8>, |set, tx, op| set.add(tx, op.argument),
        spec: |ops| ops.iter().filter(|op| is_step(op, |seen, new| seen == new)).map(|op| op.op.argument).collect::<BTreeSet<_>>(),
        view: |set: &GSet<u8>| set.iter().copied().collect();
    two_phase_set: TwoPhaseSet<u8>, |set, tx, op| if op.action.is_multiple_of(2) { set.add(tx, op.argument) } else { set.remove(tx, &op.argument) };
    cl_set: ClSet<u8>, |set, tx, op| if op.action.is_multiple_of(2) { set.add(tx, op.argument) } else { set.remove(tx, &op.argument) };
    rw_set: RwSet<u8>, |set, tx, op| if op.action.is_multiple_of(2) { set.add(tx, op.argument) } else { set.remove(tx, &op.argument); },
        spec: rw_set_of, view: |set: &RwSet<u8>| set.sorted().into_iter().copied().collect();
    lww_map: LwwMap<u8, u8>, |map, tx, op| if op.action % 4 < 3 { map.set(tx, op.argument, op.action) } else { map.remove(tx, &op.argument); };
    sorted_set: SortedSet<u8>, |set, tx, op| score(set, tx, op);
    map_of_sorted_sets: OrMap<u8, SortedSet<u8>>, |map, tx, op| if op.action % 8 == 7 {
        map.remove(tx, &(op.argument % 2));
    } else {
        map.update(tx, op.argument % 2, |set, tx| score(set, tx, op));
    };
    bounded_counter: BoundedCounter, |counter, tx, op| count(counter, tx, op);
    tree: Tree<u8>, |tree, tx, op| change_tree(tree, tx, op);
    map_of_trees: OrMap<u8, Tree<u8>>, |map, tx, op| if op.action % 8 == 7 {
        map.remove(tx, &(op.argument % 2));
    } else {
        map.update(tx, op.argument % 2, |tree, tx| change_tree(tree, tx, op));
    };
    max: Max<u8>, |max, tx, op| max.raise(tx, op.argument),
        spec: |ops| ops.iter().filter(|op| is_step(op, |seen, new| seen >= new)).map(|op| op.op.argument).max(),
        view: |max: &Max<u8>| max.get().copied();
    min: Min<u8>, |min, tx, op| min.lower(tx, op.argument),
        spec: |ops| ops.iter().filter(|op| is_step(op, |seen, new| seen <= new)).map(|op| op.op.argument).min(),
        view: |min: &Min<u8>| min.get().copied();
    bool_or: Bool, |happened, tx, op| if op.action.is_multiple_of(4) { happened.raise(tx) };
    pair: Pair<OrSet<u8>, GCounter>, |pair, tx, op| match op.action % 4 {
        0 => pair.first_mut(tx, |set, tx| set.add(tx, op.argument)),
        1 => pair.first_mut(tx, |set, tx| { set.remove(tx, &op.argument); }),
        _ => pair.second_mut(tx, |counter, tx| counter.increment(tx, u64::from(op.argument))),
    };
    pair_of_sets: OrMap<u8, Pair<OrSet<u8>, RwSet<u8>>>, |map, tx, op| match op.action % 4 {
        0 => map.update(tx, op.argument % 2, |pair, tx| pair.first_mut(tx, |set, tx| set.add(tx, op.argument))),
        1 => map.update(tx, op.argument % 2, |pair, tx| pair.second_mut(tx, |set, tx| set.add(tx, op.argument))),
        2 => map.update(tx, op.argument % 2, |pair, tx| pair.second_mut(tx, |set, tx| { set.remove(tx, &op.argument); })),
        _ => { map.remove(tx, &(op.argument % 2)); }
    };
    lex: Lex<u8, GSet<u8>>, |lex, tx, op| if op.action.is_multiple_of(4) {
        lex.advance(tx, op.argument);
    } else {
        lex.update(tx, |set, tx| set.add(tx, op.argument));
    };
    hyper_log_log: HyperLogLog<4>, |sketch, tx, op| sketch.add(tx, &(op.argument, op.action));
    bloom: Bloom<24, 3>, |filter, tx, op| filter.add(tx, &op.argument);
    count_min: CountMin<4, 2>, |sketch, tx, op| sketch.add(tx, &op.argument, u64::from(op.action));
    top_k: TopK<u8, 2>, |top, tx, op| top.add(tx, op.argument, u64::from(op.action));
    option: Option<LwwRegister<u8>>, |option, tx, op| option.update(tx, |register, tx| if op.action.is_multiple_of(2) { register.set(tx, op.argument) });
}

/// What was covered by a step seen before changes nothing, and its delta says nothing.
fn is_step(op: &SeenOp, covers: fn(u8, u8) -> bool) -> bool {
    !op.past
        .iter()
        .any(|seen| covers(seen.op.argument, op.op.argument) && is_step(seen, covers))
}

/// An element is in if the votes on it that nothing has overwritten are all for in, and there are
/// any.
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

fn count(counter: &mut Edit<'_, BoundedCounter>, tx: &mut Tx<'_>, op: Op) {
    let by = u64::from(op.argument);
    // Whether it is refused is up to the rights.
    let _ = match op.action % 8 {
        0..3 => {
            counter.increment(tx, by);
            Ok(())
        }
        3..6 => counter.decrement(tx, by),
        _ => counter.transfer(tx, replica(usize::from(op.action / 8 % 3)), by),
    };
}

/// Picks nodes by number among those that are known, removed ones included.
fn change_tree(tree: &mut Edit<'_, Tree<u8>>, tx: &mut Tx<'_>, op: Op) {
    let nodes: Vec<NodeKey> = std::iter::once(NodeKey::ROOT).chain(tree.nodes()).collect();
    let pick = |number: u8| nodes[usize::from(number) % nodes.len()];
    match op.action % 8 {
        0..3 => {
            tree.create(tx, pick(op.argument), op.action);
        }
        3..6 => {
            tree.move_to(tx, pick(op.argument), pick(op.action / 8));
        }
        6 => {
            tree.remove(tx, pick(op.argument));
        }
        _ => {
            tree.set_meta(tx, pick(op.argument), op.action);
        }
    }
}
