//! The laws of [`Lattice`], for every type, on states that random histories of three replicas reach.
//!
//! Deltas are delivered in any order, twice, or never; full states are exchanged in between. One line per type below.

#![expect(clippy::unwrap_used, reason = "the helpers of the tests fail like the tests")]

use std::collections::BTreeSet;
use std::fmt::Debug;

use proptest::prelude::*;
use quorate_crdt::{
    Causal, CausalContext, DotStore, EwFlag, Hlc, Lattice, LwwRegister, MvRegister, NodeId, OrMap, OrSet, PnCounter, ReplicaId,
    ResetCounter, Stamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

const REPLICAS: usize = 3;

/// One mutation: what, on what, in which place of the history.
#[derive(Clone, Copy, Debug)]
struct Op {
    replica: ReplicaId,
    action: u8,
    argument: u8,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Mutate { at: usize, action: u8, argument: u8 },
    Deliver { to: usize, delta: prop::sample::Index },
    Exchange { from: usize, to: usize },
}

/// A replicated type under test: how a random operation changes it.
trait Subject: Lattice + Clone + Default + PartialEq + Debug + Serialize + DeserializeOwned {
    fn mutate(&mut self, op: Op) -> Self;
}

fn replica(at: usize) -> ReplicaId {
    ReplicaId::new(NodeId(at as u64), 1)
}

fn merged<S: Subject>(a: &S, b: &S) -> S {
    let mut all = a.clone();
    all.merge(b);
    all
}

fn histories() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..REPLICAS, 0..8_u8, 0..4_u8).prop_map(|(at, action, argument)| Event::Mutate { at, action, argument }),
        3 => (0..REPLICAS, any::<prop::sample::Index>()).prop_map(|(to, delta)| Event::Deliver { to, delta }),
        1 => (0..REPLICAS, 0..REPLICAS).prop_map(|(from, to)| Event::Exchange { from, to }),
    ];
    prop::collection::vec(event, 1..40)
}

struct World<S> {
    states: Vec<S>,
    deltas: Vec<S>,
}

/// Plays a history, and checks at each mutation that its delta does what it did.
fn play<S: Subject>(history: &[Event]) -> Result<World<S>, TestCaseError> {
    let mut world = World { states: vec![S::default(); REPLICAS], deltas: Vec::new() };
    for event in history {
        match *event {
            Event::Mutate { at, action, argument } => {
                let before = world.states[at].clone();
                let delta = world.states[at].mutate(Op { replica: replica(at), action, argument });
                prop_assert_eq!(&merged(&before, &delta), &world.states[at], "merging the delta is not performing the mutation");
                world.deltas.push(delta);
            }
            Event::Deliver { to, delta } if !world.deltas.is_empty() => {
                let delta = &world.deltas[delta.index(world.deltas.len())];
                merge_checked(&mut world.states[to], delta)?;
            }
            Event::Deliver { .. } => {}
            Event::Exchange { from, to } => {
                let sent = world.states[from].clone();
                merge_checked(&mut world.states[to], &sent)?;
            }
        }
    }
    Ok(world)
}

fn merge_checked<S: Subject>(state: &mut S, other: &S) -> Result<(), TestCaseError> {
    let before = state.clone();
    let changed = state.merge(other);
    prop_assert_eq!(changed, before != *state, "merge reports a change wrongly");
    prop_assert!(!state.clone().merge(other), "merging the other again changes the result: not monotone");
    prop_assert!(!state.clone().merge(&before), "merging what stood before changes the result: not monotone");
    Ok(())
}

fn semilattice<S: Subject>(history: &[Event], picks: [prop::sample::Index; 3]) -> Result<(), TestCaseError> {
    let world = play::<S>(history)?;
    let all: Vec<&S> = world.states.iter().chain(&world.deltas).collect();
    let [a, b, c] = picks.map(|pick| *pick.get(&all));
    prop_assert_eq!(&merged(a, a), a, "not idempotent");
    prop_assert_eq!(merged(a, b), merged(b, a), "not commutative");
    prop_assert_eq!(merged(&merged(a, b), c), merged(a, &merged(b, c)), "not associative");
    prop_assert_eq!(&merged(&S::default(), a), a, "the default is not the bottom");
    Ok(())
}

