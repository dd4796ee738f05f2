//! Concurrent values: each stays until a write covers it with a token that was given for it.

use quorate_dynamo::op::{Reply, RequestError};

use super::{OfKey, Violation};
use crate::sim::ask::request_of;
use crate::sim::history::{Fate, Told};
use crate::sim::plan::Deed;

/// Of each value.
const VALUE_BYTES: usize = 5;

pub(super) fn judge(of_key: &OfKey<'_>) -> Vec<Violation> {
    let shown = of_key
        .all
        .iter()
        .filter(|told| told.ask.deed == Deed::Siblings)
        .filter_map(|told| judge_read(of_key, told));
    shown
        .chain(
            of_key
                .all
                .iter()
                .filter_map(|told| judge_refusal(of_key, told)),
        )
        .collect()
}

/// None is refused for the number of those beside it while there are surely fewer.
fn judge_refusal(of_key: &OfKey<'_>, told: &Told) -> Option<Violation> {
    let Err(RequestError::Siblings { .. }) = told.result else {
        return None;
    };
    let limits = of_key.judged.plan.limits;
    let writes = of_key.writes().filter(|write| {
        write.from <= told.to && matches!(write.ask.deed, Deed::SetSeen(_) | Deed::Set)
    });
    // Whoever asked again may have been heard each time.
    let most =
        writes.map(|write| 1 + write.ask.again.len()).sum::<usize>() + 1 + told.ask.again.len();
    let fits = most <= limits.siblings
        && most * VALUE_BYTES <= limits.value_bytes
        && told.need.replicas() > 0;
    let what = || {
        format!(
            "{} was refused for the values beside it, which are {most} at most, of {}",
            told.ask, limits.siblings
        )
    };
    fits.then(|| of_key.broken("refused-without-cause", told, what()))
}

/// The last of the values shown was written where all that every replica had was seen: it left no
/// more than is allowed.
fn judge_number(of_key: &OfKey<'_>, read: &Told, shown: &[&Told]) -> Option<Violation> {
    let max = of_key.judged.plan.limits.siblings;
    let last = shown
        .iter()
        .filter(|write| matches!(write.ask.deed, Deed::SetSeen(_)) && write.need.replicas() > 0)
        .max_by_key(|write| write.from)?;
    let everywhere = |write: &Told| {
        let all =
            write.need.copies() == write.need.replicas() && write.need.epoch == last.need.epoch;
        all && write.fate() == Fate::Done
            && write.to < last.from
            && of_key.harmed(write, last, |_| true) == 0
    };
    let beside = shown
        .iter()
        .filter(|write| everywhere(write) && !last.covers.contains(&write.ask.id))
        .count();
    let what = || {
        format!(
            "{} shows v{} beside {beside} that every replica had before it, of {max}",
            read.ask, last.ask.id
        )
    };
    (beside + 1 > max).then(|| of_key.broken("took-too-much", read, what()))
}

fn judge_read(of_key: &OfKey<'_>, read: &Told) -> Option<Violation> {
    let Ok(Reply::Siblings { values, .. }) = &read.result else {
        return None;
    };
    let mut shown = Vec::new();
    for value in values {
        let write = request_of(value)
            .and_then(|number| of_key.by_number(number))
            .filter(|write| write.from <= read.to);
        match write {
            None => {
                return Some(of_key.broken(
                    "invented",
                    read,
                    format!("{} shows {value:?}, which nobody has written", read.ask),
                ));
            }
            Some(write) if write.fate() == Fate::Refused => {
                return Some(of_key.broken(
                    "refused-but-applied",
                    read,
                    format!("{} shows {value:?}, which was refused", read.ask),
                ));
            }
            Some(write) => shown.push(write),
        }
    }
    if let Some(number) = judge_number(of_key, read, &shown) {
        return Some(number);
    }
    let shown: Vec<u32> = shown.into_iter().map(|write| write.ask.id).collect();
    // A write without a token, or a removal, takes what its node sees.
    let may_be_gone = |write: &Told| {
        let blunt = |other: &Told| {
            matches!(other.ask.deed, Deed::Set | Deed::Delete) && other.ask.id != write.ask.id
        };
        let takes = |other: &Told| {
            other.covers.contains(&write.ask.id)
                || (blunt(other) && other.over().is_none_or(|over| over >= write.from))
        };
        of_key.writes().any(takes) || of_key.flushed(write)
    };
    let writes = || {
        of_key
            .writes()
            .filter(|told| matches!(told.ask.deed, Deed::SetSeen(_) | Deed::Set))
    };
    let lost = writes().find(|write| {
        of_key.must_find(write, read) && !shown.contains(&write.ask.id) && !may_be_gone(write)
    });
    if let Some(lost) = lost {
        let what = format!(
            "{} does not show v{}, acknowledged at {:?}, which no token covered: {values:?}",
            read.ask, lost.ask.id, lost.to
        );
        return Some(of_key.broken("lost", read, what));
    }
    let gone = |write: &Told| {
        // What is put back under the lowest stamp is an event that no earlier token covers.
        if of_key.clock_was_wrong() {
            return false;
        }
        if write.may_have_a_twin() {
            return false;
        }
        let covers = |other: &Told| other.covers.contains(&write.ask.id);
        let removes =
            |other: &Told| other.ask.deed == Deed::Delete && of_key.must_find(write, other);
        of_key
            .writes()
            .any(|other| (covers(other) || removes(other)) && of_key.must_find(other, read))
    };
    let back = shown
        .into_iter()
        .find(|number| of_key.by_number(*number).is_some_and(gone))?;
    let what = format!(
        "{} shows v{back}, which an acknowledged change had covered or seen: {values:?}",
        read.ask
    );
    Some(of_key.broken("came-back", read, what))
}
