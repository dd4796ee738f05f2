//! Draws what clients want to hold: a few clients and a few things that all of them want.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::dice::pick;
use crate::sim::plan::Step;
use crate::sim::plan::action::Action;
use crate::sim::plan::bid::{Bid, PERMITS, Stake, Thing, Wish};
use crate::sim::plan::request::{Ask, GRANTED, Kind};
use crate::sim::plan::shape::Shape;

/// The locks of guarded keys. Nobody shares them: who shares a lock has the token of the others.
const GUARDS: [Thing; 2] = [Thing::Lock(0), Thing::Lock(1)];
/// Everything else that clients want.
const OTHERS: [Thing; 5] = [
    Thing::Lock(2),
    Thing::Lock(3),
    Thing::Semaphore(0),
    Thing::Election(0),
    Thing::Metadata(0),
];

/// Adds bids to the steps of a plan that ends at `until`, in half of all seeds. Whoever writes
/// under a lock there does so under the tokens that the coordination group grants. Drawn from
/// numbers of its own, so that everything else is as it is without them.
pub(super) fn add(seed: u64, shape: &Shape, until: u64, steps: &mut Vec<Step>) {
    let rng = &mut StdRng::seed_from_u64(seed ^ 0x6c6f_636b);
    if rng.random_bool(0.5) {
        return;
    }
    let nodes: u64 = shape.datacenters.iter().copied().map(u64::from).sum();
    let mut things = OTHERS.to_vec();
    things.shuffle(rng);
    things.truncate(rng.random_range(0..=2));
    let mut clients = rng.random_range(2..=5_u8);
    for ask in guarded(steps) {
        ask.token = GRANTED;
        ask.again.clear();
        clients = clients.max(ask.client + 1);
        if things.iter().all(|thing| !GUARDS.contains(thing)) {
            things.extend(GUARDS);
        }
    }
    if things.is_empty() {
        things.push(GUARDS[0]);
    }
    let ttls = pick(rng, [[300, 1_000], [1_000, 3_000], [3_000, 10_000]]);
    let count = rng.random_range(20..100);
    for id in 1..=count {
        let thing = *things.choose(rng).expect("invariant: something is wanted");
        let bid = Bid {
            id,
            client: rng.random_range(0..clients),
            node: rng.random_range(1..=nodes),
            thing,
            wish: wish(rng, thing, ttls),
        };
        steps.push(Step {
            at: rng.random_range(0..until),
            action: Action::Bid(bid),
        });
    }
}

/// The requests under a lock.
fn guarded(steps: &mut [Step]) -> impl Iterator<Item = &mut Ask> {
    steps.iter_mut().filter_map(|step| match &mut step.action {
        Action::Ask(ask) if ask.key.0 == Kind::Guarded && ask.token > 0 => Some(ask),
        _ => None,
    })
}

fn wish(rng: &mut StdRng, thing: Thing, ttls: [u64; 2]) -> Wish {
    if matches!(thing, Thing::Metadata(_)) {
        let by_lease = rng.random();
        return pick(
            rng,
            [
                Wish::Write { if_seen: false },
                Wish::Write { if_seen: true },
                Wish::Look { by_lease },
            ],
        );
    }
    let before = pick(rng, [0, 0, 0, 0, 1, 2]);
    match rng.random_range(0..100) {
        0..45 => Wish::Take(Stake {
            ttl: pick(rng, ttls),
            wait: pick(rng, [0, 0, 500, 3_000, 10_000]),
            shared: matches!(thing, Thing::Lock(_)) && !GUARDS.contains(&thing) && rng.random(),
            permits: rng.random_range(1..=PERMITS),
        }),
        45..65 => Wish::Renew(before),
        65..90 => Wish::GiveBack(before),
        _ if matches!(thing, Thing::Semaphore(_)) => Wish::GiveBack(before),
        _ => Wish::Look {
            by_lease: rng.random(),
        },
    }
}
