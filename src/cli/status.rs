//! `quorate status`: shows the cluster as one node sees it, once, again and again, or until it is
//! as it should be.

use std::io::{self, IsTerminal as _};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::cluster::print_json;
use super::fail::Failure;
use super::globals::Globals;
use super::http;
use super::output::{self, Output};
use crate::doors;

pub(super) const EXAMPLES: &str = "\
Examples:
  quorate status
  quorate status --output json | jq .converged
  quorate status --wait converged --timeout 1m      exit code 4 if it has not converged by then
  quorate status --watch";

/// How often `--wait` looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// How long `--wait` waits if no `--timeout` is given.
const WAIT: Duration = Duration::from_secs(30);
/// Ends the lines of one picture and begins the next at the top of the terminal.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// How long to look.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Return when the cluster is like this, or with exit code 4 at the --timeout [default: 30s].
    #[arg(long, value_name = "STATE")]
    wait: Option<Goal>,
    /// Show it again every two seconds until interrupted or, with --wait, until it is reached.
    #[arg(long)]
    watch: bool,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Goal {
    /// The control group has a leader, and the default levels of every keyspace can be met.
    Ready,
    /// All replicas of every partition hold the same.
    Converged,
}

impl Status {
    pub(super) fn run(self, globals: &Globals) -> Result<(), Failure> {
        let Some(goal) = self.wait else {
            loop {
                let status = look(globals, globals.patience())?;
                if !self.watch {
                    return show(globals, &status);
                }
                picture(globals, &status)?;
                sleep(WATCH_EVERY);
            }
        };
        let (begun, within) = (Instant::now(), globals.timeout.unwrap_or(WAIT));
        let mut shown = None;
        loop {
            // At least a moment, so that the last look can find something.
            let rest = within.saturating_sub(begun.elapsed()).max(LOOK_EVERY);
            let looked = look(globals, rest);
            if let Ok(status) = &looked {
                if goal.is_reached(status) {
                    return show(globals, status);
                }
                let due = |at: &Instant| at.elapsed() >= WATCH_EVERY;
                if self.watch && shown.as_ref().is_none_or(due) {
                    picture(globals, status)?;
                    shown = Some(Instant::now());
                }
            }
            if begun.elapsed() >= within {
                return Err(goal.missed(within, looked));
            }
            sleep(LOOK_EVERY.min(within.saturating_sub(begun.elapsed())));
        }
    }
}

impl Goal {
    fn is_reached(self, status: &doors::Status) -> bool {
        match self {
            Self::Ready => status.ready,
            Self::Converged => status.converged,
        }
    }

    fn missed(self, within: Duration, last: Result<doors::Status, Failure>) -> Failure {
        let goal = match self {
            Self::Ready => "ready",
            Self::Converged => "converged",
        };
        let why = match last {
            Ok(status) => {
                let remarks = status.remarks().into_iter();
                let mut why: Vec<String> = remarks.map(|(_, text)| text).collect();
                if status.leader.is_none() {
                    why.insert(0, "the control group has no leader".to_owned());
                }
                why.join("; ")
            }
            Err(failure) => failure.explain(),
        };
        Failure::NotReached {
            goal,
            within,
            why: why.into(),
        }
    }
}

fn look(globals: &Globals, patience: Duration) -> Result<doors::Status, Failure> {
    http::get_within(globals, "/v1/status", patience)
}

fn show(globals: &Globals, status: &doors::Status) -> Result<(), Failure> {
    match globals.output {
        Output::Table => output::line(status.to_string().trim_end())?,
        Output::Json => print_json(status)?,
    }
    Ok(())
}

/// Shows one of several: on a terminal at the place of the last one.
fn picture(globals: &Globals, status: &doors::Status) -> Result<(), Failure> {
    if globals.output == Output::Table && io::stdout().is_terminal() {
        output::line(CLEAR)?;
    }
    show(globals, status)
}
