//! Count-down latches: a number that only falls, and opens the way for everybody at 0. An open
//! latch is none at all, so it takes no memory.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::session::Name;
use crate::planted::LATCH_SET_AGAIN;

#[cfg(test)]
mod tests;

/// How many latches may be closed. Guess.
pub const LATCHES_MAX: usize = 1 << 18;

/// What may be asked about latches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LatchCommand {
    /// Closes the latch with this number, unless it is closed already. Answer:
    /// [`LatchOutcome::Set`].
    Set {
        /// Which.
        name: Name,
        /// What it counts down from; 0 opens the latch, whatever it counted.
        count: u32,
    },
    /// Counts down. Answer: [`LatchOutcome::Counted`].
    CountDown {
        /// Which.
        name: Name,
        /// By how much.
        by: u32,
    },
    /// Asks whether the way is open. Answer: [`LatchOutcome::Open`] or [`LatchOutcome::Waiting`].
    Await {
        /// Which.
        name: Name,
    },
}

impl fmt::Display for LatchCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { name, count } => write!(f, "set latch {name} to {count}"),
            Self::CountDown { name, by } => write!(f, "count latch {name} down by {by}"),
            Self::Await { name } => write!(f, "look at latch {name}"),
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LatchOutcome {
    /// Whether it was closed with the number. If not, it counts already.
    Set(bool),
    /// What is left to count.
    Counted(u32),
    /// The way is open.
    Open,
    /// The latch is closed.
    Waiting {
        /// Which closing is waited for.
        closing: u64,
        /// What is left to count.
        left: u32,
    },
    /// Nothing has changed: as many latches are closed as may be.
    TooMany,
}

/// The way is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatchEvent {
    /// Of which latch.
    pub name: Name,
}

/// A closed latch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Latch {
    /// The number of the command that closed it.
    pub closing: u64,
    /// What is left to count, at least 1.
    pub left: u32,
}

/// All closed latches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Latches {
    closed: BTreeMap<Name, Latch>,
}

impl Latches {
    /// The latch, if it is closed.
    pub(super) fn get(&self, name: &Name) -> Option<Latch> {
        self.closed.get(name).copied()
    }

    /// Carries out a command with this number.
    pub(super) fn apply(
        &mut self,
        number: u64,
        command: LatchCommand,
    ) -> (LatchOutcome, Option<LatchEvent>) {
        match command {
            LatchCommand::Set { name, count } => self.set(number, name, count),
            LatchCommand::CountDown { name, by } => self.count_down(name, by),
            LatchCommand::Await { name } => {
                let outcome = match self.get(&name) {
                    Some(Latch { closing, left }) => LatchOutcome::Waiting { closing, left },
                    None => LatchOutcome::Open,
                };
                (outcome, None)
            }
        }
    }

    fn set(&mut self, number: u64, name: Name, count: u32) -> (LatchOutcome, Option<LatchEvent>) {
        let is_closed = self.closed.contains_key(&name);
        if count == 0 {
            self.closed.remove(&name);
            let event = is_closed.then_some(LatchEvent { name });
            return (LatchOutcome::Set(true), event);
        }
        if is_closed && !LATCH_SET_AGAIN.is_planted() {
            return (LatchOutcome::Set(false), None);
        }
        if self.closed.len() >= LATCHES_MAX {
            return (LatchOutcome::TooMany, None);
        }
        let latch = Latch {
            closing: number,
            left: count,
        };
        self.closed.insert(name, latch);
        (LatchOutcome::Set(true), None)
    }

    fn count_down(&mut self, name: Name, by: u32) -> (LatchOutcome, Option<LatchEvent>) {
        let Some(latch) = self.closed.get_mut(&name) else {
            return (LatchOutcome::Counted(0), None);
        };
        latch.left = latch.left.saturating_sub(by);
        let left = latch.left;
        let event = (left == 0).then(|| {
            self.closed.remove(&name);
            LatchEvent { name }
        });
        (LatchOutcome::Counted(left), event)
    }

    /// Whether these latches can be, as after reading them.
    pub(super) fn are_right(&self) -> bool {
        self.closed.len() <= LATCHES_MAX && self.closed.values().all(|latch| latch.left > 0)
    }
}
