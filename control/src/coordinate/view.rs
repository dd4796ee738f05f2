//! Looking at the state: who holds what, who waits where and for whom, and what a wait has come to.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::barrier::RoundEnd;
use super::election::Leadership;
use super::lock::{LockHold, LockMode};
use super::metadata::MetadataEntry;
use super::session::{Holder, Name, Resource, ResourceKind, SessionId, WaitId};
use super::state::Coordination;
use crate::topology::FencingToken;

/// How many links of a chain are shown.
pub const CHAIN_MAX: usize = 64;
/// How many locks, and how many waiters of each, are listed.
pub const LISTED_MAX: usize = 10_000;

/// One that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// Its session.
    pub session: SessionId,
    /// Whose that is.
    pub holder: Holder,
    /// How often it holds the lock.
    pub holds: u32,
    /// In how many milliseconds the session ends unless it is renewed.
    pub ends_in_ms: u64,
}

/// One that waits for a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockWaiter {
    /// The wait.
    pub wait: WaitId,
    /// Its session.
    pub session: SessionId,
    /// Whose that is.
    pub holder: Holder,
}

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockView {
    /// Its name.
    pub name: Name,
    /// How it is held.
    pub mode: LockMode,
    /// The token of the grant.
    pub token: FencingToken,
    /// By whom.
    pub holders: Vec<LockHolder>,
    /// Who waits for it, in the order in which they are served.
    pub waiters: Vec<LockWaiter>,
}

/// One link of a chain of waiting: who holds a thing, and what that holder waits for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainLink {
    /// What is held.
    pub resource: Resource,
    /// By which session.
    pub session: SessionId,
    /// Whose that is.
    pub holder: Holder,
    /// Under which token.
    pub token: FencingToken,
    /// What that session waits for; the next link begins there.
    pub waits_for: Option<Resource>,
}

/// What a wait has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitStanding {
    /// It goes on.
    Waiting,
    /// The session holds the thing.
    Granted {
        /// The token of the grant.
        token: FencingToken,
    },
    /// It is over, and the session does not hold the thing now.
    Over,
}

/// What can be asked of the state. Answers are those of the moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CoordinationQuery {
    /// All locks that are held; only of this holder, if one is named.
    Locks {
        /// Whose.
        held_by: Option<Holder>,
    },
    /// Who holds a lock, whom that one waits for, and so on.
    Why(Name),
    /// Who leads an election.
    Leader(Name),
    /// What a wait has come to.
    Wait {
        /// The wait.
        wait: WaitId,
        /// Whose it is.
        session: SessionId,
        /// What it waits for.
        resource: Resource,
    },
    /// How a round of a barrier ended.
    Round {
        /// At which barrier.
        name: Name,
        /// Which round.
        round: u64,
    },
    /// Whether a closing of a latch is over.
    Latch {
        /// Which latch.
        name: Name,
        /// Which closing.
        closing: u64,
    },
    /// The value of metadata under a name.
    Metadata(Name),
    /// The whole state, to be saved.
    State,
    /// Which tokens may still be held.
    Floor,
}

/// The answer to a [`CoordinationQuery`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CoordinationAnswer {
    /// Locks, at most [`LISTED_MAX`].
    Locks(Vec<LockView>),
    /// A chain, at most [`CHAIN_MAX`] long; empty if the lock is free.
    Why(Vec<ChainLink>),
    /// The leader; `None` if there is none.
    Leader(Option<Leadership>),
    /// See there.
    Wait(WaitStanding),
    /// How it ended; `None` while it goes on.
    Round(Option<RoundEnd>),
    /// Whether it is over.
    Latch(bool),
    /// The value; `None` if there is none.
    Metadata(Option<MetadataEntry>),
    /// The encoded state.
    State(Bytes),
    /// The lowest token that is held or will be granted.
    Floor(FencingToken),
}

