//! What is given back, in order or not, and what becomes of the others then.

use std::collections::BTreeSet;

use super::barrier::BarrierEvent;
use super::command::CoordinationEvent;
use super::lock::NotHeld;
use super::session::{
    DELAY_MS_MAX, HoldRef, Name, Resource, ResourceKind, SessionEnd, SessionEvent, SessionId,
    WaitId,
};
use super::state::{Coordination, Wanted};
use crate::planted::{GRANT_TO_THE_DEAD, HOLDS_LEFT_BEHIND};
use crate::topology::{FencingToken, LogIndex};

type Events = Vec<CoordinationEvent>;

/// A thing of this kind and name.
pub(super) fn resource(kind: ResourceKind, name: &Name) -> Resource {
    Resource {
        kind,
        name: name.clone(),
    }
}

impl Coordination {
    /// Lets so many milliseconds pass, by the clock of the leader of `term`, and ends what they
    /// end: sessions that were not renewed, delays, waits, rounds. The first call for a term lets
    /// nothing pass and gives every session its whole time to live; one call counts for at most
    /// [`TICK_MS_MAX`](super::session::TICK_MS_MAX).
    pub fn pass(
        &mut self,
        index: LogIndex,
        term: u64,
        elapsed_ms: u64,
        events: &mut Vec<CoordinationEvent>,
    ) {
        self.reach(index);
        let before_ms = self.sessions.now_ms();
        let expired = self.sessions.tick(term, elapsed_ms);
        let now_ms = self.sessions.now_ms();
        self.end_sessions(&expired, SessionEnd::Expired, events);
        let undelayed = self.locks.tick(now_ms);
        let undelayed = undelayed
            .iter()
            .map(|name| resource(ResourceKind::Lock, name));
        self.settle(undelayed, events);
        for wait in self.queue.due(now_ms) {
            self.withdraw(wait, events);
        }
        for ended in self.barriers.tick(now_ms) {
            self.round_ended(ended, events);
        }
        // Once a second: it looks at every client.
        if before_ms / 1000 != now_ms / 1000 {
            self.answered.tick(now_ms);
        }
    }

    /// Whether anything waits for time to pass.
    pub fn awaits_time(&self) -> bool {
        self.sessions.iter().len() > 0 || self.locks.awaits_time()
    }

    /// The session whose hold this is.
    pub(super) fn holder_of(&self, hold: &HoldRef) -> Result<SessionId, NotHeld> {
        let (name, token) = (&hold.resource.name, hold.token);
        let one = match hold.resource.kind {
            ResourceKind::Lock => return self.locks.holder(name, token, hold.session),
            ResourceKind::Semaphore => self.semaphores.holder(name, token),
            ResourceKind::Election => self.elections.holder(name, token),
        };
        one.filter(|session| hold.session.is_none_or(|named| named == *session))
            .ok_or(NotHeld::Lost { token })
    }

    /// Gives the session that holds this its whole time to live again.
    pub(super) fn renew(&mut self, hold: &HoldRef) -> Result<u32, NotHeld> {
        let session = self.holder_of(hold)?;
        self.sessions.renew(session);
        Ok(match hold.resource.kind {
            ResourceKind::Lock => self.holds(session, &hold.resource.name),
            ResourceKind::Semaphore | ResourceKind::Election => 1,
        })
    }

    /// Takes one hold back and returns how many of the kind the session has left.
    pub(super) fn release(&mut self, hold: &HoldRef, events: &mut Events) -> Result<u32, NotHeld> {
        let session = self.holder_of(hold)?;
        let name = &hold.resource.name;
        let left = match hold.resource.kind {
            ResourceKind::Lock => self.locks.release(name, session),
            ResourceKind::Semaphore => {
                self.semaphores.release(name, hold.token);
                0
            }
            ResourceKind::Election => {
                self.elections.release(name);
                0
            }
        };
        if left == 0 {
            self.close_if_idle(session, events);
            self.freed([hold.resource.clone()], events);
        }
        Ok(left)
    }

    /// Lets others share a lock that was held exclusively.
    pub(super) fn downgrade(
        &mut self,
        hold: &HoldRef,
        events: &mut Events,
    ) -> Result<u32, NotHeld> {
        let session = self.holder_of(hold)?;
        self.locks.downgrade(&hold.resource.name);
        self.settle([hold.resource.clone()], events);
        Ok(self.holds(session, &hold.resource.name))
    }

