//! From a request to a grant: everything that can be held is asked for, waited for and granted
//! here, by one path. A request joins its queues; whoever heads them and fits is served; if that is
//! not the request itself, it waits, unless it said that it would not or waiting would be a
//! deadlock.

use std::collections::BTreeSet;

use super::command::CoordinationEvent;
use super::deadlock;
use super::lock::{Fit, HOLDS_MAX};
use super::queue::{WAITERS_MAX, Waiter};
use super::semaphore::Permits;
use super::session::{
    AcquireRefusal, Acquired, By, Deadlocked, Name, Occupant, Patience, Resource, ResourceKind,
    SessionId, WaitId,
};
use super::state::{Coordination, Wanted};
use crate::planted::{
    DEADLOCK_BEHIND_A_QUEUE, DEADLOCK_UNSEEN, GRANT_TO_THE_DEAD, TRY_LEAVES_A_SESSION,
};
use crate::topology::FencingToken;

/// How many sessions of one holder are looked at where deadlocks are looked for. More than a few
/// are not one party but a name that many use.
const PARTY_MAX: usize = 64;

type Events = Vec<CoordinationEvent>;

impl Coordination {
    /// Takes all of `resources` for the session, or waits for them.
    pub(super) fn acquire(
        &mut self,
        by: By,
        resources: &[Resource],
        wanted: Wanted,
        patience: Patience,
        events: &mut Events,
    ) -> Result<Acquired, AcquireRefusal> {
        let wait = WaitId(self.number());
        if self.queue.len() >= WAITERS_MAX {
            let limit = WAITERS_MAX;
            return Err(AcquireRefusal::TooManyWaiters { limit });
        }
        let session = match by {
            By::Session(session) => {
                self.sessions.known(session)?;
                if let Some(held) = self.take_again(session, resources, &wanted)? {
                    return Ok(held);
                }
                session
            }
            By::New(spec) => {
                let session = SessionId(self.number());
                self.sessions
                    .open(session, spec, false, patience.wait_ms())?;
                session
            }
        };
        let now_ms = self.sessions.now_ms();
        let line = resources.to_vec();
        self.queue
            .join(wait, session, line, wanted, patience, now_ms);
        self.settle(resources.iter().cloned(), events);
        let mine = |event: &CoordinationEvent| match event {
            CoordinationEvent::Granted {
                wait: of, token, ..
            } if *of == wait => Some(*token),
            _ => None,
        };
        if let Some(token) = events.iter().find_map(mine) {
            return Ok(Acquired::Granted {
                token,
                session,
                holds: 1,
            });
        }
        let position = self.queue.position(wait);
        if patience.wait_ms() == 0 {
            let by = resources.iter().find_map(|resource| self.holding(resource));
            self.give_up(wait, events);
            return Ok(Acquired::Taken { by, position });
        }
        if let Some(cycle) = self.deadlock(wait, session) {
            self.give_up(wait, events);
            return Err(AcquireRefusal::WouldDeadlock { cycle });
        }
        Ok(Acquired::Waiting {
            wait,
            session,
            position,
        })
    }

    /// What a session gets without waiting because it holds it already: a lock once more, a lock
    /// alone that it shared with nobody, a leadership that it has.
    fn take_again(
        &mut self,
        session: SessionId,
        resources: &[Resource],
        wanted: &Wanted,
    ) -> Result<Option<Acquired>, AcquireRefusal> {
        let [Resource { name, .. }] = resources else {
            let held = |resource: &&Resource| self.locks.of(session).any(|it| *it == resource.name);
            return match resources.iter().find(held) {
                Some(held) => Err(AcquireRefusal::HeldAlready {
                    name: held.name.clone(),
                }),
                None => Ok(None),
            };
        };
        let granted = |(token, holds)| {
            Ok(Some(Acquired::Granted {
                token,
                session,
                holds,
            }))
        };
        match wanted {
            Wanted::Lock(mode) => match self.locks.fit(name, session, *mode) {
                Fit::Shares { others } => Err(AcquireRefusal::NotTheOnlyReader { others }),
                Fit::Again | Fit::Upgrade if self.holds(session, name) >= HOLDS_MAX => {
                    Err(AcquireRefusal::TooOften { limit: HOLDS_MAX })
                }
                Fit::Again => {
                    let token = self.highest();
                    granted(self.locks.grant(name, session, *mode, token))
                }
                Fit::Upgrade => {
                    let token = self.next_token();
                    granted(self.locks.grant(name, session, *mode, token))
                }
                Fit::Free | Fit::Taken => Ok(None),
            },
            Wanted::Lead(_) => match self.elections.get(name) {
                Some(led) if led.session == session => granted((led.token, 1)),
                _ => Ok(None),
            },
            Wanted::Permits(_) => Ok(None),
        }
    }

