//! Draws what clients ask for: a few clients on a few keys, at the levels of the seed.

use quorate_dynamo::Consistency;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::dice::pick;
use crate::sim::plan::Step;
use crate::sim::plan::action::Action;
use crate::sim::plan::request::{Ask, Deed, Key, Kind, NAMES};
use crate::sim::plan::shape::Shape;

/// All requests of a plan that ends at `until`. `kinds` restricts the kinds of keys, if not empty;
/// `incidents` are the faults drawn before.
pub(super) fn steps(
    rng: &mut StdRng,
    shape: &Shape,
    until: u64,
    kinds: &[Kind],
    incidents: &[Step],
) -> Vec<Step> {
    let nodes: u64 = shape
        .datacenters
        .iter()
        .map(|&nodes| u64::from(nodes))
        .sum();
    let kinds = draw_kinds(rng, kinds);
    let levels = levels(rng);
    let clients = rng.random_range(2..=6_u8);
    let homes: Vec<u64> = (0..clients).map(|_| rng.random_range(1..=nodes)).collect();
    let wander = rng.random_bool(0.5);
    let keyspaces = keyspaces_made(incidents);
    let count = rng.random_range(80..350);
    let timeout = pick(rng, [300, 1_000, 2_000]);
    let habits = Habits::draw(rng);
    let grants = grants(rng, clients, until);
    let mut requests = Requests { rng, nodes, habits };
    (1..=count)
        .map(|id| {
            let at = requests.rng.random_range(0..until);
            let client = requests.rng.random_range(0..clients);
            let node = if wander && requests.rng.random_bool(0.3) {
                requests.rng.random_range(1..=nodes)
            } else {
                homes[usize::from(client)]
            };
            let keyspace = requests.keyspace(&keyspaces, at);
            let kind = *kinds.choose(requests.rng).unwrap_or(&Kind::Register);
            let key = requests.key(kind);
            let level = *levels.choose(requests.rng).unwrap_or(&Consistency::Quorum);
            let guarded = matches!(kind, Kind::Guarded | Kind::GuardedHash);
            let (level, token) = if guarded {
                (majority(level), token(&grants, client, at))
            } else {
                (level, 0)
            };
            let flush = habits.flushes && requests.rng.random_bool(0.02) && token == 0;
            let deed = if flush {
                Deed::Flush
            } else {
                requests.deed(key)
            };
            let again = requests.again(&deed, node);
            let wait = if habits.waits && requests.rng.random_bool(0.3) {
                requests.rng.random_range(1..=3)
            } else {
                0
            };
            let ask = Ask {
                client,
                level,
                keyspace,
                timeout,
                again: if token > 0 { Vec::new() } else { again },
                wait,
                token,
                ..Ask::new(id, node, key, deed)
            };
            Step {
                at,
                action: Action::Ask(ask),
            }
        })
        .collect()
}

fn draw_kinds(rng: &mut StdRng, only: &[Kind]) -> Vec<Kind> {
    if !only.is_empty() {
        return only.to_vec();
    }
    let mut kinds = Kind::ALL.to_vec();
    kinds.shuffle(rng);
    kinds.truncate(rng.random_range(1..=5));
    kinds
}

fn levels(rng: &mut StdRng) -> Vec<Consistency> {
    let numeric = Consistency::Numeric {
        read: rng.random_range(1..=3),
        write: rng.random_range(1..=3),
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
    others.shuffle(rng);
    others.truncate(rng.random_range(0..4));
    // Most promises are about majorities.
    let majorities = others.len() + 1;
    others.extend(std::iter::repeat_n(Consistency::Quorum, majorities));
    others
}

/// Who gets the locks and when, earliest first: the scripted lock service. A client that was
/// replaced goes on under its old token. The first gets token 1, the next one token 2.
fn grants(rng: &mut StdRng, clients: u8, until: u64) -> Vec<(u64, u8)> {
    let changes = rng.random_range(0..12);
    let mut grants: Vec<(u64, u8)> = (0..changes)
        .map(|_| (rng.random_range(0..until), rng.random_range(0..clients)))
        .chain((0..clients).map(|client| (0, client)))
        .collect();
    grants.sort_unstable();
    grants
}

/// The token that a client has got last.
fn token(grants: &[(u64, u8)], client: u8, at: u64) -> u64 {
    let own = |(when, to): &(u64, u8)| *to == client && *when <= at;
    grants.iter().rposition(own).map_or(0, |at| at as u64 + 1)
}

/// The level if it can be asked for under a lock, or `QUORUM`.
fn majority(level: Consistency) -> Consistency {
    match level {
        Consistency::All | Consistency::EachQuorum => level,
        _ => Consistency::Quorum,
    }
}

/// When which keyspaces are created besides the first.
fn keyspaces_made(incidents: &[Step]) -> Vec<(u64, u8)> {
    let made = |step: &Step| match step.action {
        Action::MakeKeyspace { number, .. } => Some((step.at, number)),
        _ => None,
    };
    incidents.iter().filter_map(made).collect()
}

/// What the clients of one seed do in addition to plain requests.
#[derive(Clone, Copy)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a seed has any of them, whatever the others are"
)]
struct Habits {
    /// They send request ids and repeat requests with an unknown outcome.
    names: bool,
    /// They use keys and elements with long names.
    long: bool,
    /// They count in steps almost as large as a counter's range.
    far: bool,
    /// They let sets and hashes expire.
    expiries: bool,
    /// They clear whole keyspaces.
    flushes: bool,
    /// They wait until other replicas have what they wrote.
    waits: bool,
}

