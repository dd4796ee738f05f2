//! The context against the plain set of dots it stands for.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::NodeId;

type Model = BTreeSet<Dot>;

fn replica(n: u64) -> ReplicaId {
    ReplicaId::new(NodeId(n / 2), (n % 2) as u32)
}

fn dots(at_most: usize) -> impl Strategy<Value = Model> {
    let run = (0..6_u64, 1..40_u64, 0..6_u64);
    prop::collection::vec(run, 0..at_most).prop_map(|runs| {
        runs.into_iter()
            .flat_map(|(r, first, more)| {
                (first..=first + more).map(move |c| Dot::new(replica(r), c))
            })
            .collect()
    })
}

/// Two sets. Unrelated ones almost never include each other, so some are parts of one dense set:
/// each lacks at most one replica, the second also some early counters.
fn related() -> impl Strategy<Value = (Model, Model)> {
    let dense = prop::collection::vec((0..6_u64, 1..4_u64, 0..9_u64), 1..12);
    let parts = (dense, 0..8_u64, 1..3_u64, 0..3_u64).prop_map(|(runs, lacks, further, from)| {
        let all: Model = runs
            .into_iter()
            .flat_map(|(r, first, more)| {
                (first..=first + more).map(move |c| Dot::new(replica(r), c))
            })
            .collect();
        let first = all
            .iter()
            .copied()
            .filter(|dot| dot.replica != replica(lacks))
            .collect();
        let second = all
            .into_iter()
            .filter(|dot| dot.counter > from && dot.replica != replica(lacks + further))
            .collect();
        (first, second)
    });
    prop_oneof![parts, (dots(3), dots(3)), (dots(40), dots(40))]
}

fn context(model: &Model) -> CausalContext {
    model.iter().copied().collect()
}

fn missing(a: &CausalContext, b: &CausalContext) -> Vec<Dot> {
    a.missing(b).collect()
}

proptest! {
    #[test]
    fn is_the_set_of_its_dots(
        model in dots(30),
        order in any::<prop::sample::Index>(),
        probe in (0..6_u64, 0..50_u64),
    ) {
        let mut shuffled: Vec<Dot> = model.iter().copied().collect();
        let by = order.index(shuffled.len().max(1)).min(shuffled.len());
        shuffled.rotate_left(by);
        let mut context = CausalContext::new();
        for dot in &shuffled {
            prop_assert!(context.insert(*dot));
            prop_assert!(!context.insert(*dot));
        }
        prop_assert_eq!(&context, &self::context(&model), "the order of insertion has an effect");
        let sorted: Vec<Dot> = model.iter().copied().collect();
        prop_assert_eq!(missing(&context, &CausalContext::new()), sorted);
        let probe = Dot::new(replica(probe.0), probe.1);
        prop_assert_eq!(context.contains(probe), model.contains(&probe));
        prop_assert_eq!(context.event_count(), model.len() as u64);
        for r in (0..6).map(replica) {
            let of_replica = model.iter().filter(|d| d.replica == r);
            let counters: BTreeSet<u64> = of_replica.map(|d| d.counter).collect();
            prop_assert_eq!(context.max(r), counters.last().copied().unwrap_or(0));
            let prefix = (1..100).take_while(|c| counters.contains(c)).last();
            prop_assert_eq!(context.prefix(r), prefix.unwrap_or(0));
        }
        let has_gaps = context.replicas().any(|r| context.prefix(r) != context.max(r));
        prop_assert_eq!(context.has_gaps(), has_gaps);
    }

    #[test]
    fn union_difference_and_inclusion_are_those_of_sets((a, b) in related()) {
        let (ca, cb) = (context(&a), context(&b));
        let mut both = ca.clone();
        prop_assert_eq!(both.union(&cb), !b.is_subset(&a));
        prop_assert_eq!(&both, &context(&a.union(&b).copied().collect()));
        prop_assert_eq!(ca.covers(&cb), b.is_subset(&a));
        prop_assert!(both.covers(&ca) && both.covers(&cb));
        prop_assert_eq!(missing(&ca, &cb), a.difference(&b).copied().collect::<Vec<_>>());
        for (r, run) in ca.missing_runs(&cb) {
            let before = Dot::new(r, run.start() - 1);
            prop_assert!(!a.contains(&before) || b.contains(&before), "run is not maximal");
        }
        for dot in a.iter().chain(&b) {
            prop_assert_eq!((&ca, &cb).has_seen(*dot), true);
            prop_assert_eq!((CausalContext::new(), &cb).has_seen(*dot), b.contains(dot));
        }
    }

    #[test]
    fn runs_insert_like_their_dots(
        model in dots(10),
        r in 0..6_u64,
        first in 0..50_u64,
        last in 0..50_u64,
    ) {
        let mut by_run = context(&model);
        let mut by_dot = by_run.clone();
        let new = by_run.insert_run(replica(r), first, last);
        let mut any = false;
        for counter in first..=last {
            any |= by_dot.insert(Dot::new(replica(r), counter));
        }
        prop_assert_eq!(new, any);
        prop_assert_eq!(by_run, by_dot);
    }

    #[test]
    fn survives_its_bytes(model in dots(30)) {
        let context = context(&model);
        let bytes = postcard::to_stdvec(&context).unwrap();
        prop_assert_eq!(&postcard::from_bytes::<CausalContext>(&bytes).unwrap(), &context);
    }

    #[test]
    fn any_bytes_decode_to_a_valid_context_or_fail(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        if let Ok(context) = postcard::from_bytes::<CausalContext>(&bytes) {
            let mut rebuilt = CausalContext::new();
            for (replica, run) in context.missing_runs(&CausalContext::new()) {
                rebuilt.insert_run(replica, *run.start(), *run.end());
            }
            prop_assert_eq!(rebuilt, context);
        }
    }
}

