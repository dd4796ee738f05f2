//! What requests and questions are called.

use serde::{Deserialize, Serialize};

/// Names a request of this node's own faces; the driver chooses it and finds it in [`Effect::Reply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names one question between two cores; the answer carries it back. **Invariant:** no two questions have the same name, whatever life they were
/// asked in, so an answer to any other question is recognised. A flight that asks something else takes another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlightId {
    /// The asking core's number within its node, by which the driver of a node with several cores routes the answer.
    pub core: u8,
    /// The life that the asking node is in: [`Seat::life`](crate::Seat::life).
    pub life: u64,
    /// Counts the questions of this core in this life.
    pub number: u64,
}
