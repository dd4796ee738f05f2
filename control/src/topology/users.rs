//! Users of the cluster, and what each of them may do.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_crdt::Secret;
use serde::{Deserialize, Serialize};

use super::ids::{Epoch, KeyspaceId};
use super::limits::is_name;
use crate::planted::GRANT_EVERYWHERE;

/// The user that stands for the password of the node that is asked. It administers the cluster and
/// is not in the topology.
pub const DEFAULT_USER: &str = "default";

/// What a user may do with a keyspace, unlike the `Role` of a member of the control group. Each
/// role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Read keys.
    Read,
    /// Change keys.
    Write,
    /// Alter and drop the keyspace. In all keyspaces: administer the cluster, its nodes, tokens
    /// and users.
    Admin,
}

/// A password as the cluster keeps it: Argon2id (RFC 9106) with its cost, so that a later program
/// can raise the cost and still check old passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Drawn at random for each password.
    pub salt: Secret,
    /// The 32 bytes that the password gives.
    pub digest: Secret,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// When the password was set. Whoever came in under an older one must authenticate again; so
    /// must whoever came in as an earlier user of the same name.
    pub since: Epoch,
    /// What the user must show.
    pub password: PasswordHash,
    /// The role in every keyspace, also in those that do not exist yet.
    pub everywhere: Option<Role>,
    /// Roles in single keyspaces.
    pub keyspaces: BTreeMap<KeyspaceId, Role>,
}

/// Who asks for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody who has yet to authenticate.
    Stranger,
    /// Somebody at a node without a password, who need not authenticate as long as the cluster has
    /// no users.
    Anyone,
    /// The user [`DEFAULT_USER`], who knows the password of the node.
    Default,
    /// A user of the cluster.
    User {
        /// The name.
        name: Arc<str>,
        /// [`User::since`] of the password that was shown.
        since: Epoch,
    },
}

/// What a caller must be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Ask about the cluster. Every user may.
    Look,
    /// Read keys of a keyspace.
    Read(KeyspaceId),
    /// Change keys of a keyspace.
    Write(KeyspaceId),
    /// Alter or drop a keyspace.
    Administer(KeyspaceId),
    /// Administer the cluster.
    Cluster,
}

/// Why a caller may not do something. Nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The caller has not authenticated, or must do it again.
    Unknown,
    /// The user may do this in other keyspaces, but not in this one.
    Here,
    /// The user may do this nowhere.
    Anywhere,
}

/// Whether a user may have this name: as [`is_name`], but not [`DEFAULT_USER`].
pub fn is_user_name(name: &str) -> bool {
    is_name(name) && name != DEFAULT_USER
}

impl User {
    /// The role in a keyspace: the higher of those that apply.
    pub fn role_in(&self, keyspace: KeyspaceId) -> Option<Role> {
        if GRANT_EVERYWHERE.is_planted() {
            return self.everywhere.max(self.highest());
        }
        self.everywhere.max(self.keyspaces.get(&keyspace).copied())
    }

    /// Whether the user may do everything.
    pub fn administers_cluster(&self) -> bool {
        self.everywhere == Some(Role::Admin)
    }

    fn highest(&self) -> Option<Role> {
        self.everywhere.max(self.keyspaces.values().max().copied())
    }

    /// Whether the user has the right.
    pub(super) fn may(&self, right: Right) -> Result<(), Denied> {
        let (keyspace, role) = match right {
            Right::Look => return Ok(()),
            Right::Read(keyspace) => (keyspace, Role::Read),
            Right::Write(keyspace) => (keyspace, Role::Write),
            Right::Administer(keyspace) => (keyspace, Role::Admin),
            Right::Cluster if self.administers_cluster() => return Ok(()),
            Right::Cluster => return Err(Denied::Anywhere),
        };
        if self.role_in(keyspace) >= Some(role) {
            Ok(())
        } else if self.highest() >= Some(role) {
            Err(Denied::Here)
        } else {
            Err(Denied::Anywhere)
        }
    }
}
