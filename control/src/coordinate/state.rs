//! Everything the coordination group has decided, and how it is numbered. The files beside this one
//! change it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::barrier::Barriers;
use super::command::CoordinationOutcome;
use super::election::{Elections, VALUE_BYTES_MAX};
use super::latch::Latches;
use super::lock::{LockMode, Locks, NAMES_MAX};
use super::metadata::Metadata;
use super::queue::Queue;
use super::request::Answered;
use super::semaphore::{PERMITS_MAX, Semaphores};
use super::session::{SessionId, Sessions};
use crate::planted::{FLOOR_TOO_HIGH, TOKENS_BEGIN_AGAIN};
use crate::topology::{FencingToken, LogIndex};

/// How far tokens jump when a state is restored: more than the old group can have granted since the
/// state was saved.
pub const RESTORE_LEAP: u64 = 1 << 40;

/// The longest state in bytes that can be restored. Guess: one that fits into a snapshot message.
pub const ARCHIVE_BYTES_MAX: usize = 48 * 1024 * 1024;

/// The highest number that there can be: no sum of it and a log index overflows.
const NUMBER_MAX: u64 = 1 << 62;

/// The highest number in a state that may be restored: from there numbers leap, and go on for ever.
const RESTORED_NUMBER_MAX: u64 = 1 << 61;

/// What a request that waits wants to do with the things when it has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Wanted {
    /// Hold locks.
    Lock(LockMode),
    /// Take so many permits.
    Permits(u32),
    /// Lead, and publish this.
    Lead(Bytes),
}

/// Everything the coordination group has decided. [`apply`](Self::apply) and [`pass`](Self::pass)
/// are the only ways to change it.
///
/// **Law:** the state is a function of the calls of these two alone: no clock, no
/// randomness, no iteration over a hash map. A refused command changes nothing but the record of
/// its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Coordination {
    /// What is added to a log index to number something for ever.
    base: u64,
    /// The position that was applied last.
    last: LogIndex,
    /// The number of the last command.
    number: u64,
    /// The highest token that was ever granted.
    highest: FencingToken,
    pub(super) answered: Answered<CoordinationOutcome>,
    pub(super) sessions: Sessions,
    pub(super) locks: Locks,
    pub(super) semaphores: Semaphores,
    pub(super) elections: Elections,
    pub(super) barriers: Barriers,
    pub(super) latches: Latches,
    pub(super) metadata: Metadata,
    pub(super) queue: Queue<Wanted>,
    /// The parts of a saved state that are there so far.
    pub(super) restoring: Vec<u8>,
}

impl Coordination {
    /// The highest token that was ever granted.
    pub fn highest(&self) -> FencingToken {
        self.highest
    }

    /// The lowest token that is held, or that will be granted if none is. Whatever carries a lower
    /// one belongs to a holder that has lost its lock, so nobody need remember a fence below.
    pub fn floor(&self) -> FencingToken {
        let held = self.held();
        let lowest = if FLOOR_TOO_HIGH.is_planted() {
            held.max()
        } else {
            held.min()
        };
        lowest.unwrap_or(FencingToken(self.highest.0 + 1))
    }

