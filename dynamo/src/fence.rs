//! Fencing tokens: what a request under a lock carries, and how what it reads and writes is
//! ordered.
//!
//! Locks live elsewhere. They give strictly increasing tokens, and a client that holds one passes
//! it with its requests as a [`Claim`]. Every replica refuses claims below the highest that it has
//! admitted (its *fence*: see [`replica::Fences`](crate::replica::Fences)), and what is written
//! under a token is ordered by its [`Stamp`]. So a holder that was replaced while it was paused can
//! neither write nor read what its successor would have to answer for.

use quorate_crdt::Hlc;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::planted;

/// Names a lock: the first 16 bytes of the SHA-256 of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LockId(u128);

impl LockId {
    /// The lock of this name.
    pub fn of(name: &[u8]) -> Self {
        let hash: [u8; 32] = Sha256::digest(name).into();
        let mut first = [0; 16];
        first.copy_from_slice(&hash[..16]);
        Self(u128::from_be_bytes(first))
    }

    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// The place of a request among all requests under tokens: later holders come after earlier ones,
/// and the requests of one holder in the order in which it counted them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Rank {
    /// The fencing token: at least 1 under a lock.
    pub token: u64,
    /// The holder's number of the request.
    pub sequence: u64,
}

impl Rank {
    /// The rank of everything that is done without a token: below all others.
    pub const NONE: Self = Self {
        token: 0,
        sequence: 0,
    };

    /// The rank of this request under this token.
    pub fn of(token: u64, sequence: u64) -> Self {
        Self { token, sequence }
    }

    /// The lowest rank above this one.
    #[must_use]
    pub fn next(self) -> Self {
        match self.sequence.checked_add(1) {
            Some(sequence) => Self { sequence, ..self },
            None => Self::of(self.token.saturating_add(1), 0),
        }
    }
}

/// Decides which of several entries of a row is read: the one with the highest rank and, among
/// those, the latest. Unlike the `Stamp` of `quorate_crdt`, it knows of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Under which token it was written.
    pub rank: Rank,
    /// When, by the clock of the executing node, and after everything that the write overwrote.
    pub hlc: Hlc,
}

impl Stamp {
    /// The stamp of something that is written without a token.
    pub fn at(hlc: Hlc) -> Self {
        Self {
            rank: Rank::NONE,
            hlc,
        }
    }

    /// The stamp in comparable form.
    fn weight(self) -> (Rank, Hlc, Rank) {
        let Self { rank, hlc } = self;
        if planted::FOLD_BY_CLOCK.is_planted() {
            return (Rank::NONE, hlc, rank);
        }
        if planted::NO_SEQUENCE.is_planted() {
            let token = Rank {
                sequence: 0,
                ..rank
            };
            return (token, hlc, rank);
        }
        (rank, hlc, rank)
    }
}

impl PartialOrd for Stamp {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Stamp {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.weight().cmp(&other.weight())
    }
}

/// What a request under a lock carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The lock.
    pub lock: LockId,
    /// The fencing token that came with the lock.
    pub token: u64,
    /// The holder's number of this request, higher than those of its earlier ones. A holder that
    /// does not count passes 0; then the clock decides among its own requests.
    pub sequence: u64,
    /// Everything below this number that was not answered has been given up: it is refused where it
    /// arrives later, and never read.
    pub since: u64,
}

impl Claim {
    /// The claim of a client that does not number its requests.
    pub fn new(lock: &[u8], token: u64) -> Self {
        Self {
            lock: LockId::of(lock),
            token,
            sequence: 0,
            since: 0,
        }
    }

    /// The claim of request number `sequence`, of a holder that has given up everything unanswered
    /// below `since`.
    #[must_use]
    pub fn numbered(self, sequence: u64, since: u64) -> Self {
        Self {
            sequence,
            since,
            ..self
        }
    }

    /// The rank of the request.
    pub fn rank(&self) -> Rank {
        Rank {
            token: self.token,
            sequence: self.sequence,
        }
    }

    /// The lowest rank that is still admitted once this claim is.
    pub fn lowest(&self) -> Rank {
        let sequence = if planted::SINCE_IGNORED.is_planted() {
            0
        } else {
            self.since
        };
        Rank {
            token: self.token,
            sequence,
        }
    }

    /// Whether a lock can have given the token, and the holder can have sent the request: it has
    /// not given up the request itself.
    pub fn is_valid(&self) -> bool {
        self.token > 0 && self.since <= self.sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(token: u64, sequence: u64, millis: u64) -> Stamp {
        Stamp {
            rank: Rank { token, sequence },
            hlc: Hlc::from_parts(1_800_000_000_000 + millis, 0).expect("a stamp"),
        }
    }

    #[test]
    fn tokens_decide_before_sequences_and_sequences_before_clocks() {
        assert!(stamp(2, 1, 1) > stamp(1, 9, 9));
        assert!(stamp(2, 2, 1) > stamp(2, 1, 9));
        assert!(stamp(2, 1, 2) > stamp(2, 1, 1));
        assert!(
            stamp(1, 0, 1) > stamp(0, 0, 9),
            "nothing without a token outranks what has one"
        );
    }

    #[test]
    fn a_claim_has_a_token_and_has_not_given_itself_up() {
        let claim = |token, sequence, since| Claim {
            lock: LockId::of(b"l"),
            token,
            sequence,
            since,
        };
        assert!(claim(1, 0, 0).is_valid() && claim(1, 3, 3).is_valid());
        assert!(!claim(0, 0, 0).is_valid() && !claim(1, 3, 4).is_valid());
    }

    #[test]
    fn locks_are_told_apart_by_their_names() {
        assert_ne!(LockId::of(b"a"), LockId::of(b"b"));
        let id = LockId::of(b"a");
        assert_eq!(LockId::from_bytes(id.to_bytes()), id);
    }
}
