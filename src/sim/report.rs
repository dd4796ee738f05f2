//! Reports for people after a failure, and for programs after every run.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::campaign::{Failure, Totals};
use super::history::Told;
use super::oracle::Violation;
use super::plan::Plan;
use super::planted::Hunt;
use super::play::Outcome;
use crate::table::Table;

/// The command that replays one seed.
pub fn replay(seed: u64) -> String {
    format!("quorate sim --seed {seed} --trace")
}

/// A failure in full: what broke, how to replay it, and everything that happened.
pub fn failure(failure: &Failure, commit: &str) -> String {
    let Failure {
        seed,
        violation,
        all,
        plan,
        outcome,
        steps,
    } = failure;
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "VIOLATION {}: {}", violation.check, violation.what);
    for other in all.iter().filter(|other| other.check != violation.check) {
        let _ = writeln!(text, "and {}: {}", other.check, other.what);
    }
    let _ = writeln!(
        text,
        "seed {seed}, commit {commit}; replay the whole history with: {}",
        replay(*seed)
    );
    let _ = writeln!(text, "shrunk from {steps} steps to {}:", plan.steps.len());
    text.push_str(&timeline(plan, outcome));
    text
}

/// Everything that happened, in order, for people to read.
pub fn timeline(plan: &Plan, outcome: &Outcome) -> String {
    let mut lines: Vec<(u64, String)> = outcome
        .events
        .iter()
        .map(|(at, what)| (*at, format!("** {what}")))
        .collect();
    for told in &outcome.history {
        let asked = told.from.as_millis() as u64;
        lines.push((asked, format!("   {}", told.ask)));
        lines.push((told.to.as_millis() as u64, format!("   {}", answer(told))));
    }
    for heard in &outcome.heard {
        lines.push((heard.from.as_millis() as u64, format!("   {}", heard.bid)));
        let answer = format!("   #b{} -> {:?}", heard.bid.id, heard.fortune);
        lines.push((heard.to.as_millis() as u64, answer));
    }
    lines.extend(outcome.violations.iter().map(|violation| {
        (
            violation.at,
            format!("!! {}: {}", violation.check, violation.what),
        )
    }));
    lines.sort_by_key(|(at, _)| *at);
    let mut text = format!(
        "   cluster: {:?}\n   knobs: {:?}\n   limits: {:?}\n   queues: {:?}\n",
        plan.shape, plan.knobs, plan.limits, plan.queues
    );
    for (at, line) in lines {
        // Names can be tens of thousands of bytes long.
        let shown: String = line.chars().take(LINE).collect();
        let more = if shown.len() < line.len() { " …" } else { "" };
        let _ = writeln!(text, "{:>8.3} s {shown}{more}", at as f64 / 1000.0);
    }
    text
}

/// Longest line shown, in characters.
const LINE: usize = 2_000;

fn answer(told: &Told) -> String {
    let dot = told.dot.map_or_else(String::new, |dot| {
        format!(" as event {} of node {}", dot.counter, dot.replica.node.0)
    });
    match &told.result {
        Ok(reply) => format!("#{} -> {reply:?}{dot}", told.ask.id),
        Err(error) => format!("#{} -> {error}", told.ask.id),
    }
}

/// The steps of a plan, without their results.
pub fn steps(plan: &Plan) -> String {
    plan.steps.iter().fold(String::new(), |mut text, step| {
        let mark = if step.action.is_request() { "  " } else { "**" };
        let _ = writeln!(
            text,
            "{:>8.3} s {mark} {}",
            step.at as f64 / 1000.0,
            step.action
        );
        text
    })
}

/// Which check found which planted bug, and how soon.
pub fn hunts(hunts: &[Hunt]) -> String {
    let mut table = Table::new(["BUG", "FOUND BY", "IN", "HISTORIES", "SECONDS"]);
    for Hunt {
        bug,
        found_by,
        history,
        histories,
        took,
    } in hunts
    {
        let found_by = found_by.unwrap_or("NOT FOUND").to_owned();
        table.push([
            bug.name.to_owned(),
            found_by,
            history.clone(),
            histories.to_string(),
            format!("{:.1}", took.as_secs_f64()),
        ]);
    }
    table.to_string()
}

/// The last line of output, for programs.
pub fn json(totals: &Totals) -> Value {
    let violations = totals
        .violations()
        .map(|(seed, Violation { check, what, .. })| {
            json!({ "seed": seed, "check": check, "what": what, "replay": replay(seed) })
        });
    json!({
        "histories": totals.histories,
        "operations": totals.operations,
        "acknowledged": totals.acknowledged,
        "faults": totals.faults,
        "violations": violations.collect::<Vec<_>>(),
        "virtual_seconds": totals.virtual_time.as_secs(),
        "seconds": (totals.took.as_secs_f64() * 1000.0).round() / 1000.0,
    })
}
