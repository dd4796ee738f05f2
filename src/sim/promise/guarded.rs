//! Strings and hashes that clients change under a lock: the holders are in series, row by row, also
//! where all rows of a hash are read at once.

use quorate_dynamo::fence::Rank;
use quorate_dynamo::op::Reply;

use super::key::KeyHistory;
use crate::sim::history::{Fate, Told};
use crate::sim::oracle::{Harm, Violation};
use crate::sim::plan::request::{Deed, Kind, NAMES, name, request_of};

/// What a request has left or found in a row: the request that wrote it, or nothing.
type Left = Option<u32>;

/// A field of the hash; `None` is the string.
type Row = Option<u8>;

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
    let rows: Vec<Row> = if history.key.0 == Kind::GuardedHash {
        (0..NAMES).map(Some).collect()
    } else {
        vec![None]
    };
    let replaced = rows
        .iter()
        .find_map(|row| replaced_in(history, &done, *row));
    late.into_iter().chain(replaced).collect()
}

fn replaced_in(history: &KeyHistory<'_>, done: &[&Told], row: Row) -> Option<Violation> {
    let by_holder = done
        .iter()
        .filter(|told| reads(told))
        .find_map(|told| replaced(history, done, told, told.ask.rank(), row));
    let after_all = history
        .last
        .iter()
        .filter(|told| reads(told) && told.result.is_ok())
        .find_map(|told| replaced(history, done, told, Rank::of(u64::MAX, 0), row));
    by_holder.or(after_all)
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
    row: Row,
) -> Option<Violation> {
    let found = left(read, row)?;
    let earlier = done.iter().filter(|earlier| earlier.ask.rank() < rank);
    let by = earlier.rev().find(|earlier| {
        let Some(had) = left(earlier, row) else {
            return false;
        };
        let between = |write: &Told| write.ask.rank() > earlier.ask.rank();
        let allowed = found == had
            || match found {
                Some(id) => history.by_number(id).is_some_and(between),
                None => history
                    .writes()
                    .any(|write| removes(write, row) && between(write)),
            };
        !allowed && sure(history, earlier, read)
    })?;
    let of = row.map_or_else(String::new, |field| format!(" in field {field}"));
    let what = format!(
        "{} found {found:?}{of} after {} had left {:?}",
        read.ask,
        by.ask,
        left(by, row)
    );
    Some(history.broken("holder-reads-replaced", read, what))
}

fn reads(told: &Told) -> bool {
    !told.ask.deed.writes()
}

/// Whether the request may have removed the row.
fn removes(told: &Told, row: Row) -> bool {
    match (&told.ask.deed, row) {
        (Deed::Delete, _) => true,
        (Deed::RemoveFields(fields), Some(field)) => fields.contains(&field),
        _ => false,
    }
}

/// What a successful request has left or found in the row; `None` if it is not about the row.
fn left(told: &Told, row: Row) -> Option<Left> {
    match (&told.ask.deed, row, &told.result) {
        (_, _, Err(_)) => None,
        (Deed::Set, None, _) => Some(Some(told.ask.id)),
        (Deed::SetFields(fields), Some(field), _) => {
            fields.contains(&field).then_some(Some(told.ask.id))
        }
        (_, _, _) if removes(told, row) => Some(None),
        (Deed::Get, None, Ok(Reply::Value(value))) => Some(request_of(value)),
        (Deed::Get, None, Ok(_)) => Some(None),
        (Deed::Fields(fields), Some(field), Ok(Reply::Values(values))) => {
            let at = fields.iter().position(|asked| *asked == field)?;
            Some(values.get(at)?.as_deref().and_then(request_of))
        }
        (Deed::Entries, Some(field), Ok(Reply::Pairs(pairs))) => {
            let pair = pairs.iter().find(|(held, _)| *held == name(field));
            Some(pair.and_then(|(_, value)| request_of(value)))
        }
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
