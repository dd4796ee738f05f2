//! The door for changes to the cluster: its nodes, join tokens and keyspaces.

use std::sync::Arc;
use std::time::Duration;

use quorate_control::topology::{KeyspaceId, PasswordHash, Replication, Role};
use quorate_control::topology::{PARTITIONS_MAX, SplitPolicy};
use quorate_crdt::{PublicKey, Secret};
use quorate_dynamo::consistency::Consistency;
use serde::{Deserialize, Serialize};

use super::consensus::GroupDoor;
use super::pending::Pending;
use super::status::NodeState;

/// What a face needs to administer the cluster. Every call goes through the control group, so it
/// needs its quorum.
pub trait Admin: Send + Sync + 'static {
    /// Makes a join token that admits `uses` nodes and is invalid after `expires`.
    fn create_token(&self, uses: u32, expires: Duration) -> Pending<Result<String, AdminError>>;

    /// All tokens that may still admit somebody, as this node has heard of them. Needs no quorum.
    fn tokens(&self) -> Vec<TokenInfo>;

    /// Makes a token worthless, also if there is none of that id.
    fn revoke_token(&self, id: u64) -> Pending<Result<(), AdminError>>;

    /// Creates a keyspace and places its partitions.
    fn create_keyspace(&self, spec: KeyspaceSpec) -> Pending<Result<KeyspaceId, AdminError>>;

    /// Changes a keyspace. With another replication its partitions move while they serve.
    fn alter_keyspace(&self, name: &str, change: KeyspaceChange)
    -> Pending<Result<(), AdminError>>;

    /// Removes a keyspace and all that is in it.
    fn drop_keyspace(&self, name: &str) -> Pending<Result<(), AdminError>>;

    /// The cluster's nodes, each asked whether it answers.
    fn members(&self) -> Pending<Vec<Member>>;

    /// Begins to take a node out of the cluster: its partitions move to the others, and when it
    /// holds none it is no longer a member. Done when it has begun; [`members`](Self::members)
    /// shows how far it is.
    ///
    /// A `lost` node is struck from all placements at once. What it alone held is given up, so this
    /// is refused while the node answers.
    fn remove_node(&self, name: &str, lost: Lost) -> Pending<Result<(), AdminError>>;

    /// Begins to take all partitions from a node, which stays a member without a vote, or lets it
    /// hold some again. Done when it has begun; [`members`](Self::members) shows how far it is.
    fn drain_node(&self, name: &str, drained: bool) -> Pending<Result<(), AdminError>>;

    /// Gives the answering node another key in place of its own, of which the public half is
    /// returned. Done when this node acts on it; the former key opens nothing any more.
    fn change_key(&self) -> Pending<Result<PublicKey, AdminError>>;

    /// The Raft group of this name, as this node takes part in it; `None` if there is none.
    fn group(&self, name: &str) -> Option<Arc<dyn GroupDoor>>;

    /// Makes, changes or drops a user. Done when this node acts on it.
    fn change_user(&self, name: &str, change: UserChange) -> Pending<Result<(), AdminError>>;
}

/// What is to become of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserChange {
    /// There is to be one.
    Create {
        /// The password.
        password: Secret,
        /// The first role.
        role: RoleIn,
    },
    /// There is to be one whose password is known by its hash only: it comes from a backup.
    Admit {
        /// The hash.
        password: PasswordHash,
        /// The first role.
        role: RoleIn,
    },
    /// It gets another password; whoever came in with the old one must authenticate again.
    Password(Secret),
    /// It gets another role.
    Grant(RoleIn),
    /// There is to be none.
    Drop,
}

/// A role and where it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleIn {
    /// The role; `None` takes the one before away.
    pub role: Option<Role>,
    /// The name of the keyspace; `None` means every keyspace.
    pub keyspace: Option<Box<str>>,
}

/// Whether the disk of a node to be removed will come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It may: what it holds is moved from it as far as that is needed.
    No,
    /// It will not: nothing waits for it.
    Yes,
}

/// One node as an operator sees it: `quorate node list`, `GET /v1/nodes`. Unlike the `Member` of
/// `quorate-gossip`, it is in the topology, whether or not it can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The operator's name for it.
    pub name: String,
    /// Its datacenter.
    pub datacenter: String,
    /// Its rack.
    pub rack: String,
    /// Where other nodes reach it over QUIC.
    pub address: String,
    /// The version of the program that it runs; `None` if it did not answer.
    pub version: Option<String>,
    /// How the answering node sees it.
    pub state: NodeState,
    /// Whether it votes in the control group.
    pub voter: bool,
    /// Since when the answering node cannot reach it, in milliseconds since 1970.
    pub down_since: Option<u64>,
    /// How many partitions it holds or is being given, over all keyspaces.
    pub partitions: u32,
    /// Whether it is being removed.
    pub leaving: bool,
    /// Whether it is to hold nothing, and stays.
    #[serde(default)]
    pub drained: bool,
}

/// A token that may still admit somebody. Its secret is not told again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenInfo {
    /// Its id, 16 hexadecimal digits, by which it is revoked.
    pub id: String,
    /// How many more nodes it admits; `None`: any number.
    pub uses_left: Option<u32>,
    /// From when on it admits nobody, in milliseconds since 1970; `None`: never.
    pub expires: Option<u64>,
}

/// What is to be different about a keyspace; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyspaceChange {
    /// How many replicas each datacenter holds.
    pub replication: Option<Replication>,
    /// The level of a read that names none.
    pub read: Option<Consistency>,
    /// The level of a write that names none.
    pub write: Option<Consistency>,
    /// What the smaller side of a split may do.
    pub split: Option<SplitPolicy>,
}

/// A keyspace to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceSpec {
    /// Its name, unique in the cluster.
    pub name: Arc<str>,
    /// How many replicas each datacenter holds.
    pub replication: Replication,
    /// The number of partitions, a power of two; `None` takes the node's default.
    pub partitions: Option<u16>,
    /// The level of a read that names none; `None` takes that of the keyspace `default`.
    pub read: Option<Consistency>,
    /// The level of a write that names none; `None` takes that of the keyspace `default`.
    pub write: Option<Consistency>,
    /// What the smaller side of a split may do; `None`: both sides write.
    pub split: Option<SplitPolicy>,
}

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

#[cfg(test)]
mod tests;
