//! The five nouns of the data plane's core: [`Config`], [`Input`], [`Message`], [`Timer`],
//! [`Effect`]. The verb is [`Dynamo::handle`](crate::Dynamo::handle).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::{Epoch, KeyspaceId, Partition, Topology};
use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};
use serde::{Deserialize, Serialize};

pub use crate::names::{FlightId, RequestId, Ticket};
use crate::op::{Answer, Limits, Receipt, Request, RequestError};
pub use crate::refusal::Refusal;
use crate::replica::{Cut, Delta, ROWS_AT_ONCE, Range};
pub use crate::seen::{Place, Seen};

/// What an operator may turn. Every default says where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How often a replica tells the others what it has seen, and what it can forget. Default 200
    /// ms (guess: below what a person notices).
    pub anti_entropy_every: Duration,
    /// How long a read waits for the replicas it asked before it asks the others too. Default 50
    /// ms, or twice the round trip when that is known to be longer (guess).
    pub hedge_after: Duration,
    /// How often expired keys are looked for and removed. Default 1 s (guess).
    pub reap_every: Duration,
    /// What is kept for replicas that lag.
    pub recent: RecentBounds,
    /// Bytes of one chunk when a partition is streamed, and of one repair message. Default 256 KiB
    /// (guess: well below the frame limit, large against a header).
    pub chunk_bytes: usize,
    /// Bytes of hints kept for all absent primaries; beyond it hints are dropped and anti-entropy
    /// does the work. Default 64 MiB (guess).
    pub hint_bytes_max: usize,
    /// Requests in flight; beyond it requests are refused as overloaded. Default 100 000 (guess).
    pub flights_max: usize,
    /// Bytes that requests in flight may have brought; beyond it requests are refused as
    /// overloaded. Default 256 MiB (guess).
    pub flight_bytes_max: usize,
    /// How many rows leave the disk at a time.
    pub removal: Removal,
    /// How much the values of one key may come to.
    pub limits: Limits,
    /// How far a remote clock may be ahead. Default 500 ms (what `CockroachDB` takes).
    pub drift_max: Duration,
    /// Whether changes are recorded for a disk ([`Dynamo::drain`](crate::Dynamo::drain)). Off for
    /// memory-only nodes.
    pub persist: bool,
}

/// How many events are kept for replicas that lag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentBounds {
    /// Per partition; beyond it a lagging replica is filled by streaming. Default 1 000 000
    /// (guess).
    pub events_max: usize,
    /// Bytes of those of all partitions of this core; beyond it the partitions with the most forget
    /// their oldest. Default 128 MiB (guess).
    pub bytes_max: usize,
}

/// How rows leave the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Rows that an event removes together with itself; if it removes more, it leaves a mark, and
    /// so many rows go at a time. Default 1 000 (measured: some 3 ms).
    pub rows_at_once: usize,
    /// How long it takes until the next of them go. Default 10 ms (guess: a shard spends a third of
    /// its time on it).
    pub every: Duration,
    /// Rows of a core that are gone and lie on disk: the more there are, the more go at a time, ten
    /// times as many in the end; beyond it, an event that removes many takes as many from disk as
    /// it adds. Default 1 000 000 (guess: some 100 MB of names).
    pub waiting_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            anti_entropy_every: Duration::from_millis(200),
            hedge_after: Duration::from_millis(50),
            reap_every: Duration::from_secs(1),
            recent: RecentBounds {
                events_max: 1_000_000,
                bytes_max: 128 * 1024 * 1024,
            },
            chunk_bytes: 256 * 1024,
            hint_bytes_max: 64 * 1024 * 1024,
            flights_max: 100_000,
            flight_bytes_max: 256 * 1024 * 1024,
            removal: Removal {
                rows_at_once: ROWS_AT_ONCE,
                every: Duration::from_millis(10),
                waiting_max: 1_000_000,
            },
            limits: Limits::default(),
            drift_max: Duration::from_millis(500),
            persist: true,
        }
    }
}

