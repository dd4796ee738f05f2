//! Plays many histories, one per seed, on several threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::oracle::Violation;
use super::panics;
use super::plan::Plan;
use super::play::{Outcome, play};
use super::shrink::shrink;

/// Which histories to play, and when to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// The first seed.
    pub from: u64,
    /// How many seeds. `None` plays as many as time allows.
    pub seeds: Option<u64>,
    /// No history starts after this much real time.
    pub within: Option<Duration>,
    /// Number of threads, at least 1.
    pub threads: usize,
    /// Plays each seed twice and compares the traces.
    pub verify: bool,
    /// How long to spend shrinking one failure.
    pub shrink_for: Duration,
    /// Stop after this many failures.
    pub failures_max: usize,
}

/// The results of a campaign.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Histories played.
    pub histories: u64,
    /// Requests made.
    pub operations: u64,
    /// Requests acknowledged.
    pub acknowledged: u64,
    /// Faults injected, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Histories that broke a promise.
    pub failures: Vec<Failure>,
    /// Virtual time, summed over all histories.
    pub virtual_time: Duration,
    /// Real time.
    pub took: Duration,
    /// A hash of the traces of all seeds, independent of their order.
    pub trace: u64,
}

/// A history that broke a promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// The first violation. The plan was shrunk to reproduce this one.
    pub violation: Violation,
    /// Everything broken in the whole history, one violation per check.
    pub all: Vec<Violation>,
    /// The shortest plan found that still breaks it.
    pub plan: Plan,
    /// The outcome of that plan.
    pub outcome: Outcome,
    /// Number of steps before shrinking.
    pub steps: usize,
}

impl Campaign {
    /// Plays the whole campaign. `progress` is called after each history, from any thread.
    pub fn run(self, progress: impl Fn(&Totals) + Sync) -> Totals {
        let begun = Instant::now();
        let (next, totals) = (AtomicU64::new(0), Mutex::new(Totals::default()));
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| self.work(begun, &next, &totals, &progress));
            }
        });
        let mut totals = totals
            .into_inner()
            .expect("invariant: no code panics while it counts");
        totals.failures.sort_by_key(|failure| failure.seed);
        totals.took = begun.elapsed();
        totals
    }

    fn work(
        &self,
        begun: Instant,
        next: &AtomicU64,
        totals: &Mutex<Totals>,
        progress: &(impl Fn(&Totals) + Sync),
    ) {
        panics::watch();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let enough = locked(totals).failures.len() >= self.failures_max;
            let late = self.within.is_some_and(|within| begun.elapsed() >= within);
            if enough || late || self.seeds.is_some_and(|seeds| number >= seeds) {
                return;
            }
            let plan = Plan::from_seed(self.from + number);
            let outcome = self.once(&plan);
            let failure = fail(&plan, &outcome, self.shrink_for);
            let mut totals = locked(totals);
            totals.add(&plan, &outcome);
            totals.failures.extend(failure);
            totals.took = begun.elapsed();
            progress(&totals);
        }
    }

    fn once(&self, plan: &Plan) -> Outcome {
        let mut outcome = play(plan);
        if self.verify {
            let again = play(plan);
            if again.trace != outcome.trace {
                let what = format!(
                    "two runs differ: trace {:016x} and {:016x}",
                    outcome.trace, again.trace
                );
                outcome.violations.insert(
                    0,
                    Violation {
                        check: "not-deterministic",
                        at: 0,
                        what,
                    },
                );
            }
        }
        outcome
    }
}

/// The failure that a history shows, or `None` if nothing is wrong.
fn fail(plan: &Plan, outcome: &Outcome, within: Duration) -> Option<Failure> {
    let first = outcome.violations.first()?;
    let mut all: Vec<Violation> = Vec::new();
    for violation in &outcome.violations {
        if all.iter().all(|other| other.check != violation.check) {
            all.push(violation.clone());
        }
    }
    let (short, shown) = shrink(plan, outcome.clone(), first.check, within);
    let same = |other: &&Violation| other.check == first.check;
    let violation = shown.violations.iter().find(same).unwrap_or(first).clone();
    Some(Failure {
        seed: plan.seed,
        violation,
        all,
        plan: short,
        outcome: shown,
        steps: plan.steps.len(),
    })
}

fn locked(totals: &Mutex<Totals>) -> MutexGuard<'_, Totals> {
    totals
        .lock()
        .expect("invariant: no code panics while it counts")
}

impl Totals {
    /// Every violation, with the seed of its history.
    pub fn violations(&self) -> impl Iterator<Item = (u64, &Violation)> {
        self.failures.iter().flat_map(|failure| {
            failure
                .all
                .iter()
                .map(|violation| (failure.seed, violation))
        })
    }

    /// Adds the results of one history.
    pub fn add(&mut self, plan: &Plan, outcome: &Outcome) {
        self.histories += 1;
        self.operations += plan.operations() as u64;
        self.acknowledged += outcome.acknowledged() as u64;
        self.virtual_time += outcome.virtual_time;
        self.trace ^= outcome.trace.rotate_left((plan.seed % 64) as u32);
        for (kind, count) in &outcome.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }
}
