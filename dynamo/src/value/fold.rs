//! Folds the live entries of rows into the values that clients see.

use bytes::Bytes;
use quorate_crdt::{CausalContext, Dot};

use crate::fence::Rank;
use crate::op::Kind;
use crate::planted;
use crate::replica::{KeyRows, Payload, Range, Replica, Row, RowKey, RowKind, winner};

/// The live rows of a key that exists and has not expired; `None` if it does not exist.
pub(crate) fn live<'a>(replica: &'a Replica, key: &Bytes, unix_millis: u64) -> Option<&'a KeyRows> {
    replica.key(key).filter(|rows| is_live(rows, unix_millis))
}

/// Whether a key that no longer exists has left something behind: it has expired, or only its
/// expiry is left.
pub(crate) fn is_stale(replica: &Replica, key: &Bytes, unix_millis: u64) -> bool {
    replica
        .key(key)
        .is_some_and(|rows| is_left(rows, unix_millis))
}

/// Whether these rows are what a key that no longer exists has left behind.
pub(super) fn is_left(rows: &KeyRows, unix_millis: u64) -> bool {
    rows.has_left() && !is_live(rows, unix_millis)
}

fn is_live(rows: &KeyRows, unix_millis: u64) -> bool {
    kind_of(rows).is_some() && rows.expires_at().is_none_or(|at| at > unix_millis)
}

/// Whether the key expired more than `margin` milliseconds ago, or only its expiry is left.
pub(crate) fn lapsed(replica: &Replica, key: &Bytes, unix_millis: u64, margin: u64) -> bool {
    replica.key(key).is_none_or(|rows| {
        !rows.has_value()
            || rows
                .expires_at()
                .is_some_and(|at| at.saturating_add(margin) <= unix_millis)
    })
}

/// Whether the key has expired because of an entry here that is not in `seen`.
pub(crate) fn expired_unseen(
    replica: &Replica,
    key: &Bytes,
    unix_millis: u64,
    seen: &CausalContext,
) -> bool {
    let Some(rows) = replica
        .key(key)
        .filter(|rows| rows.expires_at().is_some_and(|at| at <= unix_millis))
    else {
        return false;
    };
    let deciding = [RowKind::Expiry, RowKind::String]
        .into_iter()
        .filter_map(|kind| rows.get(kind, &Bytes::new()));
    let mut says_when = deciding.flat_map(Row::iter).filter(|(_, payload)| {
        let expires = payload.expiry().is_some_and(|(_, at)| at.is_some());
        expires || matches!(payload, Payload::Expiry { .. })
    });
    says_when.any(|(dot, _)| !seen.contains(dot))
}

/// A larger collection is asked about row by row; a smaller key is asked about as a whole. Guess:
/// below this a key costs no more than a handful of rows.
const ROWS_ASKED_WHOLE: usize = 16;

/// The ranges to compare when only some rows of a collection matter: those rows, and the two rows
/// that decide the key's kind and expiry. If the key is small, or is not simply a collection of
/// this kind, the whole key.
pub(super) fn ranges_about(
    replica: &Replica,
    key: &Bytes,
    kind: RowKind,
    names: &[Bytes],
) -> Vec<Range> {
    let narrow = |rows: &KeyRows| {
        let head = usize::from(rows.head().is_some() && !rows.shows(RowKind::String));
        let others = rows.len() - rows.count(kind) - rows.count(RowKind::Expiry) - head;
        others == 0 && rows.len() > ROWS_ASKED_WHOLE
    };
    if !planted::EXPIRY_NOT_ASKED.is_planted() && !replica.key(key).is_some_and(narrow) {
        return vec![Range::Key(key.clone())];
    }
    let mut ranges: Vec<Range> = names
        .iter()
        .map(|field| {
            Range::Row(RowKey {
                key: key.clone(),
                kind,
                field: field.clone(),
            })
        })
        .collect();
    if !planted::EXPIRY_NOT_ASKED.is_planted() {
        ranges.extend([RowKey::string(key.clone()), RowKey::expiry(key.clone())].map(Range::Row));
    }
    ranges
}

