//! The laws of replicated types, for every type here. See `quorate_crdt::laws` for what is checked.

mod specs;

use quorate_crdt::laws::{Op, REPLICAS, replica};
use quorate_crdt::{
    Causal, CausalContext, Delta, DwFlag, EwFlag, GCounter, LwwRegister, MvRegister, OrMap, OrSet,
    PnCounter, Refused, Replicated, ResetCounter, Summary,
};

quorate_crdt::laws! {
    or_set: OrSet<u8>, |set, tx, op| specs::change_set(set, tx, op), spec: specs::set, view: specs::view_set;
    mv_register: MvRegister<u8>, |register, tx, op| specs::change_register(register, tx, op),
        spec: specs::register, view: specs::view_register;
    ew_flag: EwFlag, |flag, tx, op| specs::change_ew_flag(flag, tx, op), spec: specs::ew_flag, view: specs::view_ew_flag;
    dw_flag: DwFlag, |flag, tx, op| specs::change_dw_flag(flag, tx, op), spec: specs::dw_flag, view: specs::view_dw_flag;
    reset_counter: ResetCounter, |counter, tx, op| specs::change_reset_counter(counter, tx, op),
        spec: specs::reset_counter, view: specs::view_reset_counter;
    pn_counter: PnCounter, |counter, tx, op| specs::change_pn_counter(counter, tx, op),
        spec: specs::pn_counter, view: specs::view_pn_counter;
    g_counter: GCounter, |counter, tx, op| specs::change_g_counter(counter, tx, op),
        spec: specs::g_counter, view: specs::view_g_counter;
    lww_register: LwwRegister<u8>, |register, tx, op| register.set(tx, op.argument);
    map_of_registers: OrMap<u8, MvRegister<u8>>, |map, tx, op| specs::change_map_of_registers(map, tx, op),
        spec: specs::map_of_registers, view: specs::view_map_of_registers;
    map_of_flags: OrMap<u8, EwFlag>, |map, tx, op| specs::change_map_of_flags(map, tx, op),
        spec: specs::map_of_flags, view: specs::view_map_of_flags;
    map_of_counters: OrMap<u8, ResetCounter>, |map, tx, op| specs::change_map_of_counters(map, tx, op),
        spec: specs::map_of_counters, view: specs::view_map_of_counters;
    map_of_maps_of_sets: specs::Nested, |map, tx, op| specs::change_nested(map, tx, op),
        spec: specs::nested, view: specs::view_nested;
    map_of_names: OrMap<(u8, String), OrSet<(String, u8)>>, |map, tx, op| {
        let (key, element) = ((op.argument % 2, "k".repeat(usize::from(op.argument) / 2 % 9)), (op.argument.to_string(), op.action % 2));
        match op.action % 4 {
            0..3 => map.update(tx, key, |set, tx| set.add(tx, element)),
            _ => {
                map.remove(tx, &key);
            }
        }
    };
    // Several changes in one transaction, also of what it has itself issued.
    transactions: specs::Nested, |map, tx, op| {
        specs::change_nested(map, tx, Op { action: op.action / 8, argument: op.argument.rotate_left(1) });
        map.update(tx, op.argument % 2, |inner, tx| {
            inner.update(tx, 0, |set, tx| {
                specs::change_set(set, tx, op);
                set.add(tx, op.action);
                set.remove(tx, &op.argument);
            });
        });
        specs::change_nested(map, tx, op);
    };
}

type Sets = Replicated<OrSet<u8>>;

fn at<T: quorate_crdt::Schema>(n: usize) -> Replicated<T> {
    Replicated::new(replica(n))
}

fn remove(set: &mut Sets, element: u8) -> Delta<OrSet<u8>> {
    set.update(|set, tx| {
        set.remove(tx, &element);
    })
}

/// A counter's value against the plain sum of what was added.
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
        "what one replica takes in total stops at the end of its range"
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
        "only about its own events can a replica tell"
    );
}

/// A replica that has lost its memory issues a dot again, for another element. Where the two meet,
/// one of them ends; the set stays one that encodes and changes.
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

/// Counts the ranges of 1,024 events that a summary hashes one by one.
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
