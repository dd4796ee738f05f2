//! Maps in which the last write wins, and values that a later version replaces.

use quorate_crdt::{Crdt, GCounter, Lex, LwwMap};

use crate::exchange::{at, exchange, ignore, pair};

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
    // The clock is behind what was seen, and the write succeeds all the same.
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
        assert_eq!(
            map.forget(tx, &before),
            0,
            "not all replicas have seen it yet"
        );
    });
    exchange(&mut a, &mut b);
    let stable = a.stable(&[b.summary()]);
    let forgotten = a.update(|map, tx| assert_eq!(map.forget(tx, &stable), 1));
    b.merge(&forgotten).unwrap();
    assert!(a == b && b.is_bottom());
}

#[test]
fn a_later_version_replaces_and_equal_ones_merge() {
    let (mut a, mut b) = pair::<Lex<u8, GCounter>>();
    a.update(|lex, tx| {
        assert!(lex.update(tx, |_, _| ()).is_none() && lex.advance(tx, 1) && !lex.advance(tx, 1));
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
