//! Semaphores: so many permits, taken and given back. Each grant has a token of its own, because
//! each of several holders is fenced separately.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::session::{AcquireRefusal, Acquired, By, HoldRef, Name, Patience, SessionId, WaitId};
use crate::planted::RESIZE_IGNORED;
use crate::topology::FencingToken;

#[cfg(test)]
mod tests;

/// How many permits a semaphore may have. Guess.
pub const PERMITS_MAX: u32 = 1 << 20;

/// What may be asked about semaphores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SemaphoreCommand {
    /// Takes permits. A semaphore exists while permits of it are held or waited for; the first
    /// request says how many it has, and later ones must agree. Answer:
    /// [`SemaphoreOutcome::Acquired`].
    Acquire {
        /// Under which session.
        by: By,
        /// Of which semaphore.
        name: Name,
        /// How many permits it has.
        size: u32,
        /// How many of them to take.
        take: u32,
        /// How long to wait, and before whom.
        patience: Patience,
    },
    /// Gives the session that holds permits its whole time to live again. Answer:
    /// [`SemaphoreOutcome::Kept`].
    Renew(HoldRef),
    /// Gives back all permits of one grant. Answer: [`SemaphoreOutcome::Kept`].
    Release(HoldRef),
    /// Gives a semaphore another number of permits. If more are held than that, nobody gets any
    /// until enough are given back. Answer: [`SemaphoreOutcome::Resized`].
    Resize {
        /// Which.
        name: Name,
        /// How many it is to have.
        size: u32,
    },
}

impl fmt::Display for SemaphoreCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acquire {
                name, size, take, ..
            } => write!(f, "take {take} of {size} permits of {name}"),
            Self::Renew(hold) => write!(f, "renew {hold}"),
            Self::Release(hold) => write!(f, "release {hold}"),
            Self::Resize { name, size } => write!(f, "resize semaphore {name} to {size}"),
        }
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SemaphoreOutcome {
    /// See there.
    Acquired(Acquired),
    /// Whether the grant was there. If it was, what was asked is done.
    Kept(bool),
    /// How many permits it had; `None` if there is no such semaphore.
    Resized(Option<u32>),
    /// Nothing has changed.
    Refused(AcquireRefusal),
}

/// Permits that one grant took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Permits {
    /// Who holds them.
    pub session: SessionId,
    /// How many.
    pub taken: u32,
    /// The request that they were given to: a session may take permits more than once.
    pub wait: WaitId,
}

/// One semaphore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Semaphore {
    /// How many permits it has.
    pub size: u32,
    /// The grants that hold some.
    pub held: BTreeMap<FencingToken, Permits>,
    /// How many are held. After a resize that may be more than there are.
    #[serde(skip)]
    pub taken: u32,
}

/// All semaphores of which permits are held or waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Semaphores {
    by_name: BTreeMap<Name, Semaphore>,
    /// The grants of each session.
    #[serde(skip)]
    of: BTreeMap<SessionId, BTreeSet<(Name, FencingToken)>>,
}

impl Semaphores {
    /// The semaphore, if it exists.
    pub(super) fn get(&self, name: &Name) -> Option<&Semaphore> {
        self.by_name.get(name)
    }

