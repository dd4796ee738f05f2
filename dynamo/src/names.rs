//! What requests and questions are called.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

/// Names a request of this node's own faces; the driver chooses it and finds it in
/// [`Effect::Reply`](crate::protocol::Effect::Reply).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names one question between two cores; the answer carries it back. **Invariant:** no two
/// questions have the same name, whatever life they were asked in, so an answer to any other
/// question is recognised. A flight that asks something else takes another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlightId {
    /// The asking core's number within its node, by which the driver of a node with several cores
    /// routes the answer.
    pub core: u8,
    /// The life that the asking node is in: [`Seat::life`](crate::Seat::life).
    pub life: u64,
    /// Counts the questions of this core in this life.
    pub number: u64,
}

/// A client's own name for one change, given again when it asks again because it does not know what
/// became of the first time. 1 to [`BYTES_MAX`](Self::BYTES_MAX) bytes of any kind that no other
/// change of any client has: sixteen random ones, or a client's own sixteen with a sequence number
/// behind them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(Bytes);

impl RequestId {
    /// The longest name.
    pub const BYTES_MAX: usize = 32;

    /// `None` if there are too many bytes, or none.
    pub fn new(bytes: Bytes) -> Option<Self> {
        let id = Self(bytes);
        id.is_valid().then_some(id)
    }

    /// The name of the part `number` of a command that makes several changes, so that two of one
    /// key are two. The first has the command's own.
    #[must_use]
    pub fn part(&self, number: usize) -> Self {
        if number == 0 {
            return self.clone();
        }
        let mut hasher = Xxh3Default::new();
        hasher.update(&(number as u64).to_le_bytes());
        hasher.update(&self.0);
        Self(Bytes::copy_from_slice(&hasher.digest128().to_le_bytes()))
    }

    /// What another core sent has not gone through [`new`](Self::new).
    pub(crate) fn is_valid(&self) -> bool {
        (1..=Self::BYTES_MAX).contains(&self.0.len())
    }

    /// What is remembered of the request: a command on several keys is one change of each.
    pub(crate) fn mark(&self, key: &Bytes) -> u128 {
        let mut hasher = Xxh3Default::new();
        hasher.update(&[self.0.len() as u8]);
        hasher.update(&self.0);
        hasher.update(key);
        hasher.digest128()
    }
}
