//! What may be asked of the control group and what it answers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use quorate_crdt::NodeId;
use serde::{Deserialize, Serialize};

use crate::topology::{ClusterId, Datacenter, Epoch, KeyspaceId, Partition, Replication};

/// Position in the control group's log. Strictly increasing, never reused: it is the source of
/// every [`Epoch`] and fencing token.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LogIndex(pub u64);

/// Names a join token within its cluster; not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenId(pub u64);

/// Bytes that never show in logs: `Debug` hides them. Equality takes the same time wherever the
/// difference is.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Secret(pub Bytes);

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .zip(&other.0)
                .fold(0, |diff, (a, b)| diff | (a ^ b))
                == 0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a node says of itself when it asks to be let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Its name, unique in the cluster: 1 to 64 bytes without control characters or blanks, as the
    /// two below.
    pub name: Arc<str>,
    /// Its datacenter.
    pub datacenter: Datacenter,
    /// Its rack within the datacenter.
    pub rack: Arc<str>,
    /// Where other nodes reach it.
    pub quic: SocketAddr,
    /// Drawn at random once per data directory. A retry of the same node is recognised by it; a
    /// wiped node is not mistaken for the old one, which could issue an event twice.
    pub instance: u128,
}

/// A token that lets nodes join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// Its name; drawn at random by the proposer.
    pub id: TokenId,
    /// What a newcomer must show.
    pub secret: Secret,
    /// How many nodes it lets in; `None`: any number.
    pub uses: Option<u32>,
    /// From this Unix time in milliseconds on it lets nobody in; `None`: it does not expire.
    pub expires_ms: Option<u64>,
}

/// What a new keyspace is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKeyspace {
    /// Its name, unique in the cluster; bounds as for [`NodeSpec::name`].
    pub name: Arc<str>,
    /// How many replicas each datacenter holds.
    pub replication: Replication,
    /// How many partitions: a power of two, at most [`PARTITIONS_MAX`](super::PARTITIONS_MAX).
    /// Never changes.
    pub partitions: u16,
    /// The level of a read that names none. The proposer has checked that it is one.
    pub read: Arc<str>,
    /// The level of a write that names none.
    pub write: Arc<str>,
}

/// A proposal to the control group. All that depends on time, chance or the outside is in it, so
/// that every node applies it alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes the cluster, with its first node and the keyspace `default`. Only ever the first
    /// command: [`Response::Admitted`].
    Found {
        /// Drawn at random.
        cluster: ClusterId,
        /// Key and certificate of the cluster's authority, as the gossip plane encodes them.
        authority: Secret,
        /// The first join token.
        token: NewToken,
        /// The first node.
        node: NodeSpec,
        /// Unix time in milliseconds, by the proposer's clock.
        at_ms: u64,
    },
    /// Lets a node in that shows a valid token: [`Response::Admitted`]. The same instance asking
    /// again gets the same answer.
    Admit {
        /// Which token it shows.
        token: TokenId,
        /// What proves that it has it.
        secret: Secret,
        /// The node.
        node: NodeSpec,
        /// Unix time in milliseconds, by the proposer's clock; what expiry is judged by.
        at_ms: u64,
    },
    /// A node listens elsewhere now: [`Response::Done`].
    MoveNode {
        /// Which.
        node: NodeId,
        /// Where it listens.
        quic: SocketAddr,
    },
    /// Takes a node out: [`Response::Done`] when it is on its way. It stays in the topology until
    /// its partitions have moved; then its name is free, its number never.
    RemoveNode {
        /// Which.
        node: NodeId,
        /// Its disk will not come back: nothing waits for it, and what only it held is given up.
        lost: bool,
    },
    /// Makes a join token: [`Response::Done`].
    CreateToken(NewToken),
    /// Makes a join token worthless: [`Response::Done`], also when there is none.
    RevokeToken(TokenId),
    /// Makes a keyspace: [`Response::Created`].
    CreateKeyspace(NewKeyspace),
    /// Changes what is given: [`Response::Done`].
    AlterKeyspace {
        /// Which.
        keyspace: KeyspaceId,
        /// The new replication; partitions move until it holds.
        replication: Option<Replication>,
        /// The new default level of reads.
        read: Option<Arc<str>>,
        /// The new default level of writes.
        write: Option<Arc<str>>,
    },
    /// Removes a keyspace and all that is in it: [`Response::Done`]. Its number is never used
    /// again. Not the keyspace 0.
    DropKeyspace(KeyspaceId),
    /// `node` has done its part of the phase that these partitions are in at `epoch`:
    /// [`Response::Done`]. Partitions that are not (or no longer) at that epoch are passed over, so
    /// that late and repeated reports do no harm. What a report promises:
    /// [`Phase`](crate::topology::Phase).
    ReportMove {
        /// Who reports.
        node: NodeId,
        /// Of which keyspace.
        keyspace: KeyspaceId,
        /// Of which partitions.
        partitions: Vec<Partition>,
        /// The [`Placement::epoch`](crate::topology::Placement::epoch) of what it has done.
        epoch: Epoch,
    },
}

