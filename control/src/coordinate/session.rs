//! Sessions: who holds and who waits, and until when. The one machine that the others of this
//! folder may name.
//!
//! A session lives on the group's own time: the sum of what the leader's ticks say has passed. No
//! clock of a replica is asked, so all replicas end a session at the same command.

mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use words::{
    AcquireRefusal, Acquired, By, DELAY_MS_MAX, Deadlocked, HOLDER_BYTES_MAX, HoldRef, Holder,
    LOCK_NAME_BYTES_MAX, Name, Occupant, Patience, Resource, ResourceKind, SessionId, SessionSpec,
    TTL_MS_MAX, TTL_MS_MIN, Ttl, WAIT_MS_MAX, WaitId, WordError,
};

use crate::planted::{LEASE_CUT_SHORT, TICK_COUNTS_A_PAUSE};

#[cfg(test)]
mod tests;

/// How many sessions may be open. Guess: some 100 bytes each.
pub const SESSIONS_MAX: usize = 1 << 18;
/// The longest time in milliseconds that one tick counts. A leader that was stopped for a minute
/// could not take renewals meanwhile, so the rest of that minute is given to the sessions.
pub const TICK_MS_MAX: u64 = 1000;
/// The latest time that there can be: thousands of years, and no sum of two overflows.
const TIME_MS_MAX: u64 = 1 << 50;

/// What may be asked about sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionCommand {
    /// Opens one that lives until it is closed or not renewed in time. Answer:
    /// [`SessionOutcome::Opened`].
    Open(SessionSpec),
    /// Gives these sessions their whole time to live again. Answer: [`SessionOutcome::Renewed`].
    Renew(Vec<SessionId>),
    /// Ends one, with all that it holds and waits for. Answer: [`SessionOutcome::Closed`].
    Close(SessionId),
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionOutcome {
    /// It is open.
    Opened(SessionId),
    /// All are renewed but those named here, which have ended.
    Renewed {
        /// Those that have ended.
        ended: Vec<SessionId>,
    },
    /// It has ended; `false` if it had before.
    Closed(bool),
    /// Nothing has changed.
    Refused(AcquireRefusal),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// It was closed, or held nothing any more.
    Closed,
    /// It was not renewed in time.
    Expired,
}

/// A session has ended: what was held under it is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionEvent {
    /// Which.
    pub session: SessionId,
    /// Why.
    pub end: SessionEnd,
}

/// One open session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    /// As it was asked for.
    pub spec: SessionSpec,
    /// Whether it stays open while it holds nothing.
    pub lasting: bool,
    /// When it ends unless it is renewed, in the group's time.
    pub ends_ms: u64,
}

/// All open sessions, and the group's time.
///
/// **Invariant:** a session never ends before the group's time has advanced by its whole time to
/// live since it was opened, renewed or inherited by a new leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sessions {
    now_ms: u64,
    /// Of the leader whose ticks count.
    term: u64,
    open: BTreeMap<SessionId, Session>,
    /// When each ends.
    #[serde(skip)]
    due: BTreeSet<(u64, SessionId)>,
    /// Those of holders that have a name.
    #[serde(skip)]
    named: BTreeMap<Holder, BTreeSet<SessionId>>,
}

impl Sessions {
    /// The group's time in milliseconds: what has passed while it had a leader.
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The session, if it is open.
    pub(super) fn get(&self, session: SessionId) -> Option<&Session> {
        self.open.get(&session)
    }

    /// Whose it is; nobody's if it has ended.
    pub(super) fn holder(&self, session: SessionId) -> Holder {
        let open = self.open.get(&session);
        open.map(|open| open.spec.holder.clone())
            .unwrap_or_default()
    }