impl Habits {
    fn draw(rng: &mut StdRng) -> Self {
        let mut some = |share| rng.random_bool(share);
        Self {
            names: some(0.4),
            long: some(0.1),
            far: some(0.3),
            expiries: some(0.4),
            flushes: some(0.1),
            waits: some(0.2),
        }
    }
}

/// What one request is drawn from.
struct Requests<'a> {
    rng: &'a mut StdRng,
    nodes: u64,
    habits: Habits,
}

impl Requests<'_> {
    /// A keyspace that exists at that time, most often the first.
    fn keyspace(&mut self, made: &[(u64, u8)], at: u64) -> u8 {
        let there: Vec<u8> = made
            .iter()
            .filter(|(made, _)| *made + 500 < at)
            .map(|(_, number)| *number)
            .collect();
        let other = there.choose(self.rng).copied();
        match self.rng.random_range(0..10) {
            0 => 0,
            1..4 => other.unwrap_or(1),
            _ => 1,
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

    /// The nodes through which a change with a request id is repeated. The reply of `GETDEL` is not
    /// kept for repetitions, and a flush does not change a single key.
    fn again(&mut self, deed: &Deed, node: u64) -> Vec<u64> {
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
                    self.rng.random_range(1..=self.nodes)
                }
            })
            .collect()
    }

    /// The amount by which a counter changes.
    fn step(&mut self, number: u8) -> i64 {
        if !self.habits.far || number == 0 {
            return self.rng.random_range(1..=3);
        }
        pick(
            self.rng,
            [i64::MAX, i64::MIN, i64::MAX / 2, i64::MIN / 2, 1, -1],
        )
    }

    fn deed(&mut self, key: Key) -> Deed {
        let Key(kind, number) = key;
        let step = self.step(number);
        let rng = &mut *self.rng;
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
                    ms: pick(rng, [300, 1_000, 4_000]),
                },
                15..30 => Deed::SetFor { ms: 3_600_000 },
                30..40 => Deed::Set,
                40..45 => Deed::SetKeep,
                45..55 => Deed::ExpireIn {
                    ms: pick(rng, [500, 3_000, 3_600_000]),
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
            Kind::Guarded => match of_hundred {
                0..35 => Deed::Set,
                35..45 => Deed::Delete,
                _ => Deed::Get,
            },
            Kind::Set | Kind::Hash | Kind::Tally | Kind::Turning | Kind::GuardedHash => {
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
        let rng = &mut *self.rng;
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
            Kind::GuardedHash => match of_hundred {
                0..30 => Deed::SetFields(any(rng)),
                30..40 => Deed::RemoveFields(any(rng)),
                40..55 => Deed::Fields(any(rng)),
                55..60 => Deed::Delete,
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

    /// An operation on the expiry of a set or hash.
    fn expiry(&mut self) -> Deed {
        match self.rng.random_range(0..10) {
            0..7 => Deed::ExpireIn {
                ms: pick(self.rng, [300, 1_000, 3_000, 3_600_000]),
            },
            7 => Deed::Persist,
            _ => Deed::Ttl,
        }
    }

    fn anything(&mut self) -> Deed {
        let kind = pick(self.rng, Kind::ALL);
        if kind == Kind::Mixed {
            Deed::GetDelete
        } else {
            self.deed(Key(kind, 0))
        }
    }
}
