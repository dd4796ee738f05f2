//! Sketches stay within the errors that they state.

use quorate_crdt::{Bloom, Causal, CountMin, HyperLogLog, Replicated, TopK};

use crate::exchange::{exchange, id, ignore, pair};

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
            "a repeated delta does not count again"
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
        // Geometric frequencies: element 0 is half of all, element 1 a quarter, and so on.
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
