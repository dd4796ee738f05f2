//! Draws a plan from a seed. Every seed takes a random part of all kinds of faults, keys and
//! levels: what is left out lets the rest go further (swarm testing: Groce, Zhang, Eide, Chen,
//! Regehr, "Swarm testing", ISSTA 2012).

use quorate_dynamo::Consistency;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use crate::sim::ask::NAMES;

use super::{Action, Ask, Deed, Key, Kind, Knobs, Limits, Plan, Queues, Shape, Step};

mod fault;

pub use fault::Incident;

/// What a plan may be about, when not everything is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Focus {
    /// Only these kinds of incidents, if any are named.
    pub incidents: &'static [Incident],
    /// Only these kinds of keys, if any are named.
    pub kinds: &'static [Kind],
}

impl Plan {
    /// The history that belongs to `seed`.
    pub fn from_seed(seed: u64) -> Self {
        Self::drawn(seed, Focus::default())
    }

    /// As [`from_seed`](Self::from_seed), about `focus` only.
    pub fn drawn(seed: u64, focus: Focus) -> Self {
        let mut draw = Draw {
            rng: StdRng::seed_from_u64(seed ^ 0x5157_4152_4d21),
            steps: Vec::new(),
            asked: 0,
            habits: Habits::default(),
        };
        let shape = draw.shape();
        let (mut knobs, limits, mut queues) = (draw.knobs(), draw.limits(), draw.queues());
        let until = draw.rng.random_range(8_000..25_000);
        draw.faults(&shape, until, focus);
        draw.work(&shape, until, focus);
        draw.removals(&mut knobs);
        draw.answers(&mut queues);
        let mut steps = draw.steps;
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

struct Draw {
    rng: StdRng,
    steps: Vec<Step>,
    asked: u32,
    habits: Habits,
}

/// What the clients of one seed do, beside what all do.
#[derive(Clone, Copy, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a seed has any of them, whatever the others are"
)]
struct Habits {
    /// They name their changes, and ask again.
    names: bool,
    /// They use keys and elements with long names.
    long: bool,
    /// They count in steps that are almost as long as the range of a counter.
    far: bool,
    /// They let sets and hashes expire.
    expiries: bool,
    /// They remove everything.
    flushes: bool,
    /// They wait until others have what they wrote.
    waits: bool,
}

impl Draw {
    fn shape(&mut self) -> Shape {
        let rng = &mut self.rng;
        let nodes = *[1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 6, 7]
            .choose(rng)
            .unwrap_or(&3);
        let most = u8::min(nodes, 4);
        let count = u8::min(most, *[1, 1, 1, 2, 3, 3, 4].choose(rng).unwrap_or(&1));
        let mut datacenters = vec![1_u8; usize::from(count)];
        for _ in count..nodes {
            let chosen = rng.random_range(0..datacenters.len());
            datacenters[chosen] += 1;
        }
        Shape {
            datacenters,
            racks: *[0, 0, 1, 2].choose(rng).unwrap_or(&0),
            partitions: *[1, 1, 2, 2, 4, 8, 16].choose(rng).unwrap_or(&1),
            cores: *[1, 1, 1, 2, 3].choose(rng).unwrap_or(&1),
            within_us: rng.random_range(200..2_000),
            between_ms: rng.random_range(2..40),
            loss: *[0.0, 0.001, 0.01, 0.05].choose(rng).unwrap_or(&0.0),
            skew_ms: *[0, 5, 50, 200].choose(rng).unwrap_or(&0),
            heartbeat_ms: *[150, 300].choose(rng).unwrap_or(&300),
        }
    }

