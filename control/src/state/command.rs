//! What may be asked of the control group, and its answers.

use std::fmt;
use std::sync::Arc;

use quorate_crdt::{NodeId, PublicKey, Secret};
use serde::{Deserialize, Serialize};

use crate::topology::{
    ClusterId, Datacenter, Epoch, KeyspaceId, Partition, PasswordHash, Replication, Role,
    SplitPolicy, Timing,
};

/// Names a join token within its cluster. Not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenId(pub u64);

/// What a node says about itself when it asks to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Its name, unique in the cluster. This and the two names below must satisfy
    /// [`is_name`](crate::topology::is_name).
    pub name: Arc<str>,
    /// Its datacenter.
    pub datacenter: Datacenter,
    /// Its rack within the datacenter.
    pub rack: Arc<str>,
    /// Where other nodes reach it, `host:port`. It must satisfy
    /// [`is_address`](crate::topology::is_address).
    pub quic: Arc<str>,
    /// The public half of the key that was drawn for its data directory. It tells a retry of the
    /// same node from a wiped node under the same name, which must not pass for the old one: it
    /// could issue an event twice.
    pub key: PublicKey,
    /// Whether its store promises that what it has synchronised survives a power loss. A node that
    /// cannot promise it could vote twice in one term, so it votes only if nobody else can.
    pub durable: bool,
    /// Whether it is there to vote only.
    pub witness: bool,
}

/// A join token to record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// Its name; drawn at random by the proposer.
    pub id: TokenId,
    /// What tells whether a newcomer holds the token, as the gossip plane makes it. It does not
    /// open the cluster, so it may be in the log of every node.
    pub verifier: Secret,
    /// How many nodes it admits; `None` means any number.
    pub uses: Option<u32>,
    /// The Unix time in milliseconds from which it admits nobody; `None` means it never expires.
    pub expires_ms: Option<u64>,
}

/// A keyspace to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKeyspace {
    /// Its name, unique in the cluster. It must satisfy
    /// [`is_keyspace_name`](crate::topology::is_keyspace_name).
    pub name: Arc<str>,
    /// How many replicas each datacenter holds.
    pub replication: Replication,
    /// How many partitions: a power of two, at most
    /// [`PARTITIONS_MAX`](crate::topology::PARTITIONS_MAX). Never changes.
    pub partitions: u16,
    /// The level of a read that names none. The proposer has checked that it is a level.
    pub read: Arc<str>,
    /// The level of a write that names none.
    pub write: Arc<str>,
    /// What the smaller side of a split may do.
    pub split: SplitPolicy,
}

/// What is to be different about a keyspace; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alteration {
    /// The new replication; partitions move until it holds.
    pub replication: Option<Replication>,
    /// The new default level of reads.
    pub read: Option<Arc<str>>,
    /// The new default level of writes.
    pub write: Option<Arc<str>>,
    /// What the smaller side of a split may do from now on.
    pub split: Option<SplitPolicy>,
}

/// A role to give to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The role; it replaces the one before. `None` takes it away.
    pub role: Option<Role>,
    /// Where it holds; `None` means in every keyspace.
    pub keyspace: Option<KeyspaceId>,
}

