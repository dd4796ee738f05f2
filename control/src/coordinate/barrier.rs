//! Barriers: parties wait for each other until all have come. A double barrier lets them in
//! together and out together. A round that a party leaves, dies in, or waits too long for is broken
//! for all of them: nobody goes on as if all were there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::session::{AcquireRefusal, By, Name, SessionId};
use crate::planted::BARRIER_COUNTS_THE_DEAD;

#[cfg(test)]
mod tests;

/// How many parties a barrier may have. Guess.
pub const PARTIES_MAX: u32 = 1 << 17;
/// How long it is remembered how a round ended, in milliseconds of the group's time. Whoever waits
/// asks much more often.
pub(super) const ROUND_KEPT_MS: u64 = 60_000;

/// What may be asked about barriers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BarrierCommand {
    /// Waits until so many parties have come. The first to come says how many; the others must
    /// agree.
    Arrive {
        /// Under which session. A new one must be kept alive while it waits: it tells the others
        /// that this party still lives.
        by: By,
        /// At which barrier.
        name: Name,
        /// How many parties it waits for.
        parties: u32,
        /// How long to wait, in milliseconds. Afterwards the round is broken.
        wait_ms: u64,
        /// Whether the parties also leave together.
        double: bool,
    },
    /// Waits until all parties that came in together leave.
    Leave {
        /// One of them.
        session: SessionId,
        /// Which barrier.
        name: Name,
        /// How long to wait, in milliseconds. Afterwards the round is broken.
        wait_ms: u64,
    },
}

impl fmt::Display for BarrierCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arrive { name, parties, .. } => {
                write!(f, "arrive at barrier {name} of {parties}")
            }
            Self::Leave { session, name, .. } => {
                write!(f, "session {} leaves barrier {name}", session.0)
            }
        }
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BarrierOutcome {
    /// More parties must come.
    Waiting {
        /// What is waited for.
        round: u64,
        /// The session that waits.
        session: SessionId,
        /// How many have come.
        arrived: u32,
    },
    /// All have come.
    Passed {
        /// The round that ended.
        round: u64,
        /// The session that came last.
        session: SessionId,
    },
    /// A party died, left or waited too long. Only whoever waited learns this.
    Broken {
        /// The round that ended.
        round: u64,
    },
    /// Nothing has changed.
    Refused(BarrierRefusal),
}

/// Why a party may not wait. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierRefusal {
    /// It has no session.
    #[error(transparent)]
    Session(AcquireRefusal),
    /// No party, or too many.
    #[error("a barrier has 1 to {PARTIES_MAX} parties, not {parties}")]
    BadParties {
        /// What was asked for.
        parties: u32,
    },
    /// Others wait there for another number of parties, or for the other kind of barrier.
    #[error("parties wait at this barrier already, for {parties} in all")]
    OtherParties {
        /// For how many.
        parties: u32,
    },
    /// Parties of an earlier round have not left yet.
    #[error("{inside} parties of an earlier round have not left the barrier")]
    Occupied {
        /// How many.
        inside: u32,
    },
    /// Only who has come in can leave.
    #[error("session {} is not inside the barrier, or a party that came in with it was lost", session.0)]
    NotInside {
        /// Who asked.
        session: SessionId,
    },
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoundEnd {
    /// All parties came.
    Passed,
    /// One of them died, left or waited too long.
    Broken,
}

/// A round has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarrierEvent {
    /// At which barrier.
    pub name: Name,
    /// Which round.
    pub round: u64,
    /// How.
    pub end: RoundEnd,
    /// Parties that neither wait there any more nor are inside.
    pub freed: Vec<SessionId>,
}

/// One barrier at which parties wait, or inside which they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Barrier {
    /// The number of the command that began this round; of the first to come or to leave.
    pub round: u64,
    /// How many parties come in; 0 once they are inside.
    pub parties: u32,
    /// Whether they leave together too.
    pub double: bool,
    /// Who waits, and until when.
    pub waiting: BTreeMap<SessionId, u64>,
    /// Who has come in together and has not asked to leave.
    pub inside: BTreeSet<SessionId>,
}

