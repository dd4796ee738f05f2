//! A plan is a schedule as plain data: what the cluster looks like, what is asked of it and what is
//! done to it, each with its time. A seed draws one; shrinking a failure produces a shorter one.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use quorate_dynamo::Consistency;
use quorate_dynamo::op::{KEY_BYTES_MAX, Limits};
use quorate_dynamo::protocol::{Config, RecentBounds, Removal};
use serde::{Deserialize, Serialize};

use super::{Conditions, Layout};
use crate::node::Queues;

mod draw;

pub use draw::{Focus, Incident};

/// Everything that happens in one history. The same plan always gives the same history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Decides what the plan leaves open: delays, losses, elections.
    pub seed: u64,
    /// The cluster at its start.
    pub shape: Shape,
    /// Bounds and intervals of the data plane.
    pub knobs: Knobs,
    /// Limits on the values of one key.
    pub limits: Limits,
    /// Bounds of the driver's queues.
    pub queues: Queues,
    /// What happens, in order of time.
    pub steps: Vec<Step>,
    /// When every fault is repaired, in milliseconds. From then on the cluster must come to rest.
    pub until: u64,
}

/// A cluster at its start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Nodes of each datacenter. The first is `dc1`.
    pub datacenters: Vec<u8>,
    /// Racks per datacenter. 0 gives every node its own rack.
    pub racks: u8,
    /// Partitions of the keyspace `ks1`, which is created at the start; a power of two. The
    /// keyspace `default` has a fixed, large number.
    pub partitions: u16,
    /// Shards per node.
    pub cores: u8,
    /// One-way delay within a datacenter, in microseconds.
    pub within_us: u64,
    /// One-way delay between datacenters, in milliseconds.
    pub between_ms: u64,
    /// The share of datagrams that are lost.
    pub loss: f64,
    /// Each wall clock is off by at most this many milliseconds.
    pub skew_ms: u64,
    /// The control group's heartbeat interval, in milliseconds.
    pub heartbeat_ms: u64,
}

/// Bounds and intervals of the data plane; see [`Config`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "each is the field of Config of the same name, with its unit; `rows` are those of `removal`"
)]
pub struct Knobs {
    pub anti_entropy_ms: u64,
    pub hedge_ms: u64,
    pub reap_ms: u64,
    pub recent_max: usize,
    pub recent_bytes_max: usize,
    pub chunk_bytes: usize,
    pub hint_bytes_max: usize,
    pub flights_max: usize,
    pub flight_bytes_max: usize,
    pub rows_at_once: usize,
    pub rows_ms: u64,
    pub drift_ms: u64,
}

/// An action and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Milliseconds since the cluster was first at rest.
    pub at: u64,
    /// What happens.
    pub action: Action,
}

/// What can happen. Nodes are named by their numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A client sends a request.
    Ask(Ask),
    /// Nothing that `from` sends reaches `to` any more.
    Cut {
        /// The senders.
        from: Vec<u64>,
        /// The receivers.
        to: Vec<u64>,
    },
    /// All cuts end.
    Heal,
    /// The network's delay and loss change.
    Weather {
        /// As [`Shape::within_us`].
        within_us: u64,
        /// As [`Shape::between_ms`].
        between_ms: u64,
        /// As [`Shape::loss`].
        loss: f64,
    },
    /// Some data frames arrive twice or are overtaken.
    Garble {
        /// The share that arrives twice.
        duplicated: f64,
        /// The share that is overtaken.
        overtaken: f64,
    },
    /// Some data frames in one direction are dropped while the connection stays up.
    DropFrames {
        /// The sender.
        from: u64,
        /// The receiver.
        to: u64,
        /// The share that is dropped.
        share: f64,
    },
    /// A process is suspended: it gets no CPU time and sends nothing.
    Stop(u64),
    /// A suspended process continues.
    GoOn(u64),
    /// A process is killed, whatever it is doing.
    Crash(u64),
    /// A dead node starts.
    Restart(u64),
    /// Syncs of a node take this many milliseconds longer.
    SlowDisk(u64, u64),
    /// A disk fills up, or has room again.
    FullDisk(u64, bool),
    /// Syncs fail from now on; the node must stop by itself.
    FailDisk(u64),
    /// The shard that next writes rows panics; the node must stop by itself.
    Panic(u64),
    /// A copy of a node's data is set aside.
    Backup(u64),
    /// A dead node's data is replaced by the copy set aside.
    Restore(u64),
    /// A dead node's data is gone.
    Wipe(u64),
    /// One byte of a value on a dead node's disk changes.
    Rot(u64),
    /// A wall clock jumps by this many milliseconds.
    Jump(u64, i64),
    /// A wall clock runs too fast by this many millionths.
    Drift(u64, i64),
    /// A wall clock stands still, or runs on.
    Freeze(u64, bool),
    /// A wall clock is right again.
    MendClock(u64),
    /// An administrator creates a keyspace.
    MakeKeyspace {
        /// Its name is `ks` and this number.
        number: u8,
        /// Its number of partitions.
        partitions: u16,
    },
    /// An administrator drops a keyspace.
    DropKeyspace(u8),
    /// An administrator changes how many replicas of a keyspace each datacenter holds.
    Replicate {
        /// The keyspace; 0 is `default`.
        keyspace: u8,
        /// Replicas by datacenter number, counted from 1.
        replicas: BTreeMap<u8, u8>,
    },
    /// One more node joins in this datacenter.
    Join(u8),
    /// An administrator removes a node.
    Remove {
        /// The node.
        node: u64,
        /// Whether its disk is lost for good.
        lost: bool,
    },
}