/// All deltas, shuffled and each twice, make of nothing what merging the full states makes; so does losing some and sending a
/// full state instead.
fn convergence<S: Subject>(history: &[Event], order: &[prop::sample::Index], lost: &[bool]) -> Result<(), TestCaseError> {
    let world = play::<S>(history)?;
    let full = world.states.iter().fold(S::default(), |all, state| merged(&all, state));
    let mut shuffled: Vec<&S> = world.deltas.iter().chain(&world.deltas).collect();
    for (n, index) in order.iter().enumerate().take(shuffled.len()) {
        let other = index.index(shuffled.len());
        shuffled.swap(n, other);
    }
    let by_deltas = shuffled.iter().fold(S::default(), |all, delta| merged(&all, delta));
    prop_assert_eq!(&by_deltas, &full, "deltas in another order, repeated, differ from full states");
    let some =
        shuffled.iter().zip(lost.iter().cycle()).filter(|(_, lost)| !**lost).fold(S::default(), |all, (delta, _)| merged(&all, delta));
    prop_assert_eq!(&merged(&some, &full), &full, "a full state does not make up for lost deltas");
    Ok(())
}

/// Round trip, and equal values have equal bytes however they came about.
fn encoding<S: Subject>(history: &[Event]) -> Result<(), TestCaseError> {
    let world = play::<S>(history)?;
    for value in world.states.iter().chain(&world.deltas) {
        let bytes = postcard::to_stdvec(value).unwrap();
        prop_assert_eq!(&postcard::from_bytes::<S>(&bytes).unwrap(), value);
    }
    let forwards = world.states.iter().fold(S::default(), |all, state| merged(&all, state));
    let backwards = world.states.iter().rev().fold(S::default(), |all, state| merged(&all, state));
    prop_assert_eq!(postcard::to_stdvec(&forwards).unwrap(), postcard::to_stdvec(&backwards).unwrap());
    Ok(())
}

/// Damaged bytes are refused or decode to a value that can be merged, written to and encoded.
fn decoding<S: Subject>(history: &[Event], flips: &[(prop::sample::Index, u8)], noise: &[u8]) -> Result<(), TestCaseError> {
    let world = play::<S>(history)?;
    let mut bytes = postcard::to_stdvec(&world.states[0]).unwrap();
    for (at, bits) in flips {
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
    }
    for bytes in [&bytes[..], noise] {
        if let Ok(mut value) = postcard::from_bytes::<S>(bytes) {
            value.merge(&world.states[1]);
            for action in 0..8 {
                value.mutate(Op { replica: replica(0), action, argument: 1 });
            }
            // What was merged may lie; that it survives its own bytes shows that the invariants of the form hold.
            let again = postcard::from_bytes::<S>(&postcard::to_stdvec(&value).unwrap());
            prop_assert!(again.is_ok_and(|again| again == value) || claims_the_last_counter(&value));
        }
    }
    Ok(())
}

/// A decoded context may end at the last counter that decodes; the event issued after it can then not be sent.
fn claims_the_last_counter<S: Subject>(value: &S) -> bool {
    format!("{value:?}").contains(&(u64::MAX >> 1).to_string())
}

macro_rules! laws {
    ($($name:ident: $type:ty, |$state:ident, $op:ident| $mutate:expr;)+) => {$(
        impl Subject for $type {
            fn mutate(&mut self, $op: Op) -> Self {
                let $state = self;
                $mutate
            }
        }

        mod $name {
            use super::*;

            proptest! {
                #[test]
                fn is_a_semilattice(history in histories(), picks in any::<[prop::sample::Index; 3]>()) {
                    semilattice::<$type>(&history, picks)?;
                }

                #[test]
                fn converges_whatever_the_network_does(
                    history in histories(),
                    order in prop::collection::vec(any::<prop::sample::Index>(), 80),
                    lost in prop::collection::vec(any::<bool>(), 80),
                ) {
                    convergence::<$type>(&history, &order, &lost)?;
                }

                #[test]
                fn has_one_encoding(history in histories()) {
                    encoding::<$type>(&history)?;
                }

                #[test]
                fn decodes_anything_without_panic(
                    history in histories(),
                    flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
                    noise in prop::collection::vec(any::<u8>(), 0..80),
                ) {
                    decoding::<$type>(&history, &flips, &noise)?;
                }
            }
        }
    )+};
}

