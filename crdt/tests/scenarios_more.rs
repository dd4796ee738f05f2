//! What the smaller types do in the situations that their documentation names.

use quorate_crdt::{
    Bloom, BoundedCounter, Causal, ClSet, CountMin, Crdt, GCounter, GSet, HyperLogLog, Lex, LwwMap,
    NodeId, NodeKey, NotEnoughRights, Now, ReplicaId, Replicated, RwSet, SortedSet, Stable, TopK,
    Tree, TwoPhaseSet,
};

fn id(node: u64) -> ReplicaId {
    ReplicaId::new(NodeId(node), 0)
}

fn pair<T: Crdt>() -> (Replicated<T>, Replicated<T>) {
    (Replicated::new(id(1)), Replicated::new(id(2)))
}

fn exchange<T: Crdt>(a: &mut Replicated<T>, b: &mut Replicated<T>) {
    b.merge(a.state()).expect("claims only what was issued");
    a.merge(b.state()).expect("claims only what was issued");
    assert!(a == b);
}

/// Whatever a mutator says, the test looks elsewhere.
fn ignore<T>(_: T) {}

fn at(unix_millis: u64) -> Now {
    Now {
        unix_millis: 1_800_000_000_000 + unix_millis,
        ..Now::default()
    }
}

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
    a.update(|set, tx| assert!(!set.remove(tx, &1), "it was not there"));
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
    b.update(|set, tx| assert!(!set.remove(tx, &1), "not seen, and removed all the same"));
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

#[test]
fn in_an_lww_map_the_last_write_wins_be_it_a_removal() {
    let (mut a, mut b) = pair::<LwwMap<String, u8>>();
    let first = a.update_at(at(5), |map, tx| map.set(tx, "k".into(), 1));
    b.update_at(at(3), |map, tx| map.set(tx, "k".into(), 2));
    assert_eq!(b.merge(&first).unwrap().updated, [("k".to_owned(), 1)]);
    a.merge(b.state()).unwrap();
    let removal = a.update_at(at(9), |map, tx| assert!(map.remove(tx, "k")));
    b.update_at(at(8), |map, tx| map.set(tx, "k".into(), 3));
    assert_eq!(b.merge(&removal).unwrap().removed, ["k"]);
    exchange(&mut a, &mut b);
    assert!(a.get("k").is_none() && a.is_empty() && a.removed_len() == 1);
    // The clock stands behind what was seen: it is written all the same.
    b.update_at(at(0), |map, tx| map.set(tx, "k".into(), 4));
    exchange(&mut a, &mut b);
    assert_eq!(a.sorted(), [(&"k".to_owned(), &4)]);
}

#[test]
fn a_removed_key_is_forgotten_once_its_removal_is_stable() {
    let (mut a, mut b) = pair::<LwwMap<u8, u8>>();
    a.update_at(at(1), |map, tx| map.set(tx, 1, 1));
    b.update_at(at(2), |map, tx| map.set(tx, 1, 2));
    exchange(&mut a, &mut b);
    let before = a.stable(&[b.summary()]);
    a.update_at(at(3), |map, tx| {
        assert!(map.remove(tx, &1));
        assert!(!map.remove(tx, &1), "it is gone");
        assert_eq!(map.forget(tx, &before), 0, "not seen by all yet");
    });
    exchange(&mut a, &mut b);
    let stable = a.stable(&[b.summary()]);
    let forgotten = a.update(|map, tx| assert_eq!(map.forget(tx, &stable), 1));
    b.merge(&forgotten).unwrap();
    assert!(a == b && b.is_bottom());
}

#[test]
fn scores_are_set_by_the_last_writer_and_incremented_by_all() {
    let (mut a, mut b) = pair::<SortedSet<String>>();
    a.update(|set, tx| set.set(tx, "x".into(), 10));
    exchange(&mut a, &mut b);
    a.update(|set, tx| set.increment(tx, "x".into(), 5));
    b.update(|set, tx| set.increment(tx, "x".into(), -2));
    exchange(&mut a, &mut b);
    assert_eq!(a.score("x"), Some(13));
    a.update(|set, tx| set.set(tx, "x".into(), 100));
    let more = b.update(|set, tx| set.set(tx, "y".into(), 7));
    b.update(|set, tx| set.increment(tx, "y".into(), 1));
    assert_eq!(a.merge(&more).unwrap().updated, [("y".to_owned(), 7)]);
    exchange(&mut a, &mut b);
    assert_eq!(
        a.iter().collect::<Vec<_>>(),
        [(&"y".to_owned(), 8), (&"x".to_owned(), 100)],
        "the set score replaced the increments that it had seen"
    );
}

