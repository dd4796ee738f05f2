//! Which right a command needs, and what a client is told that does not have it.

use quorate_control::topology::{DEFAULT_KEYSPACE, Denied, KeyspaceId, Right};

use super::parse::Args;
use super::refuse::Refused;
use super::session::Session;
use super::table::{Flags, Spec};

/// Refuses a command that the client may not run in its keyspace. Under a lock, a read shuts out
/// earlier holders and writes what it finds once more, so it needs the right to write.
pub(super) fn permit(
    session: &Session,
    spec: &Spec,
    args: Args<'_>,
    under_lock: bool,
) -> Result<(), Refused> {
    if spec.flags.has(Flags::NO_AUTH) {
        return Ok(());
    }
    let right = match needed(spec.flags, session.keyspace) {
        Right::Read(keyspace) if under_lock => Right::Write(keyspace),
        right => right,
    };
    session
        .may(right)
        .map_err(|denied| refused(denied, session, &full_name(spec, args)))
}

/// The right that a command with these flags needs.
fn needed(flags: Flags, keyspace: KeyspaceId) -> Right {
    let keyspace = if flags.has(Flags::EVERYWHERE) {
        DEFAULT_KEYSPACE
    } else {
        keyspace
    };
    if flags.has(Flags::ADMIN) {
        Right::Cluster
    } else if flags.has(Flags::WRITE) {
        Right::Write(keyspace)
    } else if flags.has(Flags::READONLY) {
        Right::Read(keyspace)
    } else {
        Right::Look
    }
}

/// The refusal in Redis's words.
pub(super) fn refused(denied: Denied, session: &Session, command: &str) -> Refused {
    match denied {
        Denied::Unknown => Refused::NoAuth,
        Denied::Here => Refused::NoKeyPermission,
        Denied::Anywhere => Refused::NoPermission {
            user: session.user().to_owned(),
            command: command.to_owned(),
        },
    }
}

/// `get`, or `acl|list` for a subcommand.
fn full_name(spec: &Spec, args: Args<'_>) -> String {
    let word = args.get(0).to_ascii_lowercase();
    if word == spec.name.as_bytes() {
        spec.name.to_owned()
    } else {
        format!("{}|{}", String::from_utf8_lossy(&word), spec.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faces::resp::table;

    /// Deny by default: a command that changes or reads data must say so in the table, or it would
    /// need no right at all.
    #[test]
    fn every_command_needs_the_right_that_its_kind_says() {
        let keyspace = KeyspaceId(3);
        for (_, spec) in table::commands().all() {
            let right = needed(spec.flags, keyspace);
            let touches_keys = spec.keys != (0, 0, 0);
            if touches_keys {
                assert!(
                    matches!(right, Right::Read(_) | Right::Write(_)),
                    "{} has keys and needs {right:?}",
                    spec.name
                );
            }
            if matches!(spec.run, table::Run::Data(_)) {
                assert_ne!(right, Right::Look, "{}", spec.name);
            }
        }
        for (name, right) in [
            ("get", Right::Read(keyspace)),
            ("scan", Right::Read(keyspace)),
            ("set", Right::Write(keyspace)),
            ("getdel", Right::Write(keyspace)),
            ("flushdb", Right::Write(keyspace)),
            ("ping", Right::Look),
            ("select", Right::Look),
        ] {
            let spec = table::commands().find(name.as_bytes()).unwrap();
            assert_eq!(needed(spec.flags, keyspace), right, "{name}");
        }
        for name in ["lock.acquire", "latch.set", "barrier.wait"] {
            let spec = table::commands().find(name.as_bytes()).unwrap();
            assert_eq!(
                needed(spec.flags, keyspace),
                Right::Write(DEFAULT_KEYSPACE),
                "{name}"
            );
        }
        for (container, name) in [("acl", "list"), ("acl", "users"), ("client", "list")] {
            let spec = table::commands().find(container.as_bytes()).unwrap();
            let sub = spec.subcommands.iter().find(|sub| sub.name == name);
            let sub = sub.unwrap();
            assert_eq!(
                needed(sub.flags, keyspace),
                Right::Cluster,
                "{container} {name}"
            );
        }
    }
}
