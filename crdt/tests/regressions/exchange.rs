//! Exchanges between replicas: stale answers, different versions, forgotten removals.

use quorate_crdt::{Causal, Crdt, GCounter, OrSet, Replicated, RwSet, Text};

use crate::at;

/// The first version of a struct. The second one has a text and a counter too.
#[derive(Crdt)]
struct First {
    set: OrSet<u8>,
}

#[derive(Crdt)]
struct Second {
    set: OrSet<u8>,
    text: Text,
    hits: GCounter,
}

/// Two round trips between the versions. Returns how many bytes the deltas of the old one and of
/// the new one took.
fn exchange(old: &mut Replicated<First>, new: &mut Replicated<Second>) -> (usize, usize) {
    let first = old.summary();
    let (answer, for_old) = (
        new.summary_against(&first),
        new.delta_since(&first).encode(),
    );
    let (third, for_new) = (
        old.summary_against(&answer),
        old.delta_since(&answer).encode(),
    );
    new.merge(&Causal::decode(&for_new).unwrap()).unwrap();
    old.merge(&Causal::decode(&for_old).unwrap()).unwrap();
    let rest = new.delta_since(&third).encode();
    old.merge(&Causal::decode(&rest).unwrap()).unwrap();
    (for_new.len(), for_old.len() + rest.len())
}

/// Case 10: each exchange left another copy of all places at the older version, until the newer one
/// refused its messages.
#[test]
fn versions_that_exchange_for_long_do_not_grow_and_send_what_is_new() {
    let (mut old, mut new) = (at::<First>(0), at::<Second>(1));
    new.update(|new, tx| {
        new.text.push(tx, &"word ".repeat(400));
        new.text.delete(tx, 10..20).unwrap();
        new.hits.increment(tx, 1);
    });
    exchange(&mut old, &mut new);
    let (mut largest, mut total) = (0, 0);
    for n in 0..300_usize {
        new.update(|new, tx| {
            new.text.insert(tx, n % 50, "x").unwrap();
            new.hits.increment(tx, 1);
        });
        let (from_old, from_new) = exchange(&mut old, &mut new);
        largest = largest.max(old.state().encode().len());
        total += from_old + from_new;
    }
    let whole = new.state().encode().len();
    assert!(
        largest < 3 * whole,
        "the older version holds {largest} bytes of {whole}"
    );
    assert!(
        total < 300 * whole / 4,
        "{total} bytes for 300 exchanges of a value of {whole}"
    );
    let (from_old, from_new) = exchange(&mut old, &mut new);
    assert!(
        from_old < 40 && from_new < 80,
        "nothing has changed, and {from_old} and {from_new} bytes are sent"
    );
    let back: Causal<SecondState> = Causal::decode(&old.state().encode()).unwrap();
    assert!(back == *new.state());
}

/// Case 15: setting a title sent the places of the whole text again.
#[test]
fn a_change_beside_a_text_does_not_send_the_text_again() {
    #[derive(Crdt)]
    struct Page {
        #[crdt(lww)]
        title: u8,
        text: Text,
    }
    let (mut here, mut there) = (at::<Page>(0), at::<Page>(1));
    here.update(|page, tx| {
        for n in 0..2_000 {
            page.text.insert(tx, n / 2, "x").unwrap();
        }
    });
    there.merge(here.state()).unwrap();
    here.update(|page, tx| page.title.set(tx, 1));
    let delta = here.delta_since(&there.summary());
    assert!(
        delta.encode().len() < 60,
        "{} bytes for a title",
        delta.encode().len()
    );
    there.merge(&delta).unwrap();
    assert!(here == there);
}

/// Case 11: a replica has seen a removal that another removal ended, but not what the first one had
/// ended.
#[test]
fn forgetting_waits_for_what_the_removals_had_ended() {
    let (mut a, mut b, mut c) = (at::<RwSet<u8>>(0), at::<RwSet<u8>>(1), at::<RwSet<u8>>(2));
    let addition = a.update(|set, tx| set.add(tx, 1));
    b.merge(&addition).unwrap();
    c.merge(&addition).unwrap();
    let first = a.update(|set, tx| {
        set.remove(tx, &1);
    });
    b.merge(&first).unwrap();
    let second = b.update(|set, tx| {
        set.remove(tx, &1);
    });
    a.merge(&second).unwrap();
    c.merge(&second).unwrap();
    assert!(
        c.state().context() == a.state().context(),
        "all have seen the same"
    );
    let stable = a.stable(&[b.summary(), c.summary()]);
    let forgotten =
        a.update(|set, tx| assert_eq!(set.forget(tx, &stable), 0, "c still holds the addition"));
    c.merge(&forgotten).unwrap();
    c.merge(&first).unwrap();
    let stable = a.stable(&[b.summary(), c.summary()]);
    let forgotten = a.update(|set, tx| assert_eq!(set.forget(tx, &stable), 1));
    assert!(
        c.merge(&forgotten).unwrap().added.is_empty() && !c.contains(&1) && c.removed_len() == 0
    );
}

/// Case 12: between question and answer, the asker hears of an addition that the other one has, and
/// of its removal.
#[test]
fn an_answer_to_a_summary_does_not_go_stale() {
    let (mut a, mut b, mut third) = (at::<OrSet<u8>>(0), at::<OrSet<u8>>(1), at::<OrSet<u8>>(2));
    let common = third.update(|set, tx| set.add(tx, 1));
    a.merge(&common).unwrap();
    b.merge(&common).unwrap();
    let addition = third.update(|set, tx| set.add(tx, 2));
    b.merge(&addition).unwrap();
    let first = a.summary();
    let answer = b.summary_against(&first);
    third.update(|set, tx| {
        set.remove(tx, &2);
    });
    a.merge(third.state()).unwrap();
    assert_eq!(b.merge(&a.delta_since(&answer)).unwrap().removed, [2]);
    assert_eq!(a, b);
}