    /// The tokens under which anything is held.
    fn held(&self) -> impl Iterator<Item = FencingToken> + '_ {
        let locks = self.locks.iter().map(|(_, hold)| hold.token);
        let permits = self.semaphores.iter();
        let permits = permits.flat_map(|(_, there)| there.held.keys().copied());
        let leaders = self.elections.iter().map(|(_, led)| led.token);
        locks.chain(permits).chain(leaders)
    }

    /// The state for another group, or for the same one from an older copy: everything is as it
    /// was, sessions have their whole time to live, and what is numbered from now on is above
    /// everything that was.
    #[must_use]
    pub fn restored(mut self) -> Self {
        let numbered = self.numbered();
        self.go_on_above(numbered);
        self.last = LogIndex(0);
        self
    }

    /// Whether the state may take the place of another. One that was made to do harm may be so near
    /// the highest number that nothing could be numbered any more.
    pub(super) fn may_be_restored(&self) -> bool {
        self.numbered() <= RESTORED_NUMBER_MAX
    }

    /// Puts a saved state in place of this one, in the same log. What has been answered stays so.
    /// Returns the number above which everything is numbered from now on.
    pub(super) fn replace_with(&mut self, saved: Self) -> u64 {
        let numbered = self.numbered().max(saved.numbered());
        let present = std::mem::replace(self, saved);
        self.answered = present.answered;
        self.last = present.last;
        self.restoring = Vec::new();
        self.go_on_above(numbered);
        self.base
    }

    /// The highest number that was given to anything.
    fn numbered(&self) -> u64 {
        self.position().max(self.number).max(self.highest.0)
    }

    fn go_on_above(&mut self, numbered: u64) {
        self.base = numbered.saturating_add(RESTORE_LEAP);
        if TOKENS_BEGIN_AGAIN.is_planted() {
            self.base = 0;
        }
        self.sessions.forget_leader();
    }

    /// Goes on to this position.
    pub(super) fn reach(&mut self, index: LogIndex) {
        self.last = index;
    }

    /// Begins the next command at this position.
    pub(super) fn begin(&mut self, index: LogIndex) {
        self.reach(index);
        self.number = self.position().max(self.number + 1);
    }

    /// A number for the position, above those of all positions before, also in other logs.
    fn position(&self) -> u64 {
        self.base.saturating_add(self.last.0)
    }

    /// The number of this command, unlike that of any other.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// A token above all others: that of the position, unless it has been granted already.
    pub(super) fn next_token(&mut self) -> FencingToken {
        let above = if TOKENS_BEGIN_AGAIN.is_planted() {
            0
        } else {
            self.highest.0 + 1
        };
        self.highest = FencingToken(self.position().max(above));
        self.highest
    }

    /// Makes everything anew that follows from the rest, and checks the whole.
    fn rebuild(&mut self) -> bool {
        let are_numbered = self.numbered() <= NUMBER_MAX;
        let are_granted = self.held().all(|token| token <= self.highest);
        let (sessions, queue) = (&mut self.sessions, &mut self.queue);
        let are_right = sessions.rebuild();
        let sessions = &*sessions;
        let is_open = |session: SessionId| sessions.get(session).is_some();
        are_right
            && are_numbered
            && are_granted
            && self.locks.rebuild(is_open)
            && self.semaphores.rebuild(is_open)
            && self.elections.rebuild(is_open)
            && self.barriers.rebuild(is_open)
            && queue.rebuild(is_open)
            && queue.all(|waiter| {
                waiter.resources.len() <= NAMES_MAX
                    && match &waiter.wanted {
                        Wanted::Lock(_) => true,
                        Wanted::Permits(take) => (1..=PERMITS_MAX).contains(take),
                        Wanted::Lead(value) => value.len() <= VALUE_BYTES_MAX,
                    }
            })
            && self.latches.are_right()
            && self.metadata.rebuild()
            && self.answered.are_right()
            && self.restoring.len() <= ARCHIVE_BYTES_MAX
    }
}

/// A state that was read and not checked: the same fields in the same order.
#[derive(Deserialize)]
struct Unchecked {
    base: u64,
    last: LogIndex,
    number: u64,
    highest: FencingToken,
    answered: Answered<CoordinationOutcome>,
    sessions: Sessions,
    locks: Locks,
    semaphores: Semaphores,
    elections: Elections,
    barriers: Barriers,
    latches: Latches,
    metadata: Metadata,
    queue: Queue<Wanted>,
    restoring: Vec<u8>,
}

/// The bytes are those of a state that no commands lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no commands lead to this state of the coordination group")]
pub(super) struct Impossible;

impl TryFrom<Unchecked> for Coordination {
    type Error = Impossible;

    fn try_from(read: Unchecked) -> Result<Self, Impossible> {
        let mut state = Self {
            base: read.base,
            last: read.last,
            number: read.number,
            highest: read.highest,
            answered: read.answered,
            sessions: read.sessions,
            locks: read.locks,
            semaphores: read.semaphores,
            elections: read.elections,
            barriers: read.barriers,
            latches: read.latches,
            metadata: read.metadata,
            queue: read.queue,
            restoring: read.restoring,
        };
        if state.rebuild() {
            Ok(state)
        } else {
            Err(Impossible)
        }
    }
}
