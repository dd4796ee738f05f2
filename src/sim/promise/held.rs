//! What is held: locks, semaphores and elections are linearizable, tokens rise, and nothing is lost
//! before its time. Metadata are linearizable, too.

use super::key::Judged;
use crate::check::{self, Counterexample, Event, Least, Model, Options, Unusable};
use crate::sim::grants::{Fortune, Heard};
use crate::sim::oracle::Violation;
use crate::sim::plan::bid::Wish;
use crate::sim::plan::request::LAST;

/// The group counts whole milliseconds, so a lease may end one too early.
const ROUNDING_NS: u64 = 1_000_000;

pub(super) fn judge(judged: &Judged<'_>) -> Vec<Violation> {
    let holds = not_ordered(judged, Model::Lock, "holds-not-linearizable");
    let values = not_ordered(judged, Model::Register, "metadata-not-linearizable");
    holds
        .into_iter()
        .chain(values)
        .chain(never_free(judged))
        .collect()
}

/// At rest, everything must be free in time.
fn never_free(judged: &Judged<'_>) -> Option<Violation> {
    let in_vain = |heard: &&Heard| {
        let takes = heard.bid.id > LAST && matches!(heard.bid.wish, Wish::Take(_));
        takes && !matches!(heard.fortune, Fortune::Granted(_))
    };
    let heard = judged.heard.iter().find(in_vain)?;
    Some(Violation {
        check: "never-free",
        at: heard.to.as_millis() as u64,
        what: format!("at rest, {} ends with {:?}", heard.bid, heard.fortune),
    })
}

fn not_ordered(judged: &Judged<'_>, model: Model, check: &'static str) -> Option<Violation> {
    let options = Options {
        linearizable: true,
        skew: ROUNDING_NS,
        least: Least::NOTHING,
    };
    let what = match check::check(judged.of_holds, model, &options) {
        Ok(report) => report.counterexample.as_ref().map(story)?,
        // Nothing is shown of a thing that too many clients wanted at once.
        Err(Unusable::TooHard { .. }) => return None,
        Err(unusable) => unusable.to_string(),
    };
    Some(Violation {
        check,
        at: judged
            .of_holds
            .last()
            .map_or(0, |event| event.time / 1_000_000),
        what,
    })
}

fn story(found: &Counterexample) -> String {
    let line = |event: &Event| {
        let (millis, kind) = (event.time as f64 / 1e6, event.kind);
        format!(
            "{millis} ms {:?} {} {kind:?} {}",
            event.process, event.f, event.value
        )
    };
    let lines: Vec<String> = found.history.iter().map(line).collect();
    format!("{}: {}: {}", found.key, found.says, lines.join("; "))
}
