//! Faults that this library had, each by the name of its case: ids that are used twice, answers
//! that go stale, versions that part, documents with holes.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of the tests fail like the tests"
)]

use std::time::Duration;

use quorate_crdt::laws::replica;
use quorate_crdt::{
    BoundedCounter, Causal, CausalContext, Crdt, Document, GCounter, Hlc, LwwRegister, NodeId,
    NodeKey, Now, OrSet, PnCounter, Refused, ReplicaId, Replicated, RwSet, Schema, Standing, Text,
    Tree,
};

fn at<T: Schema>(n: usize) -> Replicated<T> {
    Replicated::new(replica(n))
}

/// Case G3-CLONE: two copies with one id write different things; each hears of it when they meet.
fn clone_is_noticed<T: Crdt + std::fmt::Debug>(
    write: impl Fn(&mut T::Edit<'_>, &mut quorate_crdt::Tx<'_>, u8),
) {
    let mut here = at::<T>(0);
    here.update(|edit, tx| write(edit, tx, 1));
    let mut copy = here.clone();
    let (mine, theirs) = (
        here.update(|edit, tx| write(edit, tx, 2)),
        copy.update(|edit, tx| write(edit, tx, 3)),
    );
    let noticed = [here.merge(&theirs).err(), copy.merge(&mine).err()];
    assert!(
        noticed.contains(&Some(Refused::Reused {
            replica: replica(0)
        })),
        "{noticed:?}"
    );
}

#[test]
fn a_clone_that_writes_is_noticed_by_every_type() {
    clone_is_noticed::<OrSet<u8>>(|set, tx, n| {
        set.add(tx, n);
    });
    clone_is_noticed::<Text>(|text, tx, n| text.push(tx, &n.to_string()));
    clone_is_noticed::<PnCounter>(|counter, tx, n| counter.increment(tx, u64::from(n)));
    clone_is_noticed::<BoundedCounter>(|counter, tx, n| counter.increment(tx, u64::from(n)));
    clone_is_noticed::<LwwRegister<u8>>(|register, tx, n| {
        register.set(tx, n);
    });
    clone_is_noticed::<Tree<u8>>(|tree, tx, n| {
        tree.create(tx, NodeKey::ROOT, n);
    });
    clone_is_noticed::<Document>(|document, tx, n| document.put(tx, &["n"], n).unwrap());
}

/// Case G3-CLONE: a third one that has heard of both cannot know who is right, but sees that
/// something is wrong.
#[test]
fn replicas_that_hold_different_values_of_the_same_events_are_told_apart() {
    let mut here = at::<OrSet<u8>>(0);
    let mut copy = here.clone();
    let (milk, eggs) = (
        here.update(|set, tx| set.add(tx, 1)),
        copy.update(|set, tx| set.add(tx, 2)),
    );
    let (mut one, mut other) = (at::<OrSet<u8>>(1), at::<OrSet<u8>>(2));
    one.merge(&milk).unwrap();
    assert_eq!(one.compare(&other.summary()), Standing::Apart);
    other.merge(&eggs).unwrap();
    assert_eq!(one.compare(&other.summary()), Standing::Forked);
    other = at(3);
    other.merge(&milk).unwrap();
    assert_eq!(one.compare(&other.summary()), Standing::Equal);
}

/// Case G3-WIPED: a device that was installed anew hears that it must go on under the next
/// incarnation, and then does.
#[test]
fn a_wiped_replica_is_told_to_go_on_under_the_next_incarnation() {
    fn wiped<T: Crdt + std::fmt::Debug>(
        write: impl Fn(&mut T::Edit<'_>, &mut quorate_crdt::Tx<'_>, u8),
    ) {
        let (mut server, mut phone) = (at::<T>(1), at::<T>(0));
        for n in 0..50 {
            server
                .merge(&phone.update(|edit, tx| write(edit, tx, n)))
                .unwrap();
        }
        for edits in [0, 1] {
            let mut phone = at::<T>(0);
            (0..edits).for_each(|n| {
                phone.update(|edit, tx| write(edit, tx, 60 + n));
            });
            let before = phone.clone();
            let refused = phone.merge(server.state()).unwrap_err();
            assert!(
                matches!(refused, Refused::Unissued { claimed: 50, .. }),
                "{refused:?}"
            );
            assert!(refused.to_string().contains("next incarnation") && phone == before);
        }
        let mut phone = Replicated::<T>::new(ReplicaId::new(replica(0).node, 1));
        phone.merge(server.state()).unwrap();
        server
            .merge(&phone.update(|edit, tx| write(edit, tx, 99)))
            .unwrap();
        assert!(server == phone);
    }
    wiped::<OrSet<u8>>(|set, tx, n| {
        set.add(tx, n);
    });
    wiped::<Document>(|document, tx, n| document.put(tx, &[n.to_string().as_str()], n).unwrap());
    // Case 5: types without dots, whose count stayed where it was.
    wiped::<PnCounter>(|counter, tx, n| counter.increment(tx, u64::from(n) + 1));
    wiped::<LwwRegister<u8>>(|register, tx, n| {
        register.set(tx, n);
    });
}

