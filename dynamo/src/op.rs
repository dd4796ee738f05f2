//! What clients can ask of the data plane, and the answers they get. The faces translate their own
//! commands into these types.

use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::{Datacenter, KeyspaceId, Partition};
use quorate_crdt::{Dot, NodeId};
use serde::{Deserialize, Serialize};

use crate::consistency::Consistency;
use crate::fence::{Claim, Rank};
use crate::names::RequestId;
use crate::refusal::Refusal;
use crate::saved::{PageEnd, SavedExpiry, SavedKey, SavedRow};

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 64 * 1024;
/// The longest value, element or field, in bytes.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most bytes that all rows of one request may have, whether it writes, removes or asks about
/// them. Each row counts the key, because the key is part of its name. Guess: a million short
/// elements fit into one command, and the result stays far below the message limit.
pub const OUTCOME_BYTES_MAX: usize = 128 * 1024 * 1024;

/// The longest causal token, in bytes. It comes from the client, and reading it costs a hundred
/// times as much for each byte as storing a value does. Guess: a counter that was counted on in
/// five thousand lives of its nodes has a shorter one.
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// The most concurrent values that a write with a token may leave behind in one string. Together
/// they may be no longer than a single value. Riak refuses at the same number.
pub const SIBLINGS_MAX: usize = 100;

/// How large the values of one key may become. All nodes of a cluster use the same limits. Unlike
/// the `Limits` of `quorate_crdt`, which bound what a decoder takes, they bound what clients may
/// store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of a value, an element or a field, and of everything that one request brings beside
    /// its key. Default [`VALUE_BYTES_MAX`], which is also the most.
    pub value_bytes: usize,
    /// Concurrent values that a write with a token may leave behind. Default [`SIBLINGS_MAX`].
    pub siblings: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            value_bytes: VALUE_BYTES_MAX,
            siblings: SIBLINGS_MAX,
        }
    }
}

/// One request of one client, for one key or one partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The keyspace of the key.
    pub keyspace: KeyspaceId,
    /// The operation.
    pub op: Op,
    /// The level; `None` means the keyspace's default for reads or writes.
    pub consistency: Option<Consistency>,
    /// How long the client waits.
    pub timeout: Duration,
    /// The datacenter that `LOCAL_*` levels refer to: the one of the node that the client is
    /// connected to.
    pub datacenter: Datacenter,
    /// The client's name for this change, if it must be executed once however often it is sent.
    /// Ignored for reads and for whole partitions. Refused for [`Mutation::GetDelete`], whose
    /// answer is not kept.
    pub id: Option<RequestId>,
    /// The lock under which the client acts, if it does.
    pub claim: Option<Claim>,
}

impl Request {
    /// The same request under a lock.
    #[must_use]
    pub fn fenced(self, claim: Claim) -> Self {
        Self {
            claim: Some(claim),
            ..self
        }
    }
}

/// What a request asks for. Unlike the `Op` of `quorate_crdt`'s laws, which is one step of a test,
/// it comes from a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Reads a key.
    Query(Bytes, Query),
    /// Changes a key.
    Mutate(Bytes, Mutation),
    /// Reads or clears one partition of the keyspace at the replica that executes the request.
    Partition(Partition, PartitionOp),
}

/// Reads of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// The string or counter: [`Reply::Value`] or [`Reply::Nil`].
    Get,
    /// The length of the string in bytes, 0 if there is none: [`Reply::Integer`].
    Length,
    /// 1 if the key exists, else 0: [`Reply::Integer`].
    Exists,
    /// What the key holds: [`Reply::Kind`].
    Kind,
    /// When the key expires: [`Reply::Expiry`].
    Expiry,
    /// All elements of the set: [`Reply::List`]. Replicas with the same elements list them in the
    /// same order.
    Members,
    /// How many elements the set has: [`Reply::Integer`].
    Cardinality,
    /// 1 or 0 for each of these elements: [`Reply::Integers`].
    Contains(Vec<Bytes>),
    /// The value of each of these fields of the hash: [`Reply::Values`].
    Fields(Vec<Bytes>),
    /// All fields and values of the hash: [`Reply::Pairs`]. Replicas with the same fields list them
    /// in the same order.
    Entries,
    /// How many fields the hash has: [`Reply::Integer`].
    FieldCount,
    /// All concurrent values of the string, with the causal token that covers them:
    /// [`Reply::Siblings`].
    Siblings,
}