/// What happens to a core.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client asks. Answered by exactly one [`Effect::Reply`], at the latest a little after the
    /// request's timeout.
    Request {
        /// Comes back in the reply.
        ticket: Ticket,
        /// What is asked.
        request: Request,
    },
    /// A client waits until its writes are known elsewhere. Answered by exactly one
    /// [`Effect::Waited`].
    Wait {
        /// Comes back in the answer.
        ticket: Ticket,
        /// The writes; all of partitions that this core owns.
        receipts: Vec<Receipt>,
        /// How many other replicas must know them.
        replicas: u32,
        /// How long to wait.
        timeout: Duration,
    },
    /// Another core says something.
    Message {
        /// The node it runs on, as the transport authenticated it.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// A timer of [`Effect::Arm`] has come.
    Timer(Timer),
    /// The control plane has decided. Also the first input of every core.
    Topology(Arc<Topology>),
    /// The failure detector has changed its mind. Nodes are taken as reachable until it says
    /// otherwise.
    Reachable {
        /// Which node.
        node: NodeId,
        /// Whether it can be reached.
        up: bool,
    },
    /// The transport's estimate of a round trip.
    RoundTrip {
        /// To which node.
        node: NodeId,
        /// How long it takes.
        rtt: Duration,
    },
    /// Whether the disk is too full for writes.
    DiskFull(bool),
    /// The answer to [`Effect::NewLife`]: a life number never used before.
    Incarnation(u32),
}

/// What a core arms and gets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Look for requests past their hedge time or deadline.
    Sweep,
    /// Tell the others what has been seen; forget what all know.
    AntiEntropy,
    /// Remove expired keys.
    Reap,
    /// Remove more of the rows that are gone and still lie on disk.
    Remains,
}

/// What the driver must do after the batch's changes are durable, in order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Tell another node; may be lost.
    Send {
        /// Whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Answer a client.
    Reply {
        /// Which.
        ticket: Ticket,
        /// The answer.
        result: Result<Answer, RequestError>,
    },
    /// Answer an [`Input::Wait`].
    Waited {
        /// Which.
        ticket: Ticket,
        /// Replicas besides the executing one that know all of the writes.
        replicas: u32,
    },
    /// Give the timer back after this time.
    Arm {
        /// When.
        after: Duration,
        /// What.
        timer: Timer,
    },
    /// Tell the control plane that this node has finished a phase of a move
    /// (`Command::ReportMove`); repeated until the topology shows it.
    Report {
        /// The keyspace.
        keyspace: KeyspaceId,
        /// Partitions and the placement epoch each report is about.
        partitions: Vec<(Partition, Epoch)>,
    },
    /// A replica must not issue events under its id any more: draw a new life number and answer
    /// with [`Input::Incarnation`]. Writes to it wait until then.
    NewLife,
    /// A node's clock, this one's included, has come to be off from the others' by so many
    /// milliseconds, or is right again: for the log. Only the first core of a node says so, once
    /// for each change.
    ClockOff {
        /// Whose clock.
        node: NodeId,
        /// By how much it is ahead; `None`: it is right again.
        offset_ms: Option<i64>,
    },
}

