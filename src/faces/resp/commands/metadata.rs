//! `META.*`: small values on which everybody agrees.

use bytes::Bytes;
use quorate_control::coordinate::{
    CoordinationAnswer, CoordinationDeed, CoordinationOutcome, CoordinationQuery, MetadataCommand,
    MetadataOutcome, Revision,
};

use super::coordinator::{ask, decide, level, name, nothing, number, unforeseen};
use crate::faces::resp::encode::Encoder;
use crate::faces::resp::parse::Args;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::Session;
use crate::faces::resp::table::RunFuture;

/// `META.GET key [STRONG | LEASE | STALE [ms]]`: `[value, revision]`, or nil if there is none.
pub(crate) fn get<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let query = CoordinationQuery::Metadata(name(args, 1)?);
        match ask(session, query, level(args, 2)?).await? {
            CoordinationAnswer::Metadata(Some(entry)) => {
                to.array(2);
                to.bulk(&entry.value);
                to.count(entry.revision.0);
            }
            CoordinationAnswer::Metadata(None) => to.null(),
            _ => return Err(unforeseen()),
        }
        Ok(nothing())
    })
}

/// Carries out a command and answers with the revision or the number of removed values; nil if
/// there was not what was expected.
async fn change(
    session: &mut Session,
    command: MetadataCommand,
    to: &mut Encoder,
) -> Result<Vec<Bytes>, Refused> {
    match decide(session, CoordinationDeed::Metadata(command), 0).await? {
        CoordinationOutcome::Metadata(outcome) => match outcome {
            MetadataOutcome::Put(revision) => to.count(revision.0),
            MetadataOutcome::Deleted(was_there) => to.integer(i64::from(was_there)),
            MetadataOutcome::Differs(_) => to.null(),
            MetadataOutcome::Refused(refusal) => {
                let why = refusal.to_string();
                return Err(Refused::Coordination { why });
            }
        },
        _ => return Err(unforeseen()),
    }
    Ok(nothing())
}

/// `META.SET key value`: the revision.
pub(crate) fn set<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let put = MetadataCommand::Put {
            name: name(args, 1)?,
            value: args.kept(2),
            expected: None,
        };
        change(session, put, to).await
    })
}

/// `META.CAS key revision value`: the new revision, or nil if the value is not at this revision.
pub(crate) fn compare_and_set<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let put = MetadataCommand::Put {
            name: name(args, 1)?,
            value: args.kept(3),
            expected: Some(Revision(number(args.get(2))?)),
        };
        change(session, put, to).await
    })
}

/// `META.DEL key [revision]`: 1, 0 if there was no value, nil if it is not at this revision.
pub(crate) fn delete<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let expected = match args.len() {
            2 => None,
            3 => Some(Revision(number(args.get(2))?)),
            _ => return Err(Refused::Syntax),
        };
        let name = name(args, 1)?;
        change(session, MetadataCommand::Delete { name, expected }, to).await
    })
}
