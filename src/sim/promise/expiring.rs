//! Strings with an expiry: present before it, gone after it. A wrong clock must not remove anything
//! for good.

use quorate_dynamo::op::Reply;

use super::key::KeyHistory;
use crate::sim::history::{Fate, Told};
use crate::sim::oracle::Violation;
use crate::sim::plan::request::{Deed, request_of};

pub(super) fn judge(history: &KeyHistory<'_>) -> Vec<Violation> {
    history
        .all
        .iter()
        .filter(|told| told.ask.deed == Deed::Get)
        .filter_map(|told| judge_read(history, told))
        .collect()
}

fn sets(told: &Told) -> bool {
    matches!(
        told.ask.deed,
        Deed::Set | Deed::SetFor { .. } | Deed::SetKeep
    )
}

fn judge_read(history: &KeyHistory<'_>, read: &Told) -> Option<Violation> {
    let number = match read.result.as_ref().ok()? {
        Reply::Nil => return judge_nothing(history, read),
        Reply::Value(value) => request_of(value),
        _ => None,
    };
    let write = number
        .and_then(|number| history.by_number(number))
        .filter(|write| sets(write) && write.from <= read.to);
    let Some(write) = write else {
        return Some(history.broken(
            "invented",
            read,
            format!("{} shows what nobody wrote: {:?}", read.ask, read.result),
        ));
    };
    if write.fate() == Fate::Refused {
        return Some(history.broken(
            "refused-but-applied",
            read,
            format!("{} shows v{}, which was refused", read.ask, write.ask.id),
        ));
    }
    // An expired value is removed as it was seen, so an older value that the removing node had not
    // seen may show again.
    let stands = |later: &Told| !history.flushed(later) && !may_have_ended(history, later, read);
    let known = history.writes().filter(|later| {
        sets(later)
            && later.ask.id != write.ask.id
            && history.must_find(later, read)
            && stands(later)
    });
    if let Some(later) = known.into_iter().find(|later| history.older(write, later)) {
        let what = format!(
            "{} shows v{}, but {} was acknowledged at {:?}",
            read.ask, write.ask.id, later.ask, later.to
        );
        return Some(history.broken("stale", read, what));
    }
    outlived(history, write, read)
}

/// The value is there: its own expiry must not have passed, unless the expiry was removed or moved.
fn outlived(history: &KeyHistory<'_>, write: &Told, read: &Told) -> Option<Violation> {
    let life = write.ask.deed.life()?;
    let over = write.to + life + history.margin();
    let changed = history
        .writes()
        .any(|other| matches!(other.ask.deed, Deed::ExpireIn { .. } | Deed::Persist));
    if changed || read.from < over || history.clock_may_be_wrong_at(read) {
        return None;
    }
    let what = format!(
        "{} shows v{}, which should have expired {} ms earlier",
        read.ask,
        write.ask.id,
        read.from.saturating_sub(over).as_millis()
    );
    Some(history.broken("outlived-its-expiry", read, what))
}

/// Whether what `write` set may have expired by the time `read` was answered.
fn may_have_ended(history: &KeyHistory<'_>, write: &Told, read: &Told) -> bool {
    let margin = history.margin();
    let last = |other: &Told| other.ask.id == write.ask.id || !history.older(other, write);
    // `SetKeep` may have kept the expiry of any earlier write, in this write or in another that
    // took its place.
    let kept = history
        .writes()
        .any(|other| other.ask.deed == Deed::SetKeep && last(other));
    history.writes().any(|other| {
        (kept || last(other))
            && other
                .ask
                .deed
                .life()
                .is_some_and(|life| other.from + life <= read.to + margin)
    })
}

/// The key is missing: then every write that must be found may have expired by now.
fn judge_nothing(history: &KeyHistory<'_>, read: &Told) -> Option<Violation> {
    if history.clock_may_be_wrong_at(read) {
        return None;
    }
    let stays = |write: &Told| !history.flushed(write) && !may_have_ended(history, write, read);
    let lost = history
        .writes()
        .find(|write| sets(write) && history.must_find(write, read) && stays(write))?;
    let what = format!(
        "{} shows nothing, but {} was acknowledged at {:?} and cannot have expired",
        read.ask, lost.ask, lost.to
    );
    Some(history.broken("lost", read, what))
}
