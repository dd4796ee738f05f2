//! What cores send to each other, and how a driver routes it.

use std::sync::Arc;

use bytes::Bytes;
use quorate_control::topology::{KeyspaceId, Partition};
use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};
use serde::{Deserialize, Serialize};

use crate::fence::Claim;
use crate::names::FlightId;
use crate::op::{Answer, Request, RequestError};
use crate::refusal::Refusal;
use crate::replica::{Cut, Delta, Range};
use crate::seen::{Place, Seen};

/// What cores send to each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// Asks the receiver to join a delta and acknowledge it: a write, or the repair of a read.
    Write {
        /// Comes back in the answer.
        id: FlightId,
        /// The replica; refused under another epoch.
        place: Place,
        /// What to join.
        delta: Arc<Delta>,
        /// The coordinator's wall clock when it stamped a new write. `None` for writes without
        /// stamps and for data that some replica already had.
        stamped_at: Option<u64>,
        /// Whether the write adds to a key without having seen what other replicas hold. If the
        /// receiver knows that the key has expired and the coordinator did not, it joins nothing
        /// and answers [`Different`](Self::Different) with what it has.
        adds: bool,
        /// Whether what the write puts may be hidden behind something that was written under a lock
        /// and that the coordinator has not seen. If the receiver has that, it joins nothing and
        /// answers [`Different`](Self::Different), too.
        hides: bool,
        /// The lock under which the request acts for which this is done. The receiver joins nothing
        /// if a later holder has been there.
        claim: Option<Claim>,
    },
    /// Acknowledges a `Write`: `replica` has joined the delta and made it durable.
    Written {
        /// From the question.
        id: FlightId,
        /// The replica that has it.
        replica: ReplicaId,
    },
    /// Asks what the receiver has in some ranges, unless it is what the sender has.
    Read {
        /// Comes back in the answer.
        id: FlightId,
        /// The replica; refused under another epoch.
        place: Place,
        /// The ranges that are read.
        #[serde(with = "crate::replica::packed")]
        ranges: Vec<Range>,
        /// Sum of the digests of the asking replica's live rows in the ranges.
        digest: u128,
        /// What the asking replica has seen, if the ranges are large: the answer is then only what
        /// it lacks.
        context: Option<CausalContext>,
        /// The lock under which the request acts, if it does.
        look: Option<Look>,
    },
    /// Answers `Read`: the digests are equal.
    Same {
        /// From the question.
        id: FlightId,
    },
    /// Answers `Read`: the digests differ.
    Different {
        /// From the question.
        id: FlightId,
        /// Everything live in the ranges, or the part of it that the asking replica lacks.
        delta: Delta,
        /// Sum of the digests of the answering replica's live rows in the ranges.
        digest: u128,
    },
    /// Refuses a question.
    Refused {
        /// From the question.
        id: FlightId,
        /// The reason.
        reason: Refusal,
    },
    /// Asks a primary to execute a client's request, because the sender holds no replica that can.
    Forward {
        /// Comes back in the answer.
        id: FlightId,
        /// The replica; refused under another epoch.
        place: Place,
        /// The client's request.
        request: Box<Request>,
        /// The sender's wall clock, from which any time in the request was computed.
        unix_millis: u64,
        /// Whether it was sent before under the same name.
        attempt: Attempt,
    },
    /// Answers `Forward`.
    Forwarded {
        /// From the question.
        id: FlightId,
        /// The outcome.
        result: Result<Answer, RequestError>,
    },
    /// What the sender's replicas have seen. Not acknowledged, but repeated.
    Seen(Vec<Seen>),
    /// Asks for events that the sender has missed.
    Ask {
        /// The partition.
        place: Place,
        /// The events.
        ask: Box<Ask>,
    },
    /// Brings data for anti-entropy or handoff. Not acknowledged.
    Repair {
        /// The partition.
        place: Place,
        /// What to join.
        delta: Delta,
        /// The question that this answers; `None` for a hint that was kept for the receiver.
        answers: Option<Box<Answers>>,
    },
    /// Answers `Ask`: the sender no longer remembers the events one by one, or their range is too
    /// large for a message. The receiver must pull that range.
    Behind {
        /// The partition.
        place: Place,
        /// The range to pull.
        range: Range,
        /// From the question.
        name: StreamId,
    },
    /// Asks for the next piece of a range.
    Pull {
        /// The partition.
        place: Place,
        /// Comes back in the answer.
        stream: StreamId,
        /// The range that is streamed: the whole partition, or a key.
        range: Range,
        /// Where the previous piece ended; `None` for the first.
        after: Option<Cut>,
    },
    /// Answers `Pull` with a piece of the range, in the order of the rows.
    Chunk {
        /// The partition.
        place: Place,
        /// From the question.
        stream: StreamId,
        /// The piece.
        piece: Box<Piece>,
    },
    /// Asks what time it is.
    Clock {
        /// Comes back in the answer.
        id: FlightId,
    },
    /// Answers `Clock`.
    Time {
        /// From the question.
        id: FlightId,
        /// The wall clock, in milliseconds since 1970.
        unix_millis: u64,
        /// The life of the answering node. Within one life a node notices itself when its clock
        /// jumps.
        life: u64,
        /// Whether other nodes have confirmed this clock since that node started.
        confirmed: bool,
    },
    /// Asks whether these keys have expired by the receiver's clock and rows. Nothing is removed
    /// because of time before enough holders have agreed.
    Lapsed {
        /// Comes back in the answer.
        id: FlightId,
        /// The replica; ignored under another epoch.
        place: Place,
        /// The keys.
        keys: Vec<Bytes>,
    },
    /// Answers `Lapsed`. A replica that is being filled, or a node that does not trust its clock,
    /// does not answer.
    LapsedToo {
        /// From the question.
        id: FlightId,
        /// The verdict on each key, in the order of the question.
        lapsed: Vec<bool>,
    },
    /// Asks a node to keep a delta for a primary that cannot be reached.
    Hint {
        /// The primary.
        owner: NodeId,
        /// The partition.
        place: Place,
        /// What the primary must join.
        delta: Arc<Delta>,
    },
    /// Tells a replica what its former lives had reported and its present one has not. If the
    /// replica has not seen that, its disk is an older copy.
    Former {
        /// The partition.
        place: Place,
        /// The replica that is told.
        replica: ReplicaId,
        /// The events.
        events: CausalContext,
    },
}

