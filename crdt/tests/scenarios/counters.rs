//! Counters: what is summed, what a reset removes, and who may decrement.

use proptest::collection::vec;
use proptest::test_runner::Config;
use quorate_crdt::laws::{REPLICAS, replica};
use quorate_crdt::{BoundedCounter, NotEnoughRights, PnCounter, Replicated, ResetCounter, Schema};

use crate::exchange::{exchange, id, ignore, pair};

fn at<T: Schema>(n: usize) -> Replicated<T> {
    Replicated::new(replica(n))
}

/// The value of a counter compared with the plain sum of its additions.
#[test]
fn counters_sum_what_was_counted() {
    let mut elsewhere = at::<PnCounter>(REPLICAS);
    for n in 0..REPLICAS {
        let mut counter = at::<PnCounter>(n);
        elsewhere
            .merge(&counter.update(|counter, tx| counter.increment(tx, 10)))
            .unwrap();
        elsewhere
            .merge(&counter.update(|counter, tx| counter.decrement(tx, 3)))
            .unwrap();
    }
    assert_eq!(elsewhere.value(), 21);
    elsewhere.update(|counter, tx| counter.decrement(tx, u64::MAX));
    elsewhere.update(|counter, tx| counter.decrement(tx, u64::MAX));
    assert_eq!(
        elsewhere.value(),
        21 - i128::from(u64::MAX),
        "the total that one replica takes away stops at the end of its range"
    );
}

#[test]
fn a_reset_ends_what_it_has_seen_and_nothing_else() {
    let (mut here, mut there) = (at::<ResetCounter>(0), at::<ResetCounter>(1));
    there
        .merge(&here.update(|counter, tx| counter.add(tx, 5)))
        .unwrap();
    let reset = there.update(|counter, tx| {
        counter.reset(tx);
    });
    let late = at::<ResetCounter>(2).update(|counter, tx| counter.add(tx, 7));
    here.merge(&late).unwrap();
    here.merge(&reset).unwrap();
    assert_eq!(here.value(), 7);
    there.merge(&late).unwrap();
    assert_eq!(there, here);
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
        );
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
            "the transferred rights are gone"
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
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn whatever_is_granted_anywhere_was_added_before(
        steps in vec((0..3_usize, 0..6_u8, 0..3_usize, 0..9_u64), 1..40),
    ) {
        let new = |n| Replicated::<BoundedCounter>::new(id(n));
        let mut replicas: Vec<_> = (0..3).map(new).collect();
        let (mut sent, mut added, mut taken) = (Vec::new(), 0_u128, 0_u128);
        for (here, action, there, by) in steps {
            match action {
                0 => {
                    sent.push(replicas[here].update(|counter, tx| counter.increment(tx, by)));
                    added += u128::from(by);
                }
                1 | 2 => sent.push(replicas[here].update(|counter, tx| {
                    if counter.decrement(tx, by).is_ok() {
                        taken += u128::from(by);
                    }
                })),
                3 => sent.push(replicas[here].update(|counter, tx| {
                    ignore(counter.transfer(tx, id(there as u64), by));
                })),
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
        let rights: u128 = (0..3).map(|n| u128::from(all.rights(id(n)))).sum();
        assert_eq!(rights, all.value(), "every right has one holder");
    }
}