    /// Takes a lock from all that hold it, and returns how many they were.
    pub(super) fn force(
        &mut self,
        name: &Name,
        token: Option<FencingToken>,
        events: &mut Events,
    ) -> u32 {
        let Some(hold) = self.locks.get(name) else {
            return 0;
        };
        if token.is_some_and(|token| token != hold.token) {
            return 0;
        }
        let sessions: Vec<_> = hold.holders.keys().copied().collect();
        for &session in &sessions {
            while self.locks.release(name, session) > 0 {}
            self.close_if_idle(session, events);
        }
        self.freed([resource(ResourceKind::Lock, name)], events);
        sessions.len() as u32
    }

    /// Gives a semaphore another number of permits. Whoever waits for more than that waits no
    /// longer.
    pub(super) fn resize(&mut self, name: &Name, size: u32, events: &mut Events) -> Option<u32> {
        let before = self.semaphores.resize(name, size)?;
        let line = resource(ResourceKind::Semaphore, name);
        let too_many = |wait: &WaitId| {
            let waiter = self.queue.get(*wait);
            waiter.is_some_and(|it| matches!(it.wanted, Wanted::Permits(take) if take > size))
        };
        let hopeless: Vec<_> = self.queue.line(&line).filter(too_many).collect();
        for wait in hopeless {
            self.withdraw(wait, events);
        }
        self.settle([line], events);
        Some(before)
    }

    /// Ends a wait; `false` if there is none.
    pub(super) fn withdraw(&mut self, wait: WaitId, events: &mut Events) -> bool {
        let Some(waiter) = self.queue.leave(wait) else {
            return false;
        };
        events.push(CoordinationEvent::Withdrawn { wait });
        self.close_if_idle(waiter.session, events);
        self.settle(waiter.resources, events);
        true
    }

    /// Ends sessions with all that they hold and wait for, and serves the others.
    pub(super) fn end_sessions(
        &mut self,
        sessions: &[SessionId],
        end: SessionEnd,
        events: &mut Events,
    ) {
        let (mut freed, mut waited_for) = (BTreeSet::new(), Vec::new());
        for &session in sessions {
            let Some(ended) = self.sessions.end(session) else {
                continue;
            };
            if !GRANT_TO_THE_DEAD.is_planted() {
                let waits: Vec<_> = self.queue.of(session).collect();
                for wait in waits {
                    if let Some(waiter) = self.queue.leave(wait) {
                        events.push(CoordinationEvent::Withdrawn { wait });
                        waited_for.extend(waiter.resources);
                    }
                }
            }
            let delay_ms = u64::from(ended.spec.delay_ms.min(DELAY_MS_MAX));
            let is_delayed = end == SessionEnd::Expired && delay_ms > 0;
            let until_ms = is_delayed.then(|| self.sessions.now_ms() + delay_ms);
            if !HOLDS_LEFT_BEHIND.is_planted() {
                let locks = self.locks.end(session, until_ms);
                freed.extend(locks.iter().map(|name| resource(ResourceKind::Lock, name)));
            }
            let permits = self.semaphores.end(session);
            freed.extend(
                permits
                    .iter()
                    .map(|name| resource(ResourceKind::Semaphore, name)),
            );
            let led = self.elections.end(session);
            freed.extend(
                led.iter()
                    .map(|name| resource(ResourceKind::Election, name)),
            );
            for round in self.barriers.end(session) {
                self.round_ended(round, events);
            }
            events.push(CoordinationEvent::Session(SessionEvent { session, end }));
        }
        self.freed(freed, events);
        self.settle(waited_for, events);
    }

    /// Ends a session that was opened for what it holds, when it holds and waits for nothing.
    pub(super) fn close_if_idle(&mut self, session: SessionId, events: &mut Events) {
        let is_lasting = self.sessions.get(session).is_none_or(|open| open.lasting);
        let is_idle = self.locks.of(session).next().is_none()
            && self.semaphores.of(session).next().is_none()
            && self.elections.of(session).next().is_none()
            && self.barriers.of(session).next().is_none()
            && self.queue.of(session).next().is_none();
        if !is_lasting && is_idle {
            self.sessions.end(session);
            let end = SessionEnd::Closed;
            events.push(CoordinationEvent::Session(SessionEvent { session, end }));
        }
    }

    /// Tells that a round of a barrier has ended, and lets its parties go.
    pub(super) fn round_ended(&mut self, event: BarrierEvent, events: &mut Events) {
        self.barriers.remember(&event, self.sessions.now_ms());
        for &session in &event.freed {
            self.close_if_idle(session, events);
        }
        events.push(CoordinationEvent::Barrier(event));
    }

    fn freed(&mut self, freed: impl IntoIterator<Item = Resource>, events: &mut Events) {
        let freed: Vec<_> = freed.into_iter().collect();
        events.extend(freed.iter().cloned().map(CoordinationEvent::Freed));
        self.settle(freed, events);
    }
}
