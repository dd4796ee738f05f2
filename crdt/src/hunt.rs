//! Finds planted bugs: plays random histories of replicas and checks the promises of this library
//! on each.
//!
//! A command plants each bug in turn and calls [`find`]. A run is a function of its seed. If
//! [`find`] reports something without a planted bug, that is a real one.

mod checks;
#[cfg(test)]
mod tests;
mod world;

use alloc::string::String;
use core::ops::Range;

use crate::planted::{self, Bug};

/// A broken promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The check that failed.
    pub check: &'static str,
    /// The seed that makes it fail again.
    pub seed: u64,
    /// What was seen instead of what was promised.
    pub seen: String,
}

/// Plants the bug, or none, and runs every check with each of the seeds until one fails.
pub fn find(bug: Option<&Bug>, seeds: Range<u64>) -> Option<Finding> {
    let before = planted::plant(bug);
    let found = seeds.into_iter().find_map(|seed| {
        checks::ALL
            .iter()
            .find_map(|(check, run)| run(seed).err().map(|seen| Finding { check, seed, seen }))
    });
    let before = crate::bugs::ALL.iter().find(|bug| Some(bug.name) == before);
    planted::plant(before);
    found
}
