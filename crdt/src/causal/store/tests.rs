//! Dot stores under contexts: what a join keeps, takes and drops.

use alloc::vec::Vec;

use super::*;
use crate::{CausalContext, Contexts, Crdt, Dot, NodeId, ReplicaId};

fn dot(node: u64, counter: u64) -> Dot {
    Dot::new(ReplicaId::new(NodeId(node), 0), counter)
}

fn seen(dots: &[Dot]) -> CausalContext {
    dots.iter().copied().collect()
}

#[test]
fn join_keeps_the_common_and_the_unseen_and_drops_the_seen() {
    let [common, dropped, mine_alone, old, new] =
        [dot(1, 1), dot(1, 2), dot(1, 3), dot(2, 1), dot(2, 2)];
    let mut mine: DotFun<u8> = [(common, 1), (dropped, 2), (mine_alone, 3)]
        .into_iter()
        .collect();
    let theirs: DotFun<u8> = [(common, 1), (old, 4), (new, 5)].into_iter().collect();
    let my_context = seen(&[common, dropped, mine_alone, old]);
    let their_context = seen(&[common, dropped, old, new]);
    assert!(mine.join(&theirs, &my_context, &their_context));
    assert_eq!(
        mine,
        [(common, 1), (mine_alone, 3), (new, 5)]
            .into_iter()
            .collect()
    );
    assert!(
        !mine.join(&theirs, &(&my_context, &their_context), &their_context),
        "nothing changes the second time"
    );
}

#[test]
fn a_map_drops_a_key_with_its_last_dot() {
    let mut mine: DotMap<char, DotSet> = DotMap::new();
    mine.start('a', dot(1, 1), |set| *set = DotSet::one(dot(1, 1)));
    mine.start('b', dot(1, 2), |set| *set = DotSet::one(dot(1, 2)));
    let (mine_seen, theirs_seen) = (seen(&[dot(1, 1), dot(1, 2)]), seen(&[dot(1, 1)]));
    let effects = mine.join(
        &DotMap::new(),
        Contexts {
            mine: &mine_seen,
            theirs: &theirs_seen,
        },
    );
    assert_eq!(effects.removed, ['a']);
    assert_eq!(mine.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ['b']);
    let mut ended = Vec::new();
    assert!(mine.take(&'b', &mut |dot| ended.push(dot)));
    assert_eq!(ended, [dot(1, 2)]);
    assert!(
        mine.is_empty() && mine.dot_count() == 0,
        "no key is left without dots"
    );
}

#[test]
fn disordered_stores_are_refused() {
    let refused = |dots: &[(Dot, ())]| {
        postcard::from_bytes::<DotSet>(&postcard::to_stdvec(dots).unwrap()).is_err()
    };
    assert!(refused(&[(dot(1, 2), ()), (dot(1, 1), ())]));
    assert!(refused(&[(dot(1, 1), ()), (dot(1, 1), ())]));
    assert!(refused(&[(dot(1, 0), ())]));
    assert!(!refused(&[(dot(1, 1), ()), (dot(1, 2), ())]));
}
