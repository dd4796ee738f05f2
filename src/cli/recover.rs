//! `quorate node recover`: goes on from one survivor when a majority of the voters is lost for
//! good. Offline, on the survivor's data directory.

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::fail::Failure;
use super::globals::Globals;
use super::output::{self, Output};
use crate::node::Survivor;

pub(super) const EXAMPLES: &str = "\
Example: of a, b and c the disks of b and c are gone; a is stopped.
  quorate node recover --data-dir ./a          says what will be given up, and asks
  quorate node recover --data-dir ./a --yes    does it without asking
Then start a as before, and let new nodes join.";

#[derive(Debug, Args)]
pub(super) struct Recover {
    /// Data directory of the survivor. Its node must be stopped.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Another node that has survived and stays a member; its node must be stopped as well. May be
    /// given several times. All nodes that are not named are lost.
    #[arg(long, value_name = "NAME")]
    keep: Vec<String>,
    /// Do it without asking.
    #[arg(long)]
    yes: bool,
}

/// What a recovery does and gives up, for scripts.
#[derive(Serialize)]
struct Report {
    node: String,
    cluster: String,
    /// The last decision that the survivor has. Later ones are gone.
    last_decision: u64,
    /// How many of the last ones the survivor had not heard to be decided. They are kept.
    unconfirmed: u64,
    lost: Vec<String>,
    kept: Vec<String>,
    emptied: Vec<Emptied>,
    replication_now_auto: Vec<String>,
    done: bool,
}

#[derive(Serialize)]
struct Emptied {
    keyspace: String,
    partitions: usize,
}

impl Report {
    fn of(survivor: &Survivor) -> Self {
        let recovery = &survivor.recovery;
        let given_up = recovery.given_up();
        let members = recovery.topology().nodes.values();
        Self {
            node: survivor.name.clone(),
            cluster: format!("{:032x}", survivor.cluster.0),
            last_decision: recovery.last().0,
            unconfirmed: recovery.unconfirmed(),
            lost: given_up.nodes.iter().map(ToString::to_string).collect(),
            kept: members
                .map(|info| info.name.to_string())
                .filter(|name| *name != survivor.name)
                .collect(),
            emptied: given_up
                .emptied
                .iter()
                .map(|(keyspace, partitions)| Emptied {
                    keyspace: keyspace.to_string(),
                    partitions: *partitions,
                })
                .collect(),
            replication_now_auto: given_up.moved.iter().map(ToString::to_string).collect(),
            done: false,
        }
    }

    fn print(&self) -> io::Result<()> {
        let lost = if self.lost.is_empty() {
            "nobody".to_owned()
        } else {
            self.lost.join(", ")
        };
        output::line(format_args!(
            "{} becomes the only voter of cluster {}.",
            self.node, self.cluster
        ))?;
        output::line(format_args!("Lost for good:  {lost}"))?;
        if !self.kept.is_empty() {
            output::line(format_args!("Stay members:   {}", self.kept.join(", ")))?;
        }
        output::line("Given up:")?;
        output::line(format_args!(
            "  - decisions after number {}, the last that {} has: keyspaces, tokens and nodes made later",
            self.last_decision, self.node
        ))?;
        output::line(
            "  - writes that none of the nodes left has, also some that were acknowledged at QUORUM",
        )?;
        for Emptied {
            keyspace,
            partitions,
        } in &self.emptied
        {
            output::line(format_args!(
                "  - all data of {partitions} partitions of keyspace {keyspace}, which nobody left held"
            ))?;
        }
        for keyspace in &self.replication_now_auto {
            output::line(format_args!(
                "  - the replication of keyspace {keyspace}, whose datacenters are lost: it becomes auto"
            ))?;
        }
        output::line(
            "The lost nodes must never start again on their old directories: they would be another cluster.",
        )
    }
}

impl Recover {
    pub(super) fn run(self, globals: &Globals) -> Result<(), Failure> {
        let survivor = Survivor::examine(&self.data_dir, &self.keep)?;
        let mut report = Report::of(&survivor);
        let json = globals.output == Output::Json;
        if !json {
            report.print()?;
        }
        if !self.yes && !confirmed()? {
            if json {
                super::cluster::print_json(&report)?;
            }
            return Err(Failure::Usage("nothing was changed; give --yes to go on"));
        }
        survivor
            .recovery
            .carry_out()
            .map_err(crate::node::SurvivorError::from)?;
        report.done = true;
        if json {
            super::cluster::print_json(&report)?;
        } else {
            output::line(format_args!(
                "done: start {} as before, and let new nodes join",
                report.node
            ))?;
        }
        Ok(())
    }
}

/// Whether a person at a terminal types `yes`. Nobody is asked where there is no terminal.
fn confirmed() -> io::Result<bool> {
    let input = io::stdin();
    if !input.is_terminal() {
        return Ok(false);
    }
    output::note(format_args!("Type yes to go on:"));
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
