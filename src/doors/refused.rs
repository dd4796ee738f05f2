//! Why an administrative request failed.

use quorate_control::topology::PARTITIONS_MAX;
use quorate_dynamo::consistency::Consistency;

#[cfg(test)]
mod tests;

/// Why an administrative request failed. Unless the variant says otherwise, nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The control group has no leader that this node can reach.
    #[error(
        "the control group has no quorum; try again when a majority of its voters can be reached"
    )]
    NoQuorum,
    /// The control group did not answer in time; the change may still happen.
    #[error("the control group did not answer in time; the change may still happen")]
    TimedOut,
    /// The name is in use.
    #[error("a keyspace with this name exists already")]
    Exists,
    /// The name is empty, too long, contains something other than letters, digits, `-` and `_`, or
    /// could be taken for a number.
    #[error("a keyspace name has 1 to 64 letters, digits, - or _, and is not just digits")]
    BadName,
    /// The number of partitions is not a power of two, or out of bounds.
    #[error(
        "the number of partitions must be a power of two from 1 to {PARTITIONS_MAX}, not {partitions}"
    )]
    BadPartitions {
        /// What was asked for.
        partitions: u16,
    },
    /// A datacenter has too few nodes for the replicas it should hold.
    #[error("datacenter {datacenter} has {nodes} nodes and cannot hold {replicas} replicas")]
    TooFewNodes {
        /// Which.
        datacenter: Box<str>,
        /// Replicas it should hold.
        replicas: u8,
        /// Nodes it has.
        nodes: u32,
    },
    /// No node is in the datacenter.
    #[error("there is no datacenter {datacenter}; there are {known}")]
    UnknownDatacenter {
        /// What was asked for.
        datacenter: Box<str>,
        /// Those that exist, separated by commas.
        known: Box<str>,
    },
    /// A default level needs more replicas than the keyspace would have.
    #[error(
        "the default level {level} needs {required} replicas, and the keyspace would have {replicas}: no request without a level could be answered"
    )]
    Unsatisfiable {
        /// The level.
        level: Consistency,
        /// Replicas that it needs.
        required: u32,
        /// Replicas that the keyspace would have.
        replicas: u32,
    },
    /// The keyspace would have no replica anywhere.
    #[error("no node would hold a replica of keyspace {keyspace}")]
    NoReplicas {
        /// Which.
        keyspace: Box<str>,
    },
    /// There is no keyspace of the name.
    #[error("there is no keyspace {0}")]
    UnknownKeyspace(Box<str>),
    /// The keyspace `default` cannot be dropped.
    #[error("the keyspace default cannot be dropped")]
    DefaultKeyspace,
    /// The new key could not be written down.
    #[error("the new key could not be written: {0}; the node goes on with its key")]
    KeyNotKept(Box<str>),
    /// The node is in a network where nobody asks for keys.
    #[error("this node has no key")]
    NoKey,
    /// There is no node of the name.
    #[error("there is no node {0}")]
    UnknownNode(Box<str>),
    /// A cluster has at least one node that may hold partitions.
    #[error("{0} is the last node that may hold partitions and can be neither removed nor drained")]
    LastNode(Box<str>),
    /// A node that answers is not lost.
    #[error("{0} answers, so it is not lost: remove it without --lost, or stop it first")]
    NotLost(Box<str>),
    /// A node that does not answer cannot hand over what it holds.
    #[error(
        "{0} does not answer and cannot hand over what it holds: start it again, or, if its disk is gone, remove it with --lost"
    )]
    Silent(Box<str>),
    /// There is no Raft group of the name.
    #[error("there is no group {0}")]
    UnknownGroup(Box<str>),
    /// Only a voter can lead.
    #[error("{0} does not vote, and only a voter can lead")]
    NotAVoter(Box<str>),
    /// A witness leads only until somebody else can.
    #[error("{0} is a witness: it votes, and leads only until somebody else can")]
    Witness(Box<str>),
    /// A voter lacks entries: until it had them nobody could decide.
    #[error("{node} is {entries} entries behind the leader; try again when it has caught up")]
    Behind {
        /// The voter.
        node: Box<str>,
        /// How many entries.
        entries: u64,
    },
    /// There is no other voter that has all entries.
    #[error("no other voter has all entries of the leader")]
    NoHeir,
    /// Entries that no snapshot contains stay.
    #[error(
        "the snapshot reaches to entry {reaches}, so entries before {before} cannot all go: make a snapshot first"
    )]
    NotInSnapshot {
        /// What was to be the first entry.
        before: u64,
        /// The first entry that the snapshot does not contain.
        reaches: u64,
    },
    /// A token must admit at least one node and be valid for at least a second.
    #[error("a token must admit at least one node and be valid for at least one second")]
    BadToken,
    /// There is a user of the name already.
    #[error("there is a user {0} already")]
    UserExists(Box<str>),
    /// There is no user of the name.
    #[error("there is no user {0}")]
    UnknownUser(Box<str>),
    /// The name is malformed, or stands for something else.
    #[error(
        "a user's name has 1 to 64 letters, digits, -, _ or ., and is neither default nor the name of a level"
    )]
    BadUserName,
    /// The password is too short or too long.
    #[error("a user's password has {min} to {max} bytes")]
    BadPassword {
        /// The fewest bytes.
        min: usize,
        /// The most bytes.
        max: usize,
    },
    /// The hash of a password costs too much to check, or is none.
    #[error(
        "the hash of the password costs more than {memory_kib} KiB and {passes} passes, or is none"
    )]
    BadHash {
        /// The most memory that a check may take.
        memory_kib: u32,
        /// The most passes over it.
        passes: u32,
    },
    /// Nobody could administer the cluster any more.
    #[error(
        "a cluster with users needs one who has the role admin in every keyspace; make that user first"
    )]
    NoAdministrator,
    /// The node is stopping; the change may still happen.
    #[error("the node is stopping")]
    Stopping,
}
