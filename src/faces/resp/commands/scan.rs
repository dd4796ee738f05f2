//! Commands that walk through the keys of a keyspace, or the elements of one key.

use bytes::Bytes;
use quorate_control::topology::{KeyspaceId, Partition, Right};
use quorate_dynamo::op::{MARK_BITS, Op, PartitionOp, Query, Reply, RequestError};

use super::{integer, is};
use crate::faces::resp::encode::Encoder;
use crate::faces::resp::glob::Glob;
use crate::faces::resp::parse::Args;
use crate::faces::resp::permit;
use crate::faces::resp::refuse::{Extent, Refused, request_error};
use crate::faces::resp::session::Session;
use crate::faces::resp::table::RunFuture;
use crate::faces::resp::work::{REPLY_BYTES_MAX, kind_name};

/// The most keys of one page, whatever `COUNT` says.
const PAGE_KEYS_MAX: i64 = 10_000;
/// The most keys requested from one replica at a time, and the bytes of keys after which a page is
/// full: a page of long keys has fewer of them.
const ASK_KEYS_MAX: usize = 1000;
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Steps of matching before others get a turn; about a quarter of a millisecond.
const TURN_STEPS: usize = 256 * 1024;
/// The most partitions that one `SCAN` visits, so that it answers soon even on an empty keyspace
/// with many partitions.
const PAGE_PARTITIONS_MAX: u16 = 64;
/// The most keys that `KEYS` returns.
const KEYS_MAX: usize = 100_000;
/// The most requests of one command under way together.
const WINDOW: usize = 64;

/// The position of a scan; `partition` is the number of partitions when it is done.
///
/// As a cursor it is `partition << 41 | mark`. So a cursor says by itself where the scan continues:
/// on any node, and after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    partition: u16,
    /// Where in the partition; see [`MARK_BITS`].
    mark: u64,
}

impl Position {
    /// Redis takes every number of 64 bits. One that no scan gives is behind the last partition.
    fn of(cursor: &[u8]) -> Result<Self, Refused> {
        let cursor: u64 = std::str::from_utf8(cursor)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(Refused::Cursor)?;
        Ok(Self {
            partition: u16::try_from(cursor >> MARK_BITS).unwrap_or(u16::MAX),
            mark: cursor & ((1 << MARK_BITS) - 1),
        })
    }

    /// The cursor with which a scan of so many partitions continues here; 0 at its end.
    fn cursor(self, partitions: u16) -> u64 {
        if self.partition < partitions {
            u64::from(self.partition) << MARK_BITS | self.mark
        } else {
            0
        }
    }
}

/// The options of a `SCAN`.
struct Filter<'a> {
    pattern: Option<Glob>,
    kind: Option<&'a [u8]>,
    count: u32,
}

pub(crate) fn scan<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let mut position = Position::of(args.get(1))?;
        let filter = filter(args, 2, args.len())?;
        let partitions = session.partitions()?;
        match page(session, &mut position, partitions, &filter).await {
            Ok(keys) => {
                to.array(2);
                to.bulk(position.cursor(partitions).to_string().as_bytes());
                to.array(keys.len());
                Ok(keys)
            }
            Err(error) => {
                fail(session, &error, false, to);
                Ok(Vec::new())
            }
        }
    })
}

