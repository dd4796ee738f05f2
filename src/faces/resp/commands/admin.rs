//! The commands with which clients and operators ask about the node: `INFO` and `CONFIG`.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use super::command::few;
use super::connection::REDIS_VERSION;
use super::{arity, is, text};
use crate::config::Durability;
use crate::faces::resp::encode::Encoder;
use crate::faces::resp::glob::{Glob, PATTERNS_BYTES_MAX};
use crate::faces::resp::parse::{ARGUMENT_BYTES_MAX, Args};
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::Session;

type Writing = std::fmt::Result;
type Section = fn(&Session, &mut String) -> Writing;

/// The sections of `INFO`, in order.
const SECTIONS: &[(&str, Section)] = &[
    ("Server", server),
    ("Clients", clients),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("Cluster", cluster),
    ("Keyspaces", keyspaces),
];

pub(crate) fn info(session: &mut Session, args: Args<'_>, to: &mut Encoder) -> Result<(), Refused> {
    let wanted = |name: &str| {
        let all = |word| {
            ["all", "default", "everything"]
                .into_iter()
                .any(|every| is(word, every))
        };
        args.len() == 1 || args.iter(1).any(|word| is(word, name) || all(word))
    };
    let mut page = String::new();
    for (name, write) in SECTIONS.iter().filter(|(name, _)| wanted(name)) {
        let gap = if page.is_empty() { "" } else { "\r\n" };
        write!(page, "{gap}# {name}\r\n")
            .and_then(|()| write(session, &mut page))
            .expect("invariant: a String takes all text");
    }
    to.bulk(page.as_bytes());
    Ok(())
}

fn server(session: &Session, page: &mut String) -> Writing {
    let topology = session.server.data.topology();
    let node = topology.nodes.get(&session.server.data.node());
    write!(
        page,
        "redis_version:{REDIS_VERSION}\r\nredis_mode:standalone\r\nserver_name:quorate\r\n"
    )?;
    write!(page, "quorate_version:{}\r\n", env!("CARGO_PKG_VERSION"))?;
    write!(
        page,
        "node:{}\r\nnode_number:{}\r\n",
        node.map_or("", |node| &node.name),
        session.server.data.node()
    )?;
    write!(
        page,
        "datacenter:{}\r\n",
        node.map_or("", |node| &node.datacenter)
    )?;
    write!(
        page,
        "process_id:{}\r\ntcp_port:{}\r\n",
        std::process::id(),
        session.server.address.port()
    )?;
    write!(
        page,
        "uptime_in_seconds:{}\r\n",
        session.server.started.elapsed().as_secs()
    )
}

fn clients(session: &Session, page: &mut String) -> Writing {
    let (clients, guests) = (
        session.server.clients.count(),
        &session.server.config.guests,
    );
    write!(
        page,
        "connected_clients:{clients}\r\nmaxclients:{}\r\n",
        guests.max()
    )?;
    // Over all faces: this is the number to compare with maxclients.
    write!(
        page,
        "places_taken:{}\r\nplaces_refused:{}\r\n",
        guests.open(),
        guests.refused()
    )
}

fn persistence(session: &Session, page: &mut String) -> Writing {
    let loading = u8::from(!session.server.data.ready());
    write!(
        page,
        "loading:{loading}\r\naof_enabled:{}\r\n",
        u8::from(session.server.config.durability.is_some())
    )
}

fn stats(session: &Session, page: &mut String) -> Writing {
    let counters = &session.server.counters;
    write!(
        page,
        "total_connections_received:{}\r\n",
        counters.connections.load(Ordering::Relaxed)
    )?;
    write!(
        page,
        "total_commands_processed:{}\r\n",
        counters.commands.load(Ordering::Relaxed)
    )?;
    write!(
        page,
        "rejected_connections:{}\r\n",
        counters.rejected.load(Ordering::Relaxed)
    )
}

/// Every node takes writes and none follows another: in Redis's terms, a master without replicas.
fn replication(_: &Session, page: &mut String) -> Writing {
    page.write_str("role:master\r\nconnected_slaves:0\r\n")
}