    /// All sessions of one holder; of nobody in particular there are none.
    pub(super) fn of(&self, holder: &Holder) -> impl Iterator<Item = SessionId> + '_ {
        self.named.get(holder).into_iter().flatten().copied()
    }

    /// All open sessions, oldest first.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (SessionId, &Session)> {
        self.open.iter().map(|(&id, session)| (id, session))
    }

    /// Checks that the session is open.
    ///
    /// # Errors
    /// [`AcquireRefusal::UnknownSession`].
    pub(super) fn known(&self, session: SessionId) -> Result<&Session, AcquireRefusal> {
        self.get(session)
            .ok_or(AcquireRefusal::UnknownSession { session })
    }

    /// Opens a session under a number that was never used. It lives for its time to live after
    /// `wait_ms`: whoever waits for a grant has nothing to renew yet.
    ///
    /// # Errors
    /// [`AcquireRefusal::TooManySessions`].
    pub(super) fn open(
        &mut self,
        id: SessionId,
        spec: SessionSpec,
        lasting: bool,
        wait_ms: u64,
    ) -> Result<(), AcquireRefusal> {
        if self.open.len() >= SESSIONS_MAX {
            return Err(AcquireRefusal::TooManySessions {
                limit: SESSIONS_MAX,
            });
        }
        let ends_ms = self.now_ms + spec.ttl.ms() + wait_ms;
        let session = Session {
            spec,
            lasting,
            ends_ms,
        };
        self.index(id, &session);
        self.open.insert(id, session);
        Ok(())
    }

    /// Gives the session its whole time to live from now on; `false` if it has ended.
    pub(super) fn renew(&mut self, id: SessionId) -> bool {
        let Some(session) = self.open.get_mut(&id) else {
            return false;
        };
        let ends_ms = self.now_ms + session.spec.ttl.ms();
        self.due.remove(&(session.ends_ms, id));
        self.due.insert((ends_ms, id));
        session.ends_ms = ends_ms;
        true
    }

    /// Ends the session and returns it.
    pub(super) fn end(&mut self, id: SessionId) -> Option<Session> {
        let session = self.open.remove(&id)?;
        self.due.remove(&(session.ends_ms, id));
        if let Some(of_holder) = self.named.get_mut(&session.spec.holder) {
            of_holder.remove(&id);
            if of_holder.is_empty() {
                self.named.remove(&session.spec.holder);
            }
        }
        Some(session)
    }

    /// Lets `elapsed_ms` pass under the leader of `term`, and returns the sessions that are due.
    /// The first tick of a leader lets nothing pass and gives every session its whole time to live:
    /// the new leader may know of no renewal that the old one had taken.
    pub(super) fn tick(&mut self, term: u64, elapsed_ms: u64) -> Vec<SessionId> {
        if term < self.term {
            return Vec::new();
        }
        if term > self.term {
            self.term = term;
            if !LEASE_CUT_SHORT.is_planted() {
                self.inherit();
                return Vec::new();
            }
        }
        let counted = if TICK_COUNTS_A_PAUSE.is_planted() {
            elapsed_ms
        } else {
            elapsed_ms.min(TICK_MS_MAX)
        };
        self.now_ms += counted;
        let due = self.due.range(..=(self.now_ms, SessionId(u64::MAX)));
        due.map(|&(_, session)| session).collect()
    }

    /// No leader is known any more: that of the next tick is a new one, whatever its term.
    pub(super) fn forget_leader(&mut self) {
        self.term = 0;
    }

    fn inherit(&mut self) {
        for session in self.open.values_mut() {
            let whole = self.now_ms + session.spec.ttl.ms();
            session.ends_ms = session.ends_ms.max(whole);
        }
        self.rebuild();
    }

    /// Makes what follows from the sessions anew, as after reading them; `false` if they cannot be.
    pub(super) fn rebuild(&mut self) -> bool {
        self.due.clear();
        self.named.clear();
        let open = std::mem::take(&mut self.open);
        for (&id, session) in &open {
            self.index(id, session);
        }
        self.open = open;
        let last_ms = self.due.last().map_or(0, |&(ends_ms, _)| ends_ms);
        self.open.len() <= SESSIONS_MAX && self.now_ms.max(last_ms) <= TIME_MS_MAX
    }

    fn index(&mut self, id: SessionId, session: &Session) {
        self.due.insert((session.ends_ms, id));
        if !session.spec.holder.as_str().is_empty() {
            let of_holder = self.named.entry(session.spec.holder.clone());
            of_holder.or_default().insert(id);
        }
    }
}