/// The options in the arguments from number `from` up to `end`.
fn filter(args: Args<'_>, from: usize, end: usize) -> Result<Filter<'_>, Refused> {
    let mut filter = Filter {
        pattern: None,
        kind: None,
        count: 10,
    };
    for at in (from..end).step_by(2) {
        let (option, value) = (
            args.get(at),
            (at + 1 < end)
                .then(|| args.get(at + 1))
                .ok_or(Refused::Syntax)?,
        );
        if is(option, "MATCH") {
            filter.pattern = Some(Glob::new(value)?);
        } else if is(option, "TYPE") {
            filter.kind = Some(value);
        } else if is(option, "COUNT") {
            let count = Some(integer(value)?)
                .filter(|count| *count > 0)
                .ok_or(Refused::Syntax)?;
            filter.count = count.min(PAGE_KEYS_MAX).unsigned_abs() as u32;
        } else {
            return Err(Refused::Syntax);
        }
    }
    Ok(filter)
}

/// Advances `position` by about `count` keys and returns those that pass the filter.
async fn page(
    session: &Session,
    position: &mut Position,
    partitions: u16,
    filter: &Filter<'_>,
) -> Result<Vec<Bytes>, RequestError> {
    let mut keys = Vec::new();
    let (mut seen, mut bytes) = (0, 0);
    let stop_before = position
        .partition
        .saturating_add(PAGE_PARTITIONS_MAX)
        .min(partitions);
    while position.partition < stop_before && seen < filter.count as usize && bytes < PAGE_BYTES_MAX
    {
        let count = (filter.count as usize - seen).min(ASK_KEYS_MAX) as u32;
        let op = Op::Partition(
            Partition(position.partition),
            PartitionOp::Scan {
                from: position.mark,
                count,
            },
        );
        let Reply::Keys { keys: found, next } = session.ask(op).await?.reply else {
            break;
        };
        seen += found.len();
        bytes += found.iter().map(Bytes::len).sum::<usize>();
        keys.extend(matching(found, filter.pattern.as_ref()).await);
        *position = match next {
            Some(mark) => Position { mark, ..*position },
            None => Position {
                partition: position.partition + 1,
                mark: 0,
            },
        };
    }
    match filter.kind {
        Some(kind) => of_kind(session, keys, kind).await,
        None => Ok(keys),
    }
}

/// Returns the matching ones of `keys`. The faces share their thread with the network, so a long
/// walk takes turns.
async fn matching(keys: Vec<Bytes>, pattern: Option<&Glob>) -> Vec<Bytes> {
    let named = keys.into_iter().map(|key| (key, ())).collect();
    let kept = matching_names(named, pattern).await;
    kept.into_iter().map(|(key, ())| key).collect()
}

/// The same for names with something beside them.
async fn matching_names<T>(named: Vec<(Bytes, T)>, pattern: Option<&Glob>) -> Vec<(Bytes, T)> {
    let Some(pattern) = pattern else { return named };
    let (mut kept, mut steps) = (Vec::new(), 0);
    for (name, beside) in named {
        steps += pattern.steps(&name);
        if steps >= TURN_STEPS {
            steps = 0;
            tokio::task::yield_now().await;
        }
        if pattern.matches(&name) {
            kept.push((name, beside));
        }
    }
    kept
}

/// Returns the ones of `keys` that hold `kind`.
async fn of_kind(
    session: &Session,
    keys: Vec<Bytes>,
    kind: &[u8],
) -> Result<Vec<Bytes>, RequestError> {
    let mut matching = Vec::new();
    for window in keys.chunks(WINDOW) {
        let ask = |key: &Bytes| {
            session
                .server
                .data
                .submit(session.request(Op::Query(key.clone(), Query::Kind), 0))
        };
        let pending: Vec<_> = window.iter().map(ask).collect();
        for (key, answer) in window.iter().zip(pending) {
            let Reply::Kind(held) = answer.await.unwrap_or(Err(RequestError::Stopping))?.reply
            else {
                continue;
            };
            if held.is_some() && is(kind, kind_name(held)) {
                matching.push(key.clone());
            }
        }
    }
    Ok(matching)
}

pub(crate) fn hscan<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(elements(session, args, Query::Entries, to))
}

pub(crate) fn sscan<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(elements(session, args, Query::Members, to))
}

/// Answers a scan of one key: everything comes in the first page, as Redis gives small collections.
async fn elements(
    session: &mut Session,
    args: Args<'_>,
    query: Query,
    to: &mut Encoder,
) -> Result<Vec<Bytes>, Refused> {
    let begins = Position::of(args.get(2))? == Position::default();
    let words = args.len();
    let alone = query == Query::Entries && is(args.get(words - 1), "NOVALUES");
    let filter = filter(args, 3, words - usize::from(alone && words > 3))?;
    if filter.kind.is_some() {
        return Err(Refused::Syntax);
    }
    let reply = match session.ask(Op::Query(args.shared(1), query)).await {
        Ok(answer) => answer.reply,
        Err(error) => {
            fail(session, &error, false, to);
            return Ok(Vec::new());
        }
    };
    let pattern = filter.pattern.as_ref();
    let found = match reply {
        Reply::List(members) if begins => matching(members, pattern).await,
        Reply::Pairs(pairs) if begins => {
            let pairs = matching_names(pairs, pattern).await.into_iter();
            pairs
                .flat_map(|(field, value)| [Some(field), (!alone).then_some(value)])
                .flatten()
                .collect()
        }
        _ => Vec::new(),
    };
    to.array(2);
    to.bulk(b"0");
    to.array(found.len());
    Ok(found)
}

