//! A machine for tests: numbers by name, and a lease that runs out by the group's time.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::Machine;
use crate::state::LogIndex;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counter {
    numbers: BTreeMap<u8, u64>,
    term: u64,
    pub(super) now_ms: u64,
    /// When it runs out, and how long it is.
    lease: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Count {
    Add(u8, u64),
    Lease { ms: u64 },
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Machine for Counter {
    type Command = Count;
    /// The sum, or when the lease began.
    type Outcome = u64;
    /// The lease has run out.
    type Event = u64;
    type Query = u8;
    type Answer = u64;
    type Published = ();

    fn apply(&mut self, _: LogIndex, command: Count, _: &mut Vec<u64>) -> u64 {
        match command {
            Count::Add(name, number) => {
                let sum = self.numbers.entry(name).or_default();
                *sum += number;
                *sum
            }
            Count::Lease { ms } => {
                self.lease = Some((self.now_ms + ms, ms));
                self.now_ms
            }
        }
    }

    fn pass(&mut self, _: LogIndex, term: u64, elapsed_ms: u64, events: &mut Vec<u64>) {
        if term > self.term {
            self.term = term;
            self.lease = self.lease.map(|(_, ms)| (self.now_ms + ms, ms));
            return;
        }
        self.now_ms += elapsed_ms;
        if let Some((end, _)) = self.lease.filter(|&(end, _)| end <= self.now_ms) {
            self.lease = None;
            events.push(end);
        }
    }

    fn awaits_time(&self) -> bool {
        self.lease.is_some()
    }

    fn answer(&self, name: &u8) -> u64 {
        self.numbers.get(name).copied().unwrap_or(0)
    }

    fn published(&self) {}
}
