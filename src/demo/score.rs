//! Which requests were served at which level, where, and how fast.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use quorate_dynamo::Consistency;

use super::ledger::Outcome;

#[cfg(test)]
mod tests;

/// The levels that the demo compares.
pub const LEVELS: [Consistency; 4] = [
    Consistency::One,
    Consistency::LocalQuorum,
    Consistency::Quorum,
    Consistency::EachQuorum,
];
/// The columns of the comparison: from where and when requests were made.
pub const SIDES: [Side; 3] = [Side::Before, Side::Majority, Side::Minority];

/// The longest latency that is measured, in microseconds: longer than any client of the demo waits.
const LATENCY_MAX_US: u64 = 60_000_000;

/// A column of the demo's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// All datacenters, before the cut.
    Before,
    /// The datacenters that can still reach each other.
    Majority,
    /// The datacenter that is cut off.
    Minority,
}

/// The requests at one level on one side.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// Answered at the level.
    pub ok: u64,
    /// Refused, or not answered in time.
    pub failed: u64,
    /// Half of all requests, served or not, were answered within this many milliseconds.
    pub p50_ms: f64,
    /// 99 % of all requests, served or not, were answered within this many milliseconds.
    pub p99_ms: f64,
}

#[derive(Debug)]
struct Count {
    ok: u64,
    failed: u64,
    latency: Histogram<u64>,
}

/// All requests, whether or not they fall into a window that is compared. Unlike the `Totals` of
/// `sim`, they count requests only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests sent.
    pub operations: u64,
    /// Requests answered at their level.
    pub acknowledged: u64,
    /// Requests refused with nothing applied.
    pub refused: u64,
    /// Requests with an unknown outcome.
    pub unknown: u64,
}

#[derive(Debug)]
struct Inner {
    counts: Vec<Vec<Count>>,
    totals: Totals,
    window: Option<Window>,
    /// Increases whenever the window changes.
    age: u64,
}

/// Which requests are being compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    /// Before the cut.
    Whole,
    /// While this datacenter is cut off and both sides have noticed.
    Split(usize),
}

/// The scores, shared by all clients and whoever shows them.
#[derive(Debug)]
pub(super) struct Scores(Mutex<Inner>);

/// A request under way, with the age of the window it began in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    age: u64,
}

impl Scores {
    pub(super) fn new() -> Self {
        let count = || Count {
            ok: 0,
            failed: 0,
            latency: Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)
                .expect("invariant: the bounds of the histogram are valid"),
        };
        let counts = LEVELS.map(|_| SIDES.map(|_| count()).into()).into();
        Self(Mutex::new(Inner {
            counts,
            totals: Totals::default(),
            window: None,
            age: 0,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts comparing in a window, or stops.
    pub(super) fn look_at(&self, window: Option<Window>) {
        let mut inner = self.lock();
        inner.window = window;
        inner.age += 1;
    }

    pub(super) fn begin(&self) -> Begun {
        let mut inner = self.lock();
        inner.totals.operations += 1;
        Begun { age: inner.age }
    }

    /// Records that a request of a client in datacenter `site` has ended. It counts only in the
    /// window in which it began.
    pub(super) fn end(
        &self,
        begun: Begun,
        site: usize,
        level: usize,
        outcome: Outcome,
        took: Duration,
    ) {
        let mut inner = self.lock();
        match outcome {
            Outcome::Acknowledged => inner.totals.acknowledged += 1,
            Outcome::Refused => inner.totals.refused += 1,
            Outcome::Unknown => inner.totals.unknown += 1,
        }
        let column = match inner.window {
            Some(_) if begun.age != inner.age => return,
            None => return,
            Some(Window::Whole) => Side::Before,
            Some(Window::Split(cut)) if cut == site => Side::Minority,
            Some(Window::Split(_)) => Side::Majority,
        };
        let count = &mut inner.counts[level][column as usize];
        match outcome {
            Outcome::Acknowledged => count.ok += 1,
            Outcome::Refused | Outcome::Unknown => count.failed += 1,
        }
        count.latency.saturating_record(took.as_micros() as u64);
    }

    pub(super) fn totals(&self) -> Totals {
        self.lock().totals
    }

    /// One row per level of [`LEVELS`], one cell per side of [`SIDES`].
    pub(super) fn table(&self) -> [[Cell; 3]; 4] {
        let inner = self.lock();
        let millis =
            |count: &Count, quantile| count.latency.value_at_quantile(quantile) as f64 / 1000.0;
        let cell = |count: &Count| Cell {
            ok: count.ok,
            failed: count.failed,
            p50_ms: millis(count, 0.5),
            p99_ms: millis(count, 0.99),
        };
        std::array::from_fn(|level| std::array::from_fn(|side| cell(&inner.counts[level][side])))
    }
}

/// Whether a level can be met on a side, by counting replicas: `each` in every one of `sites`
/// datacenters.
pub(super) fn is_served(level: Consistency, side: Side, sites: usize, each: usize) -> bool {
    let inside = match side {
        Side::Before => sites,
        Side::Majority => sites - 1,
        Side::Minority => 1,
    };
    match level {
        Consistency::Quorum => inside * each > sites * each / 2,
        Consistency::EachQuorum => inside == sites,
        _ => true,
    }
}
