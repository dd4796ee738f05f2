//! `quorate consensus`: who decides, whether there are enough of them, and what follows from that
//! for reads and writes. Over HTTP.

mod entry;
mod judge;
mod read;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use quorate_dynamo::Consistency;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cluster::{done, print_json};
use super::fail::Failure;
use super::globals::Globals;
use super::http::{self, Client};
use super::output::{self, Output};
use crate::doors::{AccessKind, GroupView, LogEntryView, QuorumView, StateView, Status};
use crate::table::Table;
use entry::{AddNode, Enter, Init};
use judge::Finding;
use read::Read;

/// How often it is looked for what a node does not act on yet.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) const EXAMPLES: &str = "\
Examples:
  quorate consensus quorum --check
  quorate consensus verify-quorum --operation write --level QUORUM
  quorate consensus diagnose --node b
  quorate consensus transfer-leader --to-node b
  quorate consensus log --tail 5
  quorate consensus read --key limits --level stale --max-staleness 5s
The exit code is 3 where there are too few nodes.";

#[derive(Debug, Args)]
pub(super) struct Consensus {
    /// The Raft group: topology or coordination.
    #[arg(long, global = true, value_name = "NAME", default_value = "topology")]
    group: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show who votes, who answers, and who leads.
    Status {
        /// Show the log of the node that is asked, and, if it leads, how far the others are.
        #[arg(long)]
        detailed: bool,
    },
    /// Show the leader that a majority of the voters follows.
    Leader {
        /// Does nothing: the leader is shown in any case.
        #[arg(long)]
        show: bool,
    },
    /// Say how many voters may fail, and which keyspaces can be read and written at their default
    /// levels.
    Quorum(Quorum),
    /// Say from which datacenters reads or writes can be done at a level now.
    VerifyQuorum(Verify),
    /// Set the default levels of a keyspace, and say what they give up.
    SetQuorum(Set),
    /// Say how to begin a cluster: it begins with its first node.
    Init(Init),
    /// Make a token for one node, and say how to start the node with it.
    Join(Enter),
    /// As join. The cluster chooses which of its nodes vote.
    AddNode(AddNode),
    /// As join, for a node that is there to vote only.
    AddWitness(Enter),
    /// Take a node out of the cluster. Its data moves to the others first.
    RemoveNode(Remove),
    /// Say what is amiss with a node. The exit code is 1 if something is.
    Diagnose {
        /// Its name.
        #[arg(long, value_name = "NAME")]
        node: String,
    },
    /// Have the leader hand over to another voter.
    TransferLeader {
        /// The voter [default: any that has all entries].
        #[arg(long, value_name = "NAME")]
        to_node: Option<String>,
    },
    /// Have the group elect a leader: another one if there is one.
    ForceElection {
        /// Why, for the audit line in the log.
        #[arg(long)]
        reason: String,
    },
    /// Print the last entries of the log of the node that is asked, in words.
    Log {
        /// How many.
        #[arg(long, value_name = "N", default_value_t = 20)]
        tail: u64,
    },
    /// Drop entries of the log of the node that is asked, as far as its snapshot contains them.
    CompactLog {
        /// The first entry to keep.
        #[arg(long, value_name = "N")]
        before_index: u64,
    },
    /// Make a snapshot on the node that is asked, or show the one that there is.
    #[command(group = clap::ArgGroup::new("what").required(true))]
    Snapshot {
        /// Make one.
        #[arg(long, group = "what")]
        create: bool,
        /// Show up to where the present one goes.
        #[arg(long, group = "what")]
        list: bool,
        /// Put the state in a file in place of the present one: locks, sessions, elections,
        /// metadata. Tokens go on above those of both.
        #[arg(long, group = "what", requires = "from")]
        restore: bool,
        /// Save the state of the coordination group in this file as well.
        #[arg(long, value_name = "FILE", requires = "create")]
        to: Option<PathBuf>,
        /// The file to restore.
        #[arg(long, value_name = "FILE", requires = "restore")]
        from: Option<PathBuf>,
        /// The file may be of another cluster.
        #[arg(long, requires = "restore")]
        foreign: bool,
    },
    /// Read what the coordination group has decided: a value of metadata, an election, locks.
    Read(Read),
    /// Show how much the state of the node that is asked has of what, and its hashes.
    Debug {
        /// Does nothing: it is shown in any case.
        #[arg(long)]
        show_state_machine: bool,
    },
    /// Print the metrics about consensus.
    Metrics {
        /// Does nothing: they are in the text form of Prometheus in any case.
        #[arg(long)]
        prometheus: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Quorum {
    /// Does nothing: it is checked in any case.
    #[arg(long)]
    check: bool,
    /// Only this keyspace [default: all].
    #[arg(long, value_name = "NAME")]
    keyspace: Option<String>,
}

/// What a client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Operation {
    Read,
    Write,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    #[arg(long, value_enum)]
    operation: Operation,
    /// The keyspace.
    #[arg(long, value_name = "NAME", default_value = "default")]
    keyspace: String,
    /// The level, by its name [default: that of the keyspace].
    #[arg(long, value_name = "LEVEL")]
    level: Option<Consistency>,
}

#[derive(Clone, Copy, Debug, Args)]
#[group(required = true, multiple = true)]
struct Wanted {
    /// How many replicas a read asks, or a level.
    #[arg(long, value_name = "N|LEVEL", value_parser = |text: &str| level(text, 'R'))]
    read: Option<Consistency>,
    /// How many replicas have a write when it is acknowledged, or a level.
    #[arg(long, value_name = "N|LEVEL", value_parser = |text: &str| level(text, 'W'))]
    write: Option<Consistency>,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    wanted: Wanted,
    /// The keyspace.
    #[arg(long, value_name = "NAME", default_value = "default")]
    keyspace: String,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Its name.
    name: String,
    /// Refuse if fewer than a majority of the other voters answer.
    #[arg(long)]
    safe: bool,
}

/// A level, or a number of replicas.
fn level(text: &str, letter: char) -> Result<Consistency, String> {
    let named = match text.parse::<u8>() {
        Ok(number) => format!("{letter}={number}"),
        Err(_not_a_number) => text.to_owned(),
    };
    named
        .parse()
        .map_err(|unknown: quorate_dynamo::consistency::UnknownLevel| unknown.to_string())
}

impl Consensus {
    pub(super) fn run(self, globals: &Globals) -> Result<(), Failure> {
        let of_group = format!("/v1/consensus/{}", http::segment(&self.group));
        match self.verb {
            Verb::Status { detailed } => status(globals, &of_group, detailed),
            Verb::Leader { show: _ } => leader(globals, &of_group),
            Verb::Quorum(quorum) => quorum.run(globals, &of_group),
            Verb::VerifyQuorum(verify) => verify.run(globals),
            Verb::SetQuorum(set) => set.run(globals),
            Verb::Init(init) => init.run(globals),
            Verb::Join(enter) => enter.run(globals),
            Verb::AddNode(add) => add.run(globals),
            Verb::AddWitness(enter) => enter.run_as_witness(globals),
            Verb::RemoveNode(remove) => remove.run(globals, &of_group),
            Verb::Diagnose { node } => diagnose(globals, &of_group, &node),
            Verb::TransferLeader { to_node } => {
                let path = format!("{of_group}/leader");
                let led: Value = http::post(globals, &path, &json!({ "to": to_node }))?;
                told(globals, &led, "leader", leads)
            }
            Verb::ForceElection { reason } => {
                let path = format!("{of_group}/election?reason={}", http::segment(&reason));
                let led: Value = http::post(globals, &path, &json!({}))?;
                told(globals, &led, "leader", leads)
            }
            Verb::Log { tail } => log(globals, &format!("{of_group}/log?tail={tail}")),
            Verb::CompactLog { before_index } => {
                let path = format!("{of_group}/compact");
                let left: Value = http::post(globals, &path, &json!({ "before": before_index }))?;
                told(globals, &left, "first_log", |first| {
                    format!("the log begins with entry {first}")
                })
            }
            Verb::Snapshot {
                from: Some(from),
                foreign,
                ..
            } => restore(globals, &of_group, &from, foreign),
            Verb::Snapshot { create, to, .. } => {
                if let Some(to) = to {
                    save(globals, &of_group, &to)?;
                }
                let made: Value = if create {
                    http::post(globals, &format!("{of_group}/snapshot"), &json!({}))?
                } else {
                    let view: GroupView = http::get(globals, &of_group)?;
                    json!({ "snapshot": view.log.snapshot })
                };
                told(globals, &made, "snapshot", |last| match last {
                    Value::Null => "there is no snapshot".to_owned(),
                    last => format!("the snapshot has everything up to entry {last}"),
                })
            }
            Verb::Read(read) => read.run(globals),
            Verb::Debug {
                show_state_machine: _,
            } => state(globals, &of_group),
            Verb::Metrics { prometheus: _ } => metrics(globals),
        }
    }
}

/// Who leads now, in words.
fn leads(leader: &Value) -> String {
    format!("{} leads", leader.as_str().unwrap_or("nobody"))
}

/// Says what was answered, from one field of it.
fn told(
    globals: &Globals,
    answer: &Value,
    field: &str,
    say: impl FnOnce(&Value) -> String,
) -> Result<(), Failure> {
    match globals.output {
        Output::Table => output::line(say(&answer[field]))?,
        Output::Json => output::line(answer)?,
    }
    Ok(())
}

/// The entries of a log.
#[derive(Deserialize, Serialize)]
struct Entries {
    entries: Vec<LogEntryView>,
}

fn log(globals: &Globals, path: &str) -> Result<(), Failure> {
    let log: Entries = http::get(globals, path)?;
    if globals.output == Output::Json {
        return Ok(print_json(&log)?);
    }
    let mut table = Table::new(["INDEX", "TERM", "WHAT"]);
    for entry in log.entries {
        table.push([entry.index.to_string(), entry.term.to_string(), entry.what]);
    }
    Ok(output::line(table.to_string().trim_end())?)
}

fn look(globals: &Globals) -> Result<Status, Failure> {
    http::get(globals, "/v1/status")
}

/// Who decides in the group.
fn survey(globals: &Globals, of_group: &str) -> Result<QuorumView, Failure> {
    http::get(globals, &format!("{of_group}/quorum"))
}

fn status(globals: &Globals, of_group: &str, detailed: bool) -> Result<(), Failure> {
    let view: GroupView = http::get(globals, of_group)?;
    let group = survey(globals, of_group)?;
    if globals.output == Output::Json {
        let document = if detailed {
            json!({ "group": group, "here": view })
        } else {
            json!({ "group": group })
        };
        return Ok(output::line(document)?);
    }
    output::line(&group)?;
    if !detailed {
        return Ok(());
    }
    output::line(format_args!(
        "{} is {} in term {}: its log has entries {} to {}, {} are committed and {} applied",
        view.node,
        view.role,
        view.term,
        view.log.first_log,
        view.log.last_log,
        view.log.committed,
        view.log.applied
    ))?;
    if let Some(last) = view.log.snapshot {
        output::line(format_args!(
            "its snapshot has everything up to entry {last}"
        ))?;
    }
    if view.followers.is_empty() {
        return Ok(());
    }
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let mut table = Table::new(["FOLLOWER", "HAS", "LACKS", "ANSWERED MS AGO"]);
    for follower in view.followers {
        table.push([
            follower.node,
            number(follower.matched),
            follower.behind.to_string(),
            number(follower.heard_ms),
        ]);
    }
    Ok(output::line(format_args!(
        "\n{}",
        table.to_string().trim_end()
    ))?)
}

fn save(globals: &Globals, of_group: &str, to: &Path) -> Result<(), Failure> {
    let client = Client::open(globals, globals.patience())?;
    let archive = client.bytes(&format!("{of_group}/archive"))?;
    Ok(fs::write(to, archive)?)
}

fn restore(globals: &Globals, of_group: &str, from: &Path, foreign: bool) -> Result<(), Failure> {
    let archive = fs::read(from)?;
    let client = Client::open(globals, globals.patience())?;
    let path = format!("{of_group}/archive?foreign={foreign}");
    let restored: Value = client.send(&path, archive)?;
    told(globals, &restored, "tokens_above", |above| {
        format!("restored; tokens from now on are above {above}")
    })
}

fn state(globals: &Globals, of_group: &str) -> Result<(), Failure> {
    let state: StateView = http::get(globals, &format!("{of_group}/state"))?;
    if globals.output == Output::Json {
        return Ok(print_json(&state)?);
    }
    let StateView { group, node, .. } = &state;
    output::line(format_args!(
        "{group}: {node} has applied everything up to entry {}",
        state.applied
    ))?;
    for (what, figure) in &state.figures {
        output::line(format_args!("{what:<18} {figure}"))?;
    }
    for (entry, hash) in &state.hashes {
        output::line(format_args!("hash after entry {entry}: {hash}"))?;
    }
    Ok(())
}

fn leader(globals: &Globals, of_group: &str) -> Result<(), Failure> {
    let group = survey(globals, of_group)?;
    match (&group.leader, globals.output) {
        (_, Output::Json) => print_json(&group)?,
        (Some(leader), Output::Table) => output::line(leader)?,
        (None, Output::Table) => {}
    }
    match group.leader {
        Some(_) => Ok(()),
        None => Err(Failure::TooFew(
            "no node leads: a majority of the voters follows nobody".into(),
        )),
    }
}

impl Quorum {
    fn run(self, globals: &Globals, of_group: &str) -> Result<(), Failure> {
        let status = look(globals)?;
        let group = survey(globals, of_group)?;
        let keyspaces = judge::keyspaces(&status, self.keyspace.as_deref())?;
        match globals.output {
            Output::Json => print_json(&json!({ "group": group, "keyspaces": keyspaces }))?,
            Output::Table => {
                output::line(&group)?;
                for keyspace in &keyspaces {
                    output::line(keyspace)?;
                }
            }
        }
        if !group.quorate {
            return Err(Failure::TooFew(group.to_string().into()));
        }
        match keyspaces.iter().find(|keyspace| !keyspace.met) {
            Some(unmet) => Err(Failure::TooFew(unmet.to_string().into())),
            None => Ok(()),
        }
    }
}

impl Verify {
    fn run(self, globals: &Globals) -> Result<(), Failure> {
        let access = match self.operation {
            Operation::Read => AccessKind::Read,
            Operation::Write => AccessKind::Write,
        };
        let status = look(globals)?;
        let places = judge::places(&status, &self.keyspace, access, self.level)?;
        match globals.output {
            Output::Json => print_json(&json!({ "from": places }))?,
            Output::Table => {
                for place in &places {
                    output::line(place)?;
                }
            }
        }
        match places.iter().find(|place| !place.met) {
            Some(place) => Err(Failure::TooFew(place.to_string().into())),
            None => Ok(()),
        }
    }
}

impl Set {
    fn run(self, globals: &Globals) -> Result<(), Failure> {
        let Wanted { read, write } = self.wanted;
        let mut change = json!({});
        for (name, level) in [("read", read), ("write", write)] {
            if let Some(level) = level {
                change[name] = level.to_string().into();
            }
        }
        let path = format!("/v1/keyspaces/{}", http::segment(&self.keyspace));
        http::patch(globals, &path, &change)?;
        done(
            globals,
            format_args!("set the default levels of keyspace {}", self.keyspace),
        )?;
        for remark in judge::given_up(&self.acted_on(globals)?, &self.keyspace) {
            output::note(format_args!("{remark}"));
        }
        output::note(format_args!(
            "the nodes decide on topology by majority, whatever the levels of keyspaces are"
        ));
        Ok(())
    }
}

impl Set {
    /// The status once the node that was asked acts on what was set.
    fn acted_on(&self, globals: &Globals) -> Result<Status, Failure> {
        let begun = Instant::now();
        loop {
            let status = look(globals)?;
            let Wanted { read, write } = self.wanted;
            let acts = judge::has_levels(&status, &self.keyspace, read, write);
            if acts || begun.elapsed() > globals.patience() {
                return Ok(status);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Remove {
    fn run(self, globals: &Globals, of_group: &str) -> Result<(), Failure> {
        if self.safe {
            let rest = survey(globals, of_group)?.without(&self.name);
            if !rest.quorate {
                let why = format!("without {}: {rest}; nothing was changed", self.name);
                return Err(Failure::TooFew(why.into()));
            }
        }
        let path = format!("/v1/nodes/{}", http::segment(&self.name));
        http::delete(globals, &path)?;
        done(globals, format_args!("{} is leaving", self.name))
    }
}

fn diagnose(globals: &Globals, of_group: &str, node: &str) -> Result<(), Failure> {
    let mut findings = judge::findings(&look(globals)?, node)?;
    findings.extend(judge::findings_in(&survey(globals, of_group)?, node));
    match globals.output {
        Output::Json => print_json(&json!({ "node": node, "findings": findings }))?,
        Output::Table if findings.is_empty() => {
            output::line(format_args!("nothing is amiss with {node}"))?;
        }
        Output::Table => {
            for Finding { what, text } in &findings {
                output::line(format_args!("{what:<10} {text}"))?;
            }
        }
    }
    if findings.is_empty() {
        Ok(())
    } else {
        Err(Failure::Amiss {
            node: node.into(),
            findings: findings.len(),
        })
    }
}

/// The lines of the families that are about consensus.
fn metrics(globals: &Globals) -> Result<(), Failure> {
    let text = Client::open(globals, globals.patience())?.text("/metrics")?;
    let about = |line: &&str| {
        let name = line.strip_prefix("# ").map_or(*line, |rest| {
            rest.split_once(' ').map_or(rest, |(_word, name)| name)
        });
        name.split('_').nth(1) == Some("raft")
    };
    let lines: Vec<&str> = text.lines().filter(about).collect();
    Ok(output::line(lines.join("\n"))?)
}
