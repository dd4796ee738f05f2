//! Locks: who holds which, exclusively or with others, and how often. Whether somebody may have one
//! now is answered here; who waits is the queue's business.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::session::{AcquireRefusal, Acquired, By, HoldRef, Name, Patience, SessionId};
use crate::planted::{RELEASE_WITHOUT_TOKEN, SHARED_BESIDE_EXCLUSIVE, UPGRADE_BESIDE_READERS};
use crate::topology::FencingToken;

#[cfg(test)]
mod tests;

/// How many locks one request may name.
pub const NAMES_MAX: usize = 64;
/// How many times a session may take one lock.
pub const HOLDS_MAX: u32 = 255;

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockMode {
    /// Together with others that share it.
    Shared,
    /// Alone.
    Exclusive,
}

/// What may be asked about locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockCommand {
    /// Takes all of these locks, or none. A session takes a lock that it holds once more, and turns
    /// a shared one into an exclusive one if nobody else shares it. Answer:
    /// [`LockOutcome::Acquired`].
    Acquire {
        /// Under which session.
        by: By,
        /// Which locks.
        names: Vec<Name>,
        /// How.
        mode: LockMode,
        /// How long to wait, and before whom.
        patience: Patience,
    },
    /// Gives the session that holds a lock its whole time to live again. Answer:
    /// [`LockOutcome::Kept`].
    Renew(HoldRef),
    /// Gives one hold back, if the token is that of the grant. Answer: [`LockOutcome::Kept`].
    Release(HoldRef),
    /// Lets others share a lock that was held exclusively; the token stays. Answer:
    /// [`LockOutcome::Kept`].
    Downgrade(HoldRef),
    /// Takes a lock from all that hold it, by an administrator's decision. They learn of it when
    /// they renew it. Answer: [`LockOutcome::Forced`].
    Force {
        /// Which lock.
        name: Name,
        /// Only if this is its token still.
        token: Option<FencingToken>,
    },
}

impl fmt::Display for LockCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acquire { names, mode, .. } => write!(f, "lock {names:?} {mode:?}"),
            Self::Renew(hold) => write!(f, "renew {hold}"),
            Self::Release(hold) => write!(f, "release {hold}"),
            Self::Downgrade(hold) => write!(f, "downgrade {hold}"),
            Self::Force { name, .. } => write!(f, "take lock {name} from its holders"),
        }
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockOutcome {
    /// See there.
    Acquired(Acquired),
    /// The hold was there, and what was asked is done. There are so many holds left of it.
    Kept {
        /// After a release, how many times the session still holds the lock.
        holds: u32,
    },
    /// So many sessions have lost it.
    Forced {
        /// How many.
        sessions: u32,
    },
    /// Nothing has changed.
    Refused(AcquireRefusal),
    /// Nothing has changed: there is no such hold.
    NotHeld(NotHeld),
}

/// Why there is no such hold. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum NotHeld {
    /// Nobody holds it under this token: it was released, or its session has ended.
    #[error("nobody holds it under token {}", token.0)]
    Lost {
        /// What was named.
        token: FencingToken,
    },
    /// Several sessions share it under this token, and the request names none of them.
    #[error("{holders} sessions share it under token {}; name the session", token.0)]
    Ambiguous {
        /// What was named.
        token: FencingToken,
        /// How many.
        holders: u32,
    },
}

/// Whether a session may have a lock now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Yes, as a new holder.
    Free,
    /// It has it already, in this mode or a stronger one.
    Again,
    /// It is the only one that shares the lock and may have it alone.
    Upgrade,
    /// It shares the lock with so many others and cannot have it alone.
    Shares {
        /// How many others.
        others: u32,
    },
    /// No: others hold it.
    Taken,
}

/// How one lock is held.
///
/// **Invariant:** there is a holder, and if the mode is exclusive there is only one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LockHold {
    /// How.
    pub mode: LockMode,
    /// The token of the grant; all that share a lock have that of the first of them.
    pub token: FencingToken,
    /// Who, and how often.
    pub holders: BTreeMap<SessionId, u32>,
}

/// All locks that are held, and those that nobody gets for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Locks {
    held: BTreeMap<Name, LockHold>,
    /// Until when, in the group's time, a lock whose holder was lost is given to nobody.
    delayed: BTreeMap<Name, u64>,
    #[serde(skip)]
    due: BTreeSet<(u64, Name)>,
    /// Which locks a session holds.
    #[serde(skip)]
    of: BTreeMap<SessionId, BTreeSet<Name>>,
}

impl Locks {
    /// How the lock is held; nothing if it is free.
    pub(super) fn get(&self, name: &Name) -> Option<&LockHold> {
        self.held.get(name)
    }

