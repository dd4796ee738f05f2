//! The command line: parses the verbs and runs them. Data goes to stdout, notes go to stderr, and
//! the exit code says what is now true.

mod bench;
mod check;
mod cluster;
mod demo;
mod fail;
mod http;
mod keys;
mod node;
mod output;
mod sim;
mod start;

use std::future::Future;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use quorate_dynamo::Consistency;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::parse_duration;
use fail::Failure;
use output::Output;

const EXAMPLES: &str = "\
Examples:
  quorate start
  quorate status
  quorate put cart:7 apples --consistency LOCAL_QUORUM
  quorate get cart:7 --resp 10.0.0.2:7379 --output json
  quorate bench --workload mixed --clients 50 --seconds 10

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not quorate (nothing was applied),
            4 timed out, and the outcome is unknown";

/// Replicated data that stays available, with a consistency level per request.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Which node to ask, and how to print its answer.
#[derive(Debug, Args)]
struct Globals {
    /// How to print the result; not for `start`.
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// RESP address: where `start` listens; the node that get, put, incr and del ask [default:
    /// 127.0.0.1:7379].
    #[arg(long, global = true, value_name = "HOST:PORT")]
    resp: Option<String>,
    /// HTTP address: where `start` listens; the node that status, keyspace and node ask [default:
    /// 127.0.0.1:7380].
    #[arg(long, global = true, value_name = "HOST:PORT")]
    http: Option<String>,
    /// Password of the node. Prefer the environment variable `QUORATE_PASSWORD`: other users of this
    /// machine can see flags.
    #[arg(long, global = true)]
    password: Option<String>,
    /// Consistency level of get, put, incr and del, such as ONE, `LOCAL_QUORUM`, ALL or R=2,W=2
    /// [default: the keyspace's].
    #[arg(long, global = true, value_name = "LEVEL")]
    consistency: Option<Consistency>,
    /// How long a request to a node may take, such as 500ms [default: the node's setting for the
    /// request, 5s for the whole command].
    #[arg(long, global = true, value_name = "TIME", value_parser = time)]
    timeout: Option<Duration>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node: the first one founds a cluster, the others join it.
    #[command(after_help = start::EXAMPLES)]
    Start(Box<start::Start>),
    /// Show the cluster as one node sees it: nodes, keyspaces, and whether all replicas have
    /// converged.
    #[command(after_help = "Example: quorate status --output json | jq .converged")]
    Status,
    /// Read a string or counter. The exit code is 1 if the key does not exist.
    #[command(after_help = "Example: quorate get cart:7 --consistency QUORUM")]
    Get(keys::Get),
    /// Write a string.
    #[command(after_help = "Example: quorate put cart:7 apples --expires 10m")]
    Put(keys::Put),
    /// Add to a counter and print its new value.
    #[command(after_help = "Examples: quorate incr visits\n          quorate incr stock -5")]
    Incr(keys::Incr),
    /// Remove keys of any kind and print how many existed.
    #[command(after_help = "Example: quorate del cart:7 cart:8")]
    Del(keys::Del),
    /// List, describe, create, alter or drop keyspaces.
    #[command(subcommand)]
    Keyspace(cluster::Keyspace),
    /// List or remove nodes, and make, list or revoke join tokens.
    #[command(subcommand)]
    Node(node::Node),
    /// Measure a node, or anything that speaks RESP.
    #[command(after_help = bench::EXAMPLES)]
    Bench(bench::Bench),
    /// Check a recorded history against the promises of each consistency level.
    #[command(after_help = check::EXAMPLES)]
    Check(check::Check),
    /// Run a cluster across several datacenters on this machine, split it, heal it, and prove that
    /// nothing was lost.
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::Demo),
    /// Simulate random histories of whole clusters in virtual time, with every kind of fault, and
    /// check every promise.
    #[command(after_help = sim::EXAMPLES)]
    Sim(sim::Sim),
}

/// Parses the arguments of the process and runs its command to the end.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    if let Some(flag) = cli.misplaced() {
        let text = format!("{flag} has no effect on this command; leave it out");
        Cli::command()
            .error(clap::error::ErrorKind::ArgumentConflict, text)
            .exit();
    }
    match cli.dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::note(format_args!("quorate: {}", failure.explain()));
            failure.exit_code()
        }
    }
}

