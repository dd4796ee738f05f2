//! `quorate demo`: runs a cluster across several datacenters on this machine and proves that it
//! kept its promises.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use super::fail::Failure;
use super::globals::{Globals, time};
use super::output::Output;
use super::{logs, output};
use crate::config::LogFormat;
use crate::demo::{self, DemoError, Plan, Show, Voice};

pub(super) const EXAMPLES: &str = "\
Examples:
  quorate demo                                a live screen: three datacenters with three nodes each
  quorate demo --plain                        the same as text, line by line
  quorate demo --datacenters 5 --nodes 1      another shape
  quorate demo --output json | jq .lost       for scripts; the text goes to stderr
  quorate demo --scene fencing                a lock holder is stopped, and comes back too late

The exit code is 0 only if no acknowledged write was lost or counted twice, nothing that was removed
came back, every level was served where it can be and nowhere else, and all copies converged. In the scene
about fencing it is 0 only if all that the late holder asked for was refused.";

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scene {
    /// A datacenter is cut off and a node crashes, and nothing is lost.
    Split,
    /// The holder of a lock is stopped, and comes back after another has taken over.
    Fencing,
}

/// The size of the cluster, and how to show it.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// What is played.
    #[arg(long, value_enum, default_value_t = Scene::Split)]
    scene: Scene,
    /// Number of datacenters, 2 to 6; the last one is cut off.
    #[arg(long, default_value_t = 3, value_name = "N")]
    datacenters: usize,
    /// Nodes per datacenter [default: 3, for the scene about fencing 1].
    #[arg(long, value_name = "N")]
    nodes: Option<usize>,
    /// Print text line by line instead of drawing a screen. This is the default if stdout is not a
    /// terminal.
    #[arg(long)]
    plain: bool,
    /// Approximate duration, at least 10s. The scene about fencing takes what it takes.
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = time)]
    duration: Duration,
}

impl Demo {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let nodes = self.nodes.unwrap_or(match self.scene {
            Scene::Split => 3,
            Scene::Fencing => 1,
        });
        let plan = Plan::new(self.datacenters, nodes, self.duration).map_err(DemoError::from)?;
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
        if self.scene == Scene::Fencing {
            return play_fencing(plan, json, stop).await;
        }
        let report = demo::run(plan, show, stop).await?;
        match show {
            Show::Story(Voice::Stderr) => {
                output::note(format_args!("{}", demo::summary(&report, show)));
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

async fn play_fencing(
    plan: Plan,
    json: bool,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let voice = if json { Voice::Stderr } else { Voice::Stdout };
    let report = demo::fencing(plan, voice, stop).await?;
    if json {
        output::note(format_args!("{}", report.verdict()));
        output::line(report.json())?;
    } else {
        output::line(report.verdict())?;
    }
    if report.held() {
        Ok(())
    } else {
        Err(DemoError::NotHeld.into())
    }
}

/// The nodes log a lot that would clutter the demo, so they do so only if `QUORATE_LOG` is set.
fn log_if_asked() -> Result<(), Failure> {
    if let Some(filter) = logs::asked_for()? {
        logs::begin(filter, LogFormat::Text);
    }
    Ok(())
}