/// Case 2: whoever resumes under an id whose events somebody has claimed to the last takes another
/// one.
#[test]
fn an_id_whose_events_are_used_up_is_not_resumed() {
    let mut context = CausalContext::new();
    context.insert_run(replica(0), 1, u64::MAX >> 1);
    let empty = Causal::<OrSet<u8>>::new().encode();
    let forged = [&empty[..2], &postcard::to_stdvec(&context).unwrap(), &[1]].concat();
    let forged = Causal::<OrSet<u8>>::decode(&[forged, vec![0]].concat()).unwrap();
    let resumed = Replicated::<OrSet<u8>>::resume(replica(0), forged.clone()).map(drop);
    assert_eq!(
        resumed,
        Err(Refused::Exhausted {
            replica: replica(0)
        })
    );
    let mut other = Replicated::<OrSet<u8>>::resume(replica(1), forged).unwrap();
    other.update(|set, tx| set.add(tx, 1));
    assert_eq!(
        Causal::decode(&other.state().encode()).as_ref(),
        Ok(other.state())
    );
}

/// The first version of a struct, and a second one with a text.
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

/// Two round trips between the versions; how many bytes the deltas of the old and of the new one
/// took.
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

/// Case 15: setting a title sent the places of the whole text.
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

/// Case 11: a replica has seen the removal that another removal ended, and not what that had ended.
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

/// Case 12: between question and answer the asker hears of an addition that the other one has, and
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

/// Case 13: a replica with the first and the third change waited for the second for ever.
#[test]
fn a_hole_in_a_document_is_filled() {
    let mut a = at::<Document>(0);
    let changes: Vec<_> = (1..=3)
        .map(|n| a.update(|document, tx| document.put(tx, &["x"], n).unwrap()))
        .collect();
    let with_hole = || {
        let mut b = at::<Document>(1);
        b.merge(&changes[0]).unwrap();
        b.merge(&changes[2]).unwrap();
        assert_eq!(
            (b.missing().len(), b.complete_heads()),
            (1, changes[0].heads())
        );
        b
    };
    let (mut since, mut by_hash) = (with_hole(), with_hole());
    since
        .merge(&Causal::of(a.changes_since(&since.complete_heads())))
        .unwrap();
    by_hash
        .merge(&Causal::of(a.changes_of(&by_hash.missing())))
        .unwrap();
    for filled in [since, by_hash] {
        assert_eq!(
            (filled.missing(), filled.to_json().unwrap()),
            (Vec::new(), a.to_json().unwrap())
        );
    }
}

/// Case 3: one forged change under a number that was used hid everything that was built on the true
/// one.
#[test]
fn a_reused_change_number_hides_nothing_that_others_have_built_on() {
    for forged in 0..8 {
        let (mut writer, mut forger, mut reader) =
            (at::<Document>(0), at::<Document>(0), at::<Document>(1));
        let lie = forger.update(|document, tx| document.put(tx, &["lie"], forged).unwrap());
        for n in 0..20 {
            writer.update(|document, tx| document.put(tx, &[n.to_string().as_str()], n).unwrap());
        }
        reader.merge(&lie).unwrap();
        reader.to_json().unwrap();
        reader.merge(writer.state()).unwrap();
        assert_eq!(
            reader.to_json().unwrap(),
            writer.to_json().unwrap(),
            "all of twenty keys"
        );
        assert_eq!(reader.quarantined().len(), 1, "the forged change");
    }
}

/// Case 9: a deletion of more than any number counts, and a replica of a struct that can neither be
/// copied nor printed.
#[test]
fn extreme_numbers_and_plain_schemas_are_no_obstacle() {
    let mut document = at::<Document>(0);
    document.update(|document, tx| {
        document.put_text(tx, &["t"], "text").unwrap();
        assert!(document.splice(tx, &["t"], 1, usize::MAX, "x").is_err());
        assert!(
            document
                .splice(tx, &["t"], usize::MAX, usize::MAX, "x")
                .is_err()
        );
    });
    let first = at::<First>(0);
    assert!(first.clone() == first && format!("{first:?}").starts_with("Replicated"));
}

