//! Elections: one session leads under a name and publishes a value; the others queue up to follow
//! it, or watch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::session::{AcquireRefusal, Acquired, By, HoldRef, Name, Patience, SessionId};
use crate::planted::RESIGN_WITHOUT_TOKEN;
use crate::topology::FencingToken;

#[cfg(test)]
mod tests;

/// The longest value that a leader may publish, in bytes. Guess: an address and some settings.
pub const VALUE_BYTES_MAX: usize = 4096;

/// What may be asked about elections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ElectionCommand {
    /// Leads, or queues up to lead. Answer: [`ElectionOutcome::Acquired`].
    Campaign {
        /// Under which session.
        by: By,
        /// In which election.
        name: Name,
        /// What to publish as the leader.
        value: Bytes,
        /// How long to wait, and before whom.
        patience: Patience,
    },
    /// Gives the leader's session its whole time to live again. Answer: [`ElectionOutcome::Kept`].
    Renew(HoldRef),
    /// Publishes another value, if the token is that of the leader. Answer:
    /// [`ElectionOutcome::Kept`].
    Proclaim {
        /// Whose leadership.
        hold: HoldRef,
        /// What to publish from now on.
        value: Bytes,
    },
    /// Leads no longer, if the token is that of the leader. Answer: [`ElectionOutcome::Kept`].
    Resign(HoldRef),
}

impl fmt::Display for ElectionCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Campaign { name, .. } => write!(f, "campaign in {name}"),
            Self::Renew(hold) => write!(f, "renew {hold}"),
            Self::Proclaim { hold, .. } => write!(f, "proclaim under {hold}"),
            Self::Resign(hold) => write!(f, "resign {hold}"),
        }
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ElectionOutcome {
    /// See there.
    Acquired(Acquired),
    /// Whether the token was that of the leader. If it was, what was asked is done.
    Kept(bool),
    /// Nothing has changed.
    Refused(AcquireRefusal),
}

/// A leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leadership {
    /// Who leads.
    pub session: SessionId,
    /// The token of the grant.
    pub token: FencingToken,
    /// What the leader publishes.
    pub value: Bytes,
}

/// All elections that have a leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Elections {
    led: BTreeMap<Name, Leadership>,
    /// Where each session leads.
    #[serde(skip)]
    of: BTreeMap<SessionId, BTreeSet<Name>>,
}

impl Elections {
    /// Who leads, if anybody.
    pub(super) fn get(&self, name: &Name) -> Option<&Leadership> {
        self.led.get(name)
    }

    /// All elections that have a leader.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&Name, &Leadership)> {
        self.led.iter()
    }

    /// Where a session leads.
    pub(super) fn of(&self, session: SessionId) -> impl Iterator<Item = &Name> {
        self.of.get(&session).into_iter().flatten()
    }

    /// Makes a session the leader, where nobody leads.
    pub(super) fn grant(
        &mut self,
        name: &Name,
        session: SessionId,
        value: Bytes,
        token: FencingToken,
    ) {
        let leadership = Leadership {
            session,
            token,
            value,
        };
        self.led.insert(name.clone(), leadership);
        self.of.entry(session).or_default().insert(name.clone());
    }

    /// The leader's session, if this is its token.
    pub(super) fn holder(&self, name: &Name, token: FencingToken) -> Option<SessionId> {
        let led = self.led.get(name)?;
        (led.token == token || RESIGN_WITHOUT_TOKEN.is_planted()).then_some(led.session)
    }

    /// Publishes another value of the leader there is.
    pub(super) fn proclaim(&mut self, name: &Name, value: Bytes) {
        if let Some(led) = self.led.get_mut(name) {
            led.value = value;
        }
    }

    /// Ends the leadership there is.
    pub(super) fn release(&mut self, name: &Name) {
        let Some(led) = self.led.remove(name) else {
            return;
        };
        if let Some(names) = self.of.get_mut(&led.session) {
            names.remove(name);
            if names.is_empty() {
                self.of.remove(&led.session);
            }
        }
    }

    /// Ends all leaderships of a session and returns where it led.
    pub(super) fn end(&mut self, session: SessionId) -> Vec<Name> {
        let names: Vec<_> = self.of(session).cloned().collect();
        for name in &names {
            self.release(name);
        }
        names
    }

    /// Makes what follows from the leaders anew, as after reading them; `false` if they cannot be.
    pub(super) fn rebuild(&mut self, is_open: impl Fn(SessionId) -> bool) -> bool {
        self.of.clear();
        for (name, led) in &self.led {
            if !is_open(led.session) || led.value.len() > VALUE_BYTES_MAX {
                return false;
            }
            self.of.entry(led.session).or_default().insert(name.clone());
        }
        true
    }
}
