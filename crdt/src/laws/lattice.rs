//! The laws of merging.

use alloc::vec::Vec;
use core::fmt::Debug;

use proptest::prelude::*;

use super::history::{Event, World, histories, merged, tells};
use super::subject::{Subject, check};
use crate::{Causal, Crdt, Effects};

/// Merging is idempotent, commutative and associative, and the default value is the bottom.
pub fn is_a_semilattice<S: Subject>() {
    check((histories(), any::<[u8; 3]>()), |(history, picks)| {
        let world = World::after::<S>(&history);
        let [a, b, c] = picks.map(|pick| world.pick(pick));
        prop_assert_eq!(&merged(a, a), a, "not idempotent");
        prop_assert!(!tells(a, a), "a merge with itself reports effects");
        prop_assert_eq!(merged(a, b), merged(b, a), "not commutative");
        prop_assert_eq!(
            merged(&merged(a, b), c),
            merged(a, &merged(b, c)),
            "not associative"
        );
        prop_assert_eq!(
            &merged(&Causal::new(), a),
            a,
            "the default is not the bottom: merging into it"
        );
        prop_assert_eq!(
            &merged(a, &Causal::new()),
            a,
            "the default is not the bottom: merging it"
        );
        Ok(())
    });
}

/// Merging the delta of a mutation is the same as performing it; merging it again adds nothing;
/// effects name only values that changed; and every live dot is in the context, and is visited
/// once.
pub fn deltas_do_what_mutations_did<S: Subject>() {
    check(histories(), |history| watch::<S>(&history));
}

fn watch<S: Subject>(history: &[Event]) -> Result<(), TestCaseError> {
    let mut world = World::<S::State>::new();
    for event in history {
        match *event {
            Event::Mutate { at, op, clock } => {
                let before = world.replicas[at].state().clone();
                world.mutate::<S>(at, op, clock);
                let (after, delta) = (
                    world.replicas[at].state(),
                    world
                        .deltas
                        .last()
                        .expect("invariant: a mutation has a delta"),
                );
                prop_assert_eq!(
                    &merged(&before, delta),
                    after,
                    "merging the delta is not performing the mutation"
                );
                prop_assert_eq!(
                    &merged(delta, &before),
                    after,
                    "merging the former state into the delta is not performing the mutation"
                );
                well_formed(after)?;
                well_formed(delta)?;
            }
            Event::Deliver { to, delta } => {
                if let Some(delta) = world.delta(delta) {
                    let delta = world.deltas[delta].clone();
                    merge_watched(&mut world, to, &delta)?;
                }
            }
            Event::Exchange { from, to } => {
                let sent = world.replicas[from].state().clone();
                merge_watched(&mut world, to, &sent)?;
            }
        }
    }
    Ok(())
}

fn merge_watched<T: Crdt + Debug>(
    world: &mut World<T>,
    to: usize,
    other: &Causal<T>,
) -> Result<(), TestCaseError> {
    let before = world.replicas[to].state().clone();
    let told = !world.merge(to, other).is_empty();
    let after = world.replicas[to].state();
    prop_assert!(
        !told || before.value != after.value,
        "a merge that changed nothing reports effects"
    );
    prop_assert_eq!(
        &merged(after, other),
        after,
        "merging the other again changes the result: not monotone"
    );
    prop_assert_eq!(
        &merged(after, &before),
        after,
        "merging the former state changes the result: not monotone"
    );
    well_formed(after)
}

fn well_formed<T: Crdt + Debug>(state: &Causal<T>) -> Result<(), TestCaseError> {
    let (mut visited, live) = (0, state.live());
    state.value.dots(&mut |_| visited += 1);
    prop_assert_eq!(visited, live.event_count(), "a live dot is visited twice");
    prop_assert!(
        state.context.covers(&live),
        "alive but not seen: {:?} of {:?}",
        live,
        state.context
    );
    prop_assert_eq!(
        state.value.is_bottom(),
        state.value == T::default(),
        "bottom is not the default"
    );
    Ok(())
}

/// All deltas, shuffled and doubled, give what merging the full states gives; and a full state
/// makes up for lost deltas.
pub fn converges<S: Subject>() {
    let order = prop::collection::vec(any::<u8>(), 2 * super::EVENTS);
    check(
        (histories(), order, any::<u64>()),
        |(history, order, lost)| {
            let world = World::after::<S>(&history);
            let settled = world.settled();
            let mut shuffled: Vec<_> = world.deltas.iter().chain(&world.deltas).collect();
            let count = shuffled.len();
            for (at, other) in order.into_iter().enumerate().take(count) {
                shuffled.swap(at, usize::from(other) % count);
            }
            let by_deltas = shuffled
                .iter()
                .fold(Causal::new(), |all, delta| merged(&all, delta));
            prop_assert_eq!(
                &by_deltas,
                &settled,
                "deltas in another order, repeated, differ from full states"
            );
            let arrived = shuffled
                .iter()
                .enumerate()
                .filter(|(at, _)| lost >> at & 1 == 0);
            let some = arrived.fold(Causal::new(), |all, (_, delta)| merged(&all, delta));
            prop_assert_eq!(
                &merged(&some, &settled),
                &settled,
                "a full state does not make up for lost deltas"
            );
            prop_assert_eq!(
                &merged(&settled, &some),
                &settled,
                "late deltas change the value of a full state"
            );
            Ok(())
        },
    );
}
