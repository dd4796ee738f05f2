//! What a wait in the coordination group ends with, and what is told then.

use quorate_control::coordinate::{
    AcquireRefusal, Acquired, BarrierCommand, BarrierOutcome, By, CoordinationAnswer,
    CoordinationDeed, CoordinationEvent, CoordinationOutcome, CoordinationQuery, ElectionCommand,
    ElectionOutcome, LatchCommand, LatchOutcome, LockCommand, LockOutcome, Name, Resource,
    ResourceKind, RoundEnd, SemaphoreCommand, SemaphoreOutcome, SessionCommand, SessionId, WaitId,
    WaitStanding,
};

/// What an event ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Awaited {
    Wait(WaitId),
    Round(u64),
    Latch(Name),
}

/// A wait, and how to end it.
pub(crate) struct Waiting {
    /// What an event tells the end of.
    pub(crate) awaited: Awaited,
    /// What to ask about it.
    pub(crate) query: CoordinationQuery,
    /// The session to renew meanwhile.
    pub(crate) party: Option<SessionId>,
    /// What ends the wait if the caller goes away or the time is over.
    pub(crate) withdrawal: Option<CoordinationDeed>,
}

/// What an event ends.
pub(crate) fn awaited(event: &CoordinationEvent) -> Option<Awaited> {
    match event {
        CoordinationEvent::Granted { wait, .. } | CoordinationEvent::Withdrawn { wait } => {
            Some(Awaited::Wait(*wait))
        }
        CoordinationEvent::Barrier(ended) => Some(Awaited::Round(ended.round)),
        CoordinationEvent::Latch(opened) => Some(Awaited::Latch(opened.name.clone())),
        CoordinationEvent::Freed(_) | CoordinationEvent::Session(_) => None,
    }
}

/// What a command wants to hold.
pub(crate) fn resources(deed: &CoordinationDeed) -> Vec<Resource> {
    let (kind, names) = match deed {
        CoordinationDeed::Lock(LockCommand::Acquire { names, .. }) => {
            (ResourceKind::Lock, names.clone())
        }
        CoordinationDeed::Semaphore(SemaphoreCommand::Acquire { name, .. }) => {
            (ResourceKind::Semaphore, vec![name.clone()])
        }
        CoordinationDeed::Election(ElectionCommand::Campaign { name, .. }) => {
            (ResourceKind::Election, vec![name.clone()])
        }
        _ => return Vec::new(),
    };
    names
        .into_iter()
        .map(|name| Resource { kind, name })
        .collect()
}

/// What became of a request to hold something, if the outcome is that of one.
pub(crate) fn acquired(outcome: &CoordinationOutcome) -> Option<&Acquired> {
    match outcome {
        CoordinationOutcome::Lock(LockOutcome::Acquired(acquired))
        | CoordinationOutcome::Semaphore(SemaphoreOutcome::Acquired(acquired))
        | CoordinationOutcome::Election(ElectionOutcome::Acquired(acquired)) => Some(acquired),
        _ => None,
    }
}

/// Why a request to hold something was refused, if it was.
pub(crate) fn refused(outcome: &CoordinationOutcome) -> Option<&AcquireRefusal> {
    match outcome {
        CoordinationOutcome::Lock(LockOutcome::Refused(refusal))
        | CoordinationOutcome::Semaphore(SemaphoreOutcome::Refused(refusal))
        | CoordinationOutcome::Election(ElectionOutcome::Refused(refusal)) => Some(refusal),
        _ => None,
    }
}