/// Case 14: one clock in the far future, and the last of all stamps.
#[test]
fn a_stamp_from_the_future_is_refused_and_the_last_one_does_no_harm() {
    let now = Now {
        unix_millis: 1_800_000_000_000,
        ..Now::default()
    };
    let late = Now {
        unix_millis: now.unix_millis + 3_600_000,
        ..now
    };
    let (mut here, mut there) = (at::<LwwRegister<u8>>(0), at::<LwwRegister<u8>>(1));
    let delta = there.update_at(late, |register, tx| register.set(tx, 1));
    let refused = here
        .merge_at(now, Duration::from_millis(500), &delta)
        .unwrap_err();
    assert!(
        matches!(refused, Refused::FromTheFuture { ahead, .. } if ahead.as_millis() == 3_600_000),
        "{refused}"
    );
    assert_eq!(here.get(), None);
    here.merge_at(late, Duration::from_millis(500), &delta)
        .unwrap();
    // The last millisecond that has stamps: what stands there shows the same everywhere.
    let end = Now {
        unix_millis: (1 << 42) - 1,
        ..now
    };
    let mut forger = at::<LwwRegister<u8>>(2);
    let mut last = forger.update_at(end, |register, tx| register.set(tx, 5));
    for _ in 0..3 {
        last = forger.update_at(end, |register, tx| register.set(tx, 5));
    }
    assert!(last.stamp().is_some_and(|stamp| stamp.hlc > Hlc::default()));
    here.merge(&last).unwrap();
    there.merge(&last).unwrap();
    there
        .merge(&here.update(|register, tx| register.set(tx, 4)))
        .unwrap();
    assert_eq!(here.get(), there.get());
}

/// Case 15: a chain of nodes was decoded in the square of its length, 16,000 of them in 12 s.
#[test]
fn a_deep_tree_is_decoded_in_proportion_to_its_size() {
    let mut tree = at::<Tree<u8>>(0);
    let mut parent = NodeKey::ROOT;
    tree.update(|tree, tx| (0..50_000).for_each(|_| parent = tree.create(tx, parent, 0)));
    let decoded = Causal::<Tree<u8>>::decode(&tree.state().encode()).unwrap();
    assert!(decoded == *tree.state() && decoded.contains(parent));
}

/// Case 9: what is replicated cannot be written beside a transaction.
#[test]
fn only_what_is_local_can_be_changed_beside_a_transaction() {
    #[derive(Crdt)]
    struct Window {
        tags: OrSet<u8>,
        #[crdt(skip)]
        scroll: u32,
    }
    let mut window = Replicated::<Window>::new(ReplicaId::new(NodeId(1), 0));
    let before = window.state().encode();
    window.local_mut(|window| *window.scroll = 7);
    assert!(*window.scroll == 7 && window.state().encode() == before && window.tags.is_empty());
}

/// Case G3-UTF16: positions of an editor that counts UTF-16 units, or bytes.
#[test]
fn positions_of_editors_are_converted_and_none_lies_within_a_character() {
    let plain = "A📊B👨\u{200d}👩\u{200d}👧Привет e\u{301}";
    let mut text = at::<Text>(0);
    text.update(|text, tx| text.push(tx, plain));
    let (mut units, mut bytes) = (0, 0);
    for (number, character) in plain.chars().enumerate() {
        assert_eq!(
            (text.to_utf16(number), text.from_utf16(units)),
            (Ok(units), Some(number))
        );
        assert_eq!(
            (text.to_bytes(number), text.from_bytes(bytes)),
            (Ok(bytes), Some(number))
        );
        assert!(
            (1..character.len_utf16()).all(|more| text.from_utf16(units + more).is_none()),
            "half of {character}"
        );
        assert!(
            (1..character.len_utf8()).all(|more| text.from_bytes(bytes + more).is_none()),
            "a part of {character}"
        );
        (units, bytes) = (units + character.len_utf16(), bytes + character.len_utf8());
    }
    assert_eq!(
        (text.from_utf16(units), text.from_bytes(bytes)),
        (Some(text.len()), Some(text.len())),
        "the end"
    );
    assert_eq!(
        (text.from_utf16(units + 1), text.from_bytes(bytes + 1)),
        (None, None)
    );
    assert!(text.to_utf16(text.len() + 1).is_err() && text.to_bytes(usize::MAX).is_err());
}