laws! {
    lww_register: LwwRegister<u8>, |state, op| state.set(stamp(op), op.argument);
    mv_register: Causal<MvRegister<u8>>, |state, op| if op.action < 7 { state.set(op.replica, op.argument) } else { state.clear() };
    pn_counter: PnCounter, |state, op| if op.action < 5 { state.increment(op.replica, op.argument.into()) } else { state.decrement(op.replica, 2) };
    reset_counter: Causal<ResetCounter>, |state, op| if op.action < 6 { state.add(op.replica, i64::from(op.argument) - 1) } else { state.reset() };
    ew_flag: Causal<EwFlag>, |state, op| if op.action < 4 { state.enable(op.replica) } else { state.disable() };
    or_set: Causal<OrSet<u8>>, |state, op| change_set(state, op);
    map_of_registers: Causal<OrMap<u8, MvRegister<u8>>>, |state, op| match op.action {
        0..5 => state.update(op.argument, |value| value.set(op.replica, op.action)),
        5 => state.update(op.argument, Causal::<MvRegister<u8>>::clear),
        6 => state.remove(&op.argument),
        _ => state.clear(),
    };
    map_of_counters: Causal<OrMap<u8, ResetCounter>>, |state, op| match op.action {
        0..5 => state.update(op.argument, |value| value.add(op.replica, op.action.into())),
        5 => state.update(op.argument, Causal::<ResetCounter>::reset),
        6 => state.remove(&op.argument),
        _ => state.clear(),
    };
    map_of_maps_of_sets: Causal<OrMap<u8, OrMap<u8, OrSet<u8>>>>, |state, op| match op.action {
        0..6 => state.update(op.argument % 2, |inner| inner.update(op.argument / 2, |set| {
            let mut delta = change_set(set, op);
            delta.merge(&set.add(op.replica, op.action));
            delta
        })),
        6 => state.update(op.argument % 2, |inner| inner.remove(&(op.argument / 2))),
        _ => state.remove(&(op.argument % 2)),
    };
}

/// Few different stamps, so that ties between replicas and within one (as after a loss of memory) are common.
fn stamp(op: Op) -> Stamp {
    Stamp { hlc: Hlc::from_parts(1_800_000_000_000 + u64::from(op.action / 2), 0).unwrap(), replica: op.replica }
}

fn change_set(state: &mut Causal<OrSet<u8>>, op: Op) -> Causal<OrSet<u8>> {
    match op.action {
        0..4 => state.add(op.replica, op.argument),
        4..7 => state.remove(&op.argument),
        _ => state.clear(),
    }
}

/// What a set must contain, from the events alone: an element is in iff some known addition of it was not observed by a known
/// removal or a known later addition.
#[derive(Clone, Default)]
struct Specification {
    events: Vec<SetEvent>,
}

#[derive(Clone)]
struct SetEvent {
    adds: Option<u8>,
    observed: BTreeSet<usize>,
}

impl Specification {
    fn live(&self, known: &BTreeSet<usize>) -> BTreeSet<(usize, u8)> {
        let observed: BTreeSet<usize> = known.iter().flat_map(|&event| self.events[event].observed.iter().copied()).collect();
        known.iter().filter(|event| !observed.contains(event)).filter_map(|&event| Some((event, self.events[event].adds?))).collect()
    }

    fn elements(&self, known: &BTreeSet<usize>) -> BTreeSet<u8> {
        self.live(known).into_iter().map(|(_, element)| element).collect()
    }

    fn perform(&mut self, op: Op, known: &mut BTreeSet<usize>) {
        let touched = |element: u8| op.action == 7 || element == op.argument;
        let observed = self.live(known).into_iter().filter(|&(_, element)| touched(element)).map(|(event, _)| event).collect();
        known.insert(self.events.len());
        self.events.push(SetEvent { adds: (op.action < 4).then_some(op.argument), observed });
    }
}

proptest! {
    #[test]
    fn an_or_set_is_what_its_events_say(history in histories()) {
        let mut specification = Specification::default();
        let mut known = vec![BTreeSet::new(); REPLICAS];
        let mut states = vec![Causal::<OrSet<u8>>::new(); REPLICAS];
        let mut deltas = Vec::new();
        for event in history {
            match event {
                Event::Mutate { at, action, argument } => {
                    let op = Op { replica: replica(at), action, argument };
                    specification.perform(op, &mut known[at]);
                    deltas.push(change_set(&mut states[at], op));
                }
                Event::Deliver { to, delta } if !deltas.is_empty() => {
                    let event = delta.index(deltas.len());
                    states[to].merge(&deltas[event]);
                    known[to].insert(event);
                }
                Event::Deliver { .. } => {}
                Event::Exchange { from, to } => {
                    let (sent, told) = (states[from].clone(), known[from].clone());
                    states[to].merge(&sent);
                    known[to].extend(told);
                }
            }
            for (state, known) in states.iter().zip(&known) {
                prop_assert_eq!(state.iter().copied().collect::<BTreeSet<u8>>(), specification.elements(known));
            }
        }
    }
}

/// A counter's value against the plain sum of what was added.
#[test]
fn counters_sum_what_was_counted() {
    let mut counter = PnCounter::new();
    let mut elsewhere = PnCounter::new();
    for at in 0..REPLICAS {
        elsewhere.merge(&counter.increment(replica(at), 10));
        elsewhere.merge(&counter.decrement(replica(at), 3));
    }
    assert_eq!((counter.value(), elsewhere.value()), (21, 21));
    counter.decrement(replica(0), u64::MAX);
    assert_eq!(counter.value(), 21 - i128::from(u64::MAX));
}

