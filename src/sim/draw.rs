//! Draws a plan from a seed. Every seed uses a random subset of the kinds of faults, keys and
//! levels: leaving some out lets the others go further (swarm testing: Groce, Zhang, Eide, Chen,
//! Regehr, "Swarm testing", ISSTA 2012).

use quorate_dynamo::op::Limits;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::plan::Plan;
use super::plan::request::Kind;
use super::plan::shape::{Knobs, Shape};
use crate::node::Queues;

mod bid;
mod dice;
pub(super) mod incident;
mod request;

use dice::{pick, sometimes};
use incident::Incident;

/// Restricts what a plan is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Focus {
    /// If not empty, only these kinds of incidents.
    pub incidents: &'static [Incident],
    /// If not empty, only these kinds of keys.
    pub kinds: &'static [Kind],
}

impl Plan {
    /// The plan that belongs to `seed`.
    pub fn from_seed(seed: u64) -> Self {
        Self::drawn(seed, Focus::default())
    }

    /// Like [`from_seed`](Self::from_seed), restricted to `focus`.
    pub fn drawn(seed: u64, focus: Focus) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed ^ 0x5157_4152_4d21);
        let shape = shape(rng);
        let (mut knobs, limits, mut queues) = (knobs(rng), limits(rng), queues(rng));
        let until = rng.random_range(8_000..25_000);
        let mut steps = incident::steps(rng, &shape, until, focus.incidents);
        steps.extend(request::steps(rng, &shape, until, focus.kinds, &steps));
        removals(rng, &mut knobs);
        answers(rng, &mut queues);
        if focus.kinds.is_empty() || focus.kinds.contains(&Kind::Guarded) {
            bid::add(seed, &shape, until, &mut steps);
        }
        steps.sort_by_key(|step| step.at);
        Self {
            seed,
            shape,
            knobs,
            limits,
            queues,
            steps,
            until,
        }
    }
}

fn shape(rng: &mut StdRng) -> Shape {
    let nodes = pick(rng, [1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 6, 7]);
    let most = u8::min(nodes, 4);
    let count = u8::min(most, pick(rng, [1, 1, 1, 2, 3, 3, 4]));
    let mut datacenters = vec![1_u8; usize::from(count)];
    for _ in count..nodes {
        let chosen = rng.random_range(0..datacenters.len());
        datacenters[chosen] += 1;
    }
    Shape {
        datacenters,
        racks: pick(rng, [0, 0, 1, 2]),
        partitions: pick(rng, [1, 1, 2, 2, 4, 8, 16]),
        cores: pick(rng, [1, 1, 1, 2, 3]),
        within_us: rng.random_range(200..2_000),
        between_ms: rng.random_range(2..40),
        loss: pick(rng, [0.0, 0.001, 0.01, 0.05]),
        skew_ms: pick(rng, [0, 5, 50, 200]),
        heartbeat_ms: pick(rng, [150, 300]),
    }
}

fn knobs(rng: &mut StdRng) -> Knobs {
    let usual = Knobs::default();
    let mut some = |small: &[usize], usual: usize| sometimes(rng, 0.4, small, usual);
    Knobs {
        recent_max: some(&[1, 4, 30], usual.recent_max),
        recent_bytes_max: some(&[0, 1_000, 10_000], usual.recent_bytes_max),
        chunk_bytes: some(&[1, 200, 2_000], usual.chunk_bytes),
        hint_bytes_max: some(&[0, 500, 5_000], usual.hint_bytes_max),
        flights_max: some(&[2, 8, 40], usual.flights_max),
        flight_bytes_max: some(&[100, 400, 70_000], usual.flight_bytes_max),
        anti_entropy_ms: some(&[50, 100, 600], 200) as u64,
        hedge_ms: some(&[5, 20, 200], 50) as u64,
        reap_ms: some(&[200, 500], 1000) as u64,
        ..usual
    }
}

fn limits(rng: &mut StdRng) -> Limits {
    let usual = Limits::default();
    Limits {
        value_bytes: sometimes(rng, 0.4, &[50, 300], usual.value_bytes),
        siblings: sometimes(rng, 0.4, &[2, 4], usual.siblings),
    }
}

/// The message limit stays at its default: with a lower one, accepted writes could not be passed on
/// to other nodes.
fn queues(rng: &mut StdRng) -> Queues {
    let usual = Queues::default();
    Queues {
        inbox_bytes_max: sometimes(rng, 0.2, &[300, 3_000], usual.inbox_bytes_max),
        unsynced_bytes_max: sometimes(rng, 0.2, &[300, 3_000], usual.unsynced_bytes_max),
        ..usual
    }
}

/// How many rows are removed at once, and how long the others stay on disk. Drawn last, so that
/// everything drawn before is unchanged.
fn removals(rng: &mut StdRng, knobs: &mut Knobs) {
    if rng.random_bool(0.4) {
        knobs.rows_at_once = rng.random_range(0..3);
        knobs.rows_ms = pick(rng, [10, 100, 300]);
    }
}

/// How much is answered at a time. Also drawn last.
fn answers(rng: &mut StdRng, queues: &mut Queues) {
    queues.turn_bytes_max = sometimes(rng, 0.2, &[0, 300, 3_000], queues.turn_bytes_max);
    queues.peer_bytes_max = sometimes(rng, 0.2, &[0, 300], queues.peer_bytes_max);
}