    /// All locks that are held.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&Name, &LockHold)> {
        self.held.iter()
    }

    /// The locks that a session holds.
    pub(super) fn of(&self, session: SessionId) -> impl Iterator<Item = &Name> {
        self.of.get(&session).into_iter().flatten()
    }

    /// Whether nobody gets the lock although nobody holds it.
    pub(super) fn is_delayed(&self, name: &Name) -> bool {
        self.delayed.contains_key(name)
    }

    /// Whether a lock waits for its delay to be over.
    pub(super) fn awaits_time(&self) -> bool {
        !self.delayed.is_empty()
    }

    /// Whether the session may have the lock now.
    pub(super) fn fit(&self, name: &Name, session: SessionId, mode: LockMode) -> Fit {
        use LockMode::{Exclusive, Shared};
        let Some(hold) = self.held.get(name) else {
            let is_free = !self.is_delayed(name);
            return if is_free { Fit::Free } else { Fit::Taken };
        };
        let mine = hold.holders.contains_key(&session);
        let others = hold.holders.len() as u32 - u32::from(mine);
        match (mine, hold.mode, mode) {
            (true, Exclusive, _) | (true, Shared, Shared) => Fit::Again,
            (true, Shared, Exclusive) if others == 0 || UPGRADE_BESIDE_READERS.is_planted() => {
                Fit::Upgrade
            }
            (true, Shared, Exclusive) => Fit::Shares { others },
            (false, Shared, Shared) => Fit::Free,
            (false, Exclusive, Shared) if SHARED_BESIDE_EXCLUSIVE.is_planted() => Fit::Free,
            (false, ..) => Fit::Taken,
        }
    }

    /// Gives the lock to a session that [fits](Self::fit), and returns its token and how often it
    /// holds the lock. `token` is that of a new grant; whoever holds the lock already, and whoever
    /// joins those that share it, gets the token that is there.
    pub(super) fn grant(
        &mut self,
        name: &Name,
        session: SessionId,
        mode: LockMode,
        token: FencingToken,
    ) -> (FencingToken, u32) {
        let fit = self.fit(name, session, mode);
        let hold = self.held.entry(name.clone()).or_insert_with(|| LockHold {
            mode,
            token,
            holders: BTreeMap::new(),
        });
        if fit == Fit::Upgrade {
            hold.mode = LockMode::Exclusive;
            hold.token = token;
        }
        let holds = hold.holders.entry(session).or_insert(0);
        *holds += 1;
        self.of.entry(session).or_default().insert(name.clone());
        (hold.token, *holds)
    }

    /// The session whose hold this is.
    ///
    /// # Errors
    /// [`NotHeld`].
    pub(super) fn holder(
        &self,
        name: &Name,
        token: FencingToken,
        session: Option<SessionId>,
    ) -> Result<SessionId, NotHeld> {
        let lost = NotHeld::Lost { token };
        let hold = self.held.get(name).ok_or(lost)?;
        if hold.token != token && !RELEASE_WITHOUT_TOKEN.is_planted() {
            return Err(lost);
        }
        let holders = hold.holders.len() as u32;
        match session {
            Some(session) if hold.holders.contains_key(&session) => Ok(session),
            Some(_) => Err(lost),
            None if holders == 1 => hold.holders.keys().next().copied().ok_or(lost),
            None => Err(NotHeld::Ambiguous { token, holders }),
        }
    }

    /// Takes one hold back from a session that has one, and returns how many it has left.
    pub(super) fn release(&mut self, name: &Name, session: SessionId) -> u32 {
        let holds = self
            .held
            .get_mut(name)
            .and_then(|hold| hold.holders.get_mut(&session));
        match holds {
            Some(holds) if *holds > 1 => {
                *holds -= 1;
                *holds
            }
            _ => {
                self.remove(name, session);
                0
            }
        }
    }

    /// Lets others share a lock that its holder has alone.
    pub(super) fn downgrade(&mut self, name: &Name) {
        if let Some(hold) = self.held.get_mut(name) {
            hold.mode = LockMode::Shared;
        }
    }

    /// Takes everything back from a session and returns what it was. Nobody gets those locks before
    /// `until_ms`, if that is in the future.
    pub(super) fn end(&mut self, session: SessionId, until_ms: Option<u64>) -> Vec<Name> {
        let names: Vec<_> = self.of(session).cloned().collect();
        for name in &names {
            self.remove(name, session);
            if let Some(until_ms) = until_ms
                && !self.held.contains_key(name)
            {
                self.delayed.insert(name.clone(), until_ms);
                self.due.insert((until_ms, name.clone()));
            }
        }
        names
    }

    /// Frees the locks whose delay is over and returns them.
    pub(super) fn tick(&mut self, now_ms: u64) -> Vec<Name> {
        let mut over = Vec::new();
        while self
            .due
            .first()
            .is_some_and(|(until_ms, _)| *until_ms <= now_ms)
            && let Some((_, name)) = self.due.pop_first()
        {
            self.delayed.remove(&name);
            over.push(name);
        }
        over
    }

    /// Makes what follows from the holds anew, as after reading them; `false` if they cannot be.
    pub(super) fn rebuild(&mut self, is_open: impl Fn(SessionId) -> bool) -> bool {
        self.of.clear();
        let delayed = self.delayed.iter();
        self.due = delayed
            .map(|(name, &until_ms)| (until_ms, name.clone()))
            .collect();
        for (name, hold) in &self.held {
            for (&session, &holds) in &hold.holders {
                if !is_open(session) || !(1..=HOLDS_MAX).contains(&holds) {
                    return false;
                }
                self.of.entry(session).or_default().insert(name.clone());
            }
            let is_right = match hold.mode {
                LockMode::Exclusive => hold.holders.len() == 1,
                LockMode::Shared => !hold.holders.is_empty(),
            };
            if !is_right || self.delayed.contains_key(name) {
                return false;
            }
        }
        true
    }

    fn remove(&mut self, name: &Name, session: SessionId) {
        if let Some(hold) = self.held.get_mut(name) {
            hold.holders.remove(&session);
            if hold.holders.is_empty() {
                self.held.remove(name);
            }
        }
        if let Some(names) = self.of.get_mut(&session) {
            names.remove(name);
            if names.is_empty() {
                self.of.remove(&session);
            }
        }
    }
}