/// Changes of one key. Each is one atomic event at the replica that executes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mutation {
    /// Replaces whatever the key holds with a string: [`Reply::Done`].
    Set {
        /// The new value.
        value: Bytes,
        /// What happens to the key's expiry.
        expiry: SetExpiry,
    },
    /// Like `Set`, but drops only what `token` covers; concurrent values stay as siblings:
    /// [`Reply::Done`].
    SetWith {
        /// The new value.
        value: Bytes,
        /// A token from [`Reply::Siblings`].
        token: Bytes,
    },
    /// Appends to the string: [`Reply::Integer`], the new length.
    Append(Bytes),
    /// Adds to the counter: [`Reply::Integer`], the new value as the executing replica sees it. If
    /// replicas that counted apart have pushed the sum out of the 64-bit range, the answer is the
    /// nearest end of the range.
    Increment(i64),
    /// Removes the key, whatever it holds: [`Reply::Integer`], 1 if something was there.
    Delete,
    /// Removes the string and returns it: [`Reply::Value`] or [`Reply::Nil`].
    GetDelete,
    /// Sets the key to expire at this Unix time in milliseconds: [`Reply::Integer`], 1 if the key
    /// exists.
    ExpireAt(u64),
    /// Removes the expiry: [`Reply::Integer`], 1 if there was one.
    Persist,
    /// Removes the key if it expired more than `margin` milliseconds ago: [`Reply::Integer`]. Only
    /// the reaper sends this, once the clocks of a quorum have agreed.
    Lapse {
        /// How far apart the clocks that agreed may be, in milliseconds.
        margin: u64,
    },
    /// Adds to the set: [`Reply::Integer`], how many elements were new to the executing replica.
    Add(Vec<Bytes>),
    /// Removes from the set: [`Reply::Integer`], how many elements were there.
    Remove(Vec<Bytes>),
    /// Sets fields of the hash: [`Reply::Integer`], how many fields were new to the executing
    /// replica.
    SetFields(Vec<(Bytes, Bytes)>),
    /// Removes fields of the hash: [`Reply::Integer`], how many fields were there.
    RemoveFields(Vec<Bytes>),
    /// Adds to a field of the hash: [`Reply::Integer`], the new value as the executing replica sees
    /// it.
    IncrementField(Bytes, i64),
    /// Restores what a backup holds of the key, where nothing as new is visible. A later write
    /// wins, a counter or a key of another kind that is there stays as it is, and restoring twice
    /// is restoring once: [`Reply::Integer`], how many rows were missing or older.
    Restore {
        /// The number of the backup. What it has counted is never counted twice.
        archive: u128,
        /// When the key expires; ignored if the key exists.
        expiry: Option<SavedExpiry>,
        /// The rows.
        rows: Vec<SavedRow>,
    },
}

impl Mutation {
    /// Whether its entries carry a stamp of the executing node's clock, or one that is compared
    /// with it.
    pub fn stamps(&self) -> bool {
        matches!(
            self,
            Self::Set { .. }
                | Self::SetWith { .. }
                | Self::Append(_)
                | Self::ExpireAt(_)
                | Self::Persist
                | Self::SetFields(_)
                | Self::Restore { .. }
        )
    }

    /// Whether it adds to a key without looking at what other replicas hold.
    pub fn adds(&self) -> bool {
        matches!(
            self,
            Self::Add(_) | Self::SetFields(_) | Self::Increment(_) | Self::IncrementField(..)
        )
    }

    /// Whether it puts values without looking at what other replicas hold, so that it may be hidden
    /// behind one that was written under a lock and that the executing replica has missed.
    pub(crate) fn may_be_hidden(&self) -> bool {
        matches!(
            self,
            Self::Set { .. } | Self::SetWith { .. } | Self::Add(_) | Self::SetFields(_)
        )
    }

    /// Whether its meaning lies in what it drops or leaves. Such a mutation first looks at what a
    /// quorum holds, and so takes two rounds instead of one.
    pub fn observes(&self) -> bool {
        matches!(
            self,
            Self::Delete
                | Self::GetDelete
                | Self::Persist
                | Self::Lapse { .. }
                | Self::Remove(_)
                | Self::RemoveFields(_)
                | Self::ExpireAt(_)
                | Self::Append(_)
                | Self::Restore { .. }
        )
    }
}

/// What a `SET` does to the key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetExpiry {
    /// Removes it.
    Clear,
    /// Keeps it.
    Keep,
    /// Sets it to this Unix time in milliseconds.
    At(u64),
}

/// A key's mark, its place in a scan, is this many upper bits of its hash. Together with the number
/// of a partition it has 53 bits, which a client that keeps numbers as doubles does not spoil. Keys
/// that share a mark come in one page, so few should: one in thousands does in a partition of a
/// million.
pub const MARK_BITS: u32 = 41;

