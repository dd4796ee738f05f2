//! Gives each command to what decides about it.

use std::collections::BTreeSet;
use std::slice;

use super::barrier::{BarrierCommand, BarrierOutcome, BarrierRefusal};
use super::command::{
    CoordinationCommand, CoordinationDeed, CoordinationEvent, CoordinationOutcome,
};
use super::election::{ElectionCommand, ElectionOutcome, VALUE_BYTES_MAX};
use super::end::resource;
use super::lock::{LockCommand, LockMode, LockOutcome, NAMES_MAX};
use super::request::Arrival;
use super::semaphore::{PERMITS_MAX, SemaphoreCommand, SemaphoreOutcome};
use super::session::{
    AcquireRefusal, By, Name, Resource, ResourceKind, SessionCommand, SessionEnd, SessionId,
    SessionOutcome,
};
use super::state::{Coordination, Wanted};
use crate::topology::LogIndex;

type Events = Vec<CoordinationEvent>;

impl Coordination {
    /// Carries out the command at this position of the log, and tells what others wait for. Several
    /// commands may share a position; positions never fall. The first is at least 1.
    pub fn apply(
        &mut self,
        index: LogIndex,
        command: CoordinationCommand,
        events: &mut Vec<CoordinationEvent>,
    ) -> CoordinationOutcome {
        self.begin(index);
        let CoordinationCommand { id, deed } = command;
        match self.answered.arrive(id, self.sessions.now_ms()) {
            Arrival::Answered(outcome) => outcome,
            Arrival::Refused(refusal) => CoordinationOutcome::Refused(refusal),
            Arrival::New => {
                let outcome = self.carry_out(deed, events);
                self.answered.keep(id, outcome.clone());
                outcome
            }
        }
    }

    fn carry_out(&mut self, deed: CoordinationDeed, events: &mut Events) -> CoordinationOutcome {
        match deed {
            CoordinationDeed::Session(command) => {
                CoordinationOutcome::Session(self.about_session(command, events))
            }
            CoordinationDeed::Lock(command) => {
                CoordinationOutcome::Lock(self.about_lock(command, events))
            }
            CoordinationDeed::Semaphore(command) => {
                CoordinationOutcome::Semaphore(self.about_semaphore(command, events))
            }
            CoordinationDeed::Election(command) => {
                CoordinationOutcome::Election(self.about_election(command, events))
            }
            CoordinationDeed::Barrier(command) => {
                let outcome = self.about_barrier(command, events);
                CoordinationOutcome::Barrier(outcome.unwrap_or_else(BarrierOutcome::Refused))
            }
            CoordinationDeed::Latch(command) => {
                let (outcome, event) = self.latches.apply(self.number(), command);
                events.extend(event.map(CoordinationEvent::Latch));
                CoordinationOutcome::Latch(outcome)
            }
            CoordinationDeed::Metadata(command) => {
                let number = self.number();
                CoordinationOutcome::Metadata(self.metadata.apply(number, command))
            }
            CoordinationDeed::Restore(command) => {
                CoordinationOutcome::Restore(self.about_restoring(command))
            }
            CoordinationDeed::Cancel(wait) => {
                CoordinationOutcome::Cancelled(self.withdraw(wait, events))
            }
        }
    }

    fn about_session(&mut self, command: SessionCommand, events: &mut Events) -> SessionOutcome {
        match command {
            SessionCommand::Open(spec) => {
                let id = SessionId(self.number());
                match self.sessions.open(id, spec, true, 0) {
                    Ok(()) => SessionOutcome::Opened(id),
                    Err(refusal) => SessionOutcome::Refused(refusal),
                }
            }
            SessionCommand::Renew(sessions) => {
                let mut ended = sessions;
                ended.retain(|&session| !self.sessions.renew(session));
                SessionOutcome::Renewed { ended }
            }
            SessionCommand::Close(session) => {
                let is_open = self.sessions.get(session).is_some();
                self.end_sessions(&[session], SessionEnd::Closed, events);
                SessionOutcome::Closed(is_open)
            }
        }
    }

    fn about_lock(&mut self, command: LockCommand, events: &mut Events) -> LockOutcome {
        let kept = match command {
            LockCommand::Acquire {
                by,
                names,
                mode,
                patience,
            } => {
                let acquired = locks(&names, mode).and_then(|resources| {
                    self.acquire(by, &resources, Wanted::Lock(mode), patience, events)
                });
                return acquired.map_or_else(LockOutcome::Refused, LockOutcome::Acquired);
            }
            LockCommand::Force { name, token } => {
                let sessions = self.force(&name, token, events);
                return LockOutcome::Forced { sessions };
            }
            LockCommand::Renew(hold) => self.renew(&hold),
            LockCommand::Release(hold) => self.release(&hold, events),
            LockCommand::Downgrade(hold) => self.downgrade(&hold, events),
        };
        match kept {
            Ok(holds) => LockOutcome::Kept { holds },
            Err(not_held) => LockOutcome::NotHeld(not_held),
        }
    }

