//! Sets that only grow, that remember removals, and that count steps.

use quorate_crdt::{ClSet, Crdt, GSet, Replicated, RwSet, Stable, TwoPhaseSet};

use crate::exchange::{exchange, id, ignore, pair};

#[test]
fn the_delta_of_a_growing_set_holds_only_what_is_new() {
    let (mut a, mut b) = pair::<GSet<u8>>();
    a.update(|set, tx| ignore(set.add(tx, 1)));
    let again = a.update(|set, tx| ignore((set.add(tx, 1), set.add(tx, 2))));
    assert_eq!(again.iter().collect::<Vec<_>>(), [&2]);
    assert_eq!(b.merge(&again).unwrap().added, [2]);
    assert!(b.merge(&again).unwrap().added.is_empty());
}

#[test]
fn what_left_a_two_phase_set_never_comes_back() {
    let (mut a, mut b) = pair::<TwoPhaseSet<u8>>();
    a.update(|set, tx| assert!(!set.remove(tx, &1), "it was not present"));
    a.update(|set, tx| assert!(set.add(tx, 1)));
    exchange(&mut a, &mut b);
    let removal = a.update(|set, tx| assert!(set.remove(tx, &1)));
    b.update(|set, tx| assert!(!set.add(tx, 1), "it is there"));
    assert_eq!(b.merge(&removal).unwrap().removed, [1]);
    b.update(|set, tx| assert!(!set.add(tx, 1), "it was removed"));
    assert!(b.is_empty() && b.is_removed(&1));
    let effects = Replicated::<TwoPhaseSet<u8>>::new(id(3))
        .merge(b.state())
        .unwrap();
    assert!(
        effects.added.is_empty() && effects.removed.is_empty(),
        "readers never saw it"
    );
}

#[test]
fn the_longer_causal_length_wins() {
    let (mut a, mut b) = pair::<ClSet<u8>>();
    a.update(|set, tx| assert!(set.add(tx, 1)));
    exchange(&mut a, &mut b);
    a.update(|set, tx| ignore((set.remove(tx, &1), set.add(tx, 1))));
    b.update(|set, tx| assert!(set.remove(tx, &1)));
    exchange(&mut a, &mut b);
    assert!(a.contains(&1) && a.causal_length(&1) == 3);
    a.update(|set, tx| ignore((set.remove(tx, &1), set.add(tx, 1), set.remove(tx, &1))));
    b.update(|set, tx| ignore((set.remove(tx, &1), set.add(tx, 1))));
    exchange(&mut a, &mut b);
    assert!(!a.contains(&1) && a.causal_length(&1) == 6);
}

#[test]
fn removing_wins_over_a_concurrent_addition_until_it_is_seen() {
    let (mut a, mut b) = pair::<RwSet<u8>>();
    a.update(|set, tx| set.add(tx, 1));
    b.update(|set, tx| {
        assert!(
            !set.remove(tx, &1),
            "it had not been seen and is removed all the same"
        );
    });
    exchange(&mut a, &mut b);
    assert!(!a.contains(&1) && a.removed_len() == 1);
    let again = b.update(|set, tx| set.add(tx, 1));
    assert_eq!(a.merge(&again).unwrap().added, [1]);
    assert_eq!((a.sorted(), a.removed_len()), (vec![&1], 0));
}

#[test]
fn forgetting_stable_removals_leaves_nothing_and_changes_nothing() {
    let (mut a, mut b) = pair::<RwSet<u8>>();
    a.update(|set, tx| {
        set.add(tx, 1);
        set.remove(tx, &1);
        set.add(tx, 2);
    });
    let early = Stable::unchecked(a.state().context().clone());
    b.update(|set, tx| set.add(tx, 1));
    a.update(|set, tx| assert!(set.remove(tx, &2)));
    exchange(&mut a, &mut b);
    let stable = a.stable(&[b.summary()]);
    let mut some = a.clone();
    some.update(|set, tx| assert_eq!(set.forget(tx, &early), 1, "the removal of 2 is not in it"));
    let forgotten = a.update(|set, tx| assert_eq!(set.forget(tx, &stable), 2));
    assert!(b.merge(&forgotten).unwrap().removed.is_empty());
    assert!(a == b && a.is_bottom());
}

#[test]
fn forgetting_removals_too_early_still_converges() {
    let (mut a, mut b) = pair::<RwSet<u8>>();
    let add = b.update(|set, tx| set.add(tx, 1));
    let removal = a.update(|set, tx| ignore(set.remove(tx, &1)));
    let everything = Stable::unchecked(a.state().context().clone());
    let forgotten = a.update(|set, tx| ignore(set.forget(tx, &everything)));
    a.merge(&add).unwrap();
    b.merge(&forgotten).unwrap();
    b.merge(&removal).unwrap();
    assert!(a == b && a.contains(&1));
}