/// One request of one client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Its number. What it writes carries this number, which makes every write distinct.
    pub id: u32,
    /// The client. A client has one request under way at a time.
    pub client: u8,
    /// The node that it talks to.
    pub node: u64,
    /// The level.
    pub level: Consistency,
    /// The keyspace: 0 is `default`, n is `ks` followed by n.
    pub keyspace: u8,
    /// The key.
    pub key: Key,
    /// The operation.
    pub deed: Deed,
    /// How long the client waits for the answer, in milliseconds.
    pub timeout: u64,
    /// The nodes through which the client repeats the request, one after the other, while it does
    /// not know the outcome. A request that can be repeated carries a request id.
    pub again: Vec<u64>,
    /// After a successful change the client waits until this many other replicas have it, for
    /// `timeout` at most. 0: it does not wait.
    pub wait: u32,
}

/// A key: what kind of operations it sees, and its number within the kind. Numbers from
/// [`Key::LONG`] on have long names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key(pub Kind, pub u8);

/// What is done with a key. The keys of one kind see only operations whose promises can be checked
/// together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Set, read and deleted.
    Register,
    /// Set and read, never deleted.
    Cell,
    /// Set, with and without an expiry.
    Expiring,
    /// Counted.
    Counter,
    /// Appended to.
    Text,
    /// Set with causal tokens.
    Siblings,
    /// Elements are added and removed; the whole set may expire.
    Set,
    /// Fields are set and removed; the whole hash may expire.
    Hash,
    /// Fields are counted.
    Tally,
    /// A string at one time, a set at another.
    Turning,
    /// Any operation at all.
    Mixed,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Register,
        Self::Cell,
        Self::Expiring,
        Self::Counter,
        Self::Text,
        Self::Siblings,
        Self::Set,
        Self::Hash,
        Self::Tally,
        Self::Turning,
        Self::Mixed,
    ];
}

/// The operation of a request. The value it writes is derived from the request's number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(
    missing_docs,
    reason = "each is the operation of the data plane of the same name"
)]
pub enum Deed {
    Set,
    SetFor {
        ms: u64,
    },
    SetKeep,
    Get,
    Length,
    Exists,
    Ttl,
    Append,
    Count(i64),
    Delete,
    /// Deletes the first two keys of the kind at once.
    DeleteBoth,
    GetDelete,
    ExpireIn {
        ms: u64,
    },
    Persist,
    Add(Vec<u8>),
    Remove(Vec<u8>),
    Members,
    Contains(Vec<u8>),
    Cardinality,
    SetFields(Vec<u8>),
    RemoveFields(Vec<u8>),
    Fields(Vec<u8>),
    Entries,
    CountField(u8, i64),
    Siblings,
    /// Writes with the newest causal token, or with one this many before it.
    SetSeen(u8),
    Flush,
}

impl Plan {
    /// How many requests the plan makes.
    pub fn operations(&self) -> usize {
        self.steps
            .iter()
            .filter(|step| matches!(step.action, Action::Ask(_)))
            .count()
    }

    /// The layout of the cluster to start.
    pub(super) fn layout(&self) -> Layout {
        let Shape {
            datacenters,
            racks,
            partitions,
            cores,
            within_us,
            between_ms,
            loss,
            skew_ms,
            heartbeat_ms,
        } = &self.shape;
        let named = datacenters
            .iter()
            .zip(1..)
            .map(|(&nodes, number)| (format!("dc{number}").into(), usize::from(nodes)));
        Layout {
            datacenters: named.collect(),
            conditions: conditions(*within_us, *between_ms, *loss),
            cores: *cores,
            skew: Duration::from_millis(*skew_ms),
            data: Config {
                limits: self.limits,
                ..self.knobs.config()
            },
            partitions: *partitions,
            racks: usize::from(*racks),
            heartbeat: Some(Duration::from_millis(*heartbeat_ms)),
            queues: self.queues,
        }
    }
}

/// Network conditions from a plan's numbers.
pub(super) fn conditions(within_us: u64, between_ms: u64, loss: f64) -> Conditions {
    let (within, between) = (
        Duration::from_micros(within_us),
        Duration::from_millis(between_ms),
    );
    Conditions {
        within,
        between,
        loss,
        ..Conditions::default()
    }
}

