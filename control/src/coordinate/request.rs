//! Which commands have been answered already: a command that arrives twice is answered twice and
//! carried out once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::planted::RETRY_REPEATED;

#[cfg(test)]
mod tests;

/// How many clients are remembered. A client is a node, not a user of it.
pub const CLIENTS_MAX: usize = 1 << 12;
/// How many answers a client may wait for.
pub const ANSWERS_MAX: usize = 1 << 13;
/// How long a client that asks nothing is remembered, in milliseconds of the group's time. A
/// command is not tried for as long.
pub(super) const CLIENT_KEPT_MS: u64 = 10 * 60 * 1000;

/// Names whoever repeats its commands until they are answered; drawn at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientId(pub u64);

/// Names a command for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalId {
    /// Whose it is.
    pub client: ClientId,
    /// Counts the client's commands.
    pub number: u64,
    /// The lowest number whose answer the client still waits for. All below are forgotten.
    pub awaited: u64,
}

/// Why a command was not even looked at. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ProposalRefusal {
    /// The client had said that it waits for it no longer.
    #[error("the command was given up by whoever asked for it")]
    GivenUp,
    /// The client waits for too many answers.
    #[error("{ANSWERS_MAX} commands of this client are not answered; wait for some of them")]
    TooMany,
    /// There are too many clients.
    #[error("{CLIENTS_MAX} clients are known, and that is the limit")]
    TooManyClients,
}

/// What is known about a command that arrives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival<O> {
    /// It is the first of its number.
    New,
    /// It was answered.
    Answered(O),
    /// It is not to be carried out.
    Refused(ProposalRefusal),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Client<O> {
    awaited: u64,
    heard_ms: u64,
    answers: BTreeMap<u64, O>,
}

/// The answers that clients may ask for again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answered<O> {
    clients: BTreeMap<ClientId, Client<O>>,
}

impl<O> Default for Answered<O> {
    fn default() -> Self {
        Self {
            clients: BTreeMap::new(),
        }
    }
}

impl<O: Clone> Answered<O> {
    /// What is known about the command, at the time `now_ms`.
    pub(super) fn arrive(&mut self, id: ProposalId, now_ms: u64) -> Arrival<O> {
        if !self.clients.contains_key(&id.client) && self.clients.len() >= CLIENTS_MAX {
            return Arrival::Refused(ProposalRefusal::TooManyClients);
        }
        let client = self.clients.entry(id.client).or_insert_with(|| Client {
            awaited: 0,
            heard_ms: now_ms,
            answers: BTreeMap::new(),
        });
        client.heard_ms = now_ms;
        if id.awaited > client.awaited {
            client.awaited = id.awaited;
            client.answers = client.answers.split_off(&id.awaited);
        }
        if RETRY_REPEATED.is_planted() {
            return Arrival::New;
        }
        if id.number < client.awaited {
            return Arrival::Refused(ProposalRefusal::GivenUp);
        }
        match client.answers.get(&id.number) {
            Some(answer) => Arrival::Answered(answer.clone()),
            None if client.answers.len() >= ANSWERS_MAX => {
                Arrival::Refused(ProposalRefusal::TooMany)
            }
            None => Arrival::New,
        }
    }

    /// Keeps the answer until its client no longer waits for it.
    pub(super) fn keep(&mut self, id: ProposalId, answer: O) {
        if let Some(client) = self.clients.get_mut(&id.client) {
            client.answers.insert(id.number, answer);
        }
    }

    /// Forgets clients that have asked nothing for long.
    pub(super) fn tick(&mut self, now_ms: u64) {
        self.clients
            .retain(|_, client| client.heard_ms.saturating_add(CLIENT_KEPT_MS) > now_ms);
    }

    /// Whether the answers can be, as after reading them.
    pub(super) fn are_right(&self) -> bool {
        self.clients.len() <= CLIENTS_MAX
            && self
                .clients
                .values()
                .all(|client| client.answers.len() <= ANSWERS_MAX)
    }
}
