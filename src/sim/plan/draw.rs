//! Draws a plan from a seed. Every seed takes a random part of all kinds of faults, keys and levels: what is left out lets the rest go further
//! (swarm testing: Groce, Zhang, Eide, Chen, Regehr, "Swarm testing", ISSTA 2012).

use quorate_dynamo::Consistency;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::{Action, Ask, Deed, Key, Kind, Knobs, Plan, Shape, Step};

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
        let mut draw = Draw { rng: StdRng::seed_from_u64(seed ^ 0x5157_4152_4d21), steps: Vec::new(), asked: 0 };
        let shape = draw.shape();
        let knobs = draw.knobs();
        let until = draw.rng.random_range(8_000..25_000);
        draw.faults(&shape, until, focus);
        draw.work(&shape, until, focus);
        let mut steps = draw.steps;
        steps.sort_by_key(|step| step.at);
        Self { seed, shape, knobs, steps, until }
    }
}

struct Draw {
    rng: StdRng,
    steps: Vec<Step>,
    asked: u32,
}

impl Draw {
    fn shape(&mut self) -> Shape {
        let rng = &mut self.rng;
        let nodes = *[1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 6, 7].choose(rng).unwrap_or(&3);
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
        let mut some = |small: &[usize], usual: usize| *small.choose(rng).filter(|_| rng.random_bool(0.4)).unwrap_or(&usual);
        let recent_max = some(&[1, 4, 30], usual.recent_max);
        let chunk_bytes = some(&[1, 200, 2_000], usual.chunk_bytes);
        let hint_bytes_max = some(&[0, 500, 5_000], usual.hint_bytes_max);
        let flights_max = some(&[2, 8, 40], usual.flights_max);
        let anti_entropy_ms = some(&[50, 100, 600], 200) as u64;
        let hedge_ms = some(&[5, 20, 200], 50) as u64;
        let reap_ms = some(&[200, 500], 1000) as u64;
        Knobs { anti_entropy_ms, hedge_ms, reap_ms, recent_max, chunk_bytes, hint_bytes_max, flights_max, drift_ms: usual.drift_ms }
    }

    /// All requests: a few clients on a few keys, at the levels of this seed.
    fn work(&mut self, shape: &Shape, until: u64, focus: Focus) {
        let nodes: u64 = shape.datacenters.iter().map(|&nodes| u64::from(nodes)).sum();
        let kinds = self.kinds(focus);
        let levels = self.levels();
        let clients = self.rng.random_range(2..=6_u8);
        let homes: Vec<u64> = (0..clients).map(|_| self.rng.random_range(1..=nodes)).collect();
        let wander = self.rng.random_bool(0.5);
        let keyspaces: Vec<(u64, u8)> = self.keyspaces_made();
        let count = self.rng.random_range(80..350);
        let timeout = *[300, 1_000, 2_000].choose(&mut self.rng).unwrap_or(&2_000);
        let flushes = self.rng.random_bool(0.08);
        for _ in 0..count {
            let at = self.rng.random_range(0..until);
            let client = self.rng.random_range(0..clients);
            let node = if wander && self.rng.random_bool(0.3) { self.rng.random_range(1..=nodes) } else { homes[usize::from(client)] };
            let there = keyspaces.iter().filter(|(made, _)| *made + 500 < at).map(|(_, number)| *number).collect::<Vec<_>>();
            let other = there.choose(&mut self.rng).copied();
            let keyspace = match self.rng.random_range(0..10) {
                0 => 0,
                1..4 => other.unwrap_or(1),
                _ => 1,
            };
            let kind = *kinds.choose(&mut self.rng).unwrap_or(&Kind::Register);
            let key = Key(kind, self.rng.random_range(0..2));
            let level = *levels.choose(&mut self.rng).unwrap_or(&Consistency::Quorum);
            let flush = flushes && self.rng.random_bool(0.01);
            let deed = if flush { Deed::Flush } else { self.deed(kind) };
            self.asked += 1;
            let ask = Ask { id: self.asked, client, node, level, keyspace, key, deed, timeout };
            self.steps.push(Step { at, action: Action::Ask(ask) });
        }
    }

    fn kinds(&mut self, focus: Focus) -> Vec<Kind> {
        if !focus.kinds.is_empty() {
            return focus.kinds.to_vec();
        }
        let mut kinds =
            vec![Kind::Register, Kind::Cell, Kind::Expiring, Kind::Counter, Kind::Text, Kind::Siblings, Kind::Set, Kind::Hash, Kind::Mixed];
        kinds.shuffle(&mut self.rng);
        kinds.truncate(self.rng.random_range(1..=5));
        kinds
    }

    fn levels(&mut self) -> Vec<Consistency> {
        let numeric = Consistency::Numeric { read: self.rng.random_range(1..=3), write: self.rng.random_range(1..=3) };
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

    fn deed(&mut self, kind: Kind) -> Deed {
        let any = |rng: &mut StdRng| (0..rng.random_range(1..=2)).map(|_| rng.random_range(0..5)).collect::<Vec<u8>>();
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
                40..50 => Deed::Delete,
                50..53 => Deed::GetDelete,
                53..56 => Deed::Exists,
                56..60 => Deed::Length,
                _ => Deed::Get,
            },
            Kind::Expiring => match of_hundred {
                0..15 => Deed::SetFor { ms: *[300, 1_000, 4_000].choose(rng).unwrap_or(&1_000) },
                15..30 => Deed::SetFor { ms: 3_600_000 },
                30..40 => Deed::Set,
                40..45 => Deed::SetKeep,
                45..55 => Deed::ExpireIn { ms: *[500, 3_000, 3_600_000].choose(rng).unwrap_or(&3_000) },
                55..60 => Deed::Persist,
                60..70 => Deed::Ttl,
                _ => Deed::Get,
            },
            Kind::Counter => {
                if of_hundred < 60 {
                    Deed::Count(rng.random_range(1..=3))
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
            Kind::Siblings => {
                if of_hundred < 50 {
                    Deed::SetSeen
                } else {
                    Deed::Siblings
                }
            }
            Kind::Set => match of_hundred {
                0..40 => Deed::Add(any(rng)),
                40..60 => Deed::Remove(any(rng)),
                60..70 => Deed::Contains(any(rng)),
                70..75 => Deed::Cardinality,
                75..78 => Deed::Delete,
                _ => Deed::Members,
            },
            Kind::Hash => match of_hundred {
                0..40 => Deed::SetFields(any(rng)),
                40..55 => Deed::RemoveFields(any(rng)),
                55..70 => Deed::Fields(any(rng)),
                70..73 => Deed::Delete,
                _ => Deed::Entries,
            },
            Kind::Mixed => self.anything(),
        }
    }

    fn anything(&mut self) -> Deed {
        let kinds = [Kind::Register, Kind::Expiring, Kind::Counter, Kind::Text, Kind::Siblings, Kind::Set, Kind::Hash];
        if self.rng.random_bool(0.05) {
            return Deed::CountField(self.rng.random_range(0..5), 1);
        }
        let kind = *kinds.choose(&mut self.rng).unwrap_or(&Kind::Register);
        self.deed(kind)
    }
}
