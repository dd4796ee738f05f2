//! Commands on keys of any kind: existence, kind and expiry.

use std::collections::BTreeSet;

use quorate_control::topology::Partition;
use quorate_dynamo::op::{Mutation, Op, PartitionOp, Query};

use super::{integer, is, mutate, query, text};
use crate::faces::resp::parse::Args;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::Session;
use crate::faces::resp::work::{Shape, Work, now_ms};

type Translated = Result<Work, Refused>;

/// A key that is named twice is removed once, so it counts once whichever request comes first.
pub(crate) fn del(_: &Session, args: Args<'_>) -> Translated {
    let mut seen = BTreeSet::new();
    let ops = (1..args.len()).filter(|index| seen.insert(args.get(*index)));
    let ops = ops
        .map(|index| Op::Mutate(args.kept(index), Mutation::Delete))
        .collect();
    Ok(Work {
        ops,
        shape: Shape::Sum,
    })
}

pub(crate) fn exists(_: &Session, args: Args<'_>) -> Translated {
    let ops = (1..args.len())
        .map(|index| Op::Query(args.shared(index), Query::Exists))
        .collect();
    Ok(Work {
        ops,
        shape: Shape::Sum,
    })
}

pub(crate) fn kind(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Kind, Shape::Plain)
}

pub(crate) fn expire(_: &Session, args: Args<'_>) -> Translated {
    expire_at(args, 1000, now_ms(), "expire")
}

pub(crate) fn pexpire(_: &Session, args: Args<'_>) -> Translated {
    expire_at(args, 1, now_ms(), "pexpire")
}

pub(crate) fn expireat(_: &Session, args: Args<'_>) -> Translated {
    expire_at(args, 1000, 0, "expireat")
}

pub(crate) fn pexpireat(_: &Session, args: Args<'_>) -> Translated {
    expire_at(args, 1, 0, "pexpireat")
}

/// A time that has passed removes the key, as in Redis. The replica that executes the command
/// decides whether it has passed, and only while its clock agrees with the others'; this node's
/// clock may not. A time of 0 or less has passed by every clock, so it becomes the beginning of
/// time.
fn expire_at(args: Args<'_>, millis: i64, base: u64, name: &'static str) -> Translated {
    if let Some(option) = args.iter(3).next() {
        let reason = "the old expiry would have to be agreed upon first";
        let known = [
            ("NX", "expire … nx"),
            ("XX", "expire … xx"),
            ("GT", "expire … gt"),
            ("LT", "expire … lt"),
        ];
        let known = known.into_iter().find(|(word, _)| is(option, word));
        return Err(known.map_or_else(
            || Refused::ExpireOption { name: text(option) },
            |(_, name)| Refused::NeedsSerial { name, reason },
        ));
    }
    let number = integer(args.get(2))?;
    let at = number
        .checked_mul(millis)
        .and_then(|millis| millis.checked_add_unsigned(base))
        .ok_or(Refused::ExpireTime { name })?;
    let at = if number > 0 {
        u64::try_from(at).unwrap_or(0)
    } else {
        0
    };
    mutate(args, Mutation::ExpireAt(at), Shape::Plain)
}

pub(crate) fn ttl(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Expiry, Shape::TtlSeconds)
}

pub(crate) fn pttl(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Expiry, Shape::TtlMillis)
}

pub(crate) fn expiretime(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Expiry, Shape::ExpirySeconds)
}

pub(crate) fn pexpiretime(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Expiry, Shape::ExpiryMillis)
}

pub(crate) fn persist(_: &Session, args: Args<'_>) -> Translated {
    mutate(args, Mutation::Persist, Shape::Plain)
}

pub(crate) fn encoding(_: &Session, args: Args<'_>) -> Translated {
    Ok(Work::one(
        Op::Query(args.shared(2), Query::Kind),
        Shape::Encoding,
    ))
}

pub(crate) fn dbsize(session: &Session, _: Args<'_>) -> Translated {
    let ops = (0..session.partitions()?)
        .map(|partition| Op::Partition(Partition(partition), PartitionOp::Count))
        .collect();
    Ok(Work {
        ops,
        shape: Shape::Sum,
    })
}
