//! Holds what clients were told against `docs/consistency.md`. Every check knows what was done to
//! the cluster and excuses exactly what that explains: a write may be lost with its disks only if
//! at least as many disks were destroyed as its level has copies.

use std::collections::BTreeMap;

use quorate_dynamo::op::RequestError;

use super::history::Told;
use super::oracle::Violation;
use super::plan::Plan;
use super::plan::action::Action;
use super::plan::request::{Deed, Key, Kind};

mod counter;
mod expiring;
mod guarded;
mod held;
pub(super) mod key;
mod register;
mod set;
mod siblings;
#[cfg(test)]
mod tests;
mod text;
mod turning;

use key::{Judged, KeyHistory};

/// Several times what a request takes on the slowest network without faults.
const LONG_ENOUGH_MS: u64 = 1_000;
/// The reads of the last check for a key of this kind.
pub(super) fn last_reads(kind: Kind) -> Vec<Deed> {
    match kind {
        Kind::Register | Kind::Cell | Kind::Counter | Kind::Text | Kind::Guarded => {
            vec![Deed::Get]
        }
        Kind::Expiring => vec![Deed::Get, Deed::Ttl],
        Kind::Siblings => vec![Deed::Siblings],
        Kind::Set => vec![Deed::Members],
        Kind::Hash | Kind::Tally | Kind::GuardedHash => vec![Deed::Entries],
        Kind::Turning => vec![Deed::Get, Deed::Members],
        Kind::Mixed => vec![Deed::Get, Deed::Members, Deed::Entries],
    }
}

/// The promises that the history shows to be broken, at most one violation per check.
pub(super) fn judge(judged: &Judged<'_>) -> Vec<Violation> {
    let dropped = |keyspace: u8| {
        judged
            .plan
            .steps
            .iter()
            .any(|step| step.action == Action::DropKeyspace(keyspace))
    };
    let mut by_key: BTreeMap<(u8, Key), KeyHistory<'_>> = BTreeMap::new();
    // The last check's own deletions come after its reads, so the reads cannot have missed them.
    let last_reads = judged.last.iter().filter(|told| !told.ask.deed.writes());
    for told in judged
        .history
        .iter()
        .chain(last_reads)
        .filter(|told| !dropped(told.ask.keyspace))
    {
        let place = told.place();
        let history = by_key.entry(place).or_insert_with(|| KeyHistory {
            judged,
            keyspace: place.0,
            key: place.1,
            all: Vec::new(),
            last: Vec::new(),
            flushes: Vec::new(),
        });
        history.all.push(told);
    }
    for told in judged.last {
        if let Some(history) = by_key.get_mut(&told.place()) {
            history.last.push(told);
        }
    }
    for told in judged
        .history
        .iter()
        .filter(|told| told.ask.deed == Deed::Flush)
    {
        by_key
            .values_mut()
            .filter(|history| history.keyspace == told.ask.keyspace)
            .for_each(|history| history.flushes.push(told));
    }
    let mut found: Vec<Violation> = Vec::new();
    for history in by_key.values() {
        let shown = match history.key.0 {
            Kind::Register | Kind::Cell => register::judge(history),
            Kind::Expiring => expiring::judge(history),
            Kind::Counter => counter::judge(history),
            Kind::Text => text::judge(history),
            Kind::Siblings => siblings::judge(history),
            Kind::Set => set::judge(history),
            Kind::Hash => register::judge_fields(history),
            Kind::Tally => counter::judge_fields(history),
            Kind::Turning => turning::judge(history),
            Kind::Guarded | Kind::GuardedHash => guarded::judge(history),
            Kind::Mixed => Vec::new(),
        };
        let shown = shown
            .into_iter()
            .chain(history.too_long())
            .filter(|violation| !history.rotten(violation));
        for violation in history.same_everywhere().into_iter().chain(shown) {
            if !found.iter().any(|known| known.check == violation.check) {
                found.push(violation);
            }
        }
    }
    found.extend(timed_out(judged));
    found.extend(held::judge(judged));
    found
}

/// While nothing is done to a cluster, a request that cannot be served must be refused with a
/// reason, not left to time out.
fn timed_out(judged: &Judged<'_>) -> Option<Violation> {
    let Plan { steps, shape, .. } = judged.plan;
    let calm = shape.loss == 0.0 && steps.iter().all(|step| step.action.is_request());
    let in_vain = |told: &&Told| {
        told.ask.timeout >= LONG_ENOUGH_MS
            && matches!(told.result, Err(RequestError::TimedOut { .. }))
    };
    let told = judged.history.iter().find(in_vain).filter(|_| calm)?;
    let what = format!(
        "{} timed out although nothing is wrong: {:?}",
        told.ask, told.result
    );
    Some(Violation {
        check: "timed-out-without-cause",
        at: told.to.as_millis() as u64,
        what,
    })
}
