//! Strings that clients change under a lock: the holders are in series.

use quorate_dynamo::fence::Rank;
use quorate_dynamo::op::Reply;

use super::key::KeyHistory;
use crate::sim::history::{Fate, Told};
use crate::sim::oracle::{Harm, Violation};
use crate::sim::plan::request::{Deed, request_of};

/// What a request has left or found: the request that wrote it, or nothing.
type Left = Option<u32>;

pub(super) fn judge(history: &KeyHistory<'_>) -> Vec<Violation> {
    // A flush removes what protects from earlier holders.
    if !history.flushes.is_empty() {
        return Vec::new();
    }
    let mut done: Vec<&Told> = history
        .all
        .iter()
        .copied()
        .filter(|told| told.ask.token > 0 && told.result.is_ok())
        .collect();
    done.sort_by_key(|told| told.ask.rank());
    let late = done.iter().find_map(|told| overtaken(history, &done, told));
    let by_holder = done
        .iter()
        .filter(|told| told.ask.deed == Deed::Get)
        .find_map(|told| replaced(history, &done, told, told.ask.rank()));
    let after_all = history
        .last
        .iter()
        .filter(|told| told.ask.deed == Deed::Get && told.result.is_ok())
        .find_map(|told| replaced(history, &done, told, Rank::of(u64::MAX, 0)));
    late.into_iter().chain(by_holder.or(after_all)).collect()
}

/// A request that began after one under a higher token had succeeded must not succeed.
fn overtaken(history: &KeyHistory<'_>, done: &[&Told], told: &Told) -> Option<Violation> {
    let by = done.iter().find(|other| {
        other.ask.token > told.ask.token && other.to < told.from && sure(history, other, told)
    })?;
    let what = format!("{} succeeded although {} had before it", told.ask, by.ask);
    Some(history.broken("earlier-holder-succeeds", told, what))
}

/// What a request has left is found by every later one, or what something in between has left.
fn replaced(
    history: &KeyHistory<'_>,
    done: &[&Told],
    read: &Told,
    rank: Rank,
) -> Option<Violation> {
    let found = left(read);
    let earlier = done.iter().filter(|earlier| earlier.ask.rank() < rank);
    let by = earlier.rev().find(|earlier| {
        let between = |write: &Told| write.ask.rank() > earlier.ask.rank();
        let allowed = found == left(earlier)
            || match found {
                Some(id) => history.by_number(id).is_some_and(between),
                None => history
                    .writes()
                    .any(|write| write.ask.deed == Deed::Delete && between(write)),
            };
        !allowed && sure(history, earlier, read)
    })?;
    let what = format!(
        "{} found {found:?} after {} had left {:?}",
        read.ask,
        by.ask,
        left(by)
    );
    Some(history.broken("holder-reads-replaced", read, what))
}

fn left(told: &Told) -> Left {
    match (&told.ask.deed, &told.result) {
        (Deed::Set, _) => Some(told.ask.id),
        (_, Ok(Reply::Value(value))) => request_of(value),
        _ => None,
    }
}

/// Whether enough disks have kept what `earlier` left. One that was set back to an older copy may
/// have lost a fence that no event tells of.
fn sure(history: &KeyHistory<'_>, earlier: &Told, later: &Told) -> bool {
    let fate = earlier.fate() == Fate::Done;
    let set_back = history.harmed(earlier, later, |harm| harm == Harm::SetBack);
    let harmed = history.harmed(later, earlier, |_| true);
    fate && set_back == 0 && harmed == 0 && history.kept(earlier, later)
}
