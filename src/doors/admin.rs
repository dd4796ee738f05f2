//! The door for changes to the cluster: its nodes, join tokens and keyspaces.

use std::sync::Arc;
use std::time::Duration;

use quorate_control::topology::{KeyspaceId, PasswordHash, Replication, Role, SplitPolicy};
use quorate_crdt::{PublicKey, Secret};
use quorate_dynamo::consistency::Consistency;
use serde::{Deserialize, Serialize};

use super::consensus::GroupDoor;
use super::pending::Pending;
use super::refused::AdminError;
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

    /// What would move if a keyspace were made or changed like this. Changes nothing, and needs no
    /// quorum: the control group may decide something else meanwhile.
    fn plan_keyspace(&self, plan: KeyspacePlan) -> Pending<Result<PlannedMoves, AdminError>>;

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
#[expect(
    clippy::struct_excessive_bools,
    reason = "a document, in which each is a field of its own"
)]
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
    /// Whether it is there to vote only.
    #[serde(default)]
    pub witness: bool,
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

/// What is to be foreseen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyspacePlan {
    /// The making of a keyspace.
    Create(KeyspaceSpec),
    /// The change of the keyspace of this name.
    Alter(Box<str>, KeyspaceChange),
}

/// What would become of the partitions of a keyspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMoves {
    /// How many it has.
    pub partitions: u32,
    /// How many of those that exist would change their nodes.
    pub moving: u32,
    /// Roughly the bytes that would be sent.
    pub bytes: u64,
    /// Each node of the cluster.
    pub nodes: Vec<NodePlan>,
}

/// What would become of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlan {
    /// Its name.
    pub node: String,
    /// Its datacenter.
    pub datacenter: String,
    /// How many partitions of the keyspace it holds, or is being given already.
    pub partitions: u32,
    /// How many it would hold in the end.
    pub partitions_then: u32,
    /// How many of those would be sent to it.
    pub receives: u32,
    /// Roughly how many bytes they have.
    pub bytes: u64,
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