impl fmt::Display for Command {
    /// The kind of command and whom it is about, for logs; never a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found { node, .. } => write!(f, "found by {}", node.name),
            Self::Admit { node, .. } => write!(f, "admit {}", node.name),
            Self::MoveNode { node, quic } => write!(f, "move node {node} to {quic}"),
            Self::RemoveNode { node, lost } => write!(f, "remove node {node}, lost: {lost}"),
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
        }
    }
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The node is in, under this number.
    Admitted {
        /// Its number from now on.
        node: NodeId,
    },
    /// The keyspace exists now, under this number.
    Created {
        /// Its number from now on.
        keyspace: KeyspaceId,
    },
    /// Done; there is nothing to tell.
    Done,
    /// Nothing has changed, for this reason.
    Refused(Refusal),
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The cluster exists already.
    #[error("the cluster has been founded already")]
    AlreadyFounded,
    /// There is no cluster yet.
    #[error("the cluster has not been founded")]
    NotFounded,
    /// No such token, or the wrong secret: it is not told which.
    #[error("the join token is not known")]
    UnknownToken,
    /// The token's time is over.
    #[error("the join token has expired")]
    Expired,
    /// The token has let in as many nodes as it may.
    #[error("the join token is used up")]
    UsedUp,
    /// A token of that name exists.
    #[error("there is such a token already")]
    TokenExists,
    /// Another node or keyspace has the name. A node's name is free again when it has been removed.
    #[error("the name is taken")]
    NameTaken,
    /// A name is empty, longer than 64 bytes, or has blanks or control characters.
    #[error("names have 1 to 64 bytes and neither blanks nor control characters")]
    BadName,
    /// No such node.
    #[error("there is no node {node}")]
    UnknownNode {
        /// What was asked for.
        node: NodeId,
    },
    /// No such keyspace.
    #[error("there is no keyspace {}", keyspace.0)]
    UnknownKeyspace {
        /// What was asked for.
        keyspace: KeyspaceId,
    },
    /// A keyspace has 2^k partitions, up to a bound.
    #[error("{partitions} is not a power of two up to {max}")]
    BadPartitions {
        /// What was asked for.
        partitions: u16,
        /// The bound.
        max: u16,
    },
    /// The replication would leave the keyspace without any replica.
    #[error("no node of the cluster would hold keyspace {}", keyspace.0)]
    NoReplicas {
        /// Which.
        keyspace: KeyspaceId,
    },
    /// A cluster has at least one node.
    #[error("the last node cannot be removed")]
    LastNode,
    /// The keyspace `default` stays.
    #[error("the default keyspace cannot be dropped")]
    DefaultKeyspace,
    /// All numbers have been given out.
    #[error("there are no more numbers for keyspaces")]
    Exhausted,
}
