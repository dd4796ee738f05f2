//! The `ACL …` commands, as far as they only look: users are changed by `quorate user`.

use std::fmt::Write as _;

use quorate_control::topology::{Role, Topology, User};

use super::{arity, is, text};
use crate::faces::resp::encode::Encoder;
use crate::faces::resp::parse::Args;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::Session;
use crate::faces::resp::table::{Commands, Flags, Group, Spec};

type Done = Result<(), Refused>;

pub(crate) fn whoami(session: &mut Session, _: Args<'_>, to: &mut Encoder) -> Done {
    to.bulk(session.user().as_bytes());
    Ok(())
}

pub(crate) fn users(session: &mut Session, _: Args<'_>, to: &mut Encoder) -> Done {
    let topology = session.server.data.topology();
    to.array(topology.users.len() + 1);
    to.bulk(b"default");
    for name in topology.users.keys() {
        to.bulk(name.as_bytes());
    }
    Ok(())
}

pub(crate) fn list(session: &mut Session, _: Args<'_>, to: &mut Encoder) -> Done {
    let topology = session.server.data.topology();
    to.array(topology.users.len() + 1);
    to.bulk(default_rule(session, &topology).as_bytes());
    for (name, user) in &topology.users {
        to.bulk(rule(name, user, &topology).as_bytes());
    }
    Ok(())
}

/// The user `default` is not in the topology: it is whoever knows the password of this node.
fn default_rule(session: &Session, topology: &Topology) -> String {
    let state = match (session.server.config.gate.has_password(), &topology.users) {
        (true, _) => "on",
        (false, users) if users.is_empty() => "on nopass",
        (false, _) => "off",
    };
    format!("user default {state} ~* &* +@all")
}

/// One user in the form of Redis. Redis has no word for a role in one keyspace: it stands behind
/// the keyspace's name. No hash of a password is shown.
fn rule(name: &str, user: &User, topology: &Topology) -> String {
    let mut line = format!("user {name} on");
    match user.everywhere {
        Some(role) => write!(line, " ~* &* {}", categories(role)),
        None => write!(line, " -@all"),
    }
    .expect("invariant: a String takes all text");
    for (id, role) in &user.keyspaces {
        let keyspace = topology
            .keyspaces
            .get(id)
            .map_or("", |keyspace| &keyspace.name);
        write!(line, " (keyspace:{keyspace} ~* {})", categories(*role))
            .expect("invariant: a String takes all text");
    }
    line
}

fn categories(role: Role) -> &'static str {
    match role {
        Role::Read => "-@all +@read",
        Role::Write => "-@all +@read +@write",
        Role::Admin => "+@all",
    }
}

/// A category of commands: its name in Redis, and whether a command belongs to it.
type Category = (&'static str, fn(Group, &Spec) -> bool);

const CATEGORIES: [Category; 12] = [
    ("admin", |_, spec| spec.flags.has(Flags::ADMIN)),
    ("connection", |group, _| group == Group::Connection),
    ("coordination", |group, _| group == Group::Coordination),
    ("fast", |_, spec| spec.flags.has(Flags::FAST)),
    ("hash", |group, _| group == Group::Hash),
    ("keyspace", |group, _| group == Group::Generic),
    ("quorate", |group, _| group == Group::Quorate),
    ("read", |_, spec| spec.flags.has(Flags::READONLY)),
    ("set", |group, _| group == Group::Set),
    ("slow", |_, spec| !spec.flags.has(Flags::FAST)),
    ("string", |group, _| group == Group::String),
    ("write", |_, spec| spec.flags.has(Flags::WRITE)),
];

/// All categories, or the commands of one.
pub(crate) fn cat(commands: &Commands, args: Args<'_>, to: &mut Encoder) -> Done {
    arity(args.len() <= 3, "acl|cat")?;
    let Some(wanted) = args.iter(2).next() else {
        to.array(CATEGORIES.len());
        for (name, _) in CATEGORIES {
            to.bulk(name.as_bytes());
        }
        return Ok(());
    };
    let (_, belongs) = CATEGORIES
        .iter()
        .find(|(name, _)| is(wanted, name))
        .ok_or_else(|| Refused::NoSuchCategory { name: text(wanted) })?;
    let mut names = Vec::new();
    for (group, spec) in commands.all() {
        if belongs(group, spec) && spec.subcommands.is_empty() {
            names.push(spec.name.to_owned());
        }
        let subcommands = spec.subcommands.iter().filter(|sub| belongs(group, sub));
        names.extend(subcommands.map(|sub| format!("{}|{}", spec.name, sub.name)));
    }
    to.array(names.len());
    for name in names {
        to.bulk(name.as_bytes());
    }
    Ok(())
}
