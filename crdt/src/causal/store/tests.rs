//! Dot stores under contexts: what a join keeps, takes and drops.

use super::*;
use crate::{CausalContext, NodeId, ReplicaId};

fn dot(node: u64, counter: u64) -> Dot {
    Dot::new(ReplicaId::new(NodeId(node), 0), counter)
}

fn seen(dots: &[Dot]) -> CausalContext {
    dots.iter().copied().collect()
}

#[test]
fn join_keeps_the_common_and_the_unseen_and_drops_the_seen() {
    let [common, dropped, mine_alone, old, new] = [dot(1, 1), dot(1, 2), dot(1, 3), dot(2, 1), dot(2, 2)];
    let mut mine: DotFun<u8> = [(common, 1), (dropped, 2), (mine_alone, 3)].into_iter().collect();
    let theirs: DotFun<u8> = [(common, 1), (old, 4), (new, 5)].into_iter().collect();
    let my_context = seen(&[common, dropped, mine_alone, old]);
    let their_context = seen(&[common, dropped, old, new]);
    assert!(mine.join(&theirs, &my_context, &their_context));
    assert_eq!(mine, [(common, 1), (mine_alone, 3), (new, 5)].into_iter().collect());
    assert!(!mine.join(&theirs, &(&my_context, &their_context), &their_context), "a second time nothing changes");
}

#[test]
fn a_map_drops_a_key_with_its_last_dot() {
    let mut mine: DotMap<&str, DotSet> = DotMap::new();
    mine.update("a", |set| set.insert(dot(1, 1)));
    mine.update("b", |set| set.insert(dot(1, 2)));
    let nothing = DotMap::new();
    assert!(mine.join(&nothing, &seen(&[dot(1, 1), dot(1, 2)]), &seen(&[dot(1, 1)])));
    assert_eq!(mine.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["b"]);
    mine.update("b", |set| set.remove(dot(1, 2)));
    assert!(mine.is_empty(), "no key is left with nothing under it");
}

#[test]
fn disordered_stores_are_refused() {
    let refused = |dots: &[(Dot, ())]| postcard::from_bytes::<DotSet>(&postcard::to_stdvec(dots).unwrap()).is_err();
    assert!(refused(&[(dot(1, 2), ()), (dot(1, 1), ())]));
    assert!(refused(&[(dot(1, 1), ()), (dot(1, 1), ())]));
    assert!(refused(&[(dot(1, 0), ())]));
    assert!(!refused(&[(dot(1, 1), ()), (dot(1, 2), ())]));
    let empty_key = postcard::to_stdvec(&[(1_u8, Vec::<(Dot, ())>::new())][..]).unwrap();
    assert!(postcard::from_bytes::<DotMap<u8, DotSet>>(&empty_key).is_err());
}