#[test]
fn an_increment_that_a_removal_had_not_seen_counts_from_zero() {
    let (mut a, mut b) = pair::<SortedSet<String>>();
    a.update(|set, tx| set.set(tx, "x".into(), 10));
    exchange(&mut a, &mut b);
    let removal = a.update(|set, tx| assert!(set.remove(tx, "x")));
    let increment = b.update(|set, tx| set.increment(tx, "x".into(), 3));
    assert_eq!(b.merge(&removal).unwrap().updated, [("x".to_owned(), 3)]);
    a.merge(&increment).unwrap();
    assert!(a == b && b.score("x") == Some(3) && a.rank("x") == Some(0));
}

#[test]
fn a_sorted_set_is_read_by_rank_and_by_score() {
    let mut a = Replicated::<SortedSet<char>>::new(id(1));
    a.update(|set, tx| {
        for (element, score) in [('d', 4), ('b', 2), ('a', 2), ('c', i64::MAX)] {
            set.set(tx, element, score);
        }
        set.increment(tx, 'c', i64::MAX);
        set.increment(tx, 'd', -5);
    });
    let order: Vec<_> = a.iter().map(|(element, score)| (*element, score)).collect();
    assert_eq!(
        order,
        [('d', -1), ('a', 2), ('b', 2), ('c', i64::MAX)],
        "a sum beyond i64 stops there"
    );
    assert_eq!(
        a.range_by_rank(1, 2)
            .map(|(element, _)| *element)
            .collect::<String>(),
        "ab"
    );
    assert_eq!(
        a.range_by_score(..=2)
            .map(|(element, _)| *element)
            .collect::<String>(),
        "dab"
    );
    assert_eq!((a.rank(&'b'), a.rank(&'z'), a.len()), (Some(2), None, 4));
    a.update(|set, tx| {
        set.increment(tx, 'e', 1);
        set.clear(tx);
    });
    assert!(a.is_bottom() && a.iter().len() == 0);
}

#[test]
fn who_has_no_rights_is_refused_until_they_are_handed_over() {
    let (mut a, mut b) = pair::<BoundedCounter>();
    a.update(|counter, tx| counter.increment(tx, 10));
    exchange(&mut a, &mut b);
    let refused = b.update(|counter, tx| {
        assert_eq!(
            counter.decrement(tx, 1),
            Err(NotEnoughRights {
                wanted: 1,
                available: 0
            })
        )
    });
    assert!(refused.is_bottom());
    a.update(|counter, tx| {
        counter.transfer(tx, id(2), 4).unwrap();
        assert_eq!(
            counter.decrement(tx, 7),
            Err(NotEnoughRights {
                wanted: 7,
                available: 6
            }),
            "what was handed over is gone"
        );
        counter.decrement(tx, 6).unwrap();
        counter.transfer(tx, id(1), 0).unwrap();
    });
    b.merge(a.state()).unwrap();
    let taken = b.update(|counter, tx| counter.decrement(tx, 3).unwrap());
    let mut late = Replicated::<BoundedCounter>::new(id(3));
    late.merge(&taken).unwrap();
    assert_eq!(late.value(), 0, "a use without the additions behind it");
    exchange(&mut a, &mut b);
    assert_eq!((a.value(), a.rights(id(1)), a.rights(id(2))), (1, 0, 1));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_is_granted_anywhere_was_added_before(steps in proptest::collection::vec((0..3_usize, 0..6_u8, 0..3_usize, 0..9_u64), 1..40)) {
        let mut replicas: Vec<Replicated<BoundedCounter>> = (0..3).map(|n| Replicated::new(id(n))).collect();
        let (mut sent, mut added, mut taken) = (Vec::new(), 0_u128, 0_u128);
        for (here, action, there, by) in steps {
            match action {
                0 => {
                    sent.push(replicas[here].update(|counter, tx| counter.increment(tx, by)));
                    added += u128::from(by);
                }
                1 | 2 => sent.push(replicas[here].update(|counter, tx| taken += counter.decrement(tx, by).map_or(0, |()| u128::from(by)))),
                3 => sent.push(replicas[here].update(|counter, tx| ignore(counter.transfer(tx, id(there as u64), by)))),
                _ if sent.is_empty() => {}
                _ => ignore(replicas[here].merge(&sent[by as usize * 7 % sent.len()]).unwrap()),
            }
            assert!(taken <= added, "below zero");
        }
        let mut all = Replicated::<BoundedCounter>::new(id(3));
        for delta in &sent {
            all.merge(delta).unwrap();
        }
        assert_eq!(all.value(), added - taken);
        assert_eq!((0..3).map(|n| u128::from(all.rights(id(n)))).sum::<u128>(), all.value(), "every right has one holder");
    }
}

