//! The commands that read and change hashes.

use bytes::Bytes;
use quorate_dynamo::op::{Mutation, Query};

use super::{arity, integer, kept, mutate, query, shared};
use crate::faces::resp::parse::Args;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::Session;
use crate::faces::resp::work::{Shape, Work};

type Translated = Result<Work, Refused>;

pub(crate) fn hset(_: &Session, args: Args<'_>) -> Translated {
    arity(args.len().is_multiple_of(2), "hset")?;
    mutate(args, Mutation::SetFields(pairs(args)), Shape::Plain)
}

pub(crate) fn hmset(_: &Session, args: Args<'_>) -> Translated {
    arity(args.len().is_multiple_of(2), "hmset")?;
    mutate(args, Mutation::SetFields(pairs(args)), Shape::Ok)
}

fn pairs(args: Args<'_>) -> Vec<(Bytes, Bytes)> {
    (2..args.len())
        .step_by(2)
        .map(|index| (args.kept(index), args.kept(index + 1)))
        .collect()
}

pub(crate) fn hget(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Fields(vec![args.shared(2)]), Shape::First)
}

pub(crate) fn hmget(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Fields(shared(args, 2)), Shape::Plain)
}

pub(crate) fn hdel(_: &Session, args: Args<'_>) -> Translated {
    mutate(args, Mutation::RemoveFields(kept(args, 2)), Shape::Plain)
}

pub(crate) fn hgetall(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Entries, Shape::Plain)
}

pub(crate) fn hkeys(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Entries, Shape::Fields)
}

pub(crate) fn hvals(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Entries, Shape::Values)
}

pub(crate) fn hlen(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::FieldCount, Shape::Plain)
}

pub(crate) fn hexists(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Fields(vec![args.shared(2)]), Shape::Present)
}

pub(crate) fn hincrby(_: &Session, args: Args<'_>) -> Translated {
    mutate(
        args,
        Mutation::IncrementField(args.kept(2), integer(args.get(3))?),
        Shape::FieldNumber,
    )
}