    /// How many times a session holds a lock.
    pub(super) fn holds(&self, session: SessionId, name: &Name) -> u32 {
        let hold = self.locks.get(name);
        hold.and_then(|hold| hold.holders.get(&session).copied())
            .unwrap_or(0)
    }

    /// Serves whoever is next for these things, and for what that makes free to be served.
    pub(super) fn settle(
        &mut self,
        freed: impl IntoIterator<Item = Resource>,
        events: &mut Events,
    ) {
        let mut open: BTreeSet<_> = freed.into_iter().collect();
        while let Some(resource) = open.pop_first() {
            while let Some(wait) = self.queue.ready(&resource, |waiter| self.fits(waiter)) {
                let Some(waiter) = self.queue.leave(wait) else {
                    break;
                };
                let others = waiter.resources.iter().filter(|other| **other != resource);
                open.extend(others.cloned());
                let token = self.grant(wait, &waiter);
                events.push(CoordinationEvent::Granted {
                    wait,
                    session: waiter.session,
                    token,
                    resources: waiter.resources,
                });
            }
            self.tidy(&resource);
        }
    }

    /// Forgets what nobody holds or waits for.
    pub(super) fn tidy(&mut self, resource: &Resource) {
        if resource.kind == ResourceKind::Semaphore && self.queue.line(resource).next().is_none() {
            self.semaphores.tidy(&resource.name);
        }
    }

    /// Whether the request may have all that it wants now. The session is looked at in the same
    /// step as the thing: nobody is granted anything after its session has ended.
    fn fits(&self, waiter: &Waiter<Wanted>) -> bool {
        if self.sessions.get(waiter.session).is_none() && !GRANT_TO_THE_DEAD.is_planted() {
            return false;
        }
        waiter
            .resources
            .iter()
            .all(|Resource { name, .. }| match &waiter.wanted {
                Wanted::Lock(mode) => match self.locks.fit(name, waiter.session, *mode) {
                    Fit::Free => true,
                    Fit::Again | Fit::Upgrade => self.holds(waiter.session, name) < HOLDS_MAX,
                    Fit::Shares { .. } | Fit::Taken => false,
                },
                Wanted::Permits(take) => self.semaphores.fits(name, *take),
                Wanted::Lead(_) => self.elections.get(name).is_none(),
            })
    }

    /// Gives a request that fits what it wants. Its session's time begins now, if it was opened for
    /// this alone.
    fn grant(&mut self, wait: WaitId, waiter: &Waiter<Wanted>) -> FencingToken {
        let session = waiter.session;
        let new = self.next_token();
        let mut token = new;
        for Resource { name, .. } in &waiter.resources {
            match &waiter.wanted {
                Wanted::Lock(mode) => {
                    (token, _) = self.locks.grant(name, session, *mode, new);
                }
                Wanted::Permits(take) => {
                    let permits = Permits {
                        session,
                        taken: *take,
                        wait,
                    };
                    self.semaphores.grant(name, permits, new);
                }
                Wanted::Lead(value) => {
                    self.elections.grant(name, session, value.clone(), new);
                }
            }
        }
        if self.sessions.get(session).is_some_and(|open| !open.lasting) {
            self.sessions.renew(session);
        }
        token
    }

    /// Ends a wait that came to nothing, without a word to anybody.
    fn give_up(&mut self, wait: WaitId, events: &mut Events) {
        if let Some(waiter) = self.queue.leave(wait) {
            for resource in &waiter.resources {
                self.tidy(resource);
            }
            if !TRY_LEAVES_A_SESSION.is_planted() {
                self.close_if_idle(waiter.session, events);
            }
        }
    }