/// Operations on a whole partition at one replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartitionOp {
    /// The live keys from a mark on, in the partition's own order, which never changes and is the
    /// same on every replica: `count` keys if there are as many, and all others that share the mark
    /// of the last: [`Reply::Keys`].
    Scan {
        /// Where the page begins: 0, or what the previous page ended with.
        from: u64,
        /// The size of the page.
        count: u32,
    },
    /// The number of live keys: [`Reply::Integer`].
    Count,
    /// Removes every key. The executing replica first learns what the replicas of the level hold,
    /// and removes that too: [`Reply::Done`].
    Clear,
    /// The number of live keys that will expire: [`Reply::Integer`].
    Expiring,
    /// The live keys after the end of a page, with all that they hold. The executing replica first
    /// learns what the replicas of the level hold, and answers from one context: [`Reply::Page`].
    Save {
        /// Where the previous page ended; `None` for the first page.
        after: Option<PageEnd>,
        /// About how many bytes the page may have; at most 8 MiB, unless a single row is longer.
        bytes: u32,
    },
}

impl PartitionOp {
    /// Whether it is answered by one replica alone. Such an operation has no level.
    pub fn asks_nobody(&self) -> bool {
        match self {
            Self::Scan { .. } | Self::Count | Self::Expiring => true,
            Self::Clear | Self::Save { .. } => false,
        }
    }
}

/// What a key holds. If concurrent writers gave a key several kinds, all of them are kept, and the
/// first in this order is shown. Unlike a [`RowKind`](crate::replica::RowKind), it is what clients
/// see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A register or counter.
    String,
    /// A map from field to register or counter.
    Hash,
    /// A set of byte strings.
    Set,
}

/// The answer to a successful request. Unlike a `Reply` of the transport, which is a future, it is
/// a value for a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Success, with nothing to report.
    Done,
    /// There is no such value.
    Nil,
    /// A number.
    Integer(i64),
    /// A number for each argument.
    Integers(Vec<i64>),
    /// A value.
    Value(Bytes),
    /// A value, or nothing, for each argument.
    Values(Vec<Option<Bytes>>),
    /// Elements.
    List(Vec<Bytes>),
    /// Fields with their values.
    Pairs(Vec<(Bytes, Bytes)>),
    /// What the key holds.
    Kind(Option<Kind>),
    /// When the key expires.
    Expiry(Expiry),
    /// Concurrent values and the token that covers them.
    Siblings {
        /// Pass it to [`Mutation::SetWith`].
        token: Bytes,
        /// The values that no other has overwritten; empty if there are none.
        values: Vec<Bytes>,
    },
    /// A page of keys.
    Keys {
        /// The keys.
        keys: Vec<Bytes>,
        /// What to pass as `from` for the next page; `None` after the last page.
        next: Option<u64>,
    },
    /// A page of keys with all that they hold, for a backup.
    Page {
        /// The keys.
        keys: Vec<SavedKey>,
        /// What to pass as `after` for the next page; `None` after the last page. Behind a pointer:
        /// the largest reply decides how much is copied wherever any reply moves.
        next: Option<Box<PageEnd>>,
    },
}

/// When a key expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expiry {
    /// There is no such key.
    NoKey,
    /// The key does not expire.
    Never,
    /// It expires at this Unix time in milliseconds.
    At(u64),
}

/// A request that succeeded at its level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The answer for the client.
    pub reply: Reply,
    /// The event that the mutation made, for `WAIT`; `None` if it changed nothing.
    pub receipt: Option<Receipt>,
}

impl From<Reply> for Answer {
    /// An answer without a receipt.
    fn from(reply: Reply) -> Self {
        Self {
            reply,
            receipt: None,
        }
    }
}

/// Names the event that a write made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Receipt {
    /// The keyspace written to.
    pub keyspace: KeyspaceId,
    /// The partition written to.
    pub partition: Partition,
    /// The event.
    pub dot: Dot,
}