pub(crate) fn keys<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let filter = Filter {
            pattern: Some(Glob::new(args.get(1))?),
            kind: None,
            count: PAGE_KEYS_MAX as u32,
        };
        let partitions = session.partitions()?;
        let mut position = Position::default();
        let (mut all, mut bytes) = (Vec::new(), 0);
        while position.partition < partitions {
            match page(session, &mut position, partitions, &filter).await {
                Ok(keys) => {
                    bytes += keys.iter().map(Bytes::len).sum::<usize>();
                    all.extend(keys);
                }
                Err(error) => {
                    fail(session, &error, false, to);
                    return Ok(Vec::new());
                }
            }
            if bytes > REPLY_BYTES_MAX {
                return Err(Refused::ReplyTooLong {
                    max: REPLY_BYTES_MAX,
                });
            }
            if all.len() > KEYS_MAX {
                return Err(Refused::TooManyKeys { max: KEYS_MAX });
            }
        }
        to.array(all.len());
        Ok(all)
    })
}

pub(crate) fn flushdb<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        session.partitions()?;
        let keyspace = session.keyspace;
        flush(session, args, vec![keyspace], to).await
    })
}

pub(crate) fn flushall<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let keyspaces: Vec<KeyspaceId> = session
            .server
            .data
            .topology()
            .keyspaces
            .keys()
            .copied()
            .collect();
        // All or nothing: whoever may not clear one of them clears none.
        for keyspace in &keyspaces {
            session
                .may(Right::Write(*keyspace))
                .map_err(|denied| permit::refused(denied, session, "flushall"))?;
        }
        flush(session, args, keyspaces, to).await
    })
}

/// Clears the keyspaces one after another. After an error, those before it are cleared.
async fn flush(
    session: &mut Session,
    args: Args<'_>,
    keyspaces: Vec<KeyspaceId>,
    to: &mut Encoder,
) -> Result<Vec<Bytes>, Refused> {
    let mode = args.iter(1).next();
    if args.len() > 2 || mode.is_some_and(|mode| !is(mode, "ASYNC") && !is(mode, "SYNC")) {
        return Err(Refused::Syntax);
    }
    let client = session.server.clients.find(session.id);
    tracing::info!(
        target: "audit",
        user = session.user(),
        from = client.map(|client| tracing::field::display(client.address)),
        keyspaces = ?keyspaces,
        "removes all keys"
    );
    let selected = session.keyspace;
    for keyspace in keyspaces {
        session.keyspace = keyspace;
        let cleared = clear(session).await;
        session.keyspace = selected;
        if let Err(error) = cleared {
            fail(session, &error, true, to);
            return Ok(Vec::new());
        }
    }
    to.ok();
    Ok(Vec::new())
}

/// Clears every partition of the session's keyspace. After an error, some may be cleared.
async fn clear(session: &mut Session) -> Result<(), RequestError> {
    let mut first_error = None;
    let partitions = session.partitions();
    let partitions: Vec<u16> = (0..partitions.map_err(|_gone| RequestError::NoKeyspace)?).collect();
    for window in partitions.chunks(WINDOW) {
        let ask = |number: &u16| {
            session
                .server
                .data
                .submit(session.request(Op::Partition(Partition(*number), PartitionOp::Clear), 0))
        };
        let pending: Vec<_> = window.iter().map(ask).collect();
        for answer in pending {
            match answer.await.unwrap_or(Err(RequestError::Stopping)) {
                Ok(answer) => session.remember(&answer),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
    }
    first_error.map_or(Ok(()), Err)
}

/// The error of a walk. A walk that clears may have done so in some of the partitions.
fn fail(session: &Session, error: &RequestError, clears: bool, to: &mut Encoder) {
    let extent = Extent {
        writes: clears,
        keys: 1,
        applied: 0,
        unknown: 0,
    };
    let mut line = request_error(error, extent, &session.server.data.topology());
    if clears {
        line.push_str("; other partitions may have been cleared");
    }
    to.error(&line);
}
