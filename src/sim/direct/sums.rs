//! A machine for drills on groups: numbers that are added up.

use std::cell::Cell;
use std::fmt;

use quorate_control::consensus::Machine;
use quorate_control::state::LogIndex;
use serde::{Deserialize, Serialize};

thread_local! {
    /// Whether the next replica that adds [`WRONG_ONCE`] adds one more.
    pub(super) static ODD: Cell<bool> = const { Cell::new(false) };
}

/// A number that a replica may add wrongly.
pub(super) const WRONG_ONCE: u64 = 4242;

/// The sum of all numbers so far. See [`ODD`].
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sums {
    sum: u64,
}

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
        self.sum += number;
        if number == WRONG_ONCE && ODD.replace(false) {
            self.sum += 1;
        }
        self.sum
    }

    fn answer(&self, _query: &()) -> u64 {
        self.sum
    }

    fn published(&self) {}
}
