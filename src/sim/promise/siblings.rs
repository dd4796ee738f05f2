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
    let covered = |number: u32, surely: bool| {
        of_key.writes().any(|other| other.covers.contains(&number) && (!surely || of_key.must_find(other, read)))
    };
    let writes = of_key.writes().filter(|told| told.ask.deed == Deed::SetSeen);
    let lost = writes.into_iter().find(|write| {
        of_key.must_find(write, read) && !shown.contains(&write.ask.id) && !covered(write.ask.id, false) && !of_key.flushed(write)
    });
    if let Some(lost) = lost {
        let what =
            format!("{} does not show v{}, acknowledged at {:?}, which no token covered: {values:?}", read.ask, lost.ask.id, lost.to);
        return Some(of_key.broken("lost", read, what));
    }
    let back = shown.into_iter().find(|number| covered(*number, true))?;
    let what = format!("{} shows v{back}, which an acknowledged write had covered: {values:?}", read.ask);
    Some(of_key.broken("came-back", read, what))
}
