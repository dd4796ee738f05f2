//! What all machines of the coordination group speak in: names, holders, times, and the answer to
//! whoever wants to hold something.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::topology::FencingToken;

/// The longest [`Name`] in bytes. Guess.
pub const LOCK_NAME_BYTES_MAX: usize = 1024;
/// The longest [`Holder`] in bytes. Guess: a host, a process and a purpose.
pub const HOLDER_BYTES_MAX: usize = 128;
/// The shortest time to live in milliseconds. Guess: below it a lease is lost to any delay.
pub const TTL_MS_MIN: u64 = 10;
/// The longest time to live in milliseconds: a day. Whoever needs longer renews.
pub const TTL_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// The longest wait in milliseconds: a day.
pub const WAIT_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// The longest time in milliseconds for which a lock whose holder was lost is given to nobody.
pub const DELAY_MS_MAX: u32 = 60 * 1000;

/// Why a word is not one of this group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WordError {
    /// A name is empty or too long.
    #[error("a name has 1 to {LOCK_NAME_BYTES_MAX} bytes, not {bytes}")]
    Name {
        /// Its length.
        bytes: usize,
    },
    /// A holder's name is too long.
    #[error("a holder's name has at most {HOLDER_BYTES_MAX} bytes, not {bytes}")]
    Holder {
        /// Its length.
        bytes: usize,
    },
    /// A time to live is out of bounds.
    #[error("a TTL is {TTL_MS_MIN} to {TTL_MS_MAX} milliseconds, not {ms}")]
    Ttl {
        /// What was asked for.
        ms: u64,
    },
    /// A wait is out of bounds.
    #[error("a wait is at most {WAIT_MS_MAX} milliseconds, not {ms}")]
    Wait {
        /// What was asked for.
        ms: u64,
    },
    /// A lock-delay is out of bounds.
    #[error("a lock-delay is at most {DELAY_MS_MAX} milliseconds, not {ms}")]
    Delay {
        /// What was asked for.
        ms: u32,
    },
}

/// The name of a lock, a semaphore, a barrier, a latch, an election or a value of metadata: 1 to
/// [`LOCK_NAME_BYTES_MAX`] bytes. Each kind has names of its own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct Name(Bytes);

impl TryFrom<Bytes> for Name {
    type Error = WordError;

    fn try_from(bytes: Bytes) -> Result<Self, WordError> {
        match bytes.len() {
            1..=LOCK_NAME_BYTES_MAX => Ok(Self(bytes)),
            bytes => Err(WordError::Name { bytes }),
        }
    }
}

impl From<Name> for Bytes {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl Name {
    /// The bytes of the name.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Display for Name {
    /// As text; bytes that are no text are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Who asks, as operators see it: at most [`HOLDER_BYTES_MAX`] bytes, empty for nobody in
/// particular.
///
/// Sessions of one holder are one party where deadlocks are looked for: the holder waits if any of
/// them waits. So each thread that locks several things needs a name of its own, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Arc<str>", into = "Arc<str>")]
pub struct Holder(Arc<str>);

impl TryFrom<Arc<str>> for Holder {
    type Error = WordError;

    fn try_from(text: Arc<str>) -> Result<Self, WordError> {
        match text.len() {
            0..=HOLDER_BYTES_MAX => Ok(Self(text)),
            bytes => Err(WordError::Holder { bytes }),
        }
    }
}

impl From<Holder> for Arc<str> {
    fn from(holder: Holder) -> Self {
        holder.0
    }
}

impl Holder {
    /// The name; empty for nobody in particular.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A time to live: [`TTL_MS_MIN`] to [`TTL_MS_MAX`] milliseconds. There is no lock without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Ttl(u64);

impl TryFrom<u64> for Ttl {
    type Error = WordError;

    fn try_from(ms: u64) -> Result<Self, WordError> {
        match ms {
            TTL_MS_MIN..=TTL_MS_MAX => Ok(Self(ms)),
            ms => Err(WordError::Ttl { ms }),
        }
    }
}

impl From<Ttl> for u64 {
    fn from(ttl: Ttl) -> Self {
        ttl.0
    }
}

impl Ttl {
    /// In milliseconds.
    pub fn ms(self) -> u64 {
        self.0
    }
}

/// How long somebody waits, and before whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u64, i8)", into = "(u64, i8)")]
pub struct Patience {
    wait_ms: u64,
    priority: i8,
}

impl TryFrom<(u64, i8)> for Patience {
    type Error = WordError;

    fn try_from(pair: (u64, i8)) -> Result<Self, WordError> {
        Self::new(pair.0, pair.1)
    }
}

impl From<Patience> for (u64, i8) {
    fn from(patience: Patience) -> Self {
        (patience.wait_ms, patience.priority)
    }
}

impl Patience {
    /// Waits for `wait_ms` milliseconds, 0 for a single try. A higher `priority` is served first;
    /// [`AGE_MS`](crate::coordinate::AGE_MS) of waiting weigh as much as one step of it.
    ///
    /// # Errors
    /// [`WordError::Wait`].
    pub fn new(wait_ms: u64, priority: i8) -> Result<Self, WordError> {
        if wait_ms > WAIT_MS_MAX {
            return Err(WordError::Wait { ms: wait_ms });
        }
        Ok(Self { wait_ms, priority })
    }