/// All barriers in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Barriers {
    by_name: BTreeMap<Name, Barrier>,
    /// How the last rounds ended, and when.
    ended: BTreeMap<u64, (RoundEnd, u64)>,
    /// When each of those ended, in that order.
    #[serde(skip)]
    endings: BTreeSet<(u64, u64)>,
    #[serde(skip)]
    due: BTreeSet<(u64, Name, SessionId)>,
    #[serde(skip)]
    of: BTreeMap<SessionId, BTreeSet<Name>>,
}

impl Barriers {
    /// The barrier, if parties wait there or are inside.
    pub(super) fn get(&self, name: &Name) -> Option<&Barrier> {
        self.by_name.get(name)
    }

    /// The barriers where a session waits, or inside which it is.
    pub(super) fn of(&self, session: SessionId) -> impl Iterator<Item = &Name> {
        self.of.get(&session).into_iter().flatten()
    }

    /// How the round ended; `None` while it goes on. A round that nobody remembers is broken.
    pub(super) fn end_of(&self, name: &Name, round: u64) -> Option<RoundEnd> {
        if self
            .by_name
            .get(name)
            .is_some_and(|barrier| barrier.round == round)
        {
            return None;
        }
        let ended = self.ended.get(&round);
        Some(ended.map_or(RoundEnd::Broken, |&(end, _)| end))
    }

    /// Whether a party may come.
    ///
    /// # Errors
    /// [`BarrierRefusal`].
    pub(super) fn admits(
        &self,
        name: &Name,
        parties: u32,
        double: bool,
    ) -> Result<(), BarrierRefusal> {
        if !(1..=PARTIES_MAX).contains(&parties) {
            return Err(BarrierRefusal::BadParties { parties });
        }
        match self.by_name.get(name) {
            Some(there) if !there.inside.is_empty() => {
                let inside = (there.inside.len() + there.waiting.len()) as u32;
                Err(BarrierRefusal::Occupied { inside })
            }
            Some(there) if there.parties != parties || there.double != double => {
                Err(BarrierRefusal::OtherParties {
                    parties: there.parties,
                })
            }
            _ => Ok(()),
        }
    }

    /// Lets a party come that is [admitted](Self::admits). `number` is that of the command.
    pub(super) fn arrive(
        &mut self,
        number: u64,
        name: &Name,
        session: SessionId,
        until_ms: u64,
        parties: u32,
        double: bool,
    ) -> Option<BarrierEvent> {
        let barrier = self.by_name.entry(name.clone()).or_insert_with(|| Barrier {
            round: number,
            parties,
            double,
            waiting: BTreeMap::new(),
            inside: BTreeSet::new(),
        });
        barrier.waiting.insert(session, until_ms);
        let is_full = barrier.waiting.len() >= barrier.parties as usize;
        self.due.insert((until_ms, name.clone(), session));
        self.of.entry(session).or_default().insert(name.clone());
        if is_full { self.pass(name) } else { None }
    }

    /// Lets a party wait to leave. `number` is that of the command.
    ///
    /// # Errors
    /// [`BarrierRefusal::NotInside`].
    pub(super) fn leave(
        &mut self,
        number: u64,
        name: &Name,
        session: SessionId,
        until_ms: u64,
    ) -> Result<Option<BarrierEvent>, BarrierRefusal> {
        let not_inside = BarrierRefusal::NotInside { session };
        let barrier = self.by_name.get_mut(name).ok_or(not_inside.clone())?;
        if !barrier.inside.remove(&session) {
            return Err(not_inside);
        }
        if barrier.waiting.is_empty() {
            barrier.round = number;
        }
        barrier.waiting.insert(session, until_ms);
        let are_all = barrier.inside.is_empty();
        self.due.insert((until_ms, name.clone(), session));
        Ok(if are_all { self.pass(name) } else { None })
    }

