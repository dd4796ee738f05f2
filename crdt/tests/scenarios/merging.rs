//! Merging and synchronising: the contexts of deltas, forged events, many ranges.

use quorate_crdt::laws::replica;
use quorate_crdt::{Causal, CausalContext, Delta, OrSet, Refused, Replicated, Schema, Summary};

type Sets = Replicated<OrSet<u8>>;

fn at<T: Schema>(n: usize) -> Replicated<T> {
    Replicated::new(replica(n))
}

fn remove(set: &mut Sets, element: u8) -> Delta<OrSet<u8>> {
    set.update(|set, tx| {
        set.remove(tx, &element);
    })
}

#[test]
fn forged_events_are_refused_and_change_nothing() {
    let (mut here, mut liar) = (at::<OrSet<u8>>(0), at::<OrSet<u8>>(0));
    here.update(|set, tx| set.add(tx, 1));
    liar.update(|set, tx| set.add(tx, 8));
    let forged = liar.update(|set, tx| set.add(tx, 9));
    let before = here.clone();
    let refused = here.merge(&forged).unwrap_err();
    assert_eq!(
        refused,
        Refused::Unissued {
            replica: replica(0),
            claimed: 2,
            issued: 1
        }
    );
    assert_eq!(here, before);
    assert_eq!(
        at::<OrSet<u8>>(1).merge(&forged).unwrap().added,
        [9],
        "a replica can only check claims about its own events"
    );
}

/// A replica that has lost its memory issues a dot again, for another element. Where the two meet,
/// one of them ends; the set can still be encoded and changed.
#[test]
fn a_dot_under_two_elements_does_not_break_a_set() {
    let (mut before, mut after, mut other, mut here): (Sets, Sets, Sets, Sets) =
        (at(0), at(0), at(1), at(2));
    before.update(|set, tx| set.add(tx, 1));
    let same = other.update(|set, tx| set.add(tx, 1));
    after.update(|set, tx| set.add(tx, 2));
    after.merge(&same).unwrap();
    remove(&mut after, 1);
    here.merge(before.state()).unwrap();
    here.merge(&same).unwrap();
    assert_eq!(here.merge(after.state()).unwrap().removed, [1]);
    assert_eq!(here.state().live(), CausalContext::new());
    assert_eq!(
        Causal::decode(&here.state().encode()).as_ref(),
        Ok(here.state())
    );
    here.update(|set, tx| set.add(tx, 1));
    assert_eq!(here.sorted(), [&1]);
}

/// A summary may name ranges of events that no counter reaches.
#[test]
fn a_forged_summary_is_answered_like_any() {
    let mut here: Sets = at(0);
    here.update(|set, tx| set.add(tx, 1));
    let hash = (0_u8, [7_u8; 8]);
    let ranges = [((replica(0), u64::MAX), hash), ((replica(1), 0), hash)];
    let (nobody, no_hash) = (None::<CausalContext>, None::<u64>);
    let forged = postcard::to_stdvec(&(
        CausalContext::new(),
        nobody,
        0_u64,
        ranges.as_slice(),
        no_hash,
        false,
    ))
    .unwrap();
    let forged = Summary::decode(&[&Summary::default().encode()[..2], &forged].concat()).unwrap();
    assert_eq!(&here.delta_since(&forged), here.state());
    let answer = here.summary_against(&forged);
    assert_eq!(Summary::decode(&answer.encode()).as_ref(), Ok(&answer));
}

/// More events than fit into one range of 1,024, which a summary hashes as one.
#[test]
fn many_ranges_of_events_synchronise_exactly() {
    let (mut here, mut there): (Sets, Sets) = (at(0), at(1));
    for n in 0..3_000_u64 {
        here.update(|set, tx| set.add(tx, n as u8));
    }
    there.merge(here.state()).unwrap();
    for n in 0..3_000_u64 {
        there.update(|set, tx| set.add(tx, (n % 200) as u8));
    }
    remove(&mut here, 250);
    let first = here.summary();
    let (answer, for_here) = (there.summary_against(&first), there.delta_since(&first));
    here.merge(&for_here).unwrap();
    there.merge(&here.delta_since(&answer)).unwrap();
    here.merge(&there.delta_since(&here.summary_against(&answer)))
        .unwrap();
    assert_eq!(here, there);
    assert!(!there.contains(&250) && there.len() == 255);
}

#[test]
fn the_context_of_a_delta_covers_what_it_changes_and_nothing_else() {
    let mut set: Sets = at(0);
    let first = set.update(|set, tx| set.add(tx, 1));
    set.update(|set, tx| set.add(tx, 2));
    let removal = remove(&mut set, 1);
    assert_eq!(removal.context(), first.context());
    let nothing = remove(&mut set, 1);
    assert!(
        nothing.is_bottom()
            && nothing == Causal::new()
            && nothing.context() == &CausalContext::new()
    );
}