#[test]
fn a_reset_ends_what_it_has_seen_and_nothing_else() {
    let (mut here, mut there) = (Causal::<ResetCounter>::new(), Causal::<ResetCounter>::new());
    there.merge(&here.add(replica(0), 5));
    let late = here.add(replica(1), 7);
    here.merge(&there.reset());
    assert_eq!(here.value(), 7);
    there.merge(&late);
    assert_eq!(there, here);
}

#[test]
fn removing_a_key_resets_its_value_and_spares_concurrent_updates() {
    type Carts = Causal<OrMap<&'static str, OrSet<&'static str>>>;
    let (mut here, mut there) = (Carts::new(), Carts::new());
    there.merge(&here.update("amy", |cart| cart.add(replica(0), "bread")));
    let removal = there.remove(&"amy");
    there.merge(&here.update("amy", |cart| cart.add(replica(0), "milk")));
    here.merge(&removal);
    assert_eq!(here, there);
    let left: Vec<&str> = here.get(&"amy").unwrap().iter().copied().collect();
    assert_eq!(left, ["milk"], "what the removal had seen does not come back with the key");
}

/// The defect of sets that keep a version vector: the second add overtakes the first, which is then taken for seen.
#[test]
fn an_add_that_is_overtaken_is_not_lost() {
    let (mut origin, mut other) = (Causal::<OrSet<u8>>::new(), Causal::<OrSet<u8>>::new());
    let first = origin.add(replica(0), 1);
    let second = origin.add(replica(0), 2);
    other.merge(&second);
    assert!(other.context().has_gaps());
    let by_state = merged(&other, &origin);
    other.merge(&first);
    assert_eq!(other, origin);
    assert_eq!(by_state, origin);
    assert!(!other.context().has_gaps());
}

/// The defect of registers that compare stamps alone: two values under one stamp stay apart for ever.
#[test]
fn equal_stamps_with_different_values_converge() {
    let same = stamp(Op { replica: replica(0), action: 0, argument: 0 });
    let (mut here, mut there) = (LwwRegister::new(), LwwRegister::new());
    let (a, b) = (here.set(same, "a"), there.set(same, "b"));
    assert!(here.merge(&b));
    assert!(!there.merge(&a));
    assert_eq!(here, there);
}

/// The defect of sets that collect their tombstones: a stale peer brings the element back.
#[test]
fn a_stale_peer_does_not_bring_a_removed_element_back() {
    let mut here = Causal::<OrSet<u8>>::new();
    here.add(replica(0), 1);
    let stale = here.clone();
    here.remove(&1);
    assert!(!here.merge(&stale));
    assert!(here.is_empty());
}

#[test]
fn forged_events_are_refused_and_change_nothing() {
    let (mut here, mut liar) = (Causal::<OrSet<u8>>::new(), Causal::<OrSet<u8>>::new());
    here.add(replica(0), 1);
    liar.add(replica(0), 8);
    let forged = liar.add(replica(0), 9);
    let before = here.clone();
    let refused = here.merge_checked(replica(0), &forged).unwrap_err();
    assert_eq!((refused.replica, refused.claimed, refused.issued), (replica(0), 2, 1));
    assert_eq!(here, before);
    assert_eq!(here.merge_checked(replica(1), &forged), Ok(true));
}

#[test]
fn a_live_dot_that_was_not_seen_does_not_decode() {
    let mut set = Causal::<OrSet<u8>>::new();
    set.add(replica(0), 1);
    let (store, _) = set.into_parts();
    let unseen = postcard::to_stdvec(&(store, CausalContext::new())).unwrap();
    assert!(postcard::from_bytes::<Causal<OrSet<u8>>>(&unseen).is_err());
}

proptest! {
    /// A context that cannot list what it has seen must lead to the same set as one that can.
    #[test]
    fn a_set_joins_alike_by_runs_and_by_dots(history in histories(), picks in any::<[prop::sample::Index; 2]>()) {
        let world = play::<Causal<OrSet<u8>>>(&history)?;
        let all: Vec<_> = world.states.iter().chain(&world.deltas).collect();
        let [(mine, my_context), (theirs, their_context)] = picks.map(|pick| pick.get(&all).to_owned().clone().into_parts());
        let nothing = CausalContext::new();
        let (mut by_runs, mut by_dots) = (mine.clone(), mine);
        let changed = by_runs.join(&theirs, &my_context, &their_context);
        prop_assert_eq!(by_dots.join(&theirs, &(&my_context, &nothing), &(&their_context, &nothing)), changed);
        prop_assert_eq!(by_runs, by_dots);
    }
}