    fn knobs(&mut self) -> Knobs {
        let rng = &mut self.rng;
        let usual = Knobs::default();
        let mut some = |small: &[usize], usual: usize| {
            *small
                .choose(rng)
                .filter(|_| rng.random_bool(0.4))
                .unwrap_or(&usual)
        };
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

    fn limits(&mut self) -> Limits {
        let (rng, usual) = (&mut self.rng, Limits::default());
        let mut some = |small: &[usize], usual: usize| {
            *small
                .choose(rng)
                .filter(|_| rng.random_bool(0.4))
                .unwrap_or(&usual)
        };
        Limits {
            value_bytes: some(&[50, 300], usual.value_bytes),
            siblings: some(&[2, 4], usual.siblings),
        }
    }

    /// The longest message stays what it is: with a shorter one, what is accepted could not be told
    /// to others.
    fn queues(&mut self) -> Queues {
        let (rng, usual) = (&mut self.rng, Queues::default());
        let mut some = |small: &[usize], usual: usize| {
            *small
                .choose(rng)
                .filter(|_| rng.random_bool(0.2))
                .unwrap_or(&usual)
        };
        Queues {
            inbox_bytes_max: some(&[300, 3_000], usual.inbox_bytes_max),
            unsynced_bytes_max: some(&[300, 3_000], usual.unsynced_bytes_max),
            ..usual
        }
    }

    /// How many rows are few, and how long the others stay on disk. Drawn last: what comes before
    /// it stays what it was.
    fn removals(&mut self, knobs: &mut Knobs) {
        if self.rng.random_bool(0.4) {
            knobs.rows_at_once = self.rng.random_range(0..3);
            knobs.rows_ms = *[10, 100, 300].choose(&mut self.rng).unwrap_or(&10);
        }
    }

    /// How much is answered at a time. Drawn last, as the above.
    fn answers(&mut self, queues: &mut Queues) {
        let rng = &mut self.rng;
        let mut some = |small: &[usize], usual: usize| {
            *small
                .choose(rng)
                .filter(|_| rng.random_bool(0.2))
                .unwrap_or(&usual)
        };
        queues.turn_bytes_max = some(&[0, 300, 3_000], queues.turn_bytes_max);
        queues.peer_bytes_max = some(&[0, 300], queues.peer_bytes_max);
    }

    /// All requests: a few clients on a few keys, at the levels of this seed.
    fn work(&mut self, shape: &Shape, until: u64, focus: Focus) {
        let nodes: u64 = shape
            .datacenters
            .iter()
            .map(|&nodes| u64::from(nodes))
            .sum();
        let kinds = self.kinds(focus);
        let levels = self.levels();
        let clients = self.rng.random_range(2..=6_u8);
        let homes: Vec<u64> = (0..clients)
            .map(|_| self.rng.random_range(1..=nodes))
            .collect();
        let wander = self.rng.random_bool(0.5);
        let keyspaces: Vec<(u64, u8)> = self.keyspaces_made();
        let count = self.rng.random_range(80..350);
        let timeout = *[300, 1_000, 2_000].choose(&mut self.rng).unwrap_or(&2_000);
        self.habits = self.habits();
        for _ in 0..count {
            let at = self.rng.random_range(0..until);
            let client = self.rng.random_range(0..clients);
            let node = if wander && self.rng.random_bool(0.3) {
                self.rng.random_range(1..=nodes)
            } else {
                homes[usize::from(client)]
            };
            let there = keyspaces
                .iter()
                .filter(|(made, _)| *made + 500 < at)
                .map(|(_, number)| *number)
                .collect::<Vec<_>>();
            let other = there.choose(&mut self.rng).copied();
            let keyspace = match self.rng.random_range(0..10) {
                0 => 0,
                1..4 => other.unwrap_or(1),
                _ => 1,
            };
            let kind = *kinds.choose(&mut self.rng).unwrap_or(&Kind::Register);
            let key = self.key(kind);
            let level = *levels.choose(&mut self.rng).unwrap_or(&Consistency::Quorum);
            let flush = self.habits.flushes && self.rng.random_bool(0.02);
            let deed = if flush { Deed::Flush } else { self.deed(key) };
            let again = self.again(&deed, (node, nodes));
            let wait = if self.habits.waits && self.rng.random_bool(0.3) {
                self.rng.random_range(1..=3)
            } else {
                0
            };
            self.asked += 1;
            let ask = Ask {
                id: self.asked,
                client,
                node,
                level,
                keyspace,
                key,
                deed,
                timeout,
                again,
                wait,
            };
            self.steps.push(Step {
                at,
                action: Action::Ask(ask),
            });
        }
    }

    fn kinds(&mut self, focus: Focus) -> Vec<Kind> {
        if !focus.kinds.is_empty() {
            return focus.kinds.to_vec();
        }
        let mut kinds = Kind::ALL.to_vec();
        kinds.shuffle(&mut self.rng);
        kinds.truncate(self.rng.random_range(1..=5));
        kinds
    }

    fn levels(&mut self) -> Vec<Consistency> {
        let numeric = Consistency::Numeric {
            read: self.rng.random_range(1..=3),
            write: self.rng.random_range(1..=3),
        };
        let mut others = vec![
            Consistency::One,
            Consistency::All,
            Consistency::LocalQuorum,
            Consistency::LocalOne,
            Consistency::EachQuorum,
            Consistency::Two,
            Consistency::Three,
            numeric,
        ];
        others.shuffle(&mut self.rng);
        others.truncate(self.rng.random_range(0..4));
        // Most of what is promised is promised of majorities.
        let majorities = others.len() + 1;
        others.extend(std::iter::repeat_n(Consistency::Quorum, majorities));
        others
    }

    fn keyspaces_made(&self) -> Vec<(u64, u8)> {
        let made = |step: &Step| match step.action {
            Action::MakeKeyspace { number, .. } => Some((step.at, number)),
            _ => None,
        };
        self.steps.iter().filter_map(made).collect()
    }

    fn habits(&mut self) -> Habits {
        let mut some = |share| self.rng.random_bool(share);
        Habits {
            names: some(0.4),
            long: some(0.1),
            far: some(0.3),
            expiries: some(0.4),
            flushes: some(0.1),
            waits: some(0.2),
        }
    }

    fn key(&mut self, kind: Kind) -> Key {
        let long = self.habits.long && self.rng.random_bool(0.3);
        let number = if long {
            Key::LONG + self.rng.random_range(0..3)
        } else {
            self.rng.random_range(0..2)
        };
        Key(kind, number)
    }

    /// Where a change is asked for again that was given a name. What `GETDEL` answers is not kept,
    /// and a flush is no change of one key.
    fn again(&mut self, deed: &Deed, (node, nodes): (u64, u64)) -> Vec<u64> {
        let named = deed.writes() && !matches!(deed, Deed::GetDelete | Deed::Flush);
        if !(named && self.habits.names && self.rng.random_bool(0.6)) {
            return Vec::new();
        }
        let count = self.rng.random_range(1..=2);
        (0..count)
            .map(|_| {
                if self.rng.random_bool(0.3) {
                    node
                } else {
                    self.rng.random_range(1..=nodes)
                }
            })
            .collect()
    }

    /// What a counter is changed by.
    fn step(&mut self, number: u8) -> i64 {
        if !self.habits.far || number == 0 {
            return self.rng.random_range(1..=3);
        }
        *[i64::MAX, i64::MIN, i64::MAX / 2, i64::MIN / 2, 1, -1]
            .choose(&mut self.rng)
            .unwrap_or(&1)
    }

    fn deed(&mut self, Key(kind, number): Key) -> Deed {
        let step = self.step(number);
        let rng = &mut self.rng;
        let of_hundred = rng.random_range(0..100);
        match kind {
            Kind::Cell => {
                if of_hundred < 50 {
                    Deed::Set
                } else {
                    Deed::Get
                }
            }
            Kind::Register => match of_hundred {
                0..40 => Deed::Set,
                40..46 => Deed::Delete,
                46..50 => Deed::DeleteBoth,
                50..53 => Deed::GetDelete,
                53..56 => Deed::Exists,
                56..60 => Deed::Length,
                _ => Deed::Get,
            },
            Kind::Expiring => match of_hundred {
                0..15 => Deed::SetFor {
                    ms: *[300, 1_000, 4_000].choose(rng).unwrap_or(&1_000),
                },
                15..30 => Deed::SetFor { ms: 3_600_000 },
                30..40 => Deed::Set,
                40..45 => Deed::SetKeep,
                45..55 => Deed::ExpireIn {
                    ms: *[500, 3_000, 3_600_000].choose(rng).unwrap_or(&3_000),
                },
                55..60 => Deed::Persist,
                60..70 => Deed::Ttl,
                _ => Deed::Get,
            },
            Kind::Counter => {
                if of_hundred < 60 {
                    Deed::Count(step)
                } else {
                    Deed::Get
                }
            }
            Kind::Text => match of_hundred {
                0..50 => Deed::Append,
                50..55 => Deed::Set,
                55..60 => Deed::Length,
                _ => Deed::Get,
            },
            Kind::Siblings => match of_hundred {
                0..35 => Deed::SetSeen(0),
                35..50 => Deed::SetSeen(rng.random_range(1..=3)),
                50..53 => Deed::Set,
                53..56 => Deed::Delete,
                _ => Deed::Siblings,
            },
            Kind::Set | Kind::Hash | Kind::Tally | Kind::Turning => {
                self.of_collection(kind, of_hundred, step)
            }
            Kind::Mixed => self.anything(),
        }
    }

    fn of_collection(&mut self, kind: Kind, of_hundred: u32, step: i64) -> Deed {
        let names = if self.habits.long { NAMES } else { NAMES - 1 };
        let any = |rng: &mut StdRng| {
            (0..rng.random_range(1..=2))
                .map(|_| rng.random_range(0..names))
                .collect::<Vec<u8>>()
        };
        if self.habits.expiries
            && matches!(kind, Kind::Set | Kind::Hash)
            && self.rng.random_bool(0.12)
        {
            return self.expiry();
        }
        let rng = &mut self.rng;
        match kind {
            Kind::Set => match of_hundred {
                0..40 => Deed::Add(any(rng)),
                40..60 => Deed::Remove(any(rng)),
                60..70 => Deed::Contains(any(rng)),
                70..75 => Deed::Cardinality,
                75..77 => Deed::Delete,
                77..78 => Deed::DeleteBoth,
                _ => Deed::Members,
            },
            Kind::Hash => match of_hundred {
                0..40 => Deed::SetFields(any(rng)),
                40..55 => Deed::RemoveFields(any(rng)),
                55..70 => Deed::Fields(any(rng)),
                70..73 => Deed::Delete,
                _ => Deed::Entries,
            },
            Kind::Tally => match of_hundred {
                0..60 => Deed::CountField(rng.random_range(0..names), step),
                60..75 => Deed::Fields(any(rng)),
                _ => Deed::Entries,
            },
            _ => match of_hundred {
                0..20 => Deed::Set,
                20..45 => Deed::Add(any(rng)),
                45..65 => Deed::Delete,
                65..85 => Deed::Members,
                _ => Deed::Get,
            },
        }
    }

    /// Something about when a set or a hash is gone.
    fn expiry(&mut self) -> Deed {
        match self.rng.random_range(0..10) {
            0..7 => Deed::ExpireIn {
                ms: *[300, 1_000, 3_000, 3_600_000]
                    .choose(&mut self.rng)
                    .unwrap_or(&1_000),
            },
            7 => Deed::Persist,
            _ => Deed::Ttl,
        }
    }

    fn anything(&mut self) -> Deed {
        let kind = *Kind::ALL.choose(&mut self.rng).unwrap_or(&Kind::Register);
        if kind == Kind::Mixed {
            Deed::GetDelete
        } else {
            self.deed(Key(kind, 0))
        }
    }
}
