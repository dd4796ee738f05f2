//! A schedule as plain data: what a cluster looks like, what is asked of it, and what is done to
//! it, all with its time. A seed draws one; a failure is a shorter one.

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

/// Everything that happens in one history. The same plan gives the same history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Decides what the plan leaves open: delays, losses, elections.
    pub seed: u64,
    /// The cluster at its start.
    pub shape: Shape,
    /// Bounds and intervals of the data plane.
    pub knobs: Knobs,
    /// How much the values of one key may come to.
    pub limits: Limits,
    /// Bounds of what drives it.
    pub queues: Queues,
    /// What happens, in the order of time.
    pub steps: Vec<Step>,
    /// When everything that was broken is mended, in milliseconds. From then on the cluster must
    /// come to rest.
    pub until: u64,
}

/// A cluster at its start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Nodes of each datacenter; the first is `dc1`.
    pub datacenters: Vec<u8>,
    /// Racks of each datacenter; 0: as many as nodes.
    pub racks: u8,
    /// Partitions of the keyspace `ks1`, which is made at the start, a power of two. That of
    /// `default` is fixed, and large.
    pub partitions: u16,
    /// Shards of each node.
    pub cores: u8,
    /// One-way delay within a datacenter, in microseconds.
    pub within_us: u64,
    /// One-way delay between datacenters, in milliseconds.
    pub between_ms: u64,
    /// The share of datagrams that are lost.
    pub loss: f64,
    /// Wall clocks are wrong by up to so many milliseconds either way.
    pub skew_ms: u64,
    /// Interval of the control group's heartbeat in milliseconds.
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

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When, in milliseconds since the cluster was at rest for the first time.
    pub at: u64,
    /// What.
    pub action: Action,
}

/// What can happen. Nodes are named by their numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A client asks.
    Ask(Ask),
    /// Nothing that the first send reaches the others any more.
    Cut {
        /// Who is not heard.
        from: Vec<u64>,
        /// Who does not hear.
        to: Vec<u64>,
    },
    /// All cuts end.
    Heal,
    /// The network becomes slower, or faster, and loses more, or less.
    Weather {
        /// As [`Shape::within_us`].
        within_us: u64,
        /// As [`Shape::between_ms`].
        between_ms: u64,
        /// As [`Shape::loss`].
        loss: f64,
    },
    /// Shares of all data frames that arrive twice, and that are overtaken.
    Garble {
        /// Arrive twice.
        duplicated: f64,
        /// Are overtaken.
        overtaken: f64,
    },
    /// A share of the data frames of one direction is dropped while the connection stands.
    DropFrames {
        /// Who sends.
        from: u64,
        /// Who does not get them.
        to: u64,
        /// How many of them.
        share: f64,
    },
    /// A process gets no processor, and is not heard.
    Stop(u64),
    /// A stopped process goes on.
    GoOn(u64),
    /// A process is killed at whatever it does.
    Crash(u64),
    /// A node that is dead starts.
    Restart(u64),
    /// A synchronisation takes longer by so many milliseconds.
    SlowDisk(u64, u64),
    /// The disk is full, or has room again.
    FullDisk(u64, bool),
    /// Synchronisations fail from now on; the node must stop by itself.
    FailDisk(u64),
    /// The shard that writes rows next panics; the node must stop by itself.
    Panic(u64),
    /// The data of a node are copied aside.
    Backup(u64),
    /// The data of a dead node are replaced by those copied aside.
    Restore(u64),
    /// The data of a dead node are gone.
    Wipe(u64),
    /// A byte of a value of a dead node is another.
    Rot(u64),
    /// A wall clock is set by so many milliseconds.
    Jump(u64, i64),
    /// A wall clock runs too fast by so many millionths.
    Drift(u64, i64),
    /// A wall clock stands still, or runs on.
    Freeze(u64, bool),
    /// A wall clock is right again.
    MendClock(u64),
    /// Somebody makes a keyspace.
    MakeKeyspace {
        /// Called `ks` and this number.
        number: u8,
        /// How many partitions.
        partitions: u16,
    },
    /// Somebody drops a keyspace.
    DropKeyspace(u8),
    /// Somebody changes how many replicas each datacenter holds of a keyspace; 0 is `default`.
    Replicate {
        /// Which.
        keyspace: u8,
        /// By datacenter number, from 1.
        replicas: BTreeMap<u8, u8>,
    },
    /// One more node joins, in this datacenter.
    Join(u8),
    /// Somebody removes a node.
    Remove {
        /// Which.
        node: u64,
        /// Its disk will not come back.
        lost: bool,
    },
}

/// One request of one client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Its number: what it writes can be told from what all others write by it.
    pub id: u32,
    /// Which client; a client has one request under way at a time.
    pub client: u8,
    /// The node it talks to.
    pub node: u64,
    /// The level.
    pub level: Consistency,
    /// Which keyspace: 0 is `default`, n is the one called `ks` and n.
    pub keyspace: u8,
    /// Which key.
    pub key: Key,
    /// What to do with it.
    pub deed: Deed,
    /// How long the client waits, in milliseconds.
    pub timeout: u64,
    /// Through which nodes it asks again, one after the other, while it does not know what became
    /// of its change; if there are any, the change has a name.
    pub again: Vec<u64>,
    /// Once its change is done it waits until so many other replicas have it, as long as for the
    /// answer; 0: it does not.
    pub wait: u32,
}

/// A key: what is done with it, and its number among those. The higher numbers have long names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key(pub Kind, pub u8);

/// What is done with a key. Keys of one kind see only what their promises can be told from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Set, read and deleted.
    Register,
    /// Set and read, never deleted.
    Cell,
    /// Set with an expiry.
    Expiring,
    /// Counted.
    Counter,
    /// Appended to.
    Text,
    /// Set with causal tokens.
    Siblings,
    /// Elements are added and removed, and the whole may expire.
    Set,
    /// Fields are set and removed, and the whole may expire.
    Hash,
    /// Fields are counted.
    Tally,
    /// Now a string, now a set.
    Turning,
    /// Anything at all.
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

/// What a client asks. What it writes is named by the number of the request.
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
    /// The first two keys of the kind at once.
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
    /// With the token that was given last, or so many before it.
    SetSeen(u8),
    Flush,
}

impl Plan {
    /// When the last thing happens before all is mended.
    pub fn operations(&self) -> usize {
        self.steps
            .iter()
            .filter(|step| matches!(step.action, Action::Ask(_)))
            .count()
    }

    /// The cluster to start.
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

/// The network as a plan describes it.
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
            // With few at once, few wait: a history of some hundred rows meets the bound too.
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
    /// The kind of fault, for counting; `None`: it is none.
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
    /// Numbers from here on stand for long names.
    pub(super) const LONG: u8 = 250;
    /// Bytes of the long names: longer than what a store takes for a key, as long as a name may be,
    /// and too long.
    const LENGTHS: [usize; 3] = [60_100, KEY_BYTES_MAX, KEY_BYTES_MAX + 1];

    /// What it is called.
    pub(super) fn name(self) -> Bytes {
        let length = self
            .1
            .checked_sub(Self::LONG)
            .and_then(|number| Self::LENGTHS.get(usize::from(number)));
        padded(self.to_string(), length.copied().unwrap_or(0))
    }

    /// Whether every request for it must be refused.
    pub(super) fn is_too_long(self) -> bool {
        self.name().len() > KEY_BYTES_MAX
    }
}

/// `name`, made so long at least.
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