    /// How long to wait, in milliseconds; 0 for a single try.
    pub fn wait_ms(self) -> u64 {
        self.wait_ms
    }

    /// The priority.
    pub fn priority(self) -> i8 {
        self.priority
    }
}

/// Names a session for ever: the number of the command that opened it, as a [`FencingToken`] is
/// that of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// Names one wait for ever: the number of the command that began it. If that command opened a
/// session, both have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WaitId(pub u64);

/// What can be held, and so waited for in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ResourceKind {
    /// A lock.
    Lock,
    /// Permits of a semaphore.
    Semaphore,
    /// The leadership of an election.
    Election,
}

/// One thing that can be held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Resource {
    /// Which kind.
    pub kind: ResourceKind,
    /// Its name among those of its kind.
    pub name: Name,
}

/// A hold, as a client names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRef {
    /// What is held.
    pub resource: Resource,
    /// The token of the grant.
    pub token: FencingToken,
    /// Whose hold it is. Needed only where several sessions hold a lock under one token.
    pub session: Option<SessionId>,
}

impl fmt::Display for HoldRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Resource { kind, name } = &self.resource;
        write!(f, "{kind:?} {name} under token {}", self.token.0)
    }
}

/// A session to open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// Whose it is.
    pub holder: Holder,
    /// How long it lives after each renewal.
    pub ttl: Ttl,
    /// If it is lost rather than closed, nobody gets its locks for so many milliseconds. At most
    /// [`DELAY_MS_MAX`]. For holders whose writes nothing fences.
    pub delay_ms: u32,
}

impl SessionSpec {
    /// A session of `holder` that lives for `ttl` after each renewal.
    ///
    /// # Errors
    /// [`WordError::Delay`].
    pub fn new(holder: Holder, ttl: Ttl, delay_ms: u32) -> Result<Self, WordError> {
        if delay_ms > DELAY_MS_MAX {
            return Err(WordError::Delay { ms: delay_ms });
        }
        Ok(Self {
            holder,
            ttl,
            delay_ms,
        })
    }
}

/// Under which session something is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    /// One that is open.
    Session(SessionId),
    /// A new one, which is opened in the same step and ends with the last thing that it holds.
    New(SessionSpec),
}

/// Who stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occupant {
    /// The session.
    pub session: SessionId,
    /// Whose it is.
    pub holder: Holder,
    /// Its token.
    pub token: FencingToken,
}

/// What became of a request to hold something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acquired {
    /// It is held.
    Granted {
        /// The token of the grant.
        token: FencingToken,
        /// The session that holds it.
        session: SessionId,
        /// How many times that session holds it now. It must be released as often.
        holds: u32,
    },
    /// It is waited for.
    Waiting {
        /// The wait.
        wait: WaitId,
        /// The session that waits.
        session: SessionId,
        /// How many are served before it, and itself.
        position: u32,
    },
    /// Others hold it, and the request does not wait. Nothing has changed.
    Taken {
        /// One of the holders; `None` if nobody gets it now because its last holder was lost.
        by: Option<Occupant>,
        /// At which position it would have had to wait.
        position: u32,
    },
}

/// One party of a deadlock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlocked {
    /// Its session.
    pub session: SessionId,
    /// Whose it is.
    pub holder: Holder,
    /// What it waits for.
    pub waits_for: Resource,
}

/// Why nobody even waits. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireRefusal {
    /// The session has ended, or there never was one.
    #[error("session {0} has ended; open another", session.0)]
    UnknownSession {
        /// What was named.
        session: SessionId,
    },
    /// Everybody in a circle would wait for the next.
    #[error("waiting would be a deadlock of {0} parties", cycle.len())]
    WouldDeadlock {
        /// The circle; the first is whoever asked.
        cycle: Vec<Deadlocked>,
    },
    /// Other readers hold the lock too. If two of them waited to become its writer, neither would.
    #[error(
        "waiting to turn a shared lock into an exclusive one while {others} others share it would be a deadlock; release it first"
    )]
    NotTheOnlyReader {
        /// How many.
        others: u32,
    },
    /// The session holds one of several locks already.
    #[error("the session holds {name} already; several locks at once must all be new to it")]
    HeldAlready {
        /// Which.
        name: Name,
    },
    /// The lock has been taken too often by one session.
    #[error("a session may take one lock {limit} times")]
    TooOften {
        /// The limit.
        limit: u32,
    },
    /// No lock, or too many, or one of them twice, or several to share.
    #[error("a request names one lock, or up to {limit} to hold exclusively, each once")]
    BadNames {
        /// The limit.
        limit: usize,
    },
    /// The semaphore exists with another number of permits.
    #[error("the semaphore has {size} permits")]
    OtherSize {
        /// How many it has.
        size: u32,
    },
    /// More permits are asked for than there are, or none.
    #[error("1 to {size} permits can be taken, not {wanted}")]
    BadPermits {
        /// What was asked for.
        wanted: u32,
        /// How many the semaphore has.
        size: u32,
    },
    /// A value to be published is too long.
    #[error("a value has at most {limit} bytes, not {bytes}")]
    ValueTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// There are as many sessions as there may be.
    #[error("there are {limit} sessions, and that is the limit")]
    TooManySessions {
        /// The limit.
        limit: usize,
    },
    /// As many requests wait as may.
    #[error("{limit} requests wait, and that is the limit")]
    TooManyWaiters {
        /// The limit.
        limit: usize,
    },
}
