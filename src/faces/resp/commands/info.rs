//! `INFO`: what a node tells about itself, in the form that Redis's exporters read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_control::topology::{KeyspaceId, Partition, Topology};
use quorate_dynamo::Consistency;
use quorate_dynamo::op::{Op, PartitionOp, Reply, Request};
use tokio::time::{Instant, timeout_at};

use super::connection::REDIS_VERSION;
use super::database::database;
use super::is;
use crate::faces::resp::encode::Encoder;
use crate::faces::resp::parse::Args;
use crate::faces::resp::session::Session;
use crate::faces::resp::table::RunFuture;
use crate::faces::resp::work::now_micros;
use crate::process::{ProcessFigures, Taken};

type Writing = std::fmt::Result;
type Section = fn(&Page<'_>, &mut String) -> Writing;

/// How long the keys are counted. The keyspaces that are not counted by then are left out: what
/// watches a node must not wait for others that are down.
const COUNTING: Duration = Duration::from_secs(1);
/// The most requests of one count under way together.
const WINDOW: usize = 64;
/// Sections that are given only if they are named, because they are long; as in Redis.
const NAMED_ONLY: &[&str] = &["Commandstats"];

/// The sections of `INFO`, in order.
const SECTIONS: &[(&str, Section)] = &[
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("CPU", cpu),
    ("Commandstats", commandstats),
    ("Errorstats", errorstats),
    ("Cluster", cluster),
    ("Keyspaces", keyspaces),
    ("Keyspace", keyspace),
];

/// What the sections are made of.
struct Page<'a> {
    session: &'a Session,
    topology: &'a Topology,
    process: Option<Taken>,
    /// The keys of the keyspaces that have been counted.
    counted: BTreeMap<KeyspaceId, Counted>,
}

/// The keys that one replica of each partition holds.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    keys: i64,
    expiring: i64,
}

pub(crate) fn info<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let named = |word: &str| args.iter(1).any(|named| is(named, word));
        let everything = named("all") || named("everything");
        let default = args.len() == 1 || named("default");
        let wanted =
            |name: &str| everything || named(name) || (default && !NAMED_ONLY.contains(&name));
        let topology = session.server.data.topology();
        let counted = if wanted("Keyspace") && session.ready() {
            count(session, &topology).await
        } else {
            BTreeMap::new()
        };
        let page = Page {
            session,
            topology: &topology,
            process: ProcessFigures::of_this().map(|figures| figures.taken),
            counted,
        };
        let mut text = String::new();
        for (name, write) in SECTIONS.iter().filter(|(name, _)| wanted(name)) {
            let gap = if text.is_empty() { "" } else { "\r\n" };
            write!(text, "{gap}# {name}\r\n")
                .and_then(|()| write(&page, &mut text))
                .expect("invariant: a String takes all text");
        }
        to.text(&text);
        Ok(Vec::new())
    })
}

/// Counts the keys of all keyspaces, as far as there is time.
async fn count(session: &Session, topology: &Topology) -> BTreeMap<KeyspaceId, Counted> {
    let deadline = Instant::now() + COUNTING;
    let mut counted = BTreeMap::new();
    for (&id, keyspace) in &topology.keyspaces {
        let partitions = keyspace.placement.len() as u16;
        let keys = sum(session, id, partitions, PartitionOp::Count);
        let Ok(Some(keys)) = timeout_at(deadline, keys).await else {
            continue;
        };
        let expiring = sum(session, id, partitions, PartitionOp::Expiring);
        let Ok(Some(expiring)) = timeout_at(deadline, expiring).await else {
            continue;
        };
        counted.insert(id, Counted { keys, expiring });
    }
    counted
}

/// The sum over all partitions; `None` if one does not answer.
async fn sum(
    session: &Session,
    keyspace: KeyspaceId,
    partitions: u16,
    what: PartitionOp,
) -> Option<i64> {
    let numbers: Vec<u16> = (0..partitions).collect();
    let mut sum = 0i64;
    for window in numbers.chunks(WINDOW) {
        let ask = |number: &u16| {
            let op = Op::Partition(Partition(*number), what.clone());
            session.server.data.submit(Request {
                keyspace,
                consistency: Some(Consistency::One),
                timeout: COUNTING,
                ..session.request(op, 0)
            })
        };
        let pending: Vec<_> = window.iter().map(ask).collect();
        for answer in pending {
            let Ok(Ok(answer)) = answer.await else {
                return None;
            };
            let Reply::Integer(number) = answer.reply else {
                return None;
            };
            sum = sum.saturating_add(number);
        }
    }
    Some(sum)
}

fn server(page: &Page<'_>, text: &mut String) -> Writing {
    let server = &page.session.server;
    let node = page.topology.nodes.get(&server.data.node());
    let up = server.started.elapsed().as_secs();
    write!(
        text,
        "redis_version:{REDIS_VERSION}\r\nredis_mode:standalone\r\nserver_name:quorate\r\n\
         quorate_version:{}\r\nos:{} {}\r\narch_bits:{}\r\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        usize::BITS,
    )?;
    write!(
        text,
        "node:{}\r\nnode_number:{}\r\ndatacenter:{}\r\n",
        node.map_or("", |node| &node.name),
        server.data.node(),
        node.map_or("", |node| &node.datacenter)
    )?;
    write!(
        text,
        "process_id:{}\r\ntcp_port:{}\r\nserver_time_usec:{}\r\n",
        std::process::id(),
        server.address.port(),
        now_micros()
    )?;
    write!(
        text,
        "uptime_in_seconds:{up}\r\nuptime_in_days:{}\r\n",
        up / 86_400
    )
}