/// Redis's cluster protocol is off: any node serves any key.
fn cluster(session: &Session, page: &mut String) -> Writing {
    let topology = session.server.data.topology();
    write!(
        page,
        "cluster_enabled:0\r\nquorate_nodes:{}\r\nquorate_epoch:{}\r\n",
        topology.nodes.len(),
        topology.epoch.0
    )?;
    for (number, node) in &topology.nodes {
        write!(
            page,
            "node{number}:name={},datacenter={},rack={}\r\n",
            node.name, node.datacenter, node.rack
        )?;
    }
    Ok(())
}

fn keyspaces(session: &Session, page: &mut String) -> Writing {
    for (id, keyspace) in &session.server.data.topology().keyspaces {
        let (name, partitions) = (&keyspace.name, keyspace.placement.len());
        write!(
            page,
            "keyspace{}:name={name},partitions={partitions},read={},write={}\r\n",
            id.0, keyspace.read, keyspace.write
        )?;
    }
    Ok(())
}

/// The Redis settings that clients and tools look at, with the values that are true here.
fn settings(session: &Session) -> Vec<(&'static str, String)> {
    let config = &session.server.config;
    let (appendonly, appendfsync) = match config.durability {
        None => ("no", "no"),
        Some(Durability::Sync) => ("yes", "always"),
        Some(Durability::Interval(_)) => ("yes", "everysec"),
        Some(Durability::None) => ("yes", "no"),
    };
    let databases = session
        .server
        .data
        .topology()
        .keyspaces
        .keys()
        .last()
        .map_or(1, |last| u64::from(last.0) + 1);
    vec![
        ("appendfsync", appendfsync.to_owned()),
        ("appendonly", appendonly.to_owned()),
        ("bind", session.server.address.ip().to_string()),
        ("databases", databases.to_string()),
        ("maxclients", config.guests.max().to_string()),
        ("maxmemory", "0".to_owned()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("port", session.server.address.port().to_string()),
        ("proto-max-bulk-len", ARGUMENT_BYTES_MAX.to_string()),
        (
            "requirepass",
            if config.gate.has_password() {
                "(hidden)"
            } else {
                ""
            }
            .to_owned(),
        ),
        ("save", String::new()),
        ("tcp-keepalive", config.keepalive.as_secs().to_string()),
        ("timeout", "0".to_owned()),
    ]
}

pub(crate) fn config_get(
    session: &mut Session,
    args: Args<'_>,
    to: &mut Encoder,
) -> Result<(), Refused> {
    few(args)?;
    let bytes = args.iter(2).map(<[u8]>::len).sum();
    // A single pattern has a bound of its own.
    if bytes > PATTERNS_BYTES_MAX && args.len() > 3 {
        return Err(Refused::PatternsTooLong {
            bytes,
            max: PATTERNS_BYTES_MAX,
        });
    }
    let patterns: Vec<Glob> = args
        .iter(2)
        .map(|pattern| Glob::new(&pattern.to_ascii_lowercase()))
        .collect::<Result<_, _>>()?;
    let mut found = settings(session);
    found.retain(|(name, _)| {
        patterns
            .iter()
            .any(|pattern| pattern.matches(name.as_bytes()))
    });
    to.map(found.len());
    for (name, value) in found {
        to.bulk(name.as_bytes());
        to.bulk(value.as_bytes());
    }
    Ok(())
}

pub(crate) fn config_set(
    session: &mut Session,
    args: Args<'_>,
    _: &mut Encoder,
) -> Result<(), Refused> {
    arity(args.len().is_multiple_of(2), "config|set")?;
    let known = settings(session);
    let unknown = args
        .iter(2)
        .step_by(2)
        .find(|name| !known.iter().any(|(setting, _)| is(name, setting)));
    Err(match unknown {
        Some(name) => Refused::UnknownSetting { name: text(name) },
        None => Refused::FixedSetting {
            name: text(args.get(2)),
        },
    })
}
