//! The commands that read and change sets.

use quorate_dynamo::op::{Mutation, Query};

use super::{kept, mutate, query, shared};
use crate::faces::resp::parse::Args;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::Session;
use crate::faces::resp::work::{Shape, Work};

type Translated = Result<Work, Refused>;

pub(crate) fn sadd(_: &Session, args: Args<'_>) -> Translated {
    mutate(args, Mutation::Add(kept(args, 2)), Shape::Plain)
}

pub(crate) fn srem(_: &Session, args: Args<'_>) -> Translated {
    mutate(args, Mutation::Remove(kept(args, 2)), Shape::Plain)
}

pub(crate) fn smembers(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Members, Shape::Set)
}

pub(crate) fn sismember(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Contains(vec![args.shared(2)]), Shape::First)
}

pub(crate) fn smismember(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Contains(shared(args, 2)), Shape::Plain)
}

pub(crate) fn scard(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Cardinality, Shape::Plain)
}