impl Knobs {
    fn config(&self) -> Config {
        let millis = Duration::from_millis;
        Config {
            anti_entropy_every: millis(self.anti_entropy_ms),
            hedge_after: millis(self.hedge_ms),
            reap_every: millis(self.reap_ms),
            recent: RecentBounds {
                events_max: self.recent_max,
                bytes_max: self.recent_bytes_max,
            },
            chunk_bytes: self.chunk_bytes,
            hint_bytes_max: self.hint_bytes_max,
            flights_max: self.flights_max,
            flight_bytes_max: self.flight_bytes_max,
            // A small batch also gets a short queue, so that a history of a few hundred rows
            // reaches that bound as well.
            removal: Removal {
                rows_at_once: self.rows_at_once,
                every: millis(self.rows_ms),
                waiting_max: self.rows_at_once.pow(2),
            },
            drift_max: millis(self.drift_ms),
            ..Config::default()
        }
    }
}

impl Default for Knobs {
    fn default() -> Self {
        let Config {
            recent,
            chunk_bytes,
            hint_bytes_max,
            flights_max,
            flight_bytes_max,
            removal,
            ..
        } = Config::default();
        Self {
            anti_entropy_ms: 200,
            hedge_ms: 50,
            reap_ms: 1000,
            recent_max: recent.events_max,
            recent_bytes_max: recent.bytes_max,
            chunk_bytes,
            hint_bytes_max,
            flights_max,
            flight_bytes_max,
            rows_at_once: removal.rows_at_once,
            rows_ms: 10,
            drift_ms: 500,
        }
    }
}

impl Action {
    /// The kind of fault, for statistics; `None` if it is no fault.
    pub fn fault(&self) -> Option<&'static str> {
        Some(match self {
            Self::Ask(_)
            | Self::Heal
            | Self::GoOn(_)
            | Self::Restart(_)
            | Self::MendClock(_)
            | Self::Backup(_)
            | Self::FullDisk(_, false)
            | Self::Freeze(_, false) => return None,
            Self::Cut { .. } => "cut",
            Self::Weather { .. } => "weather",
            Self::Garble { .. } => "garble",
            Self::DropFrames { .. } => "drop-frames",
            Self::Stop(_) => "stop",
            Self::Crash(_) => "crash",
            Self::SlowDisk(..) => "slow-disk",
            Self::FullDisk(..) => "full-disk",
            Self::FailDisk(_) => "fail-disk",
            Self::Panic(_) => "panic",
            Self::Restore(_) => "restore",
            Self::Wipe(_) => "wipe",
            Self::Rot(_) => "rot",
            Self::Jump(..) => "clock-jump",
            Self::Drift(..) => "clock-drift",
            Self::Freeze(..) => "clock-freeze",
            Self::MakeKeyspace { .. } => "make-keyspace",
            Self::DropKeyspace(_) => "drop-keyspace",
            Self::Replicate { .. } => "replicate",
            Self::Join(_) => "join",
            Self::Remove { .. } => "remove",
        })
    }
}

impl Key {
    /// Key numbers from here on have long names.
    pub(super) const LONG: u8 = 250;
    /// Lengths of the long names: longer than the longest key a store takes, the longest name
    /// allowed, and one byte too long.
    const LENGTHS: [usize; 3] = [60_100, KEY_BYTES_MAX, KEY_BYTES_MAX + 1];

    /// The name of the key.
    pub(super) fn name(self) -> Bytes {
        let length = self
            .1
            .checked_sub(Self::LONG)
            .and_then(|number| Self::LENGTHS.get(usize::from(number)));
        padded(self.to_string(), length.copied().unwrap_or(0))
    }

    /// Whether every request for the key must be refused.
    pub(super) fn is_too_long(self) -> bool {
        self.name().len() > KEY_BYTES_MAX
    }
}

/// `name`, padded to at least `length` bytes.
pub(super) fn padded(name: String, length: usize) -> Bytes {
    let mut bytes = name.into_bytes();
    bytes.resize(bytes.len().max(length), b'.');
    bytes.into()
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            Kind::Register => "register",
            Kind::Cell => "cell",
            Kind::Expiring => "expiring",
            Kind::Counter => "counter",
            Kind::Text => "text",
            Kind::Siblings => "siblings",
            Kind::Set => "set",
            Kind::Hash => "hash",
            Kind::Tally => "tally",
            Kind::Turning => "turning",
            Kind::Mixed => "mixed",
        };
        write!(f, "{kind}{}", self.1)
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            client,
            node,
            level,
            keyspace,
            key,
            deed,
            again,
            ..
        } = self;
        write!(f, "#{id} client {client} at node {node}: {deed:?} ")?;
        if *keyspace > 0 {
            write!(f, "ks{keyspace}/")?;
        }
        write!(f, "{key} at {level}")?;
        if again.is_empty() {
            Ok(())
        } else {
            write!(f, ", again at {again:?}")
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(ask) => ask.fmt(f),
            other => write!(f, "{other:?}"),
        }
    }
}
