//! Sorted sets: scores that are set, incremented and removed, and ranks.

use quorate_crdt::{Crdt, Replicated, SortedSet};

use crate::exchange::{exchange, id, pair};

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
