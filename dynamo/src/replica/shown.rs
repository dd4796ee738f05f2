//! Which entry of a row is read, and whether the row is there at all.

use quorate_crdt::Dot;

use super::row::{Fact, Guarded, Payload, Row};
use crate::fence::{LockId, Rank, Stamp};

/// Whether the row has a guarded entry.
pub(super) fn is_guarded(row: &Row) -> bool {
    row.iter().any(|(_, payload)| payload.guarded().is_some())
}

/// The entry of a row that decides what is read: the greatest by `(stamp, dot)` among those that
/// rank no lower than `floor`. Counts are not compared: they add up.
pub(crate) fn winner(row: &Row, floor: Rank) -> Option<(Dot, &Payload)> {
    let fits = |(_, payload): &(Dot, &Payload)| !payload.counts() && payload.rank() >= floor;
    let place = |(dot, payload): &(Dot, &Payload)| (payload.stamp().unwrap_or_default(), *dot);
    row.iter().filter(fits).max_by_key(place)
}

/// Whether the row is there for a reader.
pub(super) fn is_shown(row: &Row, floor: Rank) -> bool {
    let says = |payload: &Payload| match payload.guarded().map(|guarded| &guarded.fact) {
        Some(Fact::Gone | Fact::Collection { .. }) => false,
        Some(Fact::Value { .. } | Fact::Member) | None => true,
    };
    row.iter().any(|(_, payload)| payload.counts())
        || winner(row, floor).is_some_and(|(_, payload)| says(payload))
}

/// The highest rank in a row, with its lock.
pub(super) fn highest(row: &Row) -> Option<(Rank, LockId)> {
    let place = |guarded: &Guarded| (guarded.stamp.rank, guarded.lock);
    row.iter()
        .filter_map(|(_, payload)| payload.guarded().map(place))
        .max()
}

/// An entry that stands at `rank`.
pub(crate) fn guarded(lock: LockId, stamp: Stamp, fact: Fact) -> Payload {
    Payload::Guarded(Box::new(Guarded { lock, stamp, fact }))
}
