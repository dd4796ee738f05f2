//! Concurrent values (siblings): each stays until a write covers it with a causal token that was
//! given out for it.

use bytes::Bytes;
use quorate_dynamo::op::{Reply, RequestError};

use super::key::KeyHistory;
use crate::sim::history::{Fate, Told};
use crate::sim::oracle::Violation;
use crate::sim::plan::request::{Deed, request_of};

/// Upper bound on the length of one value.
const VALUE_BYTES: usize = 5;

pub(super) fn judge(history: &KeyHistory<'_>) -> Vec<Violation> {
    let shown = history
        .all
        .iter()
        .filter(|told| told.ask.deed == Deed::Siblings)
        .filter_map(|told| judge_read(history, told));
    shown
        .chain(
            history
                .all
                .iter()
                .filter_map(|told| judge_refusal(history, told)),
        )
        .collect()
}

/// No write is refused for too many siblings while there are certainly fewer.
fn judge_refusal(history: &KeyHistory<'_>, told: &Told) -> Option<Violation> {
    let Err(RequestError::Siblings { .. }) = told.result else {
        return None;
    };
    let limits = history.judged.plan.limits;
    let writes = history.writes().filter(|write| {
        write.from <= told.to && matches!(write.ask.deed, Deed::SetSeen(_) | Deed::Set)
    });
    // Each repetition may have been applied as well.
    let most =
        writes.map(|write| 1 + write.ask.again.len()).sum::<usize>() + 1 + told.ask.again.len();
    let fits = most <= limits.siblings
        && most * VALUE_BYTES <= limits.value_bytes
        && told.need.replicas() > 0;
    let what = || {
        format!(
            "{} was refused for too many siblings, but there are at most {most}, and {} are allowed",
            told.ask, limits.siblings
        )
    };
    fits.then(|| history.broken("refused-without-cause", told, what()))
}

/// The newest of the values shown was written where everything on every replica was visible, so
/// together with those it must not exceed the limit.
fn judge_number(history: &KeyHistory<'_>, read: &Told, shown: &[&Told]) -> Option<Violation> {
    let max = history.judged.plan.limits.siblings;
    let last = shown
        .iter()
        .filter(|write| matches!(write.ask.deed, Deed::SetSeen(_)) && write.need.replicas() > 0)
        .max_by_key(|write| write.from)?;
    let everywhere = |write: &Told| {
        let all =
            write.need.copies() == write.need.replicas() && write.need.epoch == last.need.epoch;
        all && write.fate() == Fate::Done
            && write.to < last.from
            && history.harmed(write, last, |_| true) == 0
    };
    let beside = shown
        .iter()
        .filter(|write| everywhere(write) && !last.covers.contains(&write.ask.id))
        .count();
    let what = || {
        format!(
            "{} shows v{} beside {beside} values that every replica already had; {max} are allowed in total",
            read.ask, last.ask.id
        )
    };
    (beside + 1 > max).then(|| history.broken("took-too-much", read, what()))
}

/// The writes whose values a read shows, or a value that it must not show.
fn written<'a>(
    history: &KeyHistory<'a>,
    read: &Told,
    values: &[Bytes],
) -> Result<Vec<&'a Told>, Violation> {
    let write = |value: &Bytes| {
        let write = request_of(value)
            .and_then(|number| history.by_number(number))
            .filter(|write| write.from <= read.to);
        match write {
            None => Err(history.broken(
                "invented",
                read,
                format!("{} shows {value:?}, which nobody wrote", read.ask),
            )),
            Some(write) if write.fate() == Fate::Refused => Err(history.broken(
                "refused-but-applied",
                read,
                format!("{} shows {value:?}, which was refused", read.ask),
            )),
            Some(write) => Ok(write),
        }
    };
    values.iter().map(write).collect()
}

fn judge_read(history: &KeyHistory<'_>, read: &Told) -> Option<Violation> {
    let Ok(Reply::Siblings { values, .. }) = &read.result else {
        return None;
    };
    let shown = match written(history, read, values) {
        Ok(shown) => shown,
        Err(violation) => return Some(violation),
    };
    if let Some(number) = judge_number(history, read, &shown) {
        return Some(number);
    }
    let shown: Vec<u32> = shown.into_iter().map(|write| write.ask.id).collect();
    // A write without a token, or a removal, removes whatever its node sees.
    let may_be_gone = |write: &Told| {
        let blunt = |other: &Told| {
            matches!(other.ask.deed, Deed::Set | Deed::Delete) && other.ask.id != write.ask.id
        };
        let takes = |other: &Told| {
            other.covers.contains(&write.ask.id)
                || (blunt(other) && other.over().is_none_or(|over| over >= write.from))
        };
        history.writes().any(takes) || history.flushed(write)
    };
    let writes = || {
        history
            .writes()
            .filter(|told| matches!(told.ask.deed, Deed::SetSeen(_) | Deed::Set))
    };
    let lost = writes().find(|write| {
        history.must_find(write, read) && !shown.contains(&write.ask.id) && !may_be_gone(write)
    });
    if let Some(lost) = lost {
        let what = format!(
            "{} does not show v{}, which was acknowledged at {:?} and not covered by any token: {values:?}",
            read.ask, lost.ask.id, lost.to
        );
        return Some(history.broken("lost", read, what));
    }
    let gone = |write: &Told| {
        // A value restored under the lowest stamp is a new event, which no earlier token covers.
        if history.clock_was_wrong() {
            return false;
        }
        if write.may_have_a_twin() {
            return false;
        }
        let covers = |other: &Told| other.covers.contains(&write.ask.id);
        let removes =
            |other: &Told| other.ask.deed == Deed::Delete && history.must_find(write, other);
        history
            .writes()
            .any(|other| (covers(other) || removes(other)) && history.must_find(other, read))
    };
    let back = shown
        .into_iter()
        .find(|number| history.by_number(*number).is_some_and(gone))?;
    let what = format!(
        "{} shows v{back}, which an acknowledged change had already covered or removed: {values:?}",
        read.ask
    );
    Some(history.broken("came-back", read, what))
}