/// A proposal to the control group, unlike the commands of Redis clients. Anything that depends on
/// time, randomness or the outside world travels inside the command, so that every node applies it
/// alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Founds the cluster, with its first node and the keyspace `default`. It must be the first
    /// command. Answer: [`Response::Admitted`].
    Found {
        /// Drawn at random.
        cluster: ClusterId,
        /// The first join token.
        token: NewToken,
        /// The first node.
        node: NodeSpec,
        /// How many partitions the keyspace `default` has, and every later keyspace that names no
        /// number: a power of two, at most
        /// [`PARTITIONS_MAX`](crate::topology::PARTITIONS_MAX).
        partitions: u16,
        /// Unix time in milliseconds, by the proposer's clock.
        at_ms: u64,
    },
    /// Admits a node that has proved to the proposer that it holds a token. Whoever has the same
    /// key gets the same answer when it asks again. Answer: [`Response::Admitted`].
    Admit {
        /// The token that it holds.
        token: TokenId,
        /// The node.
        node: NodeSpec,
        /// The dead member whose place it takes. That member is removed as lost in the same step,
        /// and the newcomer holds what it held; it may have its name.
        replaces: Option<NodeId>,
        /// Unix time in milliseconds, by the proposer's clock. The token's expiry is compared with
        /// it.
        at_ms: u64,
    },
    /// Records that a node listens at another address now. Answer: [`Response::Done`].
    MoveNode {
        /// The node that moved.
        node: NodeId,
        /// Its new address, `host:port`.
        quic: Arc<str>,
    },
    /// Begins to remove a node. It stays in the topology until its partitions have moved; then its
    /// name is free again, but its number is never reused. Answer: [`Response::Done`].
    RemoveNode {
        /// The node to remove.
        node: NodeId,
        /// Whether its disk will never come back. Then nothing waits for it, and what only it held
        /// is given up.
        lost: bool,
    },
    /// Reports that the node's store has forgotten what it had promised to keep, or may do so: it
    /// votes only if nobody else can. Answer: [`Response::Done`].
    Distrust {
        /// The node, which reports it itself.
        node: NodeId,
    },
    /// Takes all partitions from a node, which stays a member and does not vote, or lets it hold
    /// some again. Answer: [`Response::Done`].
    DrainNode {
        /// The node.
        node: NodeId,
        /// Whether it is to hold nothing.
        drained: bool,
    },
    /// Records a join token. Answer: [`Response::Done`].
    CreateToken(NewToken),
    /// Revokes a join token, if there is such a token. Answer: [`Response::Done`].
    RevokeToken(TokenId),
    /// Creates a keyspace. Answer: [`Response::Created`].
    CreateKeyspace(NewKeyspace),
    /// Changes those settings of a keyspace that are given. Answer: [`Response::Done`].
    AlterKeyspace {
        /// The keyspace to change.
        keyspace: KeyspaceId,
        /// What is to be different.
        change: Alteration,
    },
    /// Removes a keyspace and everything in it; not the keyspace `default`. Its number is never
    /// reused. Answer: [`Response::Done`].
    DropKeyspace(KeyspaceId),
    /// Reports that `node` has done its part of the phase that these partitions are in at `epoch`;
    /// [`Phase`](crate::topology::Phase) says what that promises. Partitions at another epoch are
    /// passed over, so late and repeated reports do no harm. Answer: [`Response::Done`].
    ReportMove {
        /// The node that reports.
        node: NodeId,
        /// The keyspace of the partitions.
        keyspace: KeyspaceId,
        /// The partitions it reports on.
        partitions: Vec<Partition>,
        /// The [`Placement::epoch`](crate::topology::Placement::epoch) that it acted on.
        epoch: Epoch,
    },
    /// Makes a user. The first user of a cluster must administer it. Answer: [`Response::Done`].
    CreateUser {
        /// Its name; see [`is_user_name`](crate::topology::is_user_name).
        name: Arc<str>,
        /// Its password.
        password: PasswordHash,
        /// Its first role.
        grant: Grant,
    },
    /// Gives a user another password. Whoever came in with the old one must authenticate again.
    /// Answer: [`Response::Done`].
    SetPassword {
        /// The user.
        user: Arc<str>,
        /// The new password.
        password: PasswordHash,
    },
    /// Gives a user a role, or takes one away. Answer: [`Response::Done`].
    Grant {
        /// The user.
        user: Arc<str>,
        /// The role.
        grant: Grant,
    },
    /// Drops a user, but not the last one who administers the cluster. Answer: [`Response::Done`].
    DropUser(Arc<str>),
    /// Announces the key that a node is about to show in place of the present one. Until
    /// [`ChangeKey`](Self::ChangeKey) both are its own. Answer: [`Response::Done`].
    OfferKey {
        /// The node, which announces it itself.
        node: NodeId,
        /// Its next key.
        key: PublicKey,
    },
    /// Reports that a node shows the key that it has announced. The one before is nobody's from now
    /// on. Answer: [`Response::Done`].
    ChangeKey {
        /// The node, which reports it itself.
        node: NodeId,
        /// The key that it shows.
        key: PublicKey,
    },
    /// Changes the pace of the Raft groups; the leader has measured that another one suits. Answer:
    /// [`Response::Done`].
    SetTiming(Timing),
}

impl Command {
    /// The only member that may propose it; `None` if any may. A node reports only for itself.
    pub fn speaks_for(&self) -> Option<NodeId> {
        match self {
            Self::MoveNode { node, .. }
            | Self::ReportMove { node, .. }
            | Self::OfferKey { node, .. }
            | Self::ChangeKey { node, .. }
            | Self::Distrust { node } => Some(*node),
            _ => None,
        }
    }
}

impl fmt::Display for Command {
    /// The kind of command and its subject, for logs. Never a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found { node, .. } => write!(f, "found by {}", node.name),
            Self::Admit {
                node,
                replaces: Some(dead),
                ..
            } => write!(f, "admit {} in place of node {dead}", node.name),
            Self::Admit { node, .. } => write!(f, "admit {}", node.name),
            Self::MoveNode { node, quic } => write!(f, "move node {node} to {quic}"),
            Self::RemoveNode { node, lost } => write!(f, "remove node {node}, lost: {lost}"),
            Self::Distrust { node } => write!(f, "distrust the store of node {node}"),
            Self::DrainNode { node, drained } => write!(f, "drain node {node}: {drained}"),
            Self::CreateToken(token) => write!(f, "create token {}", token.id.0),
            Self::RevokeToken(token) => write!(f, "revoke token {}", token.0),
            Self::CreateKeyspace(keyspace) => write!(f, "create keyspace {}", keyspace.name),
            Self::AlterKeyspace { keyspace, .. } => write!(f, "alter keyspace {}", keyspace.0),
            Self::DropKeyspace(keyspace) => write!(f, "drop keyspace {}", keyspace.0),
            Self::ReportMove {
                node,
                keyspace,
                partitions,
                epoch,
            } => {
                write!(
                    f,
                    "node {node} reports {} partitions of keyspace {} at epoch {}",
                    partitions.len(),
                    keyspace.0,
                    epoch.0
                )
            }
            Self::CreateUser { name, .. } => write!(f, "create user {name}"),
            Self::SetPassword { user, .. } => write!(f, "set the password of user {user}"),
            Self::Grant { user, .. } => write!(f, "grant a role to user {user}"),
            Self::DropUser(user) => write!(f, "drop user {user}"),
            Self::OfferKey { node, key } => write!(f, "node {node} will show key {key}"),
            Self::ChangeKey { node, key } => write!(f, "node {node} shows key {key}"),
            Self::SetTiming(timing) => write!(f, "set the heartbeat to {:?}", timing.heartbeat()),
        }
    }
}

