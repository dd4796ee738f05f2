//! What clients ask for, and the names of everything they write.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use quorate_dynamo::Consistency;
use quorate_dynamo::fence::{Claim, Rank};
use quorate_dynamo::op::KEY_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// Requests with higher numbers belong to the last check.
pub(in crate::sim) const LAST: u32 = 1_000_000;

/// A token that the client looks up when it sends the request: the newest that the coordination
/// group has granted it for the lock of the key.
pub(in crate::sim) const GRANTED: u64 = u64::MAX;

/// One request of one client. Unlike the `Ask` of `dynamo`, which one core asks another, it comes
/// from outside the cluster.
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
    /// Under which fencing token the client acts; 0: under none, `u64::MAX`: under the newest that
    /// the coordination group has granted it.
    #[serde(default)]
    pub token: u64,
    /// The client's number of the request among those under its tokens. The client counts while it
    /// plays, so that a plan need not say in which order requests come.
    #[serde(skip)]
    pub sequence: u64,
    /// The client has given up everything below this number.
    #[serde(skip)]
    pub since: u64,
}

/// A key: what kind of operations it sees, and its number within the kind. Numbers from
/// 250 on have long names. Unlike the `Key` of `crdt`, it stands for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key(pub Kind, pub u8);

/// What is done with a key. The keys of one kind see only operations whose promises can be checked
/// together. Unlike the `Kind` of `dynamo`, it is not the type of a value.
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
    /// A string that is set, read and deleted under a lock.
    Guarded,
    /// A hash whose fields are set and removed under a lock, and read one by one or all at once.
    GuardedHash,
    /// Any operation at all.
    Mixed,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
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
        Self::Guarded,
        Self::GuardedHash,
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

impl Ask {
    /// A request in the first keyspace at `QUORUM` that is not repeated. The client is the one of
    /// the node's number and waits for a second.
    pub fn new(id: u32, node: u64, key: Key, deed: Deed) -> Self {
        Self {
            id,
            client: node as u8,
            node,
            level: Consistency::Quorum,
            keyspace: 1,
            key,
            deed,
            timeout: 1_000,
            again: Vec::new(),
            wait: 0,
            token: 0,
            sequence: 0,
            since: 0,
        }
    }

    /// Its place among all requests under the lock of its key.
    pub(in crate::sim) fn rank(&self) -> Rank {
        Rank::of(self.token, self.sequence)
    }

    /// What the request carries, if it is under a lock: each key has a lock of its own.
    pub(in crate::sim) fn claim(&self) -> Option<Claim> {
        let claim = Claim::new(&self.key.name(), self.token);
        (self.token > 0).then(|| claim.numbered(self.sequence, self.since))
    }
}

impl Deed {
    /// How long until the key expires, if this request sets an expiry.
    pub(in crate::sim) fn life(&self) -> Option<Duration> {
        match self {
            Self::SetFor { ms } | Self::ExpireIn { ms } => Some(Duration::from_millis(*ms)),
            _ => None,
        }
    }

    /// Whether it changes anything.
    pub fn writes(&self) -> bool {
        !matches!(
            self,
            Self::Get
                | Self::Length
                | Self::Exists
                | Self::Ttl
                | Self::Members
                | Self::Contains(_)
                | Self::Cardinality
                | Self::Fields(_)
                | Self::Entries
                | Self::Siblings
        )
    }
}

impl Key {
    /// Key numbers from here on have long names.
    pub(in crate::sim) const LONG: u8 = 250;
    /// Lengths of the long names: longer than the longest key a store takes, the longest name
    /// allowed, and one byte too long.
    const LENGTHS: [usize; 3] = [60_100, KEY_BYTES_MAX, KEY_BYTES_MAX + 1];

    /// The name of the key.
    pub(in crate::sim) fn name(self) -> Bytes {
        let length = self
            .1
            .checked_sub(Self::LONG)
            .and_then(|number| Self::LENGTHS.get(usize::from(number)));
        padded(self.to_string(), length.copied().unwrap_or(0))
    }

    /// Whether every request for the key must be refused.
    pub(in crate::sim) fn is_too_long(self) -> bool {
        self.name().len() > KEY_BYTES_MAX
    }
}

/// `name`, padded to at least `length` bytes.
fn padded(name: String, length: usize) -> Bytes {
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
            Kind::Guarded => "guarded",
            Kind::GuardedHash => "guarded-hash",
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

/// How many different elements or fields there are.
pub(in crate::sim) const NAMES: u8 = 6;

/// The element or field with this number. The last one has a name longer than the longest key a
/// store takes.
pub(in crate::sim) fn name(number: u8) -> Bytes {
    let length = if number == NAMES - 1 { 60_100 } else { 0 };
    padded(format!("m{number}"), length)
}

/// The request that wrote `value`.
pub(in crate::sim) fn request_of(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value)
        .ok()?
        .strip_prefix('v')?
        .parse()
        .ok()
}