/// What cores say to each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// Join this and acknowledge: a write, or the repair of a read.
    Write {
        /// Comes back in the answer.
        id: FlightId,
        /// Fence.
        place: Place,
        /// What to join.
        delta: Arc<Delta>,
        /// The coordinator's wall clock when it stamped a new write. Of what is data of some
        /// replica already, and of writes without stamps, `None`.
        stamped_at: Option<u64>,
        /// Whether it adds to a key what the coordinator did not look at with others: a receiver
        /// that knows the key to have expired, which the coordinator did not know, answers
        /// [`Different`](Self::Different) with what it has, and joins nothing.
        adds: bool,
    },
    /// The delta of `Write` is joined and durable at `replica`.
    Written {
        /// From the question.
        id: FlightId,
        /// Who has it.
        replica: ReplicaId,
    },
    /// Tell what you have in this range, unless it is what I have.
    Read {
        /// Comes back in the answer.
        id: FlightId,
        /// Fence.
        place: Place,
        /// What is read.
        #[serde(with = "crate::replica::packed")]
        ranges: Vec<Range>,
        /// Sum of the digests of the live rows that the asking replica has there.
        digest: u128,
        /// What the asking replica has seen, if the ranges are large: then only what it lacks is
        /// sent.
        context: Option<CausalContext>,
    },
    /// What I have is what you have.
    Same {
        /// From the question.
        id: FlightId,
    },
    /// What I have.
    Different {
        /// From the question.
        id: FlightId,
        /// Everything live in the ranges, or what the asking replica lacks of it.
        delta: Delta,
        /// Sum of the digests of the live rows that the answering replica has there.
        digest: u128,
    },
    /// Not answered.
    Refused {
        /// From the question.
        id: FlightId,
        /// Why.
        reason: Refusal,
    },
    /// Execute this for my client: you are a primary and I am not.
    Forward {
        /// Comes back in the answer.
        id: FlightId,
        /// Fence.
        place: Place,
        /// What is asked.
        request: Box<Request>,
        /// The sender's wall clock: a time in the request was computed from it.
        unix_millis: u64,
        /// Whether it was sent before, under the same name.
        attempt: Attempt,
    },
    /// The outcome of `Forward`.
    Forwarded {
        /// From the question.
        id: FlightId,
        /// The outcome.
        result: Result<Answer, RequestError>,
    },
    /// What my replicas have seen. Unacknowledged, repeated.
    Seen(Vec<Seen>),
    /// Send me what I have missed.
    Ask {
        /// Which partition.
        place: Place,
        /// What.
        ask: Box<Ask>,
    },
    /// Join this; no answer is expected: anti-entropy and handoff.
    Repair {
        /// Which partition.
        place: Place,
        /// What to join.
        delta: Delta,
        /// Which question this answers; `None`: it was kept for the receiver.
        answers: Option<Box<Answers>>,
    },
    /// You lack events that I do not remember one by one, or whose range is too large for a
    /// message: pull that range from me.
    Behind {
        /// Which partition.
        place: Place,
        /// What to pull.
        range: Range,
        /// From the question.
        name: StreamId,
    },
    /// Send the next piece of a range.
    Pull {
        /// Which partition.
        place: Place,
        /// Comes back in the answer.
        stream: StreamId,
        /// What is streamed: the whole partition, or a key.
        range: Range,
        /// Where the previous piece ended; `None` for the first.
        after: Option<Cut>,
    },
    /// A piece of a range, in the order of the rows.
    Chunk {
        /// Which partition.
        place: Place,
        /// From the question.
        stream: StreamId,
        /// The answer.
        piece: Box<Piece>,
    },
    /// What time is it?
    Clock {
        /// Comes back in the answer.
        id: FlightId,
    },
    /// The answer to `Clock`.
    Time {
        /// From the question.
        id: FlightId,
        /// The wall clock, in milliseconds since 1970.
        unix_millis: u64,
        /// The life of the node that tells it: within one, a node notices by itself when its clock
        /// jumps.
        life: u64,
        /// Whether others have confirmed it since that node started.
        confirmed: bool,
    },
    /// Has the time of these keys passed by your clock and your rows? Asked before anything is
    /// removed because of the time.
    Lapsed {
        /// Comes back in the answer.
        id: FlightId,
        /// Fence.
        place: Place,
        /// The keys.
        keys: Vec<Bytes>,
    },
    /// The answer to `Lapsed`. Whoever is being filled, or does not trust its clock, does not
    /// answer.
    LapsedToo {
        /// From the question.
        id: FlightId,
        /// For each key.
        lapsed: Vec<bool>,
    },
    /// Keep this for a primary that cannot be reached.
    Hint {
        /// Whom it is for.
        owner: NodeId,
        /// Which partition.
        place: Place,
        /// What the owner must join.
        delta: Arc<Delta>,
    },
    /// This is what your former lives have told me that they had seen, and you have not said. If
    /// you have not seen it, your disk is an older one.
    Former {
        /// Which partition.
        place: Place,
        /// Which replica is told.
        replica: ReplicaId,
        /// What its former lives had seen, as far as it has not said so.
        events: CausalContext,
    },
}

