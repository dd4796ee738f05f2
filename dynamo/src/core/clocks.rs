//! What a core knows of time beyond the instant it is handed.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_crdt::HybridClock;

use super::expire::Asked;
use crate::protocol::FlightId;

/// The clocks of one core.
#[derive(Debug)]
pub(super) struct Clocks {
    /// Stamps what is written here.
    pub(super) hybrid: HybridClock,
    /// Questions whether keys have expired, under way.
    pub(super) lapses: BTreeMap<FlightId, Asked>,
}

impl Clocks {
    pub(super) fn new(drift: Duration) -> Self {
        let hybrid = HybridClock::new(drift.max(Duration::from_millis(1))).expect("invariant: the bound is at least a millisecond");
        Self { hybrid, lapses: BTreeMap::new() }
    }
}
