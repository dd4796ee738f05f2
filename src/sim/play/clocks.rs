//! How far the wall clocks of a plan may be apart.

use std::collections::BTreeSet;

use crate::sim::plan::action::Action;
use crate::sim::plan::{Plan, Step};

/// By how much a clock may exceed the drift bound before the others are certain to notice: half the
/// longest round trip, plus rounding.
const HELD_OFF_SLACK_MS: u64 = 500;

/// The most by which two wall clocks may have differed, in milliseconds.
pub(super) fn spread(plan: &Plan) -> u64 {
    let held_off = plan.knobs.drift_ms + HELD_OFF_SLACK_MS;
    let one = one_node_is_touched(plan);
    let bent = |step: &Step| match step.action {
        // A clock that far off stamps nothing, as long as others are there to contradict it.
        Action::Jump(_, millis) if one && millis.unsigned_abs() > held_off => 0,
        Action::Jump(_, millis) => millis.unsigned_abs(),
        Action::Drift(_, millionths) => millionths.unsigned_abs() * plan.until / 1_000_000 + 1,
        Action::Freeze(..) => plan.until,
        _ => 0,
    };
    2 * plan.shape.skew_ms + plan.steps.iter().map(bent).sum::<u64>()
}

/// Whether at most one node is killed or has a wrong clock, and nothing else happens besides
/// requests.
fn one_node_is_touched(plan: &Plan) -> bool {
    let touched = |step: &Step| match step.action {
        Action::Ask(_) | Action::Bid(_) => None,
        Action::Crash(node)
        | Action::Restart(node)
        | Action::Jump(node, _)
        | Action::MendClock(node) => Some(node),
        _ => Some(0),
    };
    let touched: BTreeSet<u64> = plan.steps.iter().filter_map(touched).collect();
    touched.len() <= 1 && !touched.contains(&0)
}
