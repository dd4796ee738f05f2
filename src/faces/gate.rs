//! Lets callers in: checks the names and the passwords that they show, for all faces alike. What a
//! caller may do afterwards is up to [`Topology::allows`].

use std::sync::Arc;
use std::time::Duration;

use quorate_control::topology::{Caller, DEFAULT_USER, Topology};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::config::Secret;
use crate::password;

/// How many passwords of users are checked at the same time. Each takes a processor for tens of
/// milliseconds and 19 MiB. Guess: strangers must not take more than that.
const CHECKS_MAX: usize = 2;
/// How long a caller waits for its turn to be checked. Guess.
const TURN: Duration = Duration::from_secs(5);
/// How long the answer to a wrong password takes. Guess: a person does not notice, and a connection
/// makes ten guesses a second at most.
const WRONG_PAUSE: Duration = Duration::from_millis(100);

/// The entrance to a node, over all faces that share it.
#[derive(Debug)]
pub struct Gate {
    password: Option<Secret>,
    checks: Semaphore,
}

/// Why a caller was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAdmitted {
    /// There is no such user, or the password is wrong. The answer does not say which.
    Wrong,
    /// Too many passwords are waiting to be checked; this one was not.
    Busy,
}

impl Gate {
    /// A node whose user `default` has this password. Without one that user need not authenticate,
    /// as long as the cluster has no users.
    pub fn new(password: Option<Secret>) -> Arc<Self> {
        Arc::new(Self {
            password,
            checks: Semaphore::new(CHECKS_MAX),
        })
    }

    /// Whether the node has a password of its own.
    pub(super) fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Who somebody is that has just connected.
    pub(super) fn newcomer(&self) -> Caller {
        match self.password {
            Some(_) => Caller::Stranger,
            None => Caller::Anyone,
        }
    }

    /// Checks a password. Wrong ones are answered late, and after as long a computation as right
    /// ones.
    pub(super) async fn admit(
        &self,
        topology: &Topology,
        name: &str,
        guess: &[u8],
    ) -> Result<Caller, NotAdmitted> {
        let admitted = if name == DEFAULT_USER {
            self.admit_default(topology, guess)
        } else {
            self.admit_user(topology, name, guess).await?
        };
        if admitted.is_none() {
            sleep(WRONG_PAUSE).await;
        }
        admitted.ok_or(NotAdmitted::Wrong)
    }

    fn admit_default(&self, topology: &Topology, guess: &[u8]) -> Option<Caller> {
        match &self.password {
            Some(password) => password.matches(guess).then_some(Caller::Default),
            // As in Redis, a user without a password takes any.
            None => topology.users.is_empty().then_some(Caller::Anyone),
        }
    }

    async fn admit_user(
        &self,
        topology: &Topology,
        name: &str,
        guess: &[u8],
    ) -> Result<Option<Caller>, NotAdmitted> {
        if topology.users.is_empty() {
            return Ok(None);
        }
        let found = topology.users.get_key_value(name);
        let kept = found.map_or_else(password::nobody, |(_, user)| user.password.clone());
        let guess = Secret::new(guess);
        let turn = timeout(TURN, self.checks.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or(NotAdmitted::Busy)?;
        // A thread that is gone has checked nothing.
        let fits = tokio::task::spawn_blocking(move || password::matches(&kept, guess.expose()))
            .await
            .unwrap_or(false);
        Ok(found.filter(|_| fits).map(|(name, user)| Caller::User {
            name: Arc::clone(name),
            since: user.since,
        }))
    }
}

/// How a caller is called in logs and answers.
pub(super) fn name_of(caller: &Caller) -> &str {
    match caller {
        Caller::User { name, .. } => name,
        Caller::Default | Caller::Anyone | Caller::Stranger => DEFAULT_USER,
    }
}

#[cfg(test)]
mod tests;
