//! Users: what is asked of the control group, and how its refusals are told.

use std::sync::Arc;

use quorate_control::state::{Command, CommandRefusal, Grant, Response};
use quorate_control::topology::{PasswordHash, Topology, User, is_user_name};
use quorate_crdt::Secret;
use quorate_dynamo::Consistency;
use quorate_gossip::quic::random_bytes;

use crate::doors::{AdminError, RoleIn, UserChange};
use crate::password::{self, PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN};

/// The command for a change. It hashes passwords, so it takes a while.
pub(super) fn command(
    topology: &Topology,
    name: &str,
    change: UserChange,
) -> Result<Command, AdminError> {
    let user = Arc::from(name);
    match change {
        UserChange::Create { password, role } => {
            if !is_free_to_name(name) {
                return Err(AdminError::BadUserName);
            }
            if topology.users.contains_key(name) {
                return Err(AdminError::UserExists(name.into()));
            }
            Ok(Command::CreateUser {
                name: user,
                grant: grant(topology, role)?,
                password: hashed(&password)?,
            })
        }
        UserChange::Admit { password, role } => {
            if !is_free_to_name(name) {
                return Err(AdminError::BadUserName);
            }
            if topology.users.contains_key(name) {
                return Err(AdminError::UserExists(name.into()));
            }
            if !password::is_bearable(&password) {
                return Err(AdminError::BadHash {
                    memory_kib: password::MEMORY_KIB_MAX,
                    passes: password::PASSES_MAX,
                });
            }
            Ok(Command::CreateUser {
                name: user,
                grant: grant(topology, role)?,
                password,
            })
        }
        _ if !topology.users.contains_key(name) => Err(AdminError::UnknownUser(name.into())),
        UserChange::Password(password) => Ok(Command::SetPassword {
            user,
            password: hashed(&password)?,
        }),
        UserChange::Grant(role) => Ok(Command::Grant {
            user,
            grant: grant(topology, role)?,
        }),
        UserChange::Drop => Ok(Command::DropUser(user)),
    }
}

/// Whether the name may be that of a user: to a Redis client, a name that is a level means the user
/// `default` at that level.
fn is_free_to_name(name: &str) -> bool {
    is_user_name(name) && name.parse::<Consistency>().is_err()
}

fn hashed(text: &Secret) -> Result<PasswordHash, AdminError> {
    let salt = random_bytes().map_err(|_no_randomness| AdminError::Stopping)?;
    password::hash(text.expose(), salt).ok_or(AdminError::BadPassword {
        min: PASSWORD_BYTES_MIN,
        max: PASSWORD_BYTES_MAX,
    })
}

fn grant(topology: &Topology, role: RoleIn) -> Result<Grant, AdminError> {
    let RoleIn { role, keyspace } = role;
    let keyspace = match keyspace {
        None => None,
        Some(name) => match topology.keyspace_named(&name) {
            Some((id, _)) => Some(id),
            None => return Err(AdminError::UnknownKeyspace(name)),
        },
    };
    Ok(Grant { role, keyspace })
}

/// Whether `user` is already as `command` will make it.
pub(super) fn is_already_so(user: Option<&User>, command: &Command) -> bool {
    let (Some(user), Command::Grant { grant, .. }) = (user, command) else {
        return false;
    };
    grant.role
        == match &grant.keyspace {
            None => user.everywhere,
            Some(keyspace) => user.keyspaces.get(keyspace).copied(),
        }
}

/// What the control group answered about the user `name`.
pub(super) fn told(response: &Response, name: &str) -> Result<(), AdminError> {
    match response {
        Response::Refused(CommandRefusal::NoAdministrator) => Err(AdminError::NoAdministrator),
        Response::Refused(CommandRefusal::UnknownUser(_)) => {
            Err(AdminError::UnknownUser(name.into()))
        }
        Response::Refused(CommandRefusal::NameTaken) => Err(AdminError::UserExists(name.into())),
        Response::Refused(CommandRefusal::BadUserName) => Err(AdminError::BadUserName),
        // The keyspace was dropped meanwhile; nothing else is answered to what is proposed here.
        Response::Refused(_) => Err(AdminError::TimedOut),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_something_else_are_no_users() {
        assert!(is_free_to_name("ann") && is_free_to_name("quorum-reader"));
        for name in ["default", "quorum", "LOCAL_QUORUM", "ann+quorum", ""] {
            assert!(!is_free_to_name(name), "{name}");
        }
    }
}
