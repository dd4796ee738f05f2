use quorate_crdt::{NodeId, ReplicaId};

use super::*;

fn dot(node: u64, counter: u64) -> Dot {
    Dot::new(ReplicaId::new(NodeId(node), 1), counter)
}

fn recent(dots: &[Dot]) -> Recent {
    let mut recent = Recent::default();
    for dot in dots {
        let arrival = recent.next_arrival();
        recent.insert(*dot, arrival, Range::Key("k".into()));
    }
    recent
}

#[test]
fn beyond_its_bound_the_oldest_event_goes() {
    let mut recent = recent(&[dot(9, 1), dot(1, 1), dot(9, 2)]);
    assert_eq!(recent.forget_oldest(2, usize::MAX), [dot(9, 1)]);
    assert_eq!(recent.forget_oldest(1, usize::MAX), [dot(1, 1)]);
    assert_eq!(recent.len(), 1);
}

#[test]
fn a_gap_in_a_life_that_is_over_holds_nothing() {
    let mut recent = recent(&[dot(1, 1), dot(1, 3), dot(1, 4)]);
    // Nobody has, or ever will have, the second event.
    let known: CausalContext = [dot(1, 1), dot(1, 3), dot(1, 4)].into_iter().collect();
    assert_eq!(recent.forget_known(known).len(), 3);
    assert_eq!((recent.len(), recent.bytes()), (0, 0));
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_planted_drop_of_the_lowest_is_noticed() {
    quorate_crdt::planted::plant(Some(&planted::RECENT_DROPS_LOWEST));
    let outcome = std::panic::catch_unwind(beyond_its_bound_the_oldest_event_goes);
    quorate_crdt::planted::plant(None);
    assert!(outcome.is_err());
}
