//! Answers queries from a replica.

use bytes::Bytes;

use super::fold::{Scalar, concurrent, kind_of, live, number, ranges_about, scalar, value_of};
use super::token::token;
use crate::op::{Expiry, Kind, PartitionOp, Query, Reply, RequestError};
use crate::planted;
use crate::replica::{KeyRows, Range, Replica, RowKind};

/// The most keys that a page of a scan asks for.
const SCAN_KEYS_MAX: u32 = 10_000;

/// Answers a query from what the replica has.
pub(crate) fn query(
    replica: &Replica,
    key: &Bytes,
    query: &Query,
    unix_millis: u64,
) -> Result<Reply, RequestError> {
    let rows = live(replica, key, unix_millis);
    let kind = rows.and_then(kind_of);
    match query {
        Query::Exists => return Ok(Reply::Integer(i64::from(rows.is_some()))),
        Query::Kind => return Ok(Reply::Kind(kind)),
        Query::Expiry => {
            return Ok(Reply::Expiry(rows.map_or(Expiry::NoKey, |rows| {
                rows.expires_at().map_or(Expiry::Never, Expiry::At)
            })));
        }
        _ => {}
    }
    let Some(rows) = rows else {
        return Ok(absent(query));
    };
    if kind != Some(kind_read_by(query)) {
        return Err(RequestError::WrongKind);
    }
    Ok(present(rows, query))
}

/// The ranges that a query reads, which other replicas are asked about. The key's kind and expiry
/// are part of every answer.
pub(crate) fn ranges_of(replica: &Replica, key: &Bytes, query: &Query) -> Vec<Range> {
    match query {
        // Queries about some rows of a collection that may be large.
        Query::Contains(names) => ranges_about(replica, key, RowKind::Set, names),
        Query::Fields(names) => ranges_about(replica, key, RowKind::Hash, names),
        // The digest of a whole key is kept and costs nothing.
        _ => vec![Range::Key(key.clone())],
    }
}

fn kind_read_by(query: &Query) -> Kind {
    match query {
        Query::Members | Query::Cardinality | Query::Contains(_) => Kind::Set,
        Query::Fields(_) | Query::Entries | Query::FieldCount => Kind::Hash,
        Query::Get
        | Query::Length
        | Query::Siblings
        | Query::Exists
        | Query::Kind
        | Query::Expiry => Kind::String,
    }
}

fn absent(query: &Query) -> Reply {
    match query {
        Query::Get => Reply::Nil,
        Query::Length | Query::Cardinality | Query::FieldCount | Query::Exists => Reply::Integer(0),
        Query::Members => Reply::List(Vec::new()),
        Query::Contains(elements) => Reply::Integers(vec![0; elements.len()]),
        Query::Fields(fields) => Reply::Values(vec![None; fields.len()]),
        Query::Entries => Reply::Pairs(Vec::new()),
        Query::Siblings => Reply::Siblings {
            token: Bytes::new(),
            values: Vec::new(),
        },
        Query::Kind => Reply::Kind(None),
        Query::Expiry => Reply::Expiry(Expiry::NoKey),
    }
}

fn present(rows: &KeyRows, query: &Query) -> Reply {
    let string = || value_of(rows, RowKind::String, &Bytes::new());
    let field = |field: &Bytes| value_of(rows, RowKind::Hash, field).map(Scalar::into_bytes);
    match query {
        Query::Get => string().map_or(Reply::Nil, |value| Reply::Value(value.into_bytes())),
        Query::Length => {
            Reply::Integer(string().map_or(0, |value| number(value.into_bytes().len())))
        }
        Query::Members => Reply::List(
            rows.of_kind(RowKind::Set)
                .map(|(element, _)| element.clone())
                .collect(),
        ),
        Query::Cardinality => Reply::Integer(number(rows.shown_count(RowKind::Set))),
        Query::Contains(elements) => Reply::Integers(
            elements
                .iter()
                .map(|element| i64::from(rows.shown(RowKind::Set, element).is_some()))
                .collect(),
        ),
        Query::Fields(fields) => Reply::Values(fields.iter().map(field).collect()),
        Query::Entries => {
            let floor = rows.floor();
            let value = |row| scalar(row, floor).map(Scalar::into_bytes);
            let pair = |(name, row): (&Bytes, _)| Some((name.clone(), value(row)?));
            Reply::Pairs(rows.of_kind(RowKind::Hash).filter_map(pair).collect())
        }
        Query::FieldCount => Reply::Integer(number(rows.shown_count(RowKind::Hash))),
        Query::Siblings => siblings(rows),
        Query::Exists | Query::Kind | Query::Expiry => absent(query),
    }
}

/// All concurrent registers of the highest rank, oldest first, with a token that covers all events.
/// Counts, if there are any, make a single value.
fn siblings(rows: &KeyRows) -> Reply {
    let Some(row) = rows.get(RowKind::String, &Bytes::new()) else {
        return absent(&Query::Siblings);
    };
    let seen: quorate_crdt::CausalContext = row.iter().map(|(dot, _)| dot).collect();
    let values = if row.iter().any(|(_, payload)| payload.counts()) {
        let value = scalar(row, rows.floor()).map(Scalar::into_bytes);
        value.into_iter().collect()
    } else {
        concurrent(row).into_iter().cloned().collect()
    };
    Reply::Siblings {
        token: token(&seen),
        values,
    }
}

fn counted(keys: u64) -> Reply {
    Reply::Integer(i64::try_from(keys).unwrap_or(i64::MAX))
}

/// Answers a scan or count of the whole partition.
pub(crate) fn partition(replica: &Replica, op: &PartitionOp, unix_millis: u64) -> Reply {
    let alive = |rows: &KeyRows| {
        kind_of(rows).is_some() && rows.expires_at().is_none_or(|at| at > unix_millis)
    };
    match op {
        PartitionOp::Scan { from, count } => {
            let count = (*count).clamp(1, SCAN_KEYS_MAX) as usize;
            let (mut keys, mut next, mut last) = (Vec::new(), None, None);
            for (mark, key, rows) in replica.keys_from(*from) {
                // The next page begins with a mark. So a page that ended between two keys of one
                // mark would begin again where it began, or leave the second out.
                let between = last != Some(mark) || planted::PAGE_SPLITS_MARK.is_planted();
                if keys.len() >= count && between {
                    next = Some(mark);
                    break;
                }
                if alive(rows) {
                    keys.push(key.clone());
                }
                last = Some(mark);
            }
            Reply::Keys { keys, next }
        }
        PartitionOp::Count => counted(replica.keys_alive(unix_millis)),
        PartitionOp::Expiring => counted(replica.keys_expiring(unix_millis)),
        PartitionOp::Clear => Reply::Done,
    }
}
