//! What commands on the coordination group have in common: names and numbers in, decisions and
//! answers out.

use std::time::Duration;

use bytes::Bytes;
use quorate_control::consensus::ReadLevel;
use quorate_control::coordinate::{
    CoordinationAnswer, CoordinationDeed, CoordinationOutcome, CoordinationQuery, Name, WordError,
};
use tokio::sync::oneshot;

use super::{integer, is};
use crate::doors::{CoordinationError, Pending};
use crate::faces::resp::parse::Args;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::Session;

/// A number that is not negative.
pub(super) fn number<T: TryFrom<i64>>(word: &[u8]) -> Result<T, Refused> {
    T::try_from(integer(word)?).map_err(|_out_of_range| Refused::NotAnInteger)
}

pub(super) fn wrong(error: WordError) -> Refused {
    Refused::Coordination {
        why: error.to_string(),
    }
}

pub(super) fn name(args: Args<'_>, at: usize) -> Result<Name, Refused> {
    Name::try_from(args.kept(at)).map_err(wrong)
}

/// What came of a deed, or why nobody knows.
pub(super) async fn decide(
    session: &mut Session,
    deed: CoordinationDeed,
    wait_ms: u64,
) -> Result<CoordinationOutcome, Refused> {
    let coordinator = session.server.data.coordinator();
    let pending = coordinator.decide(deed, Duration::from_millis(wait_ms));
    match answered(session, pending).await? {
        CoordinationOutcome::Refused(refusal) => Err(Refused::Coordination {
            why: refusal.to_string(),
        }),
        outcome => Ok(outcome),
    }
}

pub(super) async fn ask(
    session: &mut Session,
    query: CoordinationQuery,
    level: ReadLevel,
) -> Result<CoordinationAnswer, Refused> {
    let coordinator = session.server.data.coordinator();
    let pending = coordinator.ask(query, level);
    answered(session, pending).await
}

/// `[STRONG | LEASE | STALE [ms]]` from word number `from` on: how fresh an answer must be.
pub(super) fn level(args: Args<'_>, from: usize) -> Result<ReadLevel, Refused> {
    let mut words = args.iter(from);
    let level = match words.next() {
        None => ReadLevel::Strong,
        Some(word) if is(word, "STRONG") => ReadLevel::Strong,
        Some(word) if is(word, "LEASE") => ReadLevel::Lease,
        Some(word) if is(word, "STALE") => ReadLevel::Stale {
            within: words
                .next()
                .map(number)
                .transpose()?
                .map(Duration::from_millis),
        },
        Some(_) => return Err(Refused::Syntax),
    };
    match words.next() {
        None => Ok(level),
        Some(_) => Err(Refused::Syntax),
    }
}

/// Waits for an answer, but not longer than the server serves.
async fn answered<T>(
    session: &mut Session,
    pending: Pending<Result<T, CoordinationError>>,
) -> Result<T, Refused> {
    let stopping = || Err(CoordinationError::Stopping);
    let answer = tokio::select! {
        answer = pending => answer.unwrap_or_else(|_: oneshot::error::RecvError| stopping()),
        _ = session.stop.wait_for(|stop| *stop) => stopping(),
    };
    answer.map_err(|error| Refused::NotCoordinated { error })
}

pub(super) fn unforeseen() -> Refused {
    Refused::NotCoordinated {
        error: CoordinationError::Malformed,
    }
}

pub(super) fn nothing() -> Vec<Bytes> {
    Vec::new()
}
