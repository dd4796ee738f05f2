use quorate_crdt::{NodeId, ReplicaId};

use super::*;
use crate::replica::{Cut, RowKey, RowKind, Within};

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

#[test]
fn a_range_weighs_the_names_in_it() {
    let cut = |key: &'static str, within| {
        Some(Cut {
            key: key.into(),
            within,
        })
    };
    let slice = |after, through| Range::Slice { after, through };
    let empty = weight(&Range::ALL);
    for (range, names) in [
        (Range::Key("abc".into()), 3),
        (Range::Row(RowKey::field("abc".into(), "de".into())), 5),
        (slice(cut("abc", Within::Before), None), 3),
        (
            slice(cut("abc", Within::Before), cut("de", Within::After)),
            5,
        ),
        (
            slice(None, cut("abc", Within::Row(RowKind::Hash, "defg".into()))),
            7,
        ),
    ] {
        assert_eq!(weight(&range), empty + names, "{range:?}");
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_planted_drop_of_the_lowest_is_noticed() {
    quorate_crdt::planted::plant(Some(&planted::RECENT_DROPS_LOWEST));
    let outcome = std::panic::catch_unwind(beyond_its_bound_the_oldest_event_goes);
    quorate_crdt::planted::plant(None);
    assert!(outcome.is_err());
}
