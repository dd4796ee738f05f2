//! The command line: parses the verbs and runs them. Data goes to stdout, notes go to stderr, and
//! the exit code says what is now true.

mod backup;
mod bench;
mod check;
mod cluster;
mod consensus;
mod demo;
mod explain;
mod fail;
mod globals;
mod http;
mod keys;
mod lock;
mod logs;
mod node;
mod output;
mod pages;
mod recover;
mod service;
mod sim;
mod slowlog;
mod start;
mod status;
mod user;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use quorate_gossip::wire;

use fail::Failure;
use globals::Globals;
use output::Output;

const EXAMPLES: &str = "\
Examples:
  quorate start
  quorate status
  quorate put cart:7 apples --consistency LOCAL_QUORUM
  quorate get cart:7 --resp 10.0.0.2:7379 --output json
  quorate bench --workload mixed --clients 50 --seconds 10

With --output json, a failure is a document too, on stderr: {\"error\":{\"code\",\"detail\",\"exit_code\",\"may_be_applied\"}}

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not quorate (nothing was applied),
            4 timed out, and the outcome is unknown, or what was waited for was not reached,
            5 the lease of `quorate lock` was lost";

/// Replicated data that stays available, with a consistency level per request.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node: the first one founds a cluster, the others join it.
    #[command(after_help = start::EXAMPLES)]
    Start(Box<start::Start>),
    /// Show the cluster as one node sees it: nodes, keyspaces, and whether all replicas have
    /// converged.
    #[command(after_help = status::EXAMPLES)]
    Status(status::Status),
    /// Read a string or counter. The exit code is 1 if the key does not exist.
    #[command(after_help = "Example: quorate get cart:7 --consistency QUORUM")]
    Get(keys::Get),
    /// Write a string.
    #[command(
        visible_alias = "set",
        after_help = "Example: quorate put cart:7 apples --expires 10m"
    )]
    Put(keys::Put),
    /// Add to a counter and print its new value.
    #[command(after_help = "Examples: quorate incr visits\n          quorate incr stock -5")]
    Incr(keys::Incr),
    /// Remove keys of any kind and print how many existed.
    #[command(after_help = "Example: quorate del cart:7 cart:8")]
    Del(keys::Del),
    /// Say where a key lies, and what every replica holds of it.
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::Explain),
    /// Run a command while a lock is held, and end it when the lease is lost.
    #[command(after_help = lock::EXAMPLES)]
    Lock(lock::Lock),
    /// List, describe, create, alter or drop keyspaces.
    #[command(subcommand)]
    Keyspace(cluster::Keyspace),
    /// List or remove nodes, and make, list or revoke join tokens.
    #[command(subcommand)]
    Node(node::Node),
    /// Look at who decides on the topology, whether there are enough of them, and what can be read
    /// and written.
    #[command(after_help = consensus::EXAMPLES)]
    Consensus(consensus::Consensus),
    /// Make, list, change or drop users.
    #[command(subcommand)]
    User(user::User),
    /// Save what a running cluster holds: keys, keyspaces and users.
    #[command(after_help = backup::EXAMPLES)]
    Backup(backup::Backup),
    /// Bring back what a backup holds, into the same cluster or another one.
    #[command(after_help = backup::restore::EXAMPLES)]
    Restore(backup::restore::Restore),
    /// List the commands that took a node longest.
    #[command(after_help = "Example: quorate slowlog 20 --output json")]
    Slowlog(slowlog::SlowLog),
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
    /// Print the script that completes commands and flags in a shell.
    #[command(after_help = "Example: quorate completions bash > /etc/bash_completion.d/quorate")]
    Completions(pages::Completions),
    /// Write the manual pages of all commands into a directory.
    #[command(after_help = "Example: quorate man /usr/local/share/man/man1")]
    Man(pages::Man),
}

/// The global flags that each command uses, besides `--output`. The others are not in its help, and
/// giving one is an error: ignoring it silently would mislead.
const USED: [(&str, &[&str]); 21] = [
    (
        "start",
        &["resp", "http", "password", "tls_cert", "tls_key"],
    ),
    ("status", OVER_HTTP),
    ("get", ON_KEYS),
    ("put", ON_KEYS),
    ("incr", ON_KEYS),
    ("del", ON_KEYS),
    ("explain", OVER_HTTP),
    ("lock", OVER_HTTP),
    ("keyspace", OVER_HTTP),
    ("node", OVER_HTTP),
    ("consensus", OVER_HTTP),
    ("user", OVER_HTTP),
    ("backup", KEYS_OVER_HTTP),
    ("restore", KEYS_OVER_HTTP),
    ("slowlog", OVER_RESP),
    (
        "bench",
        &[
            "user", "password", "tls_ca", "tls_cert", "tls_key", "timeout",
        ],
    ),
    ("check", &[]),
    ("demo", &[]),
    ("sim", &[]),
    ("completions", &[]),
    ("man", &[]),
];
const OVER_HTTP: &[&str] = &[
    "http", "user", "password", "tls_ca", "tls_cert", "tls_key", "timeout",
];
const KEYS_OVER_HTTP: &[&str] = &[
    "http",
    "user",
    "password",
    "tls_ca",
    "tls_cert",
    "tls_key",
    "consistency",
    "timeout",
];
const OVER_RESP: &[&str] = &[
    "resp", "user", "password", "tls_ca", "tls_cert", "tls_key", "timeout",
];
const ON_KEYS: &[&str] = &[
    "resp",
    "user",
    "password",
    "tls_ca",
    "tls_cert",
    "tls_key",
    "consistency",
    "timeout",
];