#[test]
fn concurrent_moves_below_each_other_make_no_cycle() {
    let (mut a, mut b) = pair::<Tree<String>>();
    let (mut x, mut y) = (NodeKey::ROOT, NodeKey::ROOT);
    a.update(|tree, tx| {
        x = tree.create(tx, NodeKey::ROOT, "x".into());
        y = tree.create(tx, NodeKey::ROOT, "y".into());
    });
    exchange(&mut a, &mut b);
    a.update_at(at(1), |tree, tx| {
        assert!(tree.move_to(tx, x, y));
        assert!(!tree.move_to(tx, y, x), "it would stand below itself");
    });
    let second = b.update_at(at(2), |tree, tx| assert!(tree.move_to(tx, y, x)));
    assert!(
        a.merge(&second).unwrap().moved.is_empty(),
        "the later move counts for nothing"
    );
    assert_eq!(
        b.merge(a.state()).unwrap().moved,
        [x, y],
        "and is undone where it was made"
    );
    assert!(a == b && b.parent(x) == Some(y) && b.parent(y) == Some(NodeKey::ROOT));
}

#[test]
fn what_is_moved_into_a_removed_node_comes_back_with_it() {
    let (mut a, mut b) = pair::<Tree<String>>();
    let (mut x, mut y) = (NodeKey::ROOT, NodeKey::ROOT);
    a.update(|tree, tx| {
        x = tree.create(tx, NodeKey::ROOT, "x".into());
        y = tree.create(tx, NodeKey::ROOT, "y".into());
    });
    exchange(&mut a, &mut b);
    a.update(|tree, tx| assert!(tree.remove(tx, x) && !tree.remove(tx, x)));
    b.update(|tree, tx| {
        assert!(tree.move_to(tx, y, x) && tree.set_meta(tx, y, "z".into()));
        assert!(!tree.remove(tx, NodeKey::ROOT) && !tree.set_meta(tx, NodeKey::ROOT, "r".into()));
    });
    exchange(&mut a, &mut b);
    assert!(a.walk().is_empty() && !a.contains(y) && a.removed().eq([x]) && a.parent(x).is_none());
    let back = b.update(|tree, tx| assert!(tree.move_to(tx, x, NodeKey::ROOT)));
    assert_eq!(a.merge(&back).unwrap().moved, [x]);
    assert_eq!(
        (a.walk(), a.meta(y).map(String::as_str)),
        (vec![(1, x), (2, y)], Some("z"))
    );
}

#[test]
fn a_later_version_replaces_and_equal_ones_merge() {
    let (mut a, mut b) = pair::<Lex<u8, GCounter>>();
    a.update(|lex, tx| {
        assert!(lex.update(tx, |_, _| ()).is_none() && lex.advance(tx, 1) && !lex.advance(tx, 1))
    });
    exchange(&mut a, &mut b);
    for replica in [&mut a, &mut b] {
        replica.update(|lex, tx| ignore(lex.update(tx, |counter, tx| counter.increment(tx, 2))));
    }
    exchange(&mut a, &mut b);
    assert_eq!(a.get().map(GCounter::value), Some(4));
    a.update(|lex, tx| ignore(lex.update(tx, |counter, tx| counter.increment(tx, 2))));
    b.update(|lex, tx| assert!(lex.advance(tx, 2)));
    exchange(&mut a, &mut b);
    assert_eq!(
        (a.version(), a.get().map(GCounter::value)),
        (Some(&2), Some(0))
    );
}

