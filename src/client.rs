//! Locks and elections for Rust programs: guards that renew themselves, and say when they are lost.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use quorate::client::{Coordinated, Patience};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Coordinated::at(["10.0.0.1:7379", "10.0.0.2:7379", "10.0.0.3:7379"]);
//! let patience = Patience::new(Duration::from_secs(10)).wait(Duration::from_secs(30));
//! let lock = cluster.lock("nightly-report", patience).await?;
//! tokio::select! {
//!     () = write_report(lock.token()) => lock.release().await?,
//!     lost = lock.lost() => return Err(lost.into()),
//! }
//! # Ok(())
//! # }
//! # async fn write_report(_token: u64) {}
//! ```
//!
//! A guard counts its lease from when it was asked for, by its own clock, and gives it up a tenth
//! of its time before the cluster may grant it to somebody else. No guard can keep its program from
//! being stopped in between, so whatever the program changes should carry the token: see
//! `docs/consistency.md`.

mod lease;
#[cfg(test)]
mod tests;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use lease::{Kind, Terms};
pub use lease::{Lease, LeaseError, Lost};

use crate::faces::resp::client::Options;

/// A cluster whose locks and elections a program uses. Cheap to clone; it holds no connection.
#[derive(Clone, Debug)]
pub struct Coordinated {
    nodes: Arc<[String]>,
    options: Options,
}

/// How long a lease lasts, and how long to wait for it. Unlike the `Patience` of `coordinate`, it
/// is a client's, in its own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    ttl: Duration,
    wait: Duration,
    shared: bool,
}

impl Patience {
    /// A lease that is lost unless it is renewed within `ttl`: 10 ms to 24 h. The guard renews it
    /// three times as often. It is tried once.
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            wait: Duration::ZERO,
            shared: false,
        }
    }

    /// Waits for it, 24 h at most.
    #[must_use]
    pub fn wait(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// Shares a lock with others that share it. It means nothing for an election.
    #[must_use]
    pub fn shared(self) -> Self {
        Self {
            shared: true,
            ..self
        }
    }
}

/// A lock that is held. Dropping it gives it back, in the background.
#[derive(Debug)]
pub struct LockGuard(Lease);

/// The leadership of an election. Dropping it resigns, in the background.
#[derive(Debug)]
pub struct LeaderGuard(Lease);

impl Coordinated {
    /// The cluster of these nodes, `host:port` of their RESP ports. Any of them will do; the next
    /// is tried when one does not answer.
    pub fn at<A: Into<String>>(nodes: impl IntoIterator<Item = A>) -> Self {
        Self {
            nodes: nodes.into_iter().map(Into::into).collect(),
            options: Options::default(),
        }
    }

    /// Connects with a user, a password or TLS.
    #[must_use]
    pub fn with(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// Takes a lock. If the future is dropped while it waits, and the lock is granted nevertheless,
    /// it is given back at once.
    ///
    /// # Errors
    /// [`LeaseError::NotGranted`] if it was not granted in time; otherwise why nobody could be
    /// asked, or why the request was refused.
    pub async fn lock(&self, name: &str, patience: Patience) -> Result<LockGuard, LeaseError> {
        let lease = self.hold(Kind::Lock, name, &[], patience).await?;
        Ok(LockGuard(lease))
    }

    /// Leads an election, and publishes `value` as its leader. Dropping the future is as for a
    /// lock.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub async fn campaign(
        &self,
        name: &str,
        value: &[u8],
        patience: Patience,
    ) -> Result<LeaderGuard, LeaseError> {
        let lease = self.hold(Kind::Election, name, value, patience).await?;
        Ok(LeaderGuard(lease))
    }

    /// What the leader of an election publishes, and its token; `None` if nobody leads.
    ///
    /// # Errors
    /// Why nobody could be asked.
    pub async fn leader(&self, name: &str) -> Result<Option<(Vec<u8>, u64)>, LeaseError> {
        lease::observe(&self.nodes, &self.options, name).await
    }

    async fn hold(
        &self,
        kind: Kind,
        name: &str,
        value: &[u8],
        patience: Patience,
    ) -> Result<Lease, LeaseError> {
        let terms = Terms {
            kind,
            name: name.to_owned(),
            value: value.to_vec(),
            ttl: patience.ttl,
            wait: patience.wait,
            shared: patience.shared,
        };
        Lease::take(Arc::clone(&self.nodes), self.options.clone(), terms).await
    }
}

impl LockGuard {
    /// Gives the lock back. Returns once the cluster has taken it.
    ///
    /// # Errors
    /// [`Lost`] if it was not held any more: somebody else may hold it.
    pub async fn release(self) -> Result<(), Lost> {
        self.0.release().await
    }
}

impl LeaderGuard {
    /// Publishes another value.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] if it leads no longer.
    pub async fn proclaim(&self, value: &[u8]) -> Result<(), LeaseError> {
        self.0.proclaim(value).await
    }

    /// Leads no longer. Returns once the cluster has taken it.
    ///
    /// # Errors
    /// [`Lost`] if it did not lead any more: somebody else may lead.
    pub async fn resign(self) -> Result<(), Lost> {
        self.0.release().await
    }
}

impl Deref for LockGuard {
    type Target = Lease;

    fn deref(&self) -> &Lease {
        &self.0
    }
}

impl Deref for LeaderGuard {
    type Target = Lease;

    fn deref(&self) -> &Lease {
        &self.0
    }
}
