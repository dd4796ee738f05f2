//! Chooses the operations of a recorded client so that a checker sees the most: values that are
//! written once, keys that many clients use for a short time, and now and then a key from long ago.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value as Json;

use super::options::Workload;
use crate::check::{Action, Call};

/// Keys of each kind that are in use at the same time.
const KEYS: u32 = 8;
/// Fields of a hash.
const FIELDS: u32 = 4;
/// Elements of a set that a removal chooses from.
const RECENT: usize = 16;

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Register,
    Counter,
    Set,
    Hash,
}

impl Kind {
    fn of(workload: Workload, rng: &mut StdRng) -> Self {
        match workload {
            Workload::Set | Workload::Get => Self::Register,
            Workload::Incr => Self::Counter,
            Workload::Sadd => Self::Set,
            Workload::Hset => Self::Hash,
            Workload::Mixed => {
                [Self::Register, Self::Counter, Self::Set, Self::Hash][rng.random_range(0..4)]
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Counter => "counter",
            Self::Set => "set",
            Self::Hash => "hash",
        }
    }

    /// The command that reads everything the key holds.
    pub(super) fn read(self) -> &'static str {
        match self {
            Self::Register | Self::Counter => "GET",
            Self::Set => "SMEMBERS",
            Self::Hash => "HGETALL",
        }
    }
}

/// Everything that was requested in a run.
#[derive(Debug)]
pub(super) struct Script {
    workload: Workload,
    levels: Vec<String>,
    /// The prefix of every key, so that no other run has used it.
    run: String,
    rng: StdRng,
    written: u64,
    /// Every key, with some of the elements last added to it.
    keys: BTreeMap<Box<str>, (Kind, Vec<String>)>,
}

impl Script {
    pub(super) fn new(workload: Workload, levels: Vec<String>, run: u64) -> Self {
        Self {
            workload,
            levels,
            run: format!("rec:{run:x}"),
            rng: StdRng::seed_from_u64(run),
            written: 0,
            keys: BTreeMap::new(),
        }
    }

    /// Every key that was used.
    pub(super) fn keys(&self) -> impl Iterator<Item = (Kind, Box<str>)> {
        self.keys
            .iter()
            .map(|(key, (kind, _))| (*kind, key.clone()))
    }

    /// The next operation of `process`, with the words of its command; `generation` rises slowly.
    pub(super) fn next(&mut self, process: u64, generation: u32) -> (Call, Vec<String>) {
        let kind = Kind::of(self.workload, &mut self.rng);
        // Some operations return to keys from long ago.
        let generation = if self.rng.random_ratio(1, 8) {
            self.rng.random_range(0..=generation)
        } else {
            generation
        };
        let key: Box<str> = format!(
            "{}:{}:{generation}:{}",
            self.run,
            kind.name(),
            self.rng.random_range(0..KEYS)
        )
        .into();
        self.written += 1;
        let unique = format!("{process}-{}", self.written);
        let read = self
            .rng
            .random_ratio(if self.workload == Workload::Get { 4 } else { 2 }, 5);
        let (mut call, mut words) = if read {
            self.read(kind, process, &key)
        } else {
            self.update(kind, process, &key, &unique)
        };
        self.keys.entry(key).or_insert((kind, Vec::new()));
        if !self.levels.is_empty() {
            let level = self.levels[self.rng.random_range(0..self.levels.len())].clone();
            call.level = Some(level.as_str().into());
            words.splice(0..0, ["CL".to_owned(), level]);
        }
        (call, words)
    }

    fn read(&mut self, kind: Kind, process: u64, key: &str) -> (Call, Vec<String>) {
        let mut call = Call::new(process, Action::Read, key, Json::Null);
        if kind == Kind::Hash && self.rng.random_ratio(2, 3) {
            let field = self.field();
            call.field = Some(field.as_str().into());
            return (call, words(["HGET", key, &field]));
        }
        (call, words([kind.read(), key]))
    }

    fn update(&mut self, kind: Kind, process: u64, key: &str, unique: &str) -> (Call, Vec<String>) {
        let remove = self.rng.random_ratio(1, 8);
        let call = |f, value: &str| Call::new(process, f, key, value);
        match kind {
            Kind::Register if remove => (
                Call::new(process, Action::Remove, key, Json::Null),
                words(["DEL", key]),
            ),
            Kind::Register => (call(Action::Write, unique), words(["SET", key, unique])),
            Kind::Counter => {
                let by: i64 = self.rng.random_range(1..10);
                (
                    Call::new(process, Action::Increment, key, by),
                    words(["INCRBY", key, &by.to_string()]),
                )
            }
            Kind::Set => {
                let recent = &mut self.keys.entry(key.into()).or_insert((kind, Vec::new())).1;
                if remove && !recent.is_empty() {
                    let element = recent.swap_remove(self.rng.random_range(0..recent.len()));
                    return (
                        call(Action::Remove, &element),
                        words(["SREM", key, &element]),
                    );
                }
                recent.push(unique.to_owned());
                if recent.len() > RECENT {
                    recent.remove(0);
                }
                (call(Action::Add, unique), words(["SADD", key, unique]))
            }
            Kind::Hash => {
                let field = self.field();
                let of_field = |call: Call| Call {
                    field: Some(field.as_str().into()),
                    ..call
                };
                if remove {
                    return (
                        of_field(Call::new(process, Action::Remove, key, Json::Null)),
                        words(["HDEL", key, &field]),
                    );
                }
                (
                    of_field(call(Action::Write, unique)),
                    words(["HSET", key, &field, unique]),
                )
            }
        }
    }

    fn field(&mut self) -> String {
        format!("f{}", self.rng.random_range(0..FIELDS))
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}
