//! The command line: parses the verbs and runs them. Data goes to stdout, notes go to stderr, and
//! the exit code says what is now true.

mod bench;
mod check;
mod cluster;
mod demo;
mod fail;
mod globals;
mod http;
mod keys;
mod logs;
mod node;
mod output;
mod sim;
mod start;
mod user;

use std::future::Future;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

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
    /// Make, list, change or drop users.
    #[command(subcommand)]
    User(user::User),
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
            Command::User(user) => user.run(globals),
            Command::Bench(bench) => block_on(bench.run(globals)),
            Command::Check(check) => check.run(globals.output),
            Command::Demo(demo) => block_on(demo.run(globals)),
            Command::Sim(sim) => sim.run(globals),
        }
    }

    /// The first global flag given that the command does not use. Ignoring it silently would
    /// mislead.
    fn misplaced(&self) -> Option<&'static str> {
        let useful: &[&str] = match self.command {
            Command::Start(_) => &["--resp", "--http", "--password", "--tls-cert", "--tls-key"],
            Command::Status | Command::Keyspace(_) | Command::Node(_) | Command::User(_) => &[
                "--http",
                "--user",
                "--password",
                "--tls-ca",
                "--tls-cert",
                "--tls-key",
                "--timeout",
            ],
            Command::Get(_) | Command::Put(_) | Command::Incr(_) | Command::Del(_) => &[
                "--resp",
                "--user",
                "--password",
                "--tls-ca",
                "--tls-cert",
                "--tls-key",
                "--consistency",
                "--timeout",
            ],
            Command::Bench(_) => &[
                "--user",
                "--password",
                "--tls-ca",
                "--tls-cert",
                "--tls-key",
                "--timeout",
            ],
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
            ("--user", globals.user.is_some()),
            ("--password", globals.password.is_some()),
            ("--tls-ca", globals.tls_ca.is_some()),
            ("--tls-cert", globals.tls_cert.is_some()),
            ("--tls-key", globals.tls_key.is_some()),
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

/// Runs a command that talks over sockets on this thread.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(command)
}

#[cfg(test)]
mod tests;
