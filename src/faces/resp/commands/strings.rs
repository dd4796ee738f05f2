//! The commands that read and change strings and counters.

use quorate_dynamo::op::{Mutation, Op, Query, SetExpiry};

use super::{arity, integer, is, mutate, query};
use crate::faces::resp::parse::Args;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::Session;
use crate::faces::resp::work::{Shape, Work, now_ms};

type Translated = Result<Work, Refused>;

pub(crate) fn get(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Get, Shape::Plain)
}

pub(crate) fn strlen(_: &Session, args: Args<'_>) -> Translated {
    query(args, Query::Length, Shape::Plain)
}

pub(crate) fn getdel(_: &Session, args: Args<'_>) -> Translated {
    mutate(args, Mutation::GetDelete, Shape::Plain)
}

pub(crate) fn append(_: &Session, args: Args<'_>) -> Translated {
    mutate(args, Mutation::Append(args.kept(2)), Shape::Plain)
}

pub(crate) fn set(_: &Session, args: Args<'_>) -> Translated {
    let mut expiry = None;
    let mut at = 3;
    while at < args.len() {
        let option = args.get(at);
        let reason = "the old value would have to be agreed upon first";
        for (word, name) in [("NX", "set … nx"), ("XX", "set … xx"), ("GET", "set … get")] {
            if is(option, word) {
                return Err(Refused::NeedsSerial { name, reason });
            }
        }
        let chosen = if is(option, "KEEPTTL") {
            SetExpiry::Keep
        } else {
            let unit = Unit::of(option).ok_or(Refused::Syntax)?;
            at += 1;
            let number = if at < args.len() {
                args.get(at)
            } else {
                return Err(Refused::Syntax);
            };
            SetExpiry::At(unit.instant(integer(number)?, "set")?)
        };
        if expiry.replace(chosen).is_some() {
            return Err(Refused::Syntax);
        }
        at += 1;
    }
    mutate(
        args,
        Mutation::Set {
            value: args.kept(2),
            expiry: expiry.unwrap_or(SetExpiry::Clear),
        },
        Shape::Plain,
    )
}

pub(crate) fn setex(_: &Session, args: Args<'_>) -> Translated {
    set_for(
        args,
        &Unit {
            millis: 1000,
            relative: true,
        },
        "setex",
    )
}

pub(crate) fn psetex(_: &Session, args: Args<'_>) -> Translated {
    set_for(
        args,
        &Unit {
            millis: 1,
            relative: true,
        },
        "psetex",
    )
}

fn set_for(args: Args<'_>, unit: &Unit, name: &'static str) -> Translated {
    let expiry = SetExpiry::At(unit.instant(integer(args.get(2))?, name)?);
    mutate(
        args,
        Mutation::Set {
            value: args.kept(3),
            expiry,
        },
        Shape::Plain,
    )
}

/// The unit and origin in which `SET` gives an expiry.
struct Unit {
    millis: i64,
    relative: bool,
}

impl Unit {
    fn of(option: &[u8]) -> Option<Self> {
        [
            ("EX", 1000, true),
            ("PX", 1, true),
            ("EXAT", 1000, false),
            ("PXAT", 1, false),
        ]
        .into_iter()
        .find(|(word, ..)| is(option, word))
        .map(|(_, millis, relative)| Self { millis, relative })
    }

    /// The Unix time in milliseconds. A time of 0 or less, or one out of range, is refused.
    fn instant(&self, number: i64, name: &'static str) -> Result<u64, Refused> {
        let base = if self.relative { now_ms() } else { 0 };
        let instant = number
            .checked_mul(self.millis)
            .filter(|_| number > 0)
            .and_then(|millis| millis.checked_add_unsigned(base));
        instant
            .and_then(|at| u64::try_from(at).ok())
            .ok_or(Refused::ExpireTime { name })
    }
}

pub(crate) fn mget(_: &Session, args: Args<'_>) -> Translated {
    let ops = (1..args.len())
        .map(|index| Op::Query(args.shared(index), Query::Get))
        .collect();
    Ok(Work {
        ops,
        shape: Shape::Each,
    })
}

pub(crate) fn mset(_: &Session, args: Args<'_>) -> Translated {
    arity(args.len() % 2 == 1, "mset")?;
    let set = |index| Mutation::Set {
        value: args.kept(index + 1),
        expiry: SetExpiry::Clear,
    };
    let ops = (1..args.len())
        .step_by(2)
        .map(|index| Op::Mutate(args.kept(index), set(index)))
        .collect();
    Ok(Work {
        ops,
        shape: Shape::Ok,
    })
}

pub(crate) fn incr(_: &Session, args: Args<'_>) -> Translated {
    mutate(args, Mutation::Increment(1), Shape::Plain)
}

pub(crate) fn decr(_: &Session, args: Args<'_>) -> Translated {
    mutate(args, Mutation::Increment(-1), Shape::Plain)
}

pub(crate) fn incrby(_: &Session, args: Args<'_>) -> Translated {
    mutate(
        args,
        Mutation::Increment(integer(args.get(2))?),
        Shape::Plain,
    )
}

pub(crate) fn decrby(_: &Session, args: Args<'_>) -> Translated {
    let amount = integer(args.get(2))?
        .checked_neg()
        .ok_or(Refused::DecrementOverflow)?;
    mutate(args, Mutation::Increment(amount), Shape::Plain)
}
