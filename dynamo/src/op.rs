//! What a client may ask of the data plane, and what it is told. The faces translate their own
//! words into these.

use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::{Datacenter, KeyspaceId, Partition};
use quorate_crdt::{Dot, NodeId};
use serde::{Deserialize, Serialize};

use crate::consistency::Consistency;
use crate::names::RequestId;
use crate::refusal::Refusal;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 64 * 1024;
/// The longest value, element or field, in bytes.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most bytes that the rows which one request makes, removes or asks about may have together,
/// each with the key in its name. Guess: a million short elements go in one command, and what comes
/// of them stays far below what a message may carry.
pub const OUTCOME_BYTES_MAX: usize = 128 * 1024 * 1024;

/// The most concurrent values of one string that a write with a token may leave. Together they are
/// no longer than one value may be. Riak refuses at as many.
pub const SIBLINGS_MAX: usize = 100;

/// How much the values of one key may come to. Nodes of one cluster have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of a value, an element, a field, and of all that one request brings beside its key.
    /// Default [`VALUE_BYTES_MAX`], and no more.
    pub value_bytes: usize,
    /// Concurrent values that a write with a token may leave. Default [`SIBLINGS_MAX`].
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
    /// Where the key lives.
    pub keyspace: KeyspaceId,
    /// What is asked for.
    pub op: Op,
    /// The level; `None` takes the keyspace's default for reads or writes.
    pub consistency: Option<Consistency>,
    /// How long the client waits.
    pub timeout: Duration,
    /// The datacenter that `LOCAL_*` levels mean: that of the node which the client talks to.
    pub datacenter: Datacenter,
    /// The client's name for the change, if it wants it done once however often it asks; of no
    /// meaning for reads and for whole partitions. Not possible for [`Mutation::GetDelete`], whose
    /// answer is not kept.
    pub id: Option<RequestId>,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Reads a key.
    Query(Bytes, Query),
    /// Changes a key.
    Mutate(Bytes, Mutation),
    /// Reads or clears one partition of the keyspace, at the replica that executes it.
    Partition(Partition, PartitionOp),
}

/// Reads of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// The string or counter: [`Reply::Value`] or [`Reply::Nil`].
    Get,
    /// Bytes of the string, 0 if there is none: [`Reply::Integer`].
    Length,
    /// 1 if the key has any live row, else 0: [`Reply::Integer`].
    Exists,
    /// [`Reply::Kind`].
    Kind,
    /// When the key expires: [`Reply::Expiry`].
    Expiry,
    /// All elements of the set, in an order of the replica's own that equal replicas share:
    /// [`Reply::List`].
    Members,
    /// How many elements the set has: [`Reply::Integer`].
    Cardinality,
    /// 1 or 0 for each of these elements: [`Reply::Integers`].
    Contains(Vec<Bytes>),
    /// The value of each of these fields of the hash: [`Reply::Values`].
    Fields(Vec<Bytes>),
    /// All fields and values of the hash, in an order of the replica's own that equal replicas
    /// share: [`Reply::Pairs`].
    Entries,
    /// How many fields the hash has: [`Reply::Integer`].
    FieldCount,
    /// All concurrent values of the string with the causal token that covers them:
    /// [`Reply::Siblings`].
    Siblings,
}

/// Changes of one key. Each is one atomic event at the replica that executes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mutation {
    /// Replaces whatever the key holds by a string: [`Reply::Done`].
    Set {
        /// The new value.
        value: Bytes,
        /// What becomes of the key's expiry.
        expiry: SetExpiry,
    },
    /// As `Set`, but drops only what `token` covers, so that concurrent values stay as siblings:
    /// [`Reply::Done`].
    SetWith {
        /// The new value.
        value: Bytes,
        /// A token from [`Reply::Siblings`].
        token: Bytes,
    },
    /// Appends to the string: [`Reply::Integer`], its new length.
    Append(Bytes),
    /// Adds to the counter: [`Reply::Integer`], its new value as this replica sees it, or the end
    /// of the range that it lies beyond: replicas that counted apart can have pushed the sum out of
    /// it.
    Increment(i64),
    /// Removes the key, all kinds: [`Reply::Integer`], 1 if something was there.
    Delete,
    /// Removes the string and answers what it was: [`Reply::Value`] or [`Reply::Nil`].
    GetDelete,
    /// Lets the key expire at this Unix time in milliseconds: [`Reply::Integer`], 1 if the key
    /// exists.
    ExpireAt(u64),
    /// Takes the expiry away: [`Reply::Integer`], 1 if there was one.
    Persist,
    /// Removes the key if its expiry was more than this many milliseconds ago: [`Reply::Integer`].
    /// Only the reaper says this, after a quorum's clocks have agreed.
    Lapse {
        /// How far the clocks of those that agreed may be apart.
        margin: u64,
    },
    /// Adds to the set: [`Reply::Integer`], how many were new to this replica.
    Add(Vec<Bytes>),
    /// Removes from the set: [`Reply::Integer`], how many were there.
    Remove(Vec<Bytes>),
    /// Sets fields of the hash: [`Reply::Integer`], how many were new to this replica.
    SetFields(Vec<(Bytes, Bytes)>),
    /// Removes fields of the hash: [`Reply::Integer`], how many were there.
    RemoveFields(Vec<Bytes>),
    /// Adds to a field of the hash: [`Reply::Integer`], its new value as this replica sees it.
    IncrementField(Bytes, i64),
}