/// Whether the command called `name` uses the global flag.
fn uses(name: &str, flag: &str) -> bool {
    let used = USED.iter().find(|(command, _)| *command == name);
    flag == "output" || used.is_some_and(|(_, flags)| flags.contains(&flag))
}

/// What `--version` says: after the version, the forms in which this program speaks, stores and
/// saves. Two programs can be in one cluster if the first two are the same.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{}\nwire {}, store {}, backup {}",
        env!("CARGO_PKG_VERSION"),
        wire::VERSION,
        crate::node::FORMAT_NOW,
        crate::doors::backup::FORMAT,
    )
});

/// The definition of the command line, where the help of each command shows only flags that mean
/// something to it.
fn definition() -> clap::Command {
    let definition = Cli::command().long_version(VERSION.as_str());
    let globals: Vec<clap::Arg> = definition
        .get_arguments()
        .filter(|flag| flag.is_global_set())
        .cloned()
        .collect();
    definition.mut_subcommands(|command| {
        let unused = globals
            .iter()
            .filter(|flag| !uses(command.get_name(), flag.get_id().as_str()));
        let hidden: Vec<clap::Arg> = unused.map(|flag| flag.clone().hide(true)).collect();
        command.args(hidden)
    })
}

/// Parses the arguments of the process and runs its command to the end.
pub fn run() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match parse(&arguments) {
        Ok(cli) => {
            let output = cli.globals.output;
            cli.dispatch().map_or_else(
                |failure| {
                    match output {
                        Output::Table => {
                            output::note(format_args!("quorate: {}", failure.explain()));
                        }
                        Output::Json => output::note(format_args!("{}", failure.document())),
                    }
                    failure.exit_code()
                },
                |()| ExitCode::SUCCESS,
            )
        }
        Err(error) if error.use_stderr() && asks_for_json(&arguments) => {
            let text = error.to_string();
            let failure = Failure::Arguments(text.trim_start_matches("error: ").trim_end().into());
            output::note(format_args!("{}", failure.document()));
            failure.exit_code()
        }
        Err(error) => error.exit(),
    }
}

/// Whether the arguments, which could not be parsed, ask for documents.
fn asks_for_json(arguments: &[OsString]) -> bool {
    let mut pairs = arguments.windows(2);
    pairs.any(|pair| pair[0] == "--output" && pair[1] == "json")
        || arguments.iter().any(|word| word == "--output=json")
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let mut definition = definition();
    let matches = definition.try_get_matches_from_mut(arguments)?;
    let command = matches.subcommand_name().unwrap_or_default();
    let given = |flag: &&str| matches.value_source(flag) == Some(ValueSource::CommandLine);
    let mut flags = ["resp", "http", "password", "consistency", "timeout"].into_iter();
    let mut misplaced = flags.find(|flag| given(flag) && !uses(command, flag));
    if command == "start" && given(&"output") {
        misplaced = Some("output");
    }
    if let Some(flag) = misplaced {
        let text = format!("--{flag} has no effect on this command; leave it out");
        return Err(definition.error(ErrorKind::ArgumentConflict, text));
    }
    Cli::from_arg_matches(&matches)
}

impl Cli {
    fn dispatch(self) -> Result<(), Failure> {
        let globals = match self.command {
            Command::Start(_) => self.globals,
            _ => self
                .globals
                .with_environment(|name| std::env::var(name).ok())?,
        };
        let globals = &globals;
        match self.command {
            Command::Start(start) => block_on(start.run(globals)),
            Command::Status(status) => status.run(globals),
            Command::Get(get) => block_on(get.run(globals)),
            Command::Put(put) => block_on(put.run(globals)),
            Command::Incr(incr) => block_on(incr.run(globals)),
            Command::Del(del) => block_on(del.run(globals)),
            Command::Explain(explain) => explain.run(globals),
            Command::Lock(lock) => block_on(lock.run(globals)),
            Command::Keyspace(keyspace) => keyspace.run(globals),
            Command::Node(node) => node.run(globals),
            Command::Consensus(consensus) => consensus.run(globals),
            Command::User(user) => user.run(globals),
            Command::Backup(backup) => backup.run(globals),
            Command::Restore(restore) => restore.run(globals),
            Command::Slowlog(slowlog) => block_on(slowlog.run(globals)),
            Command::Bench(bench) => block_on(bench.run(globals)),
            Command::Check(check) => check.run(globals.output),
            Command::Demo(demo) => block_on(demo.run(globals)),
            Command::Sim(sim) => sim.run(globals),
            Command::Completions(completions) => completions.run(definition()),
            Command::Man(man) => man.run(definition()),
        }
    }
}

/// Runs a command that talks over sockets on this thread.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(command)
}

#[cfg(test)]
mod tests;