    /// Who holds a thing; of several, one.
    pub(super) fn holding(&self, resource: &Resource) -> Option<Occupant> {
        let (session, token) = self.holders(resource).next()?;
        Some(Occupant {
            session,
            holder: self.sessions.holder(session),
            token,
        })
    }

    /// All sessions that hold a thing, with their tokens.
    pub(super) fn holders(
        &self,
        resource: &Resource,
    ) -> Box<dyn Iterator<Item = (SessionId, FencingToken)> + '_> {
        let name = &resource.name;
        match resource.kind {
            ResourceKind::Lock => {
                let hold = self.locks.get(name).into_iter();
                Box::new(hold.flat_map(|hold| {
                    let sessions = hold.holders.keys();
                    sessions.map(|&session| (session, hold.token))
                }))
            }
            ResourceKind::Semaphore => {
                let held = self.semaphores.get(name).into_iter();
                let held = held.flat_map(|there| &there.held);
                Box::new(held.map(|(&token, permits)| (permits.session, token)))
            }
            ResourceKind::Election => {
                let led = self.elections.get(name);
                Box::new(led.map(|led| (led.session, led.token)).into_iter())
            }
        }
    }

    /// The circle that this wait would close. Permits are in no circle: any of their holders may
    /// give some back.
    fn deadlock(&self, wait: WaitId, session: SessionId) -> Option<Vec<Deadlocked>> {
        if DEADLOCK_UNSEEN.is_planted() || !self.can_be_waited_for(wait, session) {
            return None;
        }
        let start = self.party(session);
        let waits_for = |party| {
            self.waits_for(party)
                .into_iter()
                .map(|(to, _)| to)
                .collect()
        };
        let circle = deadlock::circle(start, waits_for)?;
        let next = circle.iter().cycle().skip(1);
        let told = circle.iter().zip(next).filter_map(|(&party, next)| {
            let edges = self.waits_for(party);
            let (_, wait) = edges.into_iter().find(|(to, _)| to == next)?;
            let waiter = self.queue.get(wait)?;
            Some(Deadlocked {
                session: waiter.session,
                holder: self.sessions.holder(waiter.session),
                waits_for: waiter.resources.first()?.clone(),
            })
        });
        Some(told.collect())
    }

    /// Whether anybody can wait for the party that begins this wait: it holds something, waits for
    /// something else, or goes before others.
    fn can_be_waited_for(&self, wait: WaitId, session: SessionId) -> bool {
        self.queue.is_followed(wait)
            || self.members(session).into_iter().any(|member| {
                self.queue.of(member).any(|other| other != wait)
                    || self.locks.of(member).next().is_some()
                    || self.elections.of(member).next().is_some()
            })
    }

    /// The sessions of the party that a session belongs to, up to a bound: a holder with more is
    /// looked at in part.
    fn members(&self, session: SessionId) -> Vec<SessionId> {
        let holder = self.sessions.holder(session);
        let members: Vec<_> = self.sessions.of(&holder).take(PARTY_MAX).collect();
        if members.is_empty() {
            vec![session]
        } else {
            members
        }
    }

    /// The session that stands for all of its holder.
    fn party(&self, session: SessionId) -> SessionId {
        let mut members = self.sessions.of(&self.sessions.holder(session));
        members.next().unwrap_or(session)
    }

    /// The parties that a party waits for, each with the wait. Whoever is not the first in line
    /// waits for the one before, who waits in turn; the first waits for the holders.
    fn waits_for(&self, party: SessionId) -> Vec<(SessionId, WaitId)> {
        let mut edges = Vec::new();
        for member in self.members(party) {
            for wait in self.queue.of(member) {
                let Some(waiter) = self.queue.get(wait) else {
                    continue;
                };
                let resources = waiter.resources.iter();
                for resource in resources.filter(|it| it.kind != ResourceKind::Semaphore) {
                    let before = self.queue.before(wait, resource);
                    match before.and_then(|before| self.queue.get(before)) {
                        Some(before) if !DEADLOCK_BEHIND_A_QUEUE.is_planted() => {
                            edges.push((self.party(before.session), wait));
                        }
                        _ => {
                            let holders = self.holders(resource).take(deadlock::EDGES_MAX);
                            edges.extend(holders.map(|(to, _)| (self.party(to), wait)));
                        }
                    }
                }
            }
        }
        edges.retain(|(to, _)| *to != party);
        edges
    }
}
