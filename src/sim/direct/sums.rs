//! A machine for drills on groups: numbers that are added up.

use std::fmt;

use quorate_control::consensus::Machine;
use quorate_control::state::LogIndex;
use serde::{Deserialize, Serialize};

/// The sum of all numbers so far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sums(u64);

/// Adds a number.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Add(pub(super) u64);

impl fmt::Display for Add {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "add {}", self.0)
    }
}

impl Machine for Sums {
    type Command = Add;
    type Outcome = u64;
    type Event = ();
    type Query = ();
    type Answer = u64;
    type Published = ();

    fn apply(&mut self, _index: LogIndex, Add(number): Add, _events: &mut Vec<()>) -> u64 {
        self.0 += number;
        self.0
    }

    fn answer(&self, _query: &()) -> u64 {
        self.0
    }

    fn published(&self) {}
}
