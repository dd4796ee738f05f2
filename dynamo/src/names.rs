//! Names of requests and of questions between cores.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

/// Names a request that a face of this node has made. The driver chooses it and gets it back in
/// [`Effect::Reply`](crate::protocol::Effect::Reply).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names one question from one core to another; the answer carries it back.
///
/// **Invariant:** no two questions ever share a name, even across restarts, so an answer to an
/// earlier question is recognised as such. A flight that asks something new takes a new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlightId {
    /// The number of the asking core within its node. The driver routes the answer by it.
    pub core: u8,
    /// The life of the asking node: [`Seat::life`](crate::Seat::life).
    pub life: u64,
    /// Counts this core's questions in this life.
    pub number: u64,
}

/// A client's own name for one change. A client that does not know what became of its request sends
/// the same name again, and the change is executed once.
///
/// Any 1 to [`BYTES_MAX`](Self::BYTES_MAX) bytes that no other change of any client uses: 16 random
/// bytes, for example, or a client's own 16 bytes followed by a sequence number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(Bytes);

impl RequestId {
    /// The longest id, in bytes.
    pub const BYTES_MAX: usize = 32;

    /// Returns `None` if `bytes` is empty or too long.
    pub fn new(bytes: Bytes) -> Option<Self> {
        let id = Self(bytes);
        id.is_valid().then_some(id)
    }

    /// The id of part `number` of a command that makes several changes, so that two changes of the
    /// same key count as two. Part 0 has the command's own id.
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

    /// Checks an id that another core sent: decoding does not go through [`new`](Self::new).
    pub(crate) fn is_valid(&self) -> bool {
        (1..=Self::BYTES_MAX).contains(&self.0.len())
    }

    /// What replicas remember of the request, per key: a command on several keys is one change of
    /// each.
    pub(crate) fn mark(&self, key: &Bytes) -> u128 {
        let mut hasher = Xxh3Default::new();
        hasher.update(&[self.0.len() as u8]);
        hasher.update(&self.0);
        hasher.update(key);
        hasher.digest128()
    }
}