fn clients(page: &Page<'_>, text: &mut String) -> Writing {
    let server = &page.session.server;
    let (clients, guests) = (server.clients.count(), &server.config.guests);
    write!(
        text,
        "connected_clients:{clients}\r\nmaxclients:{}\r\nblocked_clients:0\r\n",
        guests.max()
    )?;
    // Over all faces: this is the number to compare with maxclients.
    write!(
        text,
        "places_taken:{}\r\nplaces_refused:{}\r\n",
        guests.open(),
        guests.refused()
    )
}

/// The allocator is not asked: what the process takes is what the machine lacks.
fn memory(page: &Page<'_>, text: &mut String) -> Writing {
    if let Some(process) = page.process {
        for (name, bytes) in [
            ("used_memory", process.resident_bytes),
            ("used_memory_rss", process.resident_bytes),
            ("used_memory_peak", process.peak_bytes),
        ] {
            write!(text, "{name}:{bytes}\r\n{name}_human:{}\r\n", human(bytes))?;
        }
    }
    text.write_str("maxmemory:0\r\nmaxmemory_human:0B\r\nmaxmemory_policy:noeviction\r\n")
}

/// A number of bytes as Redis writes it: `1.50M`.
fn human(bytes: u64) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    match units.iter().find(|(power, _)| bytes >> power > 0) {
        Some((power, unit)) => format!("{:.2}{unit}", bytes as f64 / (1u64 << power) as f64),
        None => format!("{bytes}B"),
    }
}

fn persistence(page: &Page<'_>, text: &mut String) -> Writing {
    let server = &page.session.server;
    let (loading, kept) = (!server.data.ready(), server.config.durability.is_some());
    write!(
        text,
        "loading:{}\r\naof_enabled:{}\r\n",
        u8::from(loading),
        u8::from(kept)
    )
}

fn stats(page: &Page<'_>, text: &mut String) -> Writing {
    let server = &page.session.server;
    let errors: u64 = server.stats.errors().values().sum();
    let counters = &server.counters;
    for (name, total) in [
        (
            "total_connections_received",
            counters.connections.load(Ordering::Relaxed),
        ),
        (
            "total_commands_processed",
            counters.commands.load(Ordering::Relaxed),
        ),
        ("instantaneous_ops_per_sec", server.stats.per_second()),
        (
            "total_net_input_bytes",
            counters.input.load(Ordering::Relaxed),
        ),
        (
            "total_net_output_bytes",
            counters.output.load(Ordering::Relaxed),
        ),
        (
            "rejected_connections",
            counters.rejected.load(Ordering::Relaxed),
        ),
        ("evicted_keys", 0),
        ("total_error_replies", errors),
    ] {
        write!(text, "{name}:{total}\r\n")?;
    }
    Ok(())
}

/// Every node takes writes and none follows another: in Redis's terms, a master without replicas.
fn replication(_: &Page<'_>, text: &mut String) -> Writing {
    text.write_str("role:master\r\nconnected_slaves:0\r\n")
}

fn cpu(page: &Page<'_>, text: &mut String) -> Writing {
    let Some(process) = page.process else {
        return Ok(());
    };
    write!(
        text,
        "used_cpu_sys:{:.6}\r\nused_cpu_user:{:.6}\r\n",
        process.system.as_secs_f64(),
        process.user.as_secs_f64()
    )
}

fn commandstats(page: &Page<'_>, text: &mut String) -> Writing {
    for (name, usage) in page.session.server.stats.commands() {
        let [calls, micros, rejected, failed] =
            [&usage.calls, &usage.micros, &usage.rejected, &usage.failed]
                .map(|total| total.load(Ordering::Relaxed));
        if calls + rejected == 0 {
            continue;
        }
        let each = micros as f64 / calls.max(1) as f64;
        write!(
            text,
            "cmdstat_{name}:calls={calls},usec={micros},usec_per_call={each:.2},rejected_calls={rejected},failed_calls={failed}\r\n"
        )?;
    }
    Ok(())
}

fn errorstats(page: &Page<'_>, text: &mut String) -> Writing {
    for (code, count) in page.session.server.stats.errors() {
        write!(text, "errorstat_{code}:count={count}\r\n")?;
    }
    Ok(())
}

/// Redis's cluster protocol is off: any node serves any key.
fn cluster(page: &Page<'_>, text: &mut String) -> Writing {
    let topology = page.topology;
    write!(
        text,
        "cluster_enabled:0\r\nquorate_nodes:{}\r\nquorate_epoch:{}\r\n",
        topology.nodes.len(),
        topology.epoch.0
    )?;
    for (number, node) in &topology.nodes {
        write!(
            text,
            "node{number}:name={},datacenter={},rack={}\r\n",
            node.name, node.datacenter, node.rack
        )?;
    }
    Ok(())
}

fn keyspaces(page: &Page<'_>, text: &mut String) -> Writing {
    for (id, keyspace) in &page.topology.keyspaces {
        let (name, partitions) = (&keyspace.name, keyspace.placement.len());
        write!(
            text,
            "keyspace{}:name={name},partitions={partitions},read={},write={}\r\n",
            id.0, keyspace.read, keyspace.write
        )?;
    }
    Ok(())
}

/// Redis leaves out what is empty.
fn keyspace(page: &Page<'_>, text: &mut String) -> Writing {
    for (id, Counted { keys, expiring }) in &page.counted {
        if *keys > 0 {
            let number = database(*id, page.topology);
            write!(
                text,
                "db{number}:keys={keys},expires={expiring},avg_ttl=0\r\n"
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_redis_writes_them() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1536, "1.50K"),
            (3 << 20, "3.00M"),
            (5 << 30, "5.00G"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