    fn about_semaphore(
        &mut self,
        command: SemaphoreCommand,
        events: &mut Events,
    ) -> SemaphoreOutcome {
        match command {
            SemaphoreCommand::Acquire {
                by,
                name,
                size,
                take,
                patience,
            } => {
                let line = resource(ResourceKind::Semaphore, &name);
                let acquired = self.semaphores.prepare(&name, size, take).and_then(|()| {
                    let wanted = Wanted::Permits(take);
                    self.acquire(by, slice::from_ref(&line), wanted, patience, events)
                });
                if acquired.is_err() {
                    self.tidy(&line);
                }
                acquired.map_or_else(SemaphoreOutcome::Refused, SemaphoreOutcome::Acquired)
            }
            SemaphoreCommand::Renew(hold) => SemaphoreOutcome::Kept(self.renew(&hold).is_ok()),
            SemaphoreCommand::Release(hold) => {
                SemaphoreOutcome::Kept(self.release(&hold, events).is_ok())
            }
            SemaphoreCommand::Resize { name, size } => {
                if (1..=PERMITS_MAX).contains(&size) {
                    return SemaphoreOutcome::Resized(self.resize(&name, size, events));
                }
                SemaphoreOutcome::Refused(AcquireRefusal::BadPermits {
                    wanted: size,
                    size: PERMITS_MAX,
                })
            }
        }
    }

    fn about_election(&mut self, command: ElectionCommand, events: &mut Events) -> ElectionOutcome {
        let too_long = |value: &[u8]| {
            let (bytes, limit) = (value.len(), VALUE_BYTES_MAX);
            let refusal = AcquireRefusal::ValueTooLong { bytes, limit };
            (bytes > limit).then_some(ElectionOutcome::Refused(refusal))
        };
        match command {
            ElectionCommand::Campaign {
                by,
                name,
                value,
                patience,
            } => {
                if let Some(refused) = too_long(&value) {
                    return refused;
                }
                let line = resource(ResourceKind::Election, &name);
                let acquired = self.acquire(by, &[line], Wanted::Lead(value), patience, events);
                acquired.map_or_else(ElectionOutcome::Refused, ElectionOutcome::Acquired)
            }
            ElectionCommand::Renew(hold) => ElectionOutcome::Kept(self.renew(&hold).is_ok()),
            ElectionCommand::Proclaim { hold, value } => {
                if let Some(refused) = too_long(&value) {
                    return refused;
                }
                let leads = self.holder_of(&hold).is_ok();
                if leads {
                    self.elections.proclaim(&hold.resource.name, value);
                }
                ElectionOutcome::Kept(leads)
            }
            ElectionCommand::Resign(hold) => {
                ElectionOutcome::Kept(self.release(&hold, events).is_ok())
            }
        }
    }

    fn about_barrier(
        &mut self,
        command: BarrierCommand,
        events: &mut Events,
    ) -> Result<BarrierOutcome, BarrierRefusal> {
        let (number, now_ms) = (self.number(), self.sessions.now_ms());
        let (name, session, ended) = match command {
            BarrierCommand::Arrive {
                by,
                name,
                parties,
                wait_ms,
                double,
            } => {
                self.barriers.admits(&name, parties, double)?;
                let session = self.enter(by).map_err(BarrierRefusal::Session)?;
                let until_ms = now_ms.saturating_add(wait_ms);
                let ended = self
                    .barriers
                    .arrive(number, &name, session, until_ms, parties, double);
                (name, session, ended)
            }
            BarrierCommand::Leave {
                session,
                name,
                wait_ms,
            } => {
                let until_ms = now_ms.saturating_add(wait_ms);
                let ended = self.barriers.leave(number, &name, session, until_ms)?;
                (name, session, ended)
            }
        };
        if let Some(ended) = ended {
            let round = ended.round;
            self.round_ended(ended, events);
            return Ok(BarrierOutcome::Passed { round, session });
        }
        let barrier = self.barriers.get(&name);
        Ok(BarrierOutcome::Waiting {
            round: barrier.map_or(number, |barrier| barrier.round),
            session,
            arrived: barrier.map_or(0, |barrier| barrier.waiting.len() as u32),
        })
    }

    /// The session of a party; a new one lives while it is renewed.
    fn enter(&mut self, by: By) -> Result<SessionId, AcquireRefusal> {
        match by {
            By::Session(session) => self.sessions.known(session).map(|_| session),
            By::New(spec) => {
                let session = SessionId(self.number());
                self.sessions.open(session, spec, false, 0)?;
                Ok(session)
            }
        }
    }
}

/// The locks that a request names, if it may name these.
fn locks(names: &[Name], mode: LockMode) -> Result<Vec<Resource>, AcquireRefusal> {
    let distinct: BTreeSet<_> = names.iter().collect();
    let most = match mode {
        LockMode::Exclusive => NAMES_MAX,
        LockMode::Shared => 1,
    };
    if names.is_empty() || names.len() > most || distinct.len() < names.len() {
        return Err(AcquireRefusal::BadNames { limit: NAMES_MAX });
    }
    let lock = |name: &Name| resource(ResourceKind::Lock, name);
    Ok(names.iter().map(lock).collect())
}