/// Which copy of a forwarded request this is, as far as its sender knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attempt {
    /// It is sent for the first time.
    First,
    /// It was sent before.
    Again {
        /// The life that the receiving node was in, as far as was known, when it was sent first. No
        /// earlier life of that node has seen a copy.
        life: Option<u64>,
    },
}

/// Names a stream of chunks, or a conversation about what was missed: who asks, in which life, and
/// which of these. An answer to any other is ignored, or is at least no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamId {
    /// The life that the asking node is in: [`Seat::life`](crate::Seat::life).
    pub life: u64,
    /// Counts the streams and conversations of this core in this life.
    pub number: u64,
}

/// Events that a replica lacks, though others have had them for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Comes back in the answers. The same for all questions of one conversation, in which nothing
    /// but `after` changes.
    pub name: StreamId,
    /// What is lacking of what the receiver has said that it has.
    pub events: CausalContext,
    /// Where the last answer ended.
    pub after: Option<Range>,
}

/// What a repair answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// From the question.
    pub name: StreamId,
    /// What comes after this.
    pub then: Then,
}

/// What comes after one of several answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// Another one.
    More,
    /// The next question, about what comes after this range.
    GoOn(Range),
    /// Nothing: that was all.
    End,
}

/// What answers a [`Message::Pull`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The sender's replica; a change means: start again.
    pub replica: ReplicaId,
    /// From the question.
    pub after: Option<Cut>,
    /// Everything live in the piece.
    pub delta: Delta,
    /// Where the piece ends; `None` when the range ends with it.
    pub next: Option<Cut>,
    /// With the last piece: events whose effect lies in just the range.
    pub settled: Vec<Dot>,
}

/// What messages are for. Whatever is not for a request is bulk that may wait behind requests (the
/// transport's repair class).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Somebody waits for it.
    Request,
    /// What replicas say of themselves.
    Report,
    /// Events that were missed, one by one.
    Repair,
    /// Partitions and keys, piece by piece.
    Stream,
    /// What is kept for absent primaries.
    Hint,
}

impl Purpose {
    /// How it is called in metrics.
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
    /// Each core that owns one of the partitions; split by [`Message::split`].
    Many,
}

impl Message {
    /// Which core this message is for.
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
            // Every core of a node reads the same clock.
            Self::Clock { .. } => Route::Core(0),
            Self::Seen(_) => Route::Many,
        }
    }

    /// Splits a [`Route::Many`] message by core; `core_of` tells the core of a partition. Any other
    /// message goes to core 0.
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

    /// The question that this is, if somebody waits for its answer.
    pub fn question(&self) -> Option<FlightId> {
        match self {
            Self::Write { id, .. } | Self::Read { id, .. } | Self::Forward { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// Whether it answers a question of the node that it is for.
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

    /// What it is for.
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

/// Figures of one partition replica, for `status` and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaSummary {
    /// The keyspace.
    pub keyspace: KeyspaceId,
    /// The partition.
    pub partition: Partition,
    /// Live rows.
    pub rows: u64,
    /// Events some primary may not know yet.
    pub recent: u64,
    /// Ranges whose truth is ahead of the replica's context.
    pub residuals: u64,
    /// Hash of the context: equal contexts, equal hashes.
    pub context: u128,
    /// Digest of the live rows.
    pub digest: u128,
    /// Whether it is still being filled.
    pub filling: bool,
    /// Whether another holder with an equal context has other rows, and no majority agrees with
    /// this one: it is not read.
    pub quarantined: bool,
}