/// A request that did not succeed at its level. Every variant says what is true now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The key holds another kind of value. Not applied.
    #[error("the key holds another kind of value")]
    WrongKind,
    /// The value is not a 64-bit integer. Not applied.
    #[error("the value is not an integer")]
    NotAnInteger,
    /// The sum would leave the 64-bit range. Not applied.
    #[error("the increment would overflow")]
    Overflow,
    /// The key, the value, or all that the request brings is longer than allowed. Not applied.
    #[error("{bytes} bytes is more than the {max} allowed")]
    TooLarge {
        /// The length that was sent, or that would have resulted.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// Too many concurrent values would stay beside the new one. Not applied. Read them, resolve
    /// them, and write with the token that came with them; a write without a token replaces all of
    /// them.
    #[error(
        "{count} concurrent values of {bytes} bytes are more than is allowed: read and resolve them first"
    )]
    Siblings {
        /// How many values there would be.
        count: u64,
        /// Their bytes together.
        bytes: u64,
    },
    /// The causal token was not made by this cluster. Not applied.
    #[error("the causal token is not valid")]
    BadToken,
    /// The replicas of this level have not yet seen all that the token covers. Not applied.
    #[error(
        "the replicas of this level have not seen all that the token covers; try again, or read again"
    )]
    Unseen,
    /// The request id is empty or longer than [`RequestId::BYTES_MAX`], or the operation does not
    /// take one. Not applied.
    #[error("a request id is 1 to 32 bytes, and GETDEL takes none")]
    BadRequestId,
    /// The key begins like those under which nodes remember requests. Not applied.
    #[error("a key may not begin with \\0request")]
    ReservedKey,
    /// The token is 0, or the holder has given up the very request that it sends. Not applied.
    #[error("a fencing token is above 0, and SINCE is at most SEQ")]
    BadClaim,
    /// A request under a token needs a majority of the replicas. Not applied.
    #[error("under a fencing token the level must be QUORUM, EACH_QUORUM or ALL, not {level}")]
    BelowQuorum {
        /// The level asked for.
        level: Consistency,
    },
    /// Under a token only keys can be read and changed, and a request takes no name. Not applied.
    #[error("this cannot be done under a fencing token")]
    NotUnderToken,
    /// Under a token a whole collection is read only when nothing of an earlier holder can appear
    /// in it any more, and these replicas have not said that they would refuse it. Its rows can be
    /// read by name.
    #[error(
        "an earlier holder may still add to the collection through replicas that have not said that they refuse it"
    )]
    NotClosed {
        /// The replicas that cannot be reached, have not answered, or have not reported yet.
        missing: Vec<NodeId>,
        /// Those that refused, with their reasons.
        refused: Vec<(NodeId, Refusal)>,
    },
    /// A request of a later holder of the lock has been there, or this holder has given the request
    /// up since.
    #[error("requests below token {token}, sequence {since}, are fenced off")]
    Fenced {
        /// The highest token that is known of the lock.
        token: u64,
        /// The lowest number that is admitted under that token.
        since: u64,
        /// Whether the write may have taken effect. If it has, the later holder either finds it at
        /// its first look or never. False for reads and for writes that never began.
        may_be_applied: bool,
    },
    /// There is no such keyspace. Not applied.
    #[error("there is no such keyspace")]
    NoKeyspace,
    /// The topology can never satisfy the level. Not applied.
    #[error("{level} needs {required} replicas but the keyspace has {replicas}")]
    Unsatisfiable {
        /// The level asked for.
        level: Consistency,
        /// How many replicas it needs.
        required: u32,
        /// How many the keyspace has.
        replicas: u32,
    },
    /// Too few replicas can be reached. Not applied.
    #[error("{level} cannot be reached: {required} replicas are needed, {alive} can be reached")]
    Unavailable {
        /// The level asked for.
        level: Consistency,
        /// How many replicas it needs.
        required: u32,
        /// How many of those that count can be reached.
        alive: u32,
        /// The replicas that cannot be reached.
        missing: Vec<NodeId>,
    },
    /// Too few replicas answered in time.
    #[error("{level} was not reached in time: {acked} of {required} replicas answered")]
    TimedOut {
        /// The level asked for.
        level: Consistency,
        /// How many replicas answered.
        acked: u32,
        /// How many it needs.
        required: u32,
        /// The replicas that were asked and did not answer.
        missing: Vec<NodeId>,
        /// Whether the write may have taken effect and may still spread. False for reads and for
        /// writes that never began.
        may_be_applied: bool,
    },
    /// Too few replicas did their part, because some refused.
    #[error("{level} was not reached: {acked} of {required} replicas did their part, {} refused", refused.len())]
    Refused {
        /// The level asked for.
        level: Consistency,
        /// How many replicas did their part.
        acked: u32,
        /// How many it needs.
        required: u32,
        /// The nodes that refused, with their reasons. The executing node is named itself if the
        /// reason lies there.
        refused: Vec<(NodeId, Refusal)>,
        /// The replicas that were asked and did not answer.
        missing: Vec<NodeId>,
        /// Whether the write may have taken effect and may still spread. False for reads and for
        /// writes that never began.
        may_be_applied: bool,
    },
    /// The keyspace was dropped while the write was in progress. It may be applied where the drop
    /// is not known yet, and disappears with the keyspace.
    #[error("the keyspace was dropped meanwhile")]
    KeyspaceDropped,
    /// The topology changed twice during the request. Not applied.
    #[error("the topology is changing; try again")]
    Moving,
    /// The node has too much to do. Not applied.
    #[error("the node is overloaded; try again later")]
    Overloaded,
    /// The node is stopping or its disk failed. A write may be applied.
    #[error("the node is stopping")]
    Stopping,
    /// The executing node's clock differs from the others' by more than the bound, and the write
    /// would carry its stamp or treat a key as expired. Not applied. Counters and sets still work
    /// here, and all writes work through other nodes.
    #[error("the clock of this node is {} of the others'", crate::refusal::off(*.offset_ms))]
    Clock {
        /// How many milliseconds the clock is ahead; negative if it is behind.
        offset_ms: i64,
    },
    /// The node that the client is connected to, or the executing one, has just started, and too
    /// few other nodes have told the time to say whether its clock is right. Not applied.
    #[error(
        "this node has just started and has not yet learned from the others whether its clock is right"
    )]
    ClockUnconfirmed,
    /// The executing node's disk did not finish earlier work in time. No other node was asked.
    #[error("the disk of the node has not answered for {millis} ms")]
    DiskSlow {
        /// How long the oldest unfinished batch has waited.
        millis: u64,
        /// Whether the write may have taken effect and may still spread. False for reads and for
        /// writes that never began.
        may_be_applied: bool,
    },
    /// The disk of the executing node is (almost) full. Not applied.
    #[error("the disk of the node is full")]
    DiskFull,
    /// The executing node is on the smaller side of a split, and the keyspace is read-only there.
    /// Not applied.
    #[error(
        "the keyspace is read-only on the smaller side of a split, and this node reaches {reached} of {voters} voters"
    )]
    ReadOnly {
        /// The voters that it reaches.
        reached: u32,
        /// All voters.
        voters: u32,
    },
}

