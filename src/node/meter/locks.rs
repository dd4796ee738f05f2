//! Figures of what clients have asked to hold through this node: locks, permits, leaderships.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::state::raise;

/// What became of requests to hold something, since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::node) struct HoldFigures {
    /// How many were granted.
    pub(in crate::node) granted: u64,
    /// How long these took from the request to the grant, all together.
    pub(in crate::node) waited: Duration,
    /// How many were refused because their wait would have closed a circle.
    pub(in crate::node) deadlocks: u64,
}

#[derive(Default)]
pub(super) struct Locks {
    granted: Counter,
    waited: Counter<f64, AtomicU64>,
    deadlocks: Counter,
}

impl Locks {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let locks = Self::default();
        registry.register(
            "quorate_lock_grants",
            "Locks, permits and leaderships that were granted through this node",
            locks.granted.clone(),
        );
        registry.register(
            "quorate_lock_wait_seconds",
            "Time that these took from the request to the grant",
            locks.waited.clone(),
        );
        registry.register(
            "quorate_deadlocks",
            "Requests that were refused because their wait would have closed a circle",
            locks.deadlocks.clone(),
        );
        locks
    }

    pub(super) fn read(&self, figures: HoldFigures) {
        raise(&self.granted, figures.granted);
        raise(&self.deadlocks, figures.deadlocks);
        let waited = figures.waited.as_secs_f64();
        self.waited.inc_by((waited - self.waited.get()).max(0.0));
    }
}
