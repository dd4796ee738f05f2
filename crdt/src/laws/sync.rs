//! The laws of synchronisation without a log, and of the parts that it sends.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::history::{World, histories, merged};
use super::subject::{Subject, check};
use crate::{Causal, CausalContext, Crdt, Dot, Undotted};

/// Whatever two replicas have missed, two round trips make them equal. The answer to a first
/// summary, which has only hashes, already brings everything that its sender lacks.
pub fn two_round_trips_synchronise<S: Subject>() {
    check((histories(), any::<bool>()), |(history, at_once)| {
        let world = World::after::<S>(&history);
        let (mut a, mut b) = (
            world.replicas[0].state().clone(),
            world.replicas[1].state().clone(),
        );
        let settled = merged(&a, &b);
        let first = a.summary();
        prop_assert_eq!(
            &merged(&a, &b.delta_since(&first)),
            &settled,
            "the delta since a first summary is not enough"
        );
        let (answer, for_a) = (b.summary_against(&first), b.delta_since(&first));
        if at_once {
            a.merge(&for_a);
        }
        let (second, for_b) = (a.summary_against(&answer), a.delta_since(&answer));
        b.merge(&for_b);
        prop_assert_eq!(
            &b,
            &settled,
            "the delta since an exact summary is not enough"
        );
        a.merge(&for_a);
        a.merge(&b.delta_since(&second));
        prop_assert_eq!(&a, &settled, "two round trips do not make replicas equal");
        prop_assert!(
            b.delta_since(&a.summary_against(&b.summary())).is_bottom(),
            "equal replicas have something to send"
        );
        Ok(())
    });
}

/// The part of all dots is the value, the part of no dots is empty, and a part and the rest join to
/// the value.
pub fn is_the_sum_of_its_parts<S: Subject>() {
    check(
        (histories(), any::<u8>(), any::<u64>()),
        |(history, pick, choice)| {
            let world = World::after::<S>(&history);
            let whole = world.pick(pick);
            let (live, nothing) = (whole.live(), CausalContext::new());
            prop_assert_eq!(
                &whole.value.part(&live, Undotted::Kept),
                &whole.value,
                "the part of all dots is not the value"
            );
            prop_assert_eq!(
                &whole.value.part(&whole.context, Undotted::Kept),
                &whole.value,
                "the part of all events is not the value"
            );
            prop_assert!(
                whole.value.part(&nothing, Undotted::Dropped).is_bottom(),
                "the part of no dots is not empty"
            );
            let undotted = |which| Causal {
                value: whole.value.part(&nothing, which),
                context: CausalContext::new(),
            };
            let seen = world.replicas[0].state().context();
            prop_assert_eq!(
                &merged(
                    &undotted(Undotted::Within(seen)),
                    &undotted(Undotted::Beyond(seen))
                ),
                &undotted(Undotted::Kept),
                "what came with some events and what came with the others do not make the value"
            );
            let all: Vec<Dot> = live.missing(&CausalContext::new()).collect();
            let chosen: CausalContext = all
                .into_iter()
                .enumerate()
                .filter(|(at, _)| choice >> (at % 64) & 1 == 1)
                .map(|(_, dot)| dot)
                .collect();
            let some = Causal {
                value: whole.value.part(&chosen, Undotted::Dropped),
                context: chosen.clone(),
            };
            prop_assert_eq!(
                &some.live(),
                &chosen,
                "the part does not have the dots that were asked for"
            );
            let rest = live.without(&chosen);
            let rest = Causal {
                value: whole.value.part(&rest, Undotted::Kept),
                context: whole.context.without(&chosen),
            };
            prop_assert_eq!(
                &merged(&some, &rest),
                whole,
                "a part and the rest do not make the value"
            );
            prop_assert_eq!(
                &merged(&rest, &some),
                whole,
                "the rest and a part do not make the value"
            );
            Ok(())
        },
    );
}
