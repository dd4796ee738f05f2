//! Strings that grow: an append builds on what its level has.

use std::collections::BTreeSet;

use quorate_dynamo::op::Reply;

use super::{OfKey, Violation};
use crate::sim::ask::request_of;
use crate::sim::history::{Fate, Told};
use crate::sim::plan::Deed;

/// The requests that wrote the parts of a text, in their order; `None`: nobody wrote it.
fn parts(text: &[u8]) -> Option<Vec<u32>> {
    let text = std::str::from_utf8(text).ok()?;
    let (head, tail) = text.split_at(text.find('[').unwrap_or(text.len()));
    let mut parts = Vec::new();
    if !head.is_empty() {
        parts.push(request_of(head.as_bytes())?);
    }
    for part in tail.split('[').skip(1) {
        parts.push(part.strip_suffix(']')?.parse().ok()?);
    }
    Some(parts)
}

pub(super) fn judge(of_key: &OfKey<'_>) -> Vec<Violation> {
    of_key.all.iter().filter(|told| told.ask.deed == Deed::Get).filter_map(|told| judge_read(of_key, told)).collect()
}

fn judge_read(of_key: &OfKey<'_>, read: &Told) -> Option<Violation> {
    let shown = match read.result.as_ref().ok()? {
        Reply::Nil => Vec::new(),
        Reply::Value(text) => match parts(text) {
            Some(parts) => parts,
            None => return Some(of_key.broken("invented", read, format!("{} shows {text:?}, which nobody wrote", read.ask))),
        },
        other => return Some(of_key.broken("invented", read, format!("{} shows {other:?}", read.ask))),
    };
    let mut once = BTreeSet::new();
    for part in &shown {
        let write = of_key.by_number(*part).filter(|write| write.from <= read.to && matches!(write.ask.deed, Deed::Append | Deed::Set));
        match write.map(Told::fate) {
            None => return Some(of_key.broken("invented", read, format!("{} shows the part {part}, which nobody has written", read.ask))),
            Some(Fate::Refused) => {
                return Some(of_key.broken("refused-but-applied", read, format!("{} shows the part {part}, which was refused", read.ask)));
            }
            Some(_) if !once.insert(*part) => {
                return Some(of_key.broken("counted-twice", read, format!("{} shows the part {part} twice", read.ask)));
            }
            Some(_) => {}
        }
    }
    let newest = shown.last().and_then(|last| of_key.by_number(*last));
    let appends = of_key.writes().filter(|told| told.ask.deed == Deed::Append && !once.contains(&told.ask.id));
    let lost = appends
        .into_iter()
        .find(|append| of_key.must_find(append, read) && !of_key.flushed(append) && !may_miss(of_key, append, newest))?;
    let what = format!("{} does not show the part {}, acknowledged at {:?}: {shown:?}", read.ask, lost.ask.id, lost.to);
    Some(of_key.broken("lost", read, what))
}

/// Whether the write that shows now may have been made without seeing `append`, or over it.
fn may_miss(of_key: &OfKey<'_>, append: &Told, last: Option<&Told>) -> bool {
    let replaced = of_key.writes().any(|told| told.ask.deed == Deed::Set && told.over().is_none_or(|over| over >= append.from));
    match last {
        // Nothing at all shows: then only a set, which shows itself, could have come over it.
        None => false,
        Some(last) => replaced || !(of_key.older(last, append) || of_key.must_find(append, last) && last.ask.deed == Deed::Append),
    }
}