/// What the outcome of a command waits for, if it does.
pub(crate) fn waiting(deed: &CoordinationDeed, outcome: &CoordinationOutcome) -> Option<Waiting> {
    if let Some(&Acquired::Waiting { wait, session, .. }) = acquired(outcome) {
        let resource = resources(deed).into_iter().next()?;
        return Some(Waiting {
            awaited: Awaited::Wait(wait),
            query: CoordinationQuery::Wait {
                wait,
                session,
                resource,
            },
            party: None,
            withdrawal: Some(CoordinationDeed::Cancel(wait)),
        });
    }
    match (deed, outcome) {
        (
            CoordinationDeed::Barrier(command),
            CoordinationOutcome::Barrier(BarrierOutcome::Waiting { round, session, .. }),
        ) => {
            let (name, is_new) = match command {
                BarrierCommand::Arrive { name, by, .. } => (name, matches!(by, By::New(_))),
                BarrierCommand::Leave { name, .. } => (name, false),
            };
            let close = CoordinationDeed::Session(SessionCommand::Close(*session));
            Some(Waiting {
                awaited: Awaited::Round(*round),
                query: CoordinationQuery::Round {
                    name: name.clone(),
                    round: *round,
                },
                party: is_new.then_some(*session),
                withdrawal: is_new.then_some(close),
            })
        }
        (
            CoordinationDeed::Latch(LatchCommand::Await { name }),
            CoordinationOutcome::Latch(LatchOutcome::Waiting { closing, .. }),
        ) => Some(Waiting {
            awaited: Awaited::Latch(name.clone()),
            query: CoordinationQuery::Latch {
                name: name.clone(),
                closing: *closing,
            },
            party: None,
            withdrawal: None,
        }),
        _ => None,
    }
}

/// Whether a wait goes on.
pub(crate) fn goes_on(answer: &CoordinationAnswer) -> bool {
    matches!(
        answer,
        CoordinationAnswer::Wait(WaitStanding::Waiting)
            | CoordinationAnswer::Round(None)
            | CoordinationAnswer::Latch(false)
    )
}

/// Whether a wait has ended well. A replica that lags behind never says so too early.
pub(crate) fn is_fulfilled(answer: &CoordinationAnswer) -> bool {
    matches!(
        answer,
        CoordinationAnswer::Wait(WaitStanding::Granted { .. })
            | CoordinationAnswer::Round(Some(RoundEnd::Passed))
    )
}

/// The outcome of a command whose wait has ended like this.
pub(crate) fn ended(
    outcome: CoordinationOutcome,
    answer: &CoordinationAnswer,
) -> CoordinationOutcome {
    let of_wait = |acquired: Acquired| match (acquired, answer) {
        (
            Acquired::Waiting { session, .. },
            CoordinationAnswer::Wait(WaitStanding::Granted { token }),
        ) => Acquired::Granted {
            token: *token,
            session,
            holds: 1,
        },
        (Acquired::Waiting { position, .. }, _) => Acquired::Taken { by: None, position },
        (acquired, _) => acquired,
    };
    match outcome {
        CoordinationOutcome::Lock(LockOutcome::Acquired(acquired)) => {
            CoordinationOutcome::Lock(LockOutcome::Acquired(of_wait(acquired)))
        }
        CoordinationOutcome::Semaphore(SemaphoreOutcome::Acquired(acquired)) => {
            CoordinationOutcome::Semaphore(SemaphoreOutcome::Acquired(of_wait(acquired)))
        }
        CoordinationOutcome::Election(ElectionOutcome::Acquired(acquired)) => {
            CoordinationOutcome::Election(ElectionOutcome::Acquired(of_wait(acquired)))
        }
        CoordinationOutcome::Barrier(BarrierOutcome::Waiting { round, session, .. }) => {
            CoordinationOutcome::Barrier(match answer {
                CoordinationAnswer::Round(Some(RoundEnd::Passed)) => {
                    BarrierOutcome::Passed { round, session }
                }
                _ => BarrierOutcome::Broken { round },
            })
        }
        CoordinationOutcome::Latch(_) => CoordinationOutcome::Latch(match answer {
            CoordinationAnswer::Latch(true) => LatchOutcome::Open,
            _ => return outcome,
        }),
        other => other,
    }
}
