//! Strings that grow: an append builds on what its level finds.

use std::collections::BTreeSet;

use quorate_dynamo::op::{Reply, RequestError};

use super::key::KeyHistory;
use crate::sim::history::{Fate, Told};
use crate::sim::oracle::Violation;
use crate::sim::plan::request::{Deed, request_of};

/// The requests that wrote the parts of a text, in order; `None` if somebody else must have written
/// it.
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

pub(super) fn judge(history: &KeyHistory<'_>) -> Vec<Violation> {
    let shown = history
        .all
        .iter()
        .filter(|told| told.ask.deed == Deed::Get)
        .filter_map(|told| judge_read(history, told));
    shown
        .chain(
            history
                .all
                .iter()
                .filter_map(|told| judge_length(history, told)),
        )
        .collect()
}

/// The length of the part that a request writes.
fn length(told: &Told) -> usize {
    match told.ask.deed {
        Deed::Append => format!("[{}]", told.ask.id).len(),
        Deed::Set => format!("v{}", told.ask.id).len(),
        _ => 0,
    }
}

/// Nothing exceeds the length limit, and nothing that certainly fits is refused for its length.
fn judge_length(history: &KeyHistory<'_>, told: &Told) -> Option<Violation> {
    let max = history.judged.plan.limits.value_bytes;
    let long = match (&told.ask.deed, &told.result) {
        (Deed::Get, Ok(Reply::Value(text))) => text.len(),
        (Deed::Length | Deed::Append, Ok(Reply::Integer(length))) => {
            usize::try_from(*length).unwrap_or(0)
        }
        (Deed::Append, Err(RequestError::TooLarge { .. })) => {
            // Each repetition may have been applied as well.
            let parts = history
                .writes()
                .filter(|write| write.from <= told.to)
                .map(|write| length(write) * (1 + write.ask.again.len()));
            let most = parts.sum::<usize>() + length(told) * (1 + told.ask.again.len());
            let what = || {
                format!(
                    "{} was refused for its length, but that is at most {most}, and {max} bytes are allowed",
                    told.ask
                )
            };
            let fits = most <= max && !history.key.is_too_long() && told.need.replicas() > 0;
            return fits.then(|| history.broken("refused-without-cause", told, what()));
        }
        _ => return None,
    };
    (long > max).then(|| {
        history.broken(
            "took-too-much",
            told,
            format!("{} shows {long} bytes; {max} are allowed", told.ask),
        )
    })
}

fn judge_read(history: &KeyHistory<'_>, read: &Told) -> Option<Violation> {
    let shown = match read.result.as_ref().ok()? {
        Reply::Nil => Vec::new(),
        Reply::Value(text) => match parts(text) {
            Some(parts) => parts,
            None => {
                return Some(history.broken(
                    "invented",
                    read,
                    format!("{} shows {text:?}, which nobody wrote", read.ask),
                ));
            }
        },
        other => {
            return Some(history.broken("invented", read, format!("{} shows {other:?}", read.ask)));
        }
    };
    let mut once = BTreeSet::new();
    for part in &shown {
        let write = history.by_number(*part).filter(|write| {
            write.from <= read.to && matches!(write.ask.deed, Deed::Append | Deed::Set)
        });
        match write.map(Told::fate) {
            None => {
                return Some(history.broken(
                    "invented",
                    read,
                    format!("{} shows the part {part}, which nobody wrote", read.ask),
                ));
            }
            Some(Fate::Refused) => {
                return Some(history.broken(
                    "refused-but-applied",
                    read,
                    format!("{} shows the part {part}, which was refused", read.ask),
                ));
            }
            // A repeated append may have been applied again on top of the first, by nodes that did
            // not remember it.
            Some(_)
                if !once.insert(*part) && write.is_some_and(|write| write.ask.again.is_empty()) =>
            {
                return Some(history.broken(
                    "counted-twice",
                    read,
                    format!("{} shows the part {part} twice", read.ask),
                ));
            }
            Some(_) => {}
        }
    }
    let appends = history
        .writes()
        .filter(|told| told.ask.deed == Deed::Append && !once.contains(&told.ask.id));
    let mut sure =
        appends.filter(|append| history.must_find(append, read) && !history.flushed(append));
    let lost = sure.find(|append| {
        !history
            .writes()
            .any(|other| may_hide(history, other, append, read))
    })?;
    let what = format!(
        "{} does not show the part {}, which was acknowledged at {:?}: {shown:?}",
        read.ask, lost.ask.id, lost.to
    );
    Some(history.broken("lost", read, what))
}

/// Whether `other` may stand in the place of `append`: it replaced it, or neither has seen the
/// other and their stamps are too close to order them.
fn may_hide(history: &KeyHistory<'_>, other: &Told, append: &Told, read: &Told) -> bool {
    if other.ask.id == append.ask.id || other.from > read.to {
        return false;
    }
    let built_on_it = other.ask.deed == Deed::Append && history.must_find(append, other);
    let seen_by_it = history.must_find(other, append);
    !built_on_it && !seen_by_it && !history.older(other, append)
}