/// A look at what a replica has, under a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The lock and the request. The receiver admits nothing lower afterwards.
    pub claim: Claim,
    /// If the look is at a whole collection: the replicas of all holders, as far as the sender has
    /// heard of them. The receiver refuses if it has heard of others: something that a former one
    /// had sent might then still arrive. Otherwise empty.
    pub lives: Vec<ReplicaId>,
}

/// Which copy of a forwarded request this is, as far as its sender knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attempt {
    /// The first.
    First,
    /// A repetition.
    Again {
        /// The life of the receiving node, if known, when the first copy was sent. No earlier life
        /// of that node can have seen a copy.
        life: Option<u64>,
    },
}

/// Names a stream, or a conversation about missed events. Answers that carry another name belong to
/// an earlier one and are not taken for answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamId {
    /// The life of the asking node: [`Seat::life`](crate::Seat::life).
    pub life: u64,
    /// Counts this core's streams and conversations in this life.
    pub number: u64,
}

/// Asks for events that a replica lacks although others have had them for a while. Unlike a
/// [`Message::Pull`], which asks for a range, it names the events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Comes back in the answers. All questions of one conversation share it and differ only in
    /// `after`.
    pub name: StreamId,
    /// The events that the sender lacks and the receiver has reported.
    pub events: CausalContext,
    /// Where the last answer ended.
    pub after: Option<Range>,
}

/// Links a repair to its question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// From the question.
    pub name: StreamId,
    /// What follows.
    pub then: Then,
}

/// What follows one of several answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// Another answer to the same question.
    More,
    /// The asker must ask again, for what comes after this range.
    GoOn(Range),
    /// Nothing: this was the last answer.
    End,
}