impl Coordination {
    /// Answers from the state as it is.
    pub fn answer(&self, query: &CoordinationQuery) -> CoordinationAnswer {
        match query {
            CoordinationQuery::Locks { held_by } => {
                CoordinationAnswer::Locks(self.list(held_by.as_ref()))
            }
            CoordinationQuery::Why(name) => CoordinationAnswer::Why(self.chain(name)),
            CoordinationQuery::Leader(name) => {
                CoordinationAnswer::Leader(self.elections.get(name).cloned())
            }
            CoordinationQuery::Wait {
                wait,
                session,
                resource,
            } => CoordinationAnswer::Wait(self.standing(*wait, *session, resource)),
            CoordinationQuery::Round { name, round } => {
                CoordinationAnswer::Round(self.barriers.end_of(name, *round))
            }
            CoordinationQuery::Latch { name, closing } => {
                let latch = self.latches.get(name);
                CoordinationAnswer::Latch(latch.is_none_or(|latch| latch.closing != *closing))
            }
            CoordinationQuery::Metadata(name) => {
                CoordinationAnswer::Metadata(self.metadata.get(name).cloned())
            }
            CoordinationQuery::State => CoordinationAnswer::State(self.encode()),
            CoordinationQuery::Floor => CoordinationAnswer::Floor(self.floor()),
        }
    }

    /// How much there is of what.
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("sessions", self.sessions.iter().len() as u64),
            ("locks", self.locks.iter().len() as u64),
            ("waits", self.queue.len() as u64),
            ("semaphores", self.semaphores.iter().len() as u64),
            ("elections", self.elections.iter().len() as u64),
            ("metadata", self.metadata.len() as u64),
            ("metadata_bytes", self.metadata.bytes() as u64),
        ]
    }

    fn list(&self, held_by: Option<&Holder>) -> Vec<LockView> {
        let is_asked = |hold: &LockHold| {
            let mut sessions = hold.holders.keys();
            held_by.is_none_or(|holder| sessions.any(|it| self.sessions.holder(*it) == *holder))
        };
        let asked = self.locks.iter().filter(|(_, hold)| is_asked(hold));
        let view = asked.map(|(name, hold)| {
            let resource = Resource {
                kind: ResourceKind::Lock,
                name: name.clone(),
            };
            let holders = hold.holders.iter().take(LISTED_MAX);
            let waits = self.queue.line(&resource).take(LISTED_MAX);
            LockView {
                name: name.clone(),
                mode: hold.mode,
                token: hold.token,
                holders: holders
                    .map(|(&it, &holds)| self.holder_view(it, holds))
                    .collect(),
                waiters: waits.filter_map(|wait| self.waiter_view(wait)).collect(),
            }
        });
        view.take(LISTED_MAX).collect()
    }

    fn holder_view(&self, session: SessionId, holds: u32) -> LockHolder {
        let ends_ms = self.sessions.get(session).map_or(0, |open| open.ends_ms);
        LockHolder {
            session,
            holder: self.sessions.holder(session),
            holds,
            ends_in_ms: ends_ms.saturating_sub(self.sessions.now_ms()),
        }
    }

    fn waiter_view(&self, wait: WaitId) -> Option<LockWaiter> {
        let session = self.queue.get(wait)?.session;
        Some(LockWaiter {
            wait,
            session,
            holder: self.sessions.holder(session),
        })
    }

    /// From a lock to its holder, to what that one waits for, to the holder of that, and so on.
    fn chain(&self, name: &Name) -> Vec<ChainLink> {
        let mut chain = Vec::new();
        let mut next = Some(Resource {
            kind: ResourceKind::Lock,
            name: name.clone(),
        });
        while let Some(resource) = next
            && chain.len() < CHAIN_MAX
            && let Some(holding) = self.holding(&resource)
        {
            let mut waits = self.queue.of(holding.session);
            let waits_for = waits.next().and_then(|wait| self.queue.get(wait));
            next = waits_for.and_then(|waiter| waiter.resources.first().cloned());
            chain.push(ChainLink {
                resource,
                session: holding.session,
                holder: holding.holder,
                token: holding.token,
                waits_for: next.clone(),
            });
        }
        chain
    }

    fn standing(&self, wait: WaitId, session: SessionId, resource: &Resource) -> WaitStanding {
        if self.queue.get(wait).is_some() {
            return WaitStanding::Waiting;
        }
        let token = match resource.kind {
            ResourceKind::Semaphore => self.semaphores.get(&resource.name).and_then(|there| {
                let mut held = there.held.iter();
                held.find_map(|(&token, permits)| (permits.wait == wait).then_some(token))
            }),
            ResourceKind::Lock | ResourceKind::Election => {
                let mut held = self.holders(resource);
                held.find_map(|(holder, token)| (holder == session).then_some(token))
            }
        };
        token.map_or(WaitStanding::Over, |token| WaitStanding::Granted { token })
    }
}
