//! What `quorate bench` is asked to do: its flags.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::fail::Failure;
use crate::cli::globals::Globals;
use crate::faces::resp::client::Options;

/// What to measure.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Bench {
    /// Servers to load, as resp://HOST:PORT; separate several with commas. The connections are
    /// spread over them. `resp://USER@HOST:PORT` logs in as USER, a user or the name of a level;
    /// `rediss://` speaks TLS and needs --tls-ca.
    #[arg(long, value_name = "URL", value_delimiter = ',', default_value = "resp://127.0.0.1:7379", value_parser = target)]
    pub(super) target: Vec<Target>,
    /// What the clients do.
    #[arg(long, value_enum, default_value_t = Workload::Mixed)]
    pub(super) workload: Workload,
    /// Number of connections.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) clients: u32,
    /// The most requests that a connection has under way.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) pipeline: u32,
    /// Seconds to measure, after the warm-up.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(super) seconds: u32,
    /// Seconds to warm up.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(..=3_600)
    )]
    pub(super) warmup: u32,
    /// Level of the requests, such as `LOCAL_QUORUM` or R=2,W=2. If given several times, each
    /// request takes one of them. Without it the commands are plain Redis.
    #[arg(long)]
    pub(super) level: Vec<String>,
    /// Requests per second over all connections [default: as many as possible].
    #[arg(long, value_name = "OPS", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(super) rate: Option<u32>,
    #[command(flatten)]
    pub(super) shape: Shape,
    /// Send WAIT for this many replicas after each write; fewer count as an error [default: no
    /// WAIT].
    #[arg(long, value_name = "REPLICAS", default_value_t = 0)]
    pub(super) wait: u32,
    #[command(flatten)]
    pub(super) recording: Recording,
}

/// How much data.
#[derive(Clone, Copy, Debug, Args)]
pub(in crate::cli) struct Shape {
    /// Number of keys, over which the requests are spread evenly.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) keys: u32,
    /// Bytes of a value.
    #[arg(
        long,
        default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(1..=16 * 1024 * 1024)
    )]
    pub(super) value_bytes: u32,
    /// Elements of the set that `sadd` adds to.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) set_size: u32,
}

/// The options of a recording.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Recording {
    /// Record what the clients see, for `quorate check`, instead of measuring. Keys are
    /// short-lived, values are written once, and at the end each target is read back.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pipeline", "warmup", "keys", "value_bytes", "set_size", "wait"])]
    pub(super) record: Option<PathBuf>,
    /// Record in this keyspace [default: the default one].
    #[arg(long, value_name = "NAME", requires = "record")]
    pub(super) keyspace: Option<String>,
    /// Seconds to wait at the end until every target reports that the cluster has converged.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        requires = "record"
    )]
    pub(super) settle: u32,
}

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Workload {
    /// SET of random keys.
    Set,
    /// GET of random keys, which are written first.
    Get,
    /// INCR of random counters.
    Incr,
    /// SADD of random elements that one set of --set-size elements already holds, so its size does
    /// not change.
    Sadd,
    /// HSET of random fields of random hashes.
    Hset,
    /// Half SET, half GET; with --record, all kinds of operations.
    Mixed,
}

/// One of `--target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Target {
    pub(super) user: Option<String>,
    pub(super) address: String,
    /// Whether to speak TLS; `None` leaves it to --tls-ca.
    pub(super) tls: Option<bool>,
}

/// A target, and how to connect to it.
#[derive(Clone, Debug)]
pub(super) struct Entrance {
    pub(super) address: String,
    pub(super) options: Options,
}

/// The targets, each with what the command line says about all of them.
pub(super) fn entrances(targets: &[Target], globals: &Globals) -> Result<Vec<Entrance>, Failure> {
    let entrance = |target: &Target| {
        let tls = match target.tls {
            Some(tls) => tls,
            None => globals.tls_ca.is_some(),
        };
        Ok(Entrance {
            address: target.address.clone(),
            options: globals.options(tls, target.user.clone())?,
        })
    };
    targets.iter().map(entrance).collect()
}

pub(super) fn target(text: &str) -> Result<Target, &'static str> {
    let (tls, rest) = match text.split_once("://") {
        Some(("rediss", rest)) => (Some(true), rest),
        Some(("resp" | "redis", rest)) => (Some(false), rest),
        _ => (None, text),
    };
    let rest = rest.trim_end_matches('/');
    let (user, address) = match rest.split_once('@') {
        Some((user, address)) => (Some(user.to_owned()), address),
        None => (None, rest),
    };
    let dialable = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !dialable
        || user
            .as_ref()
            .is_some_and(|user| user.is_empty() || user.contains(':'))
    {
        return Err(
            "use resp://HOST:PORT or resp://USER@HOST:PORT; the password goes into QUORATE_PASSWORD",
        );
    }
    Ok(Target {
        user,
        address: address.to_owned(),
        tls,
    })
}