    /// Breaks every round of which the session is a party.
    pub(super) fn end(&mut self, session: SessionId) -> Vec<BarrierEvent> {
        if BARRIER_COUNTS_THE_DEAD.is_planted() {
            return Vec::new();
        }
        let names: Vec<_> = self.of(session).cloned().collect();
        names
            .iter()
            .filter_map(|name| self.dissolve(name))
            .collect()
    }

    /// Breaks the rounds in which somebody has waited too long, and forgets old ones.
    pub(super) fn tick(&mut self, now_ms: u64) -> Vec<BarrierEvent> {
        let mut events = Vec::new();
        while self
            .due
            .first()
            .is_some_and(|(until_ms, ..)| *until_ms <= now_ms)
            && let Some((_, name, _)) = self.due.pop_first()
        {
            events.extend(self.dissolve(&name));
        }
        while let Some(&(at_ms, round)) = self.endings.first()
            && at_ms.saturating_add(ROUND_KEPT_MS) <= now_ms
        {
            self.endings.pop_first();
            self.ended.remove(&round);
        }
        events
    }

    /// Remembers when a round ended.
    pub(super) fn remember(&mut self, event: &BarrierEvent, now_ms: u64) {
        self.ended.insert(event.round, (event.end, now_ms));
        self.endings.insert((now_ms, event.round));
    }

    /// Makes what follows from the parties anew, as after reading them; `false` if they cannot be.
    pub(super) fn rebuild(&mut self, is_open: impl Fn(SessionId) -> bool) -> bool {
        self.due.clear();
        self.of.clear();
        let endings = self.ended.iter();
        self.endings = endings
            .map(|(&round, &(_, at_ms))| (at_ms, round))
            .collect();
        for (name, barrier) in &self.by_name {
            let parties = barrier.waiting.keys().chain(&barrier.inside);
            for &session in parties {
                if !is_open(session) {
                    return false;
                }
                self.of.entry(session).or_default().insert(name.clone());
            }
            for (&session, &until_ms) in &barrier.waiting {
                self.due.insert((until_ms, name.clone(), session));
            }
            let present = barrier.waiting.len() + barrier.inside.len();
            if present == 0 || present > PARTIES_MAX as usize {
                return false;
            }
        }
        true
    }

    /// All have come, or all have left.
    fn pass(&mut self, name: &Name) -> Option<BarrierEvent> {
        let barrier = self.by_name.get_mut(name)?;
        let waiting = std::mem::take(&mut barrier.waiting);
        for (&session, &until_ms) in &waiting {
            self.due.remove(&(until_ms, name.clone(), session));
        }
        let round = barrier.round;
        let leaving = barrier.parties == 0;
        let freed = if barrier.double && !leaving {
            barrier.inside.extend(waiting.keys());
            // Whoever leaves next waits for those inside, not for a number of them.
            barrier.parties = 0;
            Vec::new()
        } else {
            self.by_name.remove(name);
            for session in waiting.keys() {
                self.forget(*session, name);
            }
            waiting.into_keys().collect()
        };
        Some(BarrierEvent {
            name: name.clone(),
            round,
            end: RoundEnd::Passed,
            freed,
        })
    }

    /// The round is broken for all its parties.
    fn dissolve(&mut self, name: &Name) -> Option<BarrierEvent> {
        let barrier = self.by_name.remove(name)?;
        for (&session, &until_ms) in &barrier.waiting {
            self.due.remove(&(until_ms, name.clone(), session));
        }
        let freed: Vec<_> = barrier.waiting.into_keys().chain(barrier.inside).collect();
        for session in &freed {
            self.forget(*session, name);
        }
        Some(BarrierEvent {
            name: name.clone(),
            round: barrier.round,
            end: RoundEnd::Broken,
            freed,
        })
    }

    fn forget(&mut self, session: SessionId, name: &Name) {
        if let Some(names) = self.of.get_mut(&session) {
            names.remove(name);
            if names.is_empty() {
                self.of.remove(&session);
            }
        }
    }
}