#[test]
fn a_hyper_log_log_stays_within_its_error_from_few_to_many() {
    let (mut a, mut b) = pair::<HyperLogLog<12>>();
    let mut worst = 0.0_f64;
    for n in 1..=200_000_u64 {
        let replica = if n % 2 == 0 { &mut a } else { &mut b };
        replica.update(|sketch, tx| ignore(sketch.add(tx, &n)));
        replica.update(|sketch, tx| assert!(!sketch.add(tx, &n), "counted twice"));
        if n.is_power_of_two() || n == 200_000 {
            exchange(&mut a, &mut b);
            worst = worst.max((a.estimate() / n as f64 - 1.0).abs());
        }
    }
    assert!(worst < 3.0 * 1.04 / 64.0, "three standard errors: {worst}");
    assert!(Replicated::<HyperLogLog>::new(id(1)).estimate() < 1.0);
}

#[test]
fn a_bloom_filter_forgets_nothing_and_errs_as_often_as_it_says() {
    let (mut a, mut b) = pair::<Bloom<1200, 7>>();
    for n in 0..1000_u32 {
        let replica = if n % 2 == 0 { &mut a } else { &mut b };
        replica.update(|filter, tx| ignore(filter.add(tx, &n)));
    }
    exchange(&mut a, &mut b);
    assert!((0..1000_u32).all(|n| a.may_contain(&n)));
    let wrong = (1000..101_000_u32).filter(|n| a.may_contain(n)).count();
    assert!((500..1500).contains(&wrong), "1 % of 100,000: {wrong}");
    assert!(
        (4000..5600).contains(&a.bits_set()),
        "about half of 9,600: {}",
        a.bits_set()
    );
}

#[test]
fn a_count_min_sketch_is_never_too_low_and_rarely_too_high() {
    let (mut a, mut b) = pair::<CountMin<256, 4>>();
    let mut deltas = Vec::new();
    for n in 1..=1000_u64 {
        let replica = if n % 3 == 0 { &mut a } else { &mut b };
        deltas.push(replica.update(|sketch, tx| sketch.add(tx, &(n % 500), n)));
    }
    exchange(&mut a, &mut b);
    for delta in &deltas {
        assert!(
            !a.merge(delta).unwrap().0,
            "what arrives again is not counted again"
        );
    }
    assert_eq!(a.total(), 500_500);
    let too_high = (0..500_u64).map(|n| {
        let true_count = u128::from(if n == 0 { 500 + 1000 } else { n + n + 500 });
        a.estimate(&n)
            .checked_sub(true_count)
            .expect("never too low")
    });
    let beyond = too_high
        .filter(|excess| *excess as f64 > core::f64::consts::E * 500_500.0 / 256.0)
        .count();
    assert!(beyond <= 10, "e^-4 of 500 is 9: {beyond}");
}

#[test]
fn top_k_misses_no_frequent_element_and_keeps_its_bounds() {
    let (mut a, mut b) = pair::<TopK<u64, 20>>();
    let mut truth = std::collections::BTreeMap::<u64, u128>::new();
    for n in 0..20_000_u64 {
        // Harmonic frequencies: element 0 half as often as all, and so on.
        let element = (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32)
            .trailing_ones()
            .into();
        let element = if n % 4 == 0 { 1000 + n } else { element };
        let replica = if n % 3 == 0 { &mut a } else { &mut b };
        replica.update(|top, tx| top.add(tx, element, 1));
        *truth.entry(element).or_default() += 1;
    }
    exchange(&mut a, &mut b);
    assert_eq!(a.total(), 20_000);
    let found = a.top(usize::MAX);
    for (element, &count) in &truth {
        let counted = a.count(element);
        assert!(
            counted.at_least <= count && count <= counted.at_most,
            "{counted:?} of {count}"
        );
        assert!(
            counted.at_most - counted.at_least <= 20_000 / 20,
            "{counted:?}"
        );
        assert!(
            count <= 1000 || found.iter().any(|counted| counted.element == element),
            "{element} is missing"
        );
    }
    assert_eq!(
        a.top(3)
            .iter()
            .map(|counted| *counted.element)
            .collect::<Vec<_>>(),
        [0, 1, 2]
    );
}

#[test]
fn a_sketch_of_another_size_does_not_decode() {
    let mut small = Replicated::<HyperLogLog<4>>::new(id(1));
    let mut large = Replicated::<HyperLogLog<5>>::new(id(1));
    for n in 0..1000 {
        small.update(|sketch, tx| ignore(sketch.add(tx, &n)));
        large.update(|sketch, tx| ignore(sketch.add(tx, &n)));
    }
    assert!(Causal::<HyperLogLog<5>>::decode(&small.state().encode()).is_err());
    assert!(Causal::<HyperLogLog<4>>::decode(&large.state().encode()).is_err());
}