/// The content of a [`Message::Chunk`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The sender's replica. If it changes during a stream, the stream starts again.
    pub replica: ReplicaId,
    /// From the question.
    pub after: Option<Cut>,
    /// Everything live in the piece.
    pub delta: Delta,
    /// Where the piece ends; `None` if it ends the range.
    pub next: Option<Cut>,
    /// In the last piece: events whose effect lies in exactly this range.
    pub settled: Vec<Dot>,
}

/// What a message is for. Everything but `Request` is bulk that may wait behind requests (the
/// transport's repair class).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A client's request waits for it.
    Request,
    /// Reports between replicas.
    Report,
    /// Missed events, one by one.
    Repair,
    /// Partitions and keys, piece by piece.
    Stream,
    /// Hints for unreachable primaries.
    Hint,
}

impl Purpose {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Report => "report",
            Self::Repair => "repair",
            Self::Stream => "stream",
            Self::Hint => "hint",
        }
    }
}

/// How the driver finds the core that a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The core that owns this partition.
    Partition(KeyspaceId, Partition),
    /// The core with this number.
    Core(u8),
    /// Every core that owns one of the partitions; see [`Message::split`].
    Many,
}

impl Message {
    /// The core that this message is for.
    pub fn route(&self) -> Route {
        match self {
            Self::Write { place, .. }
            | Self::Read { place, .. }
            | Self::Forward { place, .. }
            | Self::Ask { place, .. }
            | Self::Repair { place, .. }
            | Self::Behind { place, .. }
            | Self::Pull { place, .. }
            | Self::Chunk { place, .. }
            | Self::Lapsed { place, .. }
            | Self::Former { place, .. }
            | Self::Hint { place, .. } => Route::Partition(place.keyspace, place.partition),
            Self::Written { id, .. }
            | Self::Same { id }
            | Self::Different { id, .. }
            | Self::Refused { id, .. }
            | Self::LapsedToo { id, .. }
            | Self::Time { id, .. }
            | Self::Forwarded { id, .. } => Route::Core(id.core),
            // Every core of a node reads the same clock, so any of them can answer.
            Self::Clock { .. } => Route::Core(0),
            Self::Seen(_) => Route::Many,
        }
    }

    /// Splits a [`Route::Many`] message into one per core; `core_of` maps a partition to its core.
    /// Any other message goes to core 0.
    pub fn split(self, core_of: impl Fn(KeyspaceId, Partition) -> u8) -> Vec<(u8, Self)> {
        let Self::Seen(all) = self else {
            return vec![(0, self)];
        };
        let mut by_core: std::collections::BTreeMap<u8, Vec<Seen>> =
            std::collections::BTreeMap::new();
        for seen in all {
            by_core
                .entry(core_of(seen.place.keyspace, seen.place.partition))
                .or_default()
                .push(seen);
        }
        by_core
            .into_iter()
            .map(|(core, seen)| (core, Self::Seen(seen)))
            .collect()
    }

    /// The name of the question, if the sender waits for an answer to this message.
    pub fn question(&self) -> Option<FlightId> {
        match self {
            Self::Write { id, .. } | Self::Read { id, .. } | Self::Forward { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// Whether this answers a question of the receiving node.
    pub fn is_answer(&self) -> bool {
        matches!(
            self,
            Self::Written { .. }
                | Self::Same { .. }
                | Self::Different { .. }
                | Self::Refused { .. }
                | Self::Forwarded { .. }
                | Self::Time { .. }
                | Self::LapsedToo { .. }
        )
    }

    /// What this message is for.
    pub fn purpose(&self) -> Purpose {
        match self {
            Self::Write { .. }
            | Self::Written { .. }
            | Self::Read { .. }
            | Self::Same { .. }
            | Self::Different { .. }
            | Self::Refused { .. }
            | Self::Forward { .. }
            | Self::Forwarded { .. }
            | Self::Clock { .. }
            | Self::Time { .. } => Purpose::Request,
            Self::Seen(_) | Self::Former { .. } | Self::Lapsed { .. } | Self::LapsedToo { .. } => {
                Purpose::Report
            }
            Self::Ask { .. } | Self::Repair { .. } | Self::Behind { .. } => Purpose::Repair,
            Self::Pull { .. } | Self::Chunk { .. } => Purpose::Stream,
            Self::Hint { .. } => Purpose::Hint,
        }
    }
}