impl Mutation {
    /// Whether what it writes is stamped by the executing node's clock.
    pub fn stamps(&self) -> bool {
        matches!(
            self,
            Self::Set { .. }
                | Self::SetWith { .. }
                | Self::Append(_)
                | Self::ExpireAt(_)
                | Self::Persist
                | Self::SetFields(_)
        )
    }

    /// Whether it adds to what a key holds, without a look at what others have of it.
    pub fn adds(&self) -> bool {
        matches!(
            self,
            Self::Add(_) | Self::SetFields(_) | Self::Increment(_) | Self::IncrementField(..)
        )
    }

    /// Whether the mutation's meaning lies in what it drops, so that it must first see what a
    /// quorum has (two rounds instead of one).
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
        )
    }
}

/// What `SET` does to an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetExpiry {
    /// Takes it away.
    Clear,
    /// Leaves it.
    Keep,
    /// Sets it to this Unix time in milliseconds.
    At(u64),
}

/// Operations on a whole partition at one replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartitionOp {
    /// Up to `count` live keys after `after`, in an order of the partition's own that never
    /// changes: [`Reply::Keys`].
    Scan {
        /// The last key already seen.
        after: Option<Bytes>,
        /// How many at most.
        count: u32,
    },
    /// How many live keys: [`Reply::Integer`].
    Count,
    /// Removes every key that this replica has seen, once it has what the replicas of the level
    /// have: [`Reply::Done`].
    Clear,
}

/// What a key holds. When concurrent writers made different kinds, all stay, and the first in this
/// order is the one shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A register or counter.
    String,
    /// A map from field to register or counter.
    Hash,
    /// A set of byte strings.
    Set,
}

/// The answer to a request that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done; there is nothing to tell.
    Done,
    /// Nothing is there.
    Nil,
    /// A number.
    Integer(i64),
    /// A number for each argument.
    Integers(Vec<i64>),
    /// A value.
    Value(Bytes),
    /// A value or nothing for each argument.
    Values(Vec<Option<Bytes>>),
    /// Elements.
    List(Vec<Bytes>),
    /// Fields and their values.
    Pairs(Vec<(Bytes, Bytes)>),
    /// What the key holds.
    Kind(Option<Kind>),
    /// When the key expires.
    Expiry(Expiry),
    /// Concurrent values and the token that covers them.
    Siblings {
        /// Hand it back in [`Mutation::SetWith`].
        token: Bytes,
        /// All values that no other has overwritten; empty if there is none.
        values: Vec<Bytes>,
    },
    /// A page of keys; `next` is the last of them when there may be more.
    Keys {
        /// The keys.
        keys: Vec<Bytes>,
        /// What to pass as `after` for the next page.
        next: Option<Bytes>,
    },
}

/// The expiry of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expiry {
    /// There is no such key.
    NoKey,
    /// The key does not expire.
    Never,
    /// It expires at this Unix time in milliseconds.
    At(u64),
}

/// A request that was done at its level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What the client is told.
    pub reply: Reply,
    /// For a mutation that changed something: the event it made, for `WAIT`.
    pub receipt: Option<Receipt>,
}

/// Names the event of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Receipt {
    /// The keyspace written to.
    pub keyspace: KeyspaceId,
    /// The partition written to.
    pub partition: Partition,
    /// The event.
    pub dot: Dot,
}

