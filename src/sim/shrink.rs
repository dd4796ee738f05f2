//! Shortens a failing plan for as long as the same check fails.

use std::time::{Duration, Instant};

use super::plan::Plan;
use super::play::{Outcome, play};

/// Plays ever shorter plans for at most `within` of real time. Returns the shortest plan in which
/// `check` still fails, and its outcome.
pub(super) fn shrink(
    plan: &Plan,
    outcome: Outcome,
    check: &str,
    within: Duration,
) -> (Plan, Outcome) {
    let deadline = Instant::now() + within;
    let (mut best, mut shown) = (plan.clone(), outcome);
    let fails = |outcome: &Outcome| {
        outcome
            .violations
            .iter()
            .any(|violation| violation.check == check)
    };
    // Drops chunks of steps, from half of them at once down to single steps.
    let mut size = best.steps.len().div_ceil(2);
    while size > 0 && Instant::now() < deadline {
        let mut at = 0;
        let mut dropped = false;
        while at < best.steps.len() && Instant::now() < deadline {
            let mut shorter = best.clone();
            shorter
                .steps
                .drain(at..usize::min(at + size, best.steps.len()));
            let outcome = play(&shorter);
            if fails(&outcome) {
                (best, shown, dropped) = (shorter, outcome, true);
            } else {
                at += size;
            }
        }
        if size == 1 && !dropped {
            break;
        }
        size = if size == 1 { 1 } else { size / 2 };
    }
    (best, shown)
}
