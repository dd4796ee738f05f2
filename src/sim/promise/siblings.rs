//! Concurrent values: each stays until a write covers it with a token that was given for it.

use quorate_dynamo::op::Reply;

use super::{OfKey, Violation};
use crate::sim::ask::request_of;
use crate::sim::history::{Fate, Told};
use crate::sim::plan::Deed;

pub(super) fn judge(of_key: &OfKey<'_>) -> Vec<Violation> {
    of_key.all.iter().filter(|told| told.ask.deed == Deed::Siblings).filter_map(|told| judge_read(of_key, told)).collect()
}

fn judge_read(of_key: &OfKey<'_>, read: &Told) -> Option<Violation> {
    let Ok(Reply::Siblings { values, .. }) = &read.result else { return None };
    let mut shown = Vec::new();
    for value in values {
        let write = request_of(value).and_then(|number| of_key.by_number(number)).filter(|write| write.from <= read.to);
        match write {
            None => return Some(of_key.broken("invented", read, format!("{} shows {value:?}, which nobody has written", read.ask))),
            Some(write) if write.fate() == Fate::Refused => {
                return Some(of_key.broken("refused-but-applied", read, format!("{} shows {value:?}, which was refused", read.ask)));
            }
            Some(write) => shown.push(write.ask.id),
        }
    }
    // A write without a token, or a removal, takes what its node sees.
    let may_be_gone = |write: &Told| {
        let blunt = |other: &Told| matches!(other.ask.deed, Deed::Set | Deed::Delete) && other.ask.id != write.ask.id;
        let takes =
            |other: &Told| other.covers.contains(&write.ask.id) || (blunt(other) && other.over().is_none_or(|over| over >= write.from));
        of_key.writes().any(takes) || of_key.flushed(write)
    };
    let writes = || of_key.writes().filter(|told| matches!(told.ask.deed, Deed::SetSeen(_) | Deed::Set));
    let lost = writes().find(|write| of_key.must_find(write, read) && !shown.contains(&write.ask.id) && !may_be_gone(write));
    if let Some(lost) = lost {
        let what =
            format!("{} does not show v{}, acknowledged at {:?}, which no token covered: {values:?}", read.ask, lost.ask.id, lost.to);
        return Some(of_key.broken("lost", read, what));
    }
    let gone = |write: &Told| {
        // A write that was asked for again may have been done again, where nobody knew of the first time.
        let covers = |other: &Told| other.covers.contains(&write.ask.id) && (write.ask.again.is_empty() || write.to < other.from);
        let removes = |other: &Told| other.ask.deed == Deed::Delete && of_key.must_find(write, other);
        of_key.writes().any(|other| (covers(other) || removes(other)) && of_key.must_find(other, read))
    };
    let back = shown.into_iter().find(|number| of_key.by_number(*number).is_some_and(gone))?;
    let what = format!("{} shows v{back}, which an acknowledged change had covered or seen: {values:?}", read.ask);
    Some(of_key.broken("came-back", read, what))
}