#[test]
fn no_event_is_numbered_zero() {
    let mut context = CausalContext::new();
    assert!(!context.insert(Dot::new(replica(1), 0)));
    assert!(context.is_empty() && !context.contains(Dot::new(replica(1), 0)));
}

#[test]
fn the_last_counter_of_all_is_a_counter_like_any_other() {
    let mut context = CausalContext::new();
    assert!(context.insert_run(replica(1), u64::MAX, u64::MAX));
    assert!(context.insert_run(replica(1), u64::MAX - 5, u64::MAX));
    assert!(context.insert_run(replica(2), 1, u64::MAX));
    assert!(!context.insert_run(replica(2), 7, u64::MAX));
    assert_eq!(context.event_count(), u64::MAX, "saturates");
    let runs: Vec<_> = context.missing_runs(&CausalContext::new()).collect();
    assert_eq!(
        runs,
        [
            (replica(1), u64::MAX - 5..=u64::MAX),
            (replica(2), 1..=u64::MAX)
        ]
    );
}

#[test]
fn three_replicas_without_gaps_take_few_bytes() {
    let context: CausalContext = (1..=3)
        .flat_map(|n| (1..=100).map(move |c| Dot::new(ReplicaId::new(NodeId(n), 0), c)))
        .collect();
    assert_eq!(postcard::to_stdvec(&context).unwrap().len(), 1 + 3 * 4);
}

#[test]
fn another_replica_does_not_cover_an_unknown_one() {
    let run = |r, last| {
        (1..=last)
            .map(|c| Dot::new(replica(r), c))
            .collect::<CausalContext>()
    };
    assert!(!run(2, 5).covers(&run(1, 3)));
    assert!(!run(1, 5).covers(&run(2, 3)));
}

#[test]
fn a_forgotten_replica_leaves_nothing() {
    let mut context: CausalContext = [Dot::new(replica(1), 1), Dot::new(replica(2), 4)]
        .into_iter()
        .collect();
    assert!(context.remove_replica(replica(1)));
    assert!(!context.remove_replica(replica(1)));
    assert_eq!(context, [Dot::new(replica(2), 4)].into_iter().collect());
}

#[test]
fn bytes_that_claim_too_much_are_refused() {
    let refused = |value: &[wire::Entry]| {
        postcard::from_bytes::<CausalContext>(&postcard::to_stdvec(value).unwrap()).is_err()
    };
    assert!(refused(&[(1, 0, 0, vec![])]), "a replica without events");
    assert!(
        refused(&[(1, 0, u64::MAX, vec![(0, 0)])]),
        "a run above the last counter"
    );
    let highest = u64::MAX >> 1;
    assert!(!refused(&[(1, 0, highest, vec![])]), "the highest counter");
    assert!(
        refused(&[(1, 0, highest + 1, vec![])]),
        "a counter that leaves the replica too few"
    );
    assert!(
        refused(&[(1, 0, 5, vec![(highest - 7, 1)])]),
        "the same at the end of a run"
    );
    assert!(
        refused(&[(1, 0, 5, vec![(0, u64::MAX)])]),
        "a run that ends above the last counter"
    );
    assert!(
        refused(&[(u64::MAX, 0, 5, vec![]), (1, 0, 5, vec![])]),
        "a node above the last node"
    );
    assert!(
        refused(&[(1, u32::MAX, 5, vec![]), (0, 0, 5, vec![])]),
        "an incarnation above the last"
    );
    assert!(
        postcard::from_bytes::<CausalContext>(&[0xff, 0xff, 0xff, 0xff, 0x7f, 1]).is_err(),
        "a length without elements"
    );
}
