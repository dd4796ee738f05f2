//! `quorate demo`: a cluster over several datacenters on this machine, shown and proved.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::fail::Failure;
use super::output::Output;
use super::{Globals, output, time};
use crate::demo::{self, DemoError, Plan, Show, Voice};

pub(super) const EXAMPLES: &str = "\
Examples:
  quorate demo                                a live screen: three datacenters with three nodes each
  quorate demo --plain                        the same as a story, line by line
  quorate demo --datacenters 5 --nodes 1      another shape
  quorate demo --output json | jq .lost       for scripts; the story goes to stderr

Exit code 0 only if no acknowledged write was lost, none was counted twice, nothing removed rose again, every level was
served where it can be and nowhere else, and all copies converged.";

/// How large, and how to show it.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Datacenters, 2 to 6; the last one is cut off.
    #[arg(long, default_value_t = 3, value_name = "N")]
    datacenters: usize,
    /// Nodes in each datacenter.
    #[arg(long, default_value_t = 3, value_name = "N")]
    nodes: usize,
    /// Tell a story instead of drawing a screen, as is done anyway when stdout is not a terminal.
    #[arg(long)]
    plain: bool,
    /// About how long it takes, at least 10s.
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = time)]
    duration: Duration,
}

impl Demo {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let plan =
            Plan::new(self.datacenters, self.nodes, self.duration).map_err(DemoError::from)?;
        let json = globals.output == Output::Json;
        let show = match (json, self.plain || !io::stdout().is_terminal()) {
            (true, _) => Show::Story(Voice::Stderr),
            (false, true) => Show::Story(Voice::Stdout),
            (false, false) => Show::Screen,
        };
        log_if_asked()?;
        let (mut interrupt, mut terminate) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        let stop = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        let report = demo::run(plan, show, stop).await?;
        match show {
            Show::Story(Voice::Stderr) => {
                output::note(format_args!("{}", demo::summary(&report, show)))
            }
            _ => output::line(demo::summary(&report, show))?,
        }
        if json {
            output::line(report.json())?;
        }
        if report.doubts().is_empty() {
            Ok(())
        } else {
            Err(DemoError::NotHeld.into())
        }
    }
}

/// The nodes of the demo have much to say that would spoil the story; who wants to hear it sets
/// `QUORATE_LOG`.
fn log_if_asked() -> Result<(), Failure> {
    if let Some(filter) = super::log_asked_for()? {
        super::log(filter);
    }
    Ok(())
}