/// What a key holds: the first kind that has a live row.
pub(crate) fn kind_of(rows: &KeyRows) -> Option<Kind> {
    [
        (RowKind::String, Kind::String),
        (RowKind::Hash, Kind::Hash),
        (RowKind::Set, Kind::Set),
    ]
    .into_iter()
    .find(|(row, _)| rows.shows(*row))
    .map(|(_, kind)| kind)
}

/// A register or counter, folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// The winning register, and no counts.
    Bytes(Bytes),
    /// The winning register as a number, or 0, plus all counts.
    Number(i128),
}

/// Folds a row of a key: see [`scalar`].
pub(crate) fn value_of(rows: &KeyRows, kind: RowKind, field: &Bytes) -> Option<Scalar> {
    scalar(rows.get(kind, field)?, rows.floor())
}

/// Folds a row of registers and counts. The greatest register by `(stamp, dot)` is the base, and
/// all counts are added to it. A base that is no integer (from a `SET` concurrent with an `INCR`)
/// wins over the counts. Registers that rank lower than `floor` are not there.
pub(crate) fn scalar(row: &Row, floor: Rank) -> Option<Scalar> {
    let base = winner(row, floor).and_then(|(_, payload)| payload.value());
    let mut count: Option<i128> = None;
    for (_, payload) in row.iter() {
        if let Payload::Count(n) = payload {
            count = Some(count.unwrap_or(0).saturating_add(*n));
        }
    }
    if let Some(counted) = counted(row) {
        count = Some(count.unwrap_or(0).saturating_add(counted));
    }
    match (base, count) {
        (None, None) => None,
        (Some(value), None) => Some(Scalar::Bytes(value.clone())),
        (None, Some(count)) => Some(Scalar::Number(count)),
        (Some(value), Some(count)) => Some(integer(value).map_or_else(
            || Scalar::Bytes(value.clone()),
            |base| Scalar::Number(count.saturating_add(i128::from(base))),
        )),
    }
}

/// The values of a string that none of the others has overwritten, oldest first: the registers of
/// the highest rank.
pub(crate) fn concurrent(row: &Row) -> Vec<&Bytes> {
    let highest = row.iter().map(|(_, payload)| payload.rank()).max();
    let mut values: Vec<_> = row
        .iter()
        .filter(|(_, payload)| Some(payload.rank()) == highest)
        .filter_map(|(dot, payload)| Some((payload.stamp(), dot, payload.value()?)))
        .collect();
    values.sort_unstable_by_key(|(stamp, dot, _)| (*stamp, *dot));
    values.into_iter().map(|(_, _, value)| value).collect()
}

/// The sum of the named increments in a row, each name counted once; `None` if there are none.
pub(super) fn counted(row: &Row) -> Option<i128> {
    let counted = |(dot, payload): (Dot, &Payload)| {
        if let Payload::Counted { mark, by } = payload {
            Some((*mark, dot, *by))
        } else {
            None
        }
    };
    let mut all: Vec<(u128, Dot, i64)> = row.iter().filter_map(counted).collect();
    if all.is_empty() {
        return None;
    }
    all.sort_unstable();
    if !planted::TWINS_COUNT_TWICE.is_planted() {
        all.dedup_by_key(|(mark, _, _)| *mark);
    }
    Some(all.iter().map(|(_, _, by)| i128::from(*by)).sum())
}

impl Scalar {
    /// The value as clients see it.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Bytes(value) => value,
            Self::Number(number) => number.to_string().into(),
        }
    }
}

/// A count or length as clients see it.
pub(super) fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Parses a 64-bit integer in the only form that Redis accepts: no `+`, no leading zeros, no
/// spaces.
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [] => false,
        [b'0'] => digits.len() == text.len(),
        [first, rest @ ..] => {
            first.is_ascii_digit() && *first != b'0' && rest.iter().all(u8::is_ascii_digit)
        }
    };
    canonical.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}