    /// All semaphores.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&Name, &Semaphore)> {
        self.by_name.iter()
    }

    /// The grants that a session holds.
    pub(super) fn of(&self, session: SessionId) -> impl Iterator<Item = (&Name, FencingToken)> {
        let grants = self.of.get(&session).into_iter().flatten();
        grants.map(|(name, token)| (name, *token))
    }

    /// Makes sure that there is a semaphore of this size from which so many permits can be taken.
    ///
    /// # Errors
    /// [`AcquireRefusal::OtherSize`], [`AcquireRefusal::BadPermits`].
    pub(super) fn prepare(
        &mut self,
        name: &Name,
        size: u32,
        take: u32,
    ) -> Result<(), AcquireRefusal> {
        if let Some(there) = self.by_name.get(name)
            && there.size != size
        {
            return Err(AcquireRefusal::OtherSize { size: there.size });
        }
        if take == 0 || take > size || size > PERMITS_MAX {
            return Err(AcquireRefusal::BadPermits {
                wanted: take,
                size: size.min(PERMITS_MAX),
            });
        }
        self.by_name
            .entry(name.clone())
            .or_insert_with(|| Semaphore {
                size,
                held: BTreeMap::new(),
                taken: 0,
            });
        Ok(())
    }

    /// Whether so many permits are free.
    pub(super) fn fits(&self, name: &Name, take: u32) -> bool {
        let semaphore = self.by_name.get(name);
        semaphore.is_some_and(|semaphore| semaphore.taken.saturating_add(take) <= semaphore.size)
    }

    /// Gives permits that [are free](Self::fits) to a session.
    pub(super) fn grant(&mut self, name: &Name, permits: Permits, token: FencingToken) {
        if let Some(semaphore) = self.by_name.get_mut(name) {
            semaphore.held.insert(token, permits);
            semaphore.taken += permits.taken;
            let grants = self.of.entry(permits.session).or_default();
            grants.insert((name.clone(), token));
        }
    }

    /// The session that holds the permits of this grant.
    pub(super) fn holder(&self, name: &Name, token: FencingToken) -> Option<SessionId> {
        let permits = self.by_name.get(name)?.held.get(&token)?;
        Some(permits.session)
    }

    /// Takes the permits of a grant back; `false` if there is no such grant.
    pub(super) fn release(&mut self, name: &Name, token: FencingToken) -> bool {
        let Some(semaphore) = self.by_name.get_mut(name) else {
            return false;
        };
        let Some(permits) = semaphore.held.remove(&token) else {
            return false;
        };
        semaphore.taken = semaphore.taken.saturating_sub(permits.taken);
        if let Some(grants) = self.of.get_mut(&permits.session) {
            grants.remove(&(name.clone(), token));
            if grants.is_empty() {
                self.of.remove(&permits.session);
            }
        }
        true
    }

    /// Gives the semaphore another number of permits and returns the one before.
    pub(super) fn resize(&mut self, name: &Name, size: u32) -> Option<u32> {
        let semaphore = self.by_name.get_mut(name)?;
        let before = semaphore.size;
        if !RESIZE_IGNORED.is_planted() {
            semaphore.size = size.min(PERMITS_MAX);
        }
        Some(before)
    }

    /// Takes everything back from a session and returns of which semaphores.
    pub(super) fn end(&mut self, session: SessionId) -> Vec<Name> {
        let grants = self.of.remove(&session).unwrap_or_default();
        for (name, token) in &grants {
            if let Some(semaphore) = self.by_name.get_mut(name)
                && let Some(permits) = semaphore.held.remove(token)
            {
                semaphore.taken = semaphore.taken.saturating_sub(permits.taken);
            }
        }
        grants.into_iter().map(|(name, _)| name).collect()
    }

    /// Forgets a semaphore of which nothing is held.
    pub(super) fn tidy(&mut self, name: &Name) {
        if self
            .by_name
            .get(name)
            .is_some_and(|semaphore| semaphore.held.is_empty())
        {
            self.by_name.remove(name);
        }
    }

    /// Makes what follows from the grants anew, as after reading them; `false` if they cannot be.
    pub(super) fn rebuild(&mut self, is_open: impl Fn(SessionId) -> bool) -> bool {
        self.of.clear();
        for (name, semaphore) in &mut self.by_name {
            semaphore.taken = 0;
            for (&token, permits) in &semaphore.held {
                if !is_open(permits.session) || permits.taken == 0 || permits.taken > PERMITS_MAX {
                    return false;
                }
                let grants = self.of.entry(permits.session).or_default();
                grants.insert((name.clone(), token));
                semaphore.taken = semaphore.taken.saturating_add(permits.taken);
            }
            if semaphore.size > PERMITS_MAX {
                return false;
            }
        }
        true
    }
}
