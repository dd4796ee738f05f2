//! `BARRIER.*` and `LATCH.*`: clients that wait for each other.

use quorate_control::coordinate::{
    BarrierCommand, BarrierOutcome, By, CoordinationDeed, CoordinationOutcome, Holder,
    LatchCommand, LatchOutcome, SessionId, SessionSpec, Ttl,
};

use super::coordinator::{decide, name, number, unforeseen};
use super::is;
use crate::faces::resp::encode::Encoder;
use crate::faces::resp::parse::Args;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::Session;
use crate::faces::resp::table::RunFuture;

/// How long a party that died is counted as one that waits, in milliseconds. The node renews the
/// session of a party that waits at it.
const PARTY_TTL_MS: u64 = 10_000;

/// `TIMEOUT ms` from word number `at` on.
fn timeout(args: Args<'_>, at: usize) -> Result<u64, Refused> {
    if args.len() == at + 2 && is(args.get(at), "TIMEOUT") {
        number(args.get(at + 1))
    } else {
        Err(Refused::Syntax)
    }
}

/// `SESSION id` at word number `at`.
fn party(args: Args<'_>, at: usize) -> Result<SessionId, Refused> {
    if args.len() > at + 1 && is(args.get(at), "SESSION") {
        number(args.get(at + 1)).map(SessionId)
    } else {
        Err(Refused::Syntax)
    }
}

/// Waits with the others: 1 when all have come, an error if the round is broken.
async fn meet(
    session: &mut Session,
    command: BarrierCommand,
    wait_ms: u64,
    to: &mut Encoder,
) -> Result<Vec<bytes::Bytes>, Refused> {
    match decide(session, CoordinationDeed::Barrier(command), wait_ms).await? {
        CoordinationOutcome::Barrier(BarrierOutcome::Passed { .. }) => to.integer(1),
        CoordinationOutcome::Barrier(
            BarrierOutcome::Broken { .. } | BarrierOutcome::Waiting { .. },
        ) => return Err(Refused::BrokenBarrier),
        CoordinationOutcome::Barrier(BarrierOutcome::Refused(refusal)) => {
            let why = refusal.to_string();
            return Err(Refused::Coordination { why });
        }
        _ => return Err(unforeseen()),
    }
    Ok(Vec::new())
}

/// `BARRIER.WAIT key parties TIMEOUT ms`.
pub(crate) fn wait<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let wait_ms = timeout(args, 3)?;
        let ttl = Ttl::try_from(PARTY_TTL_MS);
        let spec = ttl.and_then(|ttl| SessionSpec::new(Holder::default(), ttl, 0));
        let spec = spec.map_err(|error| Refused::Coordination {
            why: error.to_string(),
        })?;
        let arrive = BarrierCommand::Arrive {
            by: By::New(spec),
            name: name(args, 1)?,
            parties: number(args.get(2))?,
            wait_ms,
            double: false,
        };
        meet(session, arrive, wait_ms, to).await
    })
}

/// `BARRIER.ENTER key parties SESSION id TIMEOUT ms`.
pub(crate) fn enter<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let wait_ms = timeout(args, 5)?;
        let arrive = BarrierCommand::Arrive {
            by: By::Session(party(args, 3)?),
            name: name(args, 1)?,
            parties: number(args.get(2))?,
            wait_ms,
            double: true,
        };
        meet(session, arrive, wait_ms, to).await
    })
}

/// `BARRIER.LEAVE key SESSION id TIMEOUT ms`.
pub(crate) fn leave<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let wait_ms = timeout(args, 4)?;
        let leave = BarrierCommand::Leave {
            session: party(args, 2)?,
            name: name(args, 1)?,
            wait_ms,
        };
        meet(session, leave, wait_ms, to).await
    })
}

async fn on_latch(
    session: &mut Session,
    command: LatchCommand,
    wait_ms: u64,
    to: &mut Encoder,
) -> Result<Vec<bytes::Bytes>, Refused> {
    match decide(session, CoordinationDeed::Latch(command), wait_ms).await? {
        CoordinationOutcome::Latch(outcome) => match outcome {
            LatchOutcome::Set(is_set) => to.integer(i64::from(is_set)),
            LatchOutcome::Counted(left) => to.integer(i64::from(left)),
            LatchOutcome::Open => to.integer(1),
            LatchOutcome::Waiting { .. } => to.integer(0),
            LatchOutcome::TooMany => {
                let why = "too many latches are closed".to_owned();
                return Err(Refused::Coordination { why });
            }
        },
        _ => return Err(unforeseen()),
    }
    Ok(Vec::new())
}

/// `LATCH.SET key count`: 1, or 0 if it counts already.
pub(crate) fn set<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let set = LatchCommand::Set {
            name: name(args, 1)?,
            count: number(args.get(2))?,
        };
        on_latch(session, set, 0, to).await
    })
}

/// `LATCH.COUNTDOWN key [by]`: what is left.
pub(crate) fn count_down<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let by = match args.len() {
            2 => 1,
            3 => number(args.get(2))?,
            _ => return Err(Refused::Syntax),
        };
        let name = name(args, 1)?;
        on_latch(session, LatchCommand::CountDown { name, by }, 0, to).await
    })
}

/// `LATCH.AWAIT key [TIMEOUT ms]`: 1 if the way is open, 0 if it is not in time.
pub(crate) fn await_latch<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let wait_ms = match args.len() {
            2 => 0,
            _ => timeout(args, 2)?,
        };
        let name = name(args, 1)?;
        on_latch(session, LatchCommand::Await { name }, wait_ms, to).await
    })
}
