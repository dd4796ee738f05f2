//! Who waits for what, and in which order they are served: a queue for each thing that can be held,
//! and requests that stand in several of them at once.
//!
//! A higher priority is served first, but waiting counts too: [`AGE_MS`] of it weigh as much as one
//! step of priority. So the place of a request is fixed when it arrives: one of priority p stands
//! where one of priority 0 would stand that came p × [`AGE_MS`] earlier. Nobody overtakes, so
//! nobody starves, and a request that heads one of its queues waits there for the others.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::session::{Patience, Resource, SessionId, WaitId};
use crate::planted::QUEUE_SKIPS;

#[cfg(test)]
mod tests;

/// How long somebody must have waited to be served before one whose priority is one step higher, in
/// milliseconds. Guess.
pub const AGE_MS: u64 = 5000;
/// How many requests may wait. Guess: some 200 bytes each.
pub const WAITERS_MAX: usize = 1 << 18;

/// Where a request stands in its queues: the time from which it counts as waiting, then its number.
type Place = (i64, WaitId);

/// One request that waits. `A` is what it wants to do with the things when it has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiter<A> {
    /// Whose it is.
    pub session: SessionId,
    /// What it wants, all at once.
    pub resources: Vec<Resource>,
    /// What for.
    pub wanted: A,
    /// Since when it counts as waiting, in the group's time.
    pub since_ms: i64,
    /// Until when it waits.
    pub until_ms: u64,
}

/// All queues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Queue<A> {
    waiters: BTreeMap<WaitId, Waiter<A>>,
    #[serde(skip)]
    lines: BTreeMap<Resource, BTreeSet<Place>>,
    #[serde(skip)]
    due: BTreeSet<(u64, WaitId)>,
    #[serde(skip)]
    of: BTreeMap<SessionId, BTreeSet<WaitId>>,
}

impl<A> Default for Queue<A> {
    fn default() -> Self {
        Self {
            waiters: BTreeMap::new(),
            lines: BTreeMap::new(),
            due: BTreeSet::new(),
            of: BTreeMap::new(),
        }
    }
}

impl<A> Queue<A> {
    /// How many requests wait.
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// The request, if it still waits.
    pub(super) fn get(&self, wait: WaitId) -> Option<&Waiter<A>> {
        self.waiters.get(&wait)
    }

    /// All requests of a session, oldest first.
    pub(super) fn of(&self, session: SessionId) -> impl Iterator<Item = WaitId> + '_ {
        self.of.get(&session).into_iter().flatten().copied()
    }

    /// Those that wait for a thing, in the order in which they are served.
    pub(super) fn line(&self, resource: &Resource) -> impl Iterator<Item = WaitId> + '_ {
        let line = self.lines.get(resource).into_iter().flatten();
        line.map(|&(_, wait)| wait)
    }

    /// Whether all requests are as `is_right` says.
    pub(super) fn all(&self, is_right: impl Fn(&Waiter<A>) -> bool) -> bool {
        self.waiters.values().all(is_right)
    }

    /// Puts a request where its patience and the time `now_ms` say.
    pub(super) fn join(
        &mut self,
        wait: WaitId,
        session: SessionId,
        resources: Vec<Resource>,
        wanted: A,
        patience: Patience,
        now_ms: u64,
    ) {
        let lead = i64::from(patience.priority()) * AGE_MS.cast_signed();
        let waiter = Waiter {
            session,
            resources,
            wanted,
            since_ms: now_ms.cast_signed() - lead,
            until_ms: now_ms + patience.wait_ms(),
        };
        self.index(wait, &waiter);
        self.waiters.insert(wait, waiter);
    }

    /// Takes a request out of all its queues.
    pub(super) fn leave(&mut self, wait: WaitId) -> Option<Waiter<A>> {
        let waiter = self.waiters.remove(&wait)?;
        self.due.remove(&(waiter.until_ms, wait));
        for resource in &waiter.resources {
            if let Some(line) = self.lines.get_mut(resource) {
                line.remove(&(waiter.since_ms, wait));
                if line.is_empty() {
                    self.lines.remove(resource);
                }
            }
        }
        if let Some(waits) = self.of.get_mut(&waiter.session) {
            waits.remove(&wait);
            if waits.is_empty() {
                self.of.remove(&waiter.session);
            }
        }
        Some(waiter)
    }

    /// The request to serve next with `resource`: the first in line, if it is the first wherever it
    /// stands and `fits`.
    pub(super) fn ready(
        &self,
        resource: &Resource,
        fits: impl Fn(&Waiter<A>) -> bool,
    ) -> Option<WaitId> {
        let fits = |wait: &WaitId| self.waiters.get(wait).is_some_and(&fits);
        if QUEUE_SKIPS.is_planted() {
            return self.line(resource).find(fits);
        }
        let first = self.line(resource).next().filter(fits)?;
        let mut others = self.waiters.get(&first)?.resources.iter();
        others
            .all(|other| self.line(other).next() == Some(first))
            .then_some(first)
    }

    /// The request that is served right before this one, where it waits for `resource`.
    pub(super) fn before(&self, wait: WaitId, resource: &Resource) -> Option<WaitId> {
        let place = (self.waiters.get(&wait)?.since_ms, wait);
        let earlier = self.lines.get(resource)?.range(..place);
        earlier.map(|&(_, wait)| wait).next_back()
    }

    /// Whether somebody is served after this request.
    pub(super) fn is_followed(&self, wait: WaitId) -> bool {
        let Some(waiter) = self.waiters.get(&wait) else {
            return false;
        };
        waiter.resources.iter().any(|resource| {
            let line = self.lines.get(resource);
            line.and_then(BTreeSet::last) != Some(&(waiter.since_ms, wait))
        })
    }

    /// How many are served before this request, and itself, where that is most.
    pub(super) fn position(&self, wait: WaitId) -> u32 {
        let Some(waiter) = self.waiters.get(&wait) else {
            return 0;
        };
        let place = (waiter.since_ms, wait);
        let in_line = |resource| match self.lines.get(resource) {
            // Whoever came last is counted at once.
            Some(line) if line.last() == Some(&place) => line.len(),
            Some(line) => line.range(..=place).count(),
            None => 0,
        };
        waiter.resources.iter().map(in_line).max().unwrap_or(0) as u32
    }

    /// The requests whose wait is over at `now_ms`.
    pub(super) fn due(&self, now_ms: u64) -> Vec<WaitId> {
        let due = self.due.range(..=(now_ms, WaitId(u64::MAX)));
        due.map(|&(_, wait)| wait).collect()
    }

    /// Makes what follows from the requests anew, as after reading them; `false` if they cannot be.
    pub(super) fn rebuild(&mut self, is_open: impl Fn(SessionId) -> bool) -> bool {
        self.lines.clear();
        self.due.clear();
        self.of.clear();
        let waiters = std::mem::take(&mut self.waiters);
        for (&wait, waiter) in &waiters {
            self.index(wait, waiter);
        }
        let are_right = waiters
            .values()
            .all(|waiter| is_open(waiter.session) && !waiter.resources.is_empty());
        self.waiters = waiters;
        are_right && self.waiters.len() <= WAITERS_MAX
    }

    fn index(&mut self, wait: WaitId, waiter: &Waiter<A>) {
        for resource in &waiter.resources {
            let line = self.lines.entry(resource.clone());
            line.or_default().insert((waiter.since_ms, wait));
        }
        self.due.insert((waiter.until_ms, wait));
        self.of.entry(waiter.session).or_default().insert(wait);
    }
}