/// A request that was not done at its level. Every variant says what is now true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The key holds another kind. Not applied.
    #[error("the key holds another kind of value")]
    WrongKind,
    /// The value is not a 64-bit integer. Not applied.
    #[error("the value is not an integer")]
    NotAnInteger,
    /// The sum would leave the 64-bit range. Not applied.
    #[error("the increment would overflow")]
    Overflow,
    /// Key, value or the list of them is longer than the bound. Not applied.
    #[error("{bytes} bytes is more than the {max} allowed")]
    TooLarge {
        /// What was sent.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// So many concurrent values would stay beside the new one. Not applied: read, resolve, and
    /// write with the token that came with them; a write without a token takes the place of all.
    #[error(
        "{count} concurrent values of {bytes} bytes are more than is allowed: read and resolve them first"
    )]
    Siblings {
        /// How many there would be.
        count: u64,
        /// Bytes of all of them.
        bytes: u64,
    },
    /// The causal token is not one that this cluster made. Not applied.
    #[error("the causal token is not valid")]
    BadToken,
    /// The replicas that the level asks have not seen all that the token covers, so it cannot be
    /// overwritten yet. Not applied.
    #[error(
        "the replicas of this level have not seen all that the token covers; try again, or read again"
    )]
    Unseen,
    /// The request id is empty or longer than [`RequestId::BYTES_MAX`], or the change is one that
    /// takes none. Not applied.
    #[error("a request id is 1 to 32 bytes, and GETDEL takes none")]
    BadRequestId,
    /// The key begins as those do under which nodes remember requests. Not applied.
    #[error("a key may not begin with \\0request")]
    ReservedKey,
    /// There is no such keyspace. Not applied.
    #[error("there is no such keyspace")]
    NoKeyspace,
    /// The topology can never satisfy the level. Not applied.
    #[error("{level} needs {required} replicas but the keyspace has {replicas}")]
    Unsatisfiable {
        /// The level asked for.
        level: Consistency,
        /// Replicas it needs.
        required: u32,
        /// Replicas there are.
        replicas: u32,
    },
    /// Too few replicas can be reached now. Not applied.
    #[error("{level} cannot be reached: {required} replicas are needed, {alive} can be reached")]
    Unavailable {
        /// The level asked for.
        level: Consistency,
        /// Replicas it needs.
        required: u32,
        /// Of those that count, how many can be reached.
        alive: u32,
        /// The replicas that cannot.
        missing: Vec<NodeId>,
    },
    /// Too few replicas answered in time.
    #[error("{level} was not reached in time: {acked} of {required} replicas answered")]
    TimedOut {
        /// The level asked for.
        level: Consistency,
        /// Replicas that answered.
        acked: u32,
        /// Replicas it needs.
        required: u32,
        /// The replicas that were asked and did not answer.
        missing: Vec<NodeId>,
        /// Whether the write may have taken effect and may still spread. False for reads and for
        /// writes that never began.
        may_be_applied: bool,
    },
    /// Nodes said that they would not do their part, and why.
    #[error("{level} was not reached: {acked} of {required} replicas did their part, {} refused", refused.len())]
    Refused {
        /// The level asked for.
        level: Consistency,
        /// Replicas that did their part.
        acked: u32,
        /// Replicas it needs.
        required: u32,
        /// Who refused, and why. The executing node itself is named when the reason lies there.
        refused: Vec<(NodeId, Refusal)>,
        /// The replicas that were asked and did not answer.
        missing: Vec<NodeId>,
        /// Whether the write may have taken effect and may still spread. False for reads and for
        /// writes that never began.
        may_be_applied: bool,
    },
    /// The keyspace was dropped while the write was under way. It may be applied where the drop is
    /// not known yet, and goes with the keyspace.
    #[error("the keyspace was dropped meanwhile")]
    KeyspaceDropped,
    /// The topology changed twice under the request. Not applied.
    #[error("the topology is changing; try again")]
    Moving,
    /// The node has too much to do. Not applied.
    #[error("the node is overloaded; try again later")]
    Overloaded,
    /// The node is stopping or its disk failed. A write may be applied.
    #[error("the node is stopping")]
    Stopping,
    /// The clock of the executing node is off from the others' by more than the bound, and the
    /// write would have been stamped by it, or would have taken a key for expired. Counters and
    /// sets go on, and so do all writes through other nodes. Not applied.
    #[error("the clock of this node is {} of the others'", crate::refusal::off(*.offset_ms))]
    Clock {
        /// By how many milliseconds it is ahead; less than 0: behind.
        offset_ms: i64,
    },
    /// The node that the client talks to, or the executing one, has just started, and too few
    /// others have told the time to say whether its clock is right. Not applied.
    #[error(
        "this node has just started and has not yet learned from the others whether its clock is right"
    )]
    ClockUnconfirmed,
    /// The disk of the executing node did not take what it was given in time; nobody else was
    /// asked.
    #[error("the disk of the node has not answered for {millis} ms")]
    DiskSlow {
        /// How long it has kept what it was given first.
        millis: u64,
        /// Whether the write may have taken effect and may still spread. False for reads and for
        /// writes that never began.
        may_be_applied: bool,
    },
    /// The disk of the executing node is (almost) full. Not applied.
    #[error("the disk of the node is full")]
    DiskFull,
}

impl RequestError {
    /// Whether a write that failed so may nevertheless be, or become, visible. For reads it says
    /// nothing.
    pub fn may_be_applied(&self) -> bool {
        match self {
            Self::TimedOut { may_be_applied, .. }
            | Self::Refused { may_be_applied, .. }
            | Self::DiskSlow { may_be_applied, .. } => *may_be_applied,
            Self::Stopping | Self::KeyspaceDropped => true,
            _ => false,
        }
    }
}

impl Op {
    /// Whether it names a time that was computed from the clock of the node which the client talks
    /// to.
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

    /// Whether it only removes, which is how room is made on a full disk.
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

    /// Whether the operation changes anything: it counts in write levels, and its outcome may be
    /// unknown.
    pub fn writes(&self) -> bool {
        matches!(
            self,
            Self::Mutate(..) | Self::Partition(_, PartitionOp::Clear)
        )
    }
}
