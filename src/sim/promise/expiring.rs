//! Strings with an expiry: present before it, gone after it. A wrong clock must not remove anything
//! for good.

use quorate_dynamo::op::Reply;

use super::key::KeyHistory;
use crate::sim::history::{Fate, Told};
use crate::sim::oracle::Violation;
use crate::sim::plan::request::{Deed, LAST, request_of};

pub(super) fn judge(of_key: &KeyHistory<'_>) -> Vec<Violation> {
    of_key
        .all
        .iter()
        .filter(|told| told.ask.deed == Deed::Get)
        .filter_map(|told| judge_read(of_key, told))
        .collect()
}

fn sets(told: &Told) -> bool {
    matches!(
        told.ask.deed,
        Deed::Set | Deed::SetFor { .. } | Deed::SetKeep
    )
}

fn judge_read(of_key: &KeyHistory<'_>, read: &Told) -> Option<Violation> {
    let number = match read.result.as_ref().ok()? {
        Reply::Nil => return judge_nothing(of_key, read),
        Reply::Value(value) => request_of(value),
        _ => None,
    };
    let write = number
        .and_then(|number| of_key.by_number(number))
        .filter(|write| sets(write) && write.from <= read.to);
    let Some(write) = write else {
        return Some(of_key.broken(
            "invented",
            read,
            format!("{} shows what nobody wrote: {:?}", read.ask, read.result),
        ));
    };
    if write.fate() == Fate::Refused {
        return Some(of_key.broken(
            "refused-but-applied",
            read,
            format!("{} shows v{}, which was refused", read.ask, write.ask.id),
        ));
    }
    // An expired value is removed as it was seen, so an older value that the removing node had not
    // seen may show again.
    let stands = |later: &Told| !of_key.flushed(later) && !may_have_ended(of_key, later, read);
    let known = of_key.writes().filter(|later| {
        sets(later)
            && later.ask.id != write.ask.id
            && of_key.must_find(later, read)
            && stands(later)
    });
    if let Some(later) = known.into_iter().find(|later| of_key.older(write, later)) {
        let what = format!(
            "{} shows v{}, but {} was acknowledged at {:?}",
            read.ask, write.ask.id, later.ask, later.to
        );
        return Some(of_key.broken("stale", read, what));
    }
    outlived(of_key, write, read)
}

/// The value is there: its own expiry must not have passed, unless the expiry was removed or moved.
fn outlived(of_key: &KeyHistory<'_>, write: &Told, read: &Told) -> Option<Violation> {
    let life = write.ask.deed.life()?;
    let over = write.to + life + of_key.margin();
    let changed = of_key
        .writes()
        .any(|other| matches!(other.ask.deed, Deed::ExpireIn { .. } | Deed::Persist));
    if changed || read.from < over {
        return None;
    }
    let what = format!(
        "{} shows v{}, which should have expired {} ms earlier",
        read.ask,
        write.ask.id,
        read.from.saturating_sub(over).as_millis()
    );
    Some(of_key.broken("outlived-its-expiry", read, what))
}

/// Whether what `write` set may have expired by the time `read` was answered.
fn may_have_ended(of_key: &KeyHistory<'_>, write: &Told, read: &Told) -> bool {
    let margin = of_key.margin();
    let last = |other: &Told| other.ask.id == write.ask.id || !of_key.older(other, write);
    // `SetKeep` may have kept the expiry of any earlier write, in this write or in another that
    // took its place.
    let kept = of_key
        .writes()
        .any(|other| other.ask.deed == Deed::SetKeep && last(other));
    of_key.writes().any(|other| {
        (kept || last(other))
            && other
                .ask
                .deed
                .life()
                .is_some_and(|life| other.from + life <= read.to + margin)
    })
}

/// The key is missing: then every write that must be found may have expired by now.
fn judge_nothing(of_key: &KeyHistory<'_>, read: &Told) -> Option<Violation> {
    // A wrong clock may hide a value that it considers expired, but only until the clock is right
    // again.
    if of_key.clock_was_wrong() && read.ask.id <= LAST {
        return None;
    }
    let stays = |write: &Told| !of_key.flushed(write) && !may_have_ended(of_key, write, read);
    let lost = of_key
        .writes()
        .find(|write| sets(write) && of_key.must_find(write, read) && stays(write))?;
    let what = format!(
        "{} shows nothing, but {} was acknowledged at {:?} and cannot have expired",
        read.ask, lost.ask, lost.to
    );
    Some(of_key.broken("lost", read, what))
}