impl RequestError {
    /// A request that never began because something that ranks this high has been there.
    pub(crate) fn fenced(rank: Rank) -> Self {
        Self::Fenced {
            token: rank.token,
            since: rank.sequence,
            may_be_applied: false,
        }
    }

    /// Whether a write that failed like this may nevertheless be visible, or become so. Meaningless
    /// for reads.
    pub fn may_be_applied(&self) -> bool {
        match self {
            Self::TimedOut { may_be_applied, .. }
            | Self::Refused { may_be_applied, .. }
            | Self::Fenced { may_be_applied, .. }
            | Self::DiskSlow { may_be_applied, .. } => *may_be_applied,
            Self::Stopping | Self::KeyspaceDropped => true,
            _ => false,
        }
    }

    /// The same failure of a write at `level` that had been executed before it failed. An error
    /// that says that nothing was applied becomes a timeout: the client can do no better than after
    /// one.
    pub(crate) fn after_execution(mut self, level: Consistency) -> Self {
        match &mut self {
            Self::TimedOut { may_be_applied, .. }
            | Self::Refused { may_be_applied, .. }
            | Self::Fenced { may_be_applied, .. }
            | Self::DiskSlow { may_be_applied, .. } => {
                *may_be_applied = true;
                self
            }
            Self::Stopping | Self::KeyspaceDropped => self,
            _ => Self::TimedOut {
                level,
                acked: 0,
                required: 1,
                missing: Vec::new(),
                may_be_applied: true,
            },
        }
    }
}

impl Op {
    /// Whether it contains a time that was computed from the clock of the node that the client is
    /// connected to.
    pub fn names_time(&self) -> bool {
        matches!(
            self,
            Self::Mutate(
                _,
                Mutation::Set {
                    expiry: SetExpiry::At(_),
                    ..
                } | Mutation::ExpireAt(_)
            )
        )
    }

    /// Whether it only removes. Such operations are allowed on a full disk, because they make room.
    pub fn frees(&self) -> bool {
        use Mutation::{Delete, GetDelete, Lapse, Remove, RemoveFields};
        matches!(
            self,
            Self::Mutate(
                _,
                Delete | GetDelete | Lapse { .. } | Remove(_) | RemoveFields(_)
            ) | Self::Partition(_, PartitionOp::Clear)
        )
    }

    /// Whether it removes what has expired, which replicas do on their own.
    pub fn lapses(&self) -> bool {
        matches!(self, Self::Mutate(_, Mutation::Lapse { .. }))
    }

    /// Whether it changes anything: it then counts as a write, and its outcome may be unknown.
    pub fn writes(&self) -> bool {
        matches!(
            self,
            Self::Mutate(..) | Self::Partition(_, PartitionOp::Clear)
        )
    }
}