/// The outcome of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The node belongs to the cluster.
    Admitted {
        /// Its number from now on; the same for a retry.
        node: NodeId,
    },
    /// The keyspace exists.
    Created {
        /// Its number from now on.
        keyspace: KeyspaceId,
    },
    /// Done; there is nothing more to say.
    Done,
    /// Nothing has changed.
    Refused(CommandRefusal),
}

/// Why a command changed nothing. The state is as before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum CommandRefusal {
    /// There is a cluster already.
    #[error("the cluster has been founded already")]
    AlreadyFounded,
    /// There is no cluster yet.
    #[error("the cluster has not been founded")]
    NotFounded,
    /// There is no such token.
    #[error("the join token is not known")]
    UnknownToken,
    /// The token has expired.
    #[error("the join token has expired")]
    Expired,
    /// The token has admitted as many nodes as it may.
    #[error("the join token is used up")]
    UsedUp,
    /// There is a token of this number already.
    #[error("a join token of this number exists already")]
    TokenExists,
    /// Another node or keyspace has the name. A node's name is free again once it is removed.
    #[error("the name is taken")]
    NameTaken,
    /// A name that [`is_name`](crate::topology::is_name), or for a keyspace
    /// [`is_keyspace_name`](crate::topology::is_keyspace_name), does not allow.
    #[error(
        "a name is 1 to 64 letters, digits, '-', '_' or '.'; a keyspace's has no '.' and is not digits alone"
    )]
    BadName,
    /// An address that [`is_address`](crate::topology::is_address) does not allow.
    #[error("an address of a node is a host and a port, such as 10.0.0.1:7381")]
    BadAddress,
    /// There is no such node.
    #[error("there is no node {node}")]
    UnknownNode {
        /// The node asked for.
        node: NodeId,
    },
    /// There is no such keyspace.
    #[error("there is no keyspace {}", keyspace.0)]
    UnknownKeyspace {
        /// The keyspace asked for.
        keyspace: KeyspaceId,
    },
    /// The number of partitions is not a power of two, or is over the limit.
    #[error("the number of partitions is a power of two up to {max}, not {partitions}")]
    BadPartitions {
        /// The number asked for.
        partitions: u16,
        /// The limit.
        max: u16,
    },
    /// The keyspace would be left without any replica.
    #[error("no node of the cluster would hold keyspace {}", keyspace.0)]
    NoReplicas {
        /// The keyspace that would lose its last replica.
        keyspace: KeyspaceId,
    },
    /// A node takes the place of one of its own datacenter.
    #[error("node {node} is in datacenter {datacenter}, where its place is")]
    OtherDatacenter {
        /// The node to be replaced.
        node: NodeId,
        /// Its datacenter.
        datacenter: Datacenter,
    },
    /// A witness takes the place of a witness, and another node that of another.
    #[error("node {node} {} a witness, and the newcomer {}", if *.witness { "is" } else { "is not" }, if *.witness { "is not" } else { "is" })]
    OtherKind {
        /// The node to be replaced.
        node: NodeId,
        /// Whether it is a witness.
        witness: bool,
    },
    /// A cluster begins with a node that can hold data.
    #[error("a witness holds no data, so it cannot be the first node")]
    Witness,
    /// A key belongs to one node.
    #[error("the key belongs to node {node}")]
    KeyTaken {
        /// The node that has it.
        node: NodeId,
    },
    /// The node has not announced the key.
    #[error("node {node} has not announced the key")]
    UnknownKey {
        /// The node.
        node: NodeId,
    },
    /// A cluster keeps at least one node that may hold partitions.
    #[error("the last node that may hold partitions can be neither removed nor drained")]
    LastNode,
    /// The keyspace `default` always exists.
    #[error("the default keyspace cannot be dropped")]
    DefaultKeyspace,
    /// A name that [`is_user_name`](crate::topology::is_user_name) does not allow.
    #[error("a user's name is 1 to 64 letters, digits, '-', '_' or '.', and not default")]
    BadUserName,
    /// There is no such user.
    #[error("there is no user {0}")]
    UnknownUser(Arc<str>),
    /// Nobody could administer the cluster any more.
    #[error("a cluster with users needs one who has the role admin in every keyspace")]
    NoAdministrator,
    /// All 2^32 keyspace numbers have been used.
    #[error("all numbers for keyspaces have been used")]
    Exhausted,
}