impl Cli {
    fn dispatch(self) -> Result<(), Failure> {
        let globals = &self.globals;
        match self.command {
            Command::Start(start) => block_on(start.run(globals)),
            Command::Status => cluster::status(globals),
            Command::Get(get) => block_on(get.run(globals)),
            Command::Put(put) => block_on(put.run(globals)),
            Command::Incr(incr) => block_on(incr.run(globals)),
            Command::Del(del) => block_on(del.run(globals)),
            Command::Keyspace(keyspace) => keyspace.run(globals),
            Command::Node(node) => node.run(globals),
            Command::Bench(bench) => block_on(bench.run(globals)),
            Command::Check(check) => check.run(globals.output),
            Command::Demo(demo) => block_on(demo.run(globals)),
            Command::Sim(sim) => sim.run(globals),
        }
    }

    /// The first global flag given that the command does not use. Ignoring it silently would mislead.
    fn misplaced(&self) -> Option<&'static str> {
        let useful: &[&str] = match self.command {
            Command::Start(_) => &["--resp", "--http", "--password"],
            Command::Status | Command::Keyspace(_) | Command::Node(_) => {
                &["--http", "--password", "--timeout"]
            }
            Command::Get(_) | Command::Put(_) | Command::Incr(_) | Command::Del(_) => {
                &["--resp", "--password", "--consistency", "--timeout"]
            }
            Command::Bench(_) => &["--password", "--timeout"],
            Command::Check(_) | Command::Demo(_) | Command::Sim(_) => &[],
        };
        let globals = &self.globals;
        let given = [
            (
                "--output",
                globals.output == Output::Json && matches!(self.command, Command::Start(_)),
            ),
            ("--resp", globals.resp.is_some()),
            ("--http", globals.http.is_some()),
            ("--password", globals.password.is_some()),
            ("--consistency", globals.consistency.is_some()),
            ("--timeout", globals.timeout.is_some()),
        ];
        // Every command except `start` uses `--output`.
        given
            .into_iter()
            .find(|(flag, given)| *given && !useful.contains(flag))
            .map(|(flag, _)| flag)
    }
}

impl Globals {
    fn password(&self) -> Option<String> {
        self.password
            .clone()
            .or_else(|| std::env::var("QUORATE_PASSWORD").ok())
            .filter(|password| !password.is_empty())
    }

    /// How long the command waits for its answer: a little longer than the request may take, so
    /// that the node's own error arrives first.
    fn patience(&self) -> Duration {
        self.timeout.unwrap_or(crate::config::REQUEST_TIMEOUT) + Duration::from_secs(1)
    }
}

/// Runs a command that talks over sockets on this thread.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(command)
}

fn time(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("use a whole number with a unit (us, ms, s, m, h, d), such as 500ms")
}

/// The log filter in `QUORATE_LOG`, such as `warn,quorate=debug`; `None` if it is unset.
fn log_asked_for() -> Result<Option<Targets>, Failure> {
    let asked = std::env::var("QUORATE_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    asked
        .map(|text| log_targets(&text).ok_or(Failure::Usage(LOG_FORM)))
        .transpose()
}

const LOG_FORM: &str = "QUORATE_LOG must be a level (off, error, warn, info, debug, trace) or TARGET=LEVEL; separate several with commas";

/// Refuses a word that is not a level: it would be read as a target, and everything else would fall
/// silent.
fn log_targets(text: &str) -> Option<Targets> {
    let known = |directive: &str| {
        directive.contains('=') || directive.trim().parse::<LevelFilter>().is_ok()
    };
    text.split(',')
        .all(known)
        .then(|| text.parse().ok())
        .flatten()
}

/// Logs to stderr what `filter` lets through, in colour if stderr is a terminal.
fn log(filter: Targets) {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    let colours = std::io::stderr().is_terminal() && !plain;
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(colours)
        .with_writer(std::io::stderr);
    // Fails only if a subscriber is installed already; then that one gets the logs.
    drop(
        tracing_subscriber::registry()
            .with(lines.with_filter(filter))
            .try_init(),
    );
}

#[cfg(test)]
mod tests;
