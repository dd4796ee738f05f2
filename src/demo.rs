//! `quorate demo`: a cluster over several datacenters on this machine, split, healed and proved to
//! have converged.
//!
//! The nodes are real ([`crate::node::Node`]) and speak QUIC over loopback sockets; only distance
//! is made up, below QUIC. The clients speak the Redis protocol and write down what they are told;
//! in the end everything is read back at every node and compared with that.

mod audit;
mod board;
mod cluster;
mod ledger;
mod report;
mod scenario;
mod score;
mod screen;
mod wan;
mod workload;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use board::Board;
pub use board::Voice;
use cluster::Cluster;
pub use report::{Doubt, Harms, Healing, Report};
pub use score::{Cell, LEVELS, SIDES, Side, Totals};
pub use wan::DATACENTERS_MAX;

use crate::faces::resp::client::ClientError;
use crate::node::StartError;

/// The most nodes in all datacenters together: they share one machine.
pub const NODES_MAX: usize = 24;
/// The shortest workload that compares anything.
pub const DURATION_MIN: Duration = Duration::from_secs(10);

/// How large the demo is. [`Plan::new`] gives only plans that can be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    datacenters: usize,
    /// In each datacenter.
    nodes: usize,
    duration: Duration,
}

/// A plan that cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// One alone cannot be split, and there are only so many places to put them.
    #[error("--datacenters is a number from 2 to {DATACENTERS_MAX}, not {0}")]
    Datacenters(usize),
    /// None, or more than [`NODES_MAX`] in all.
    #[error(
        "--nodes is at least 1, and at most {NODES_MAX} in all datacenters together; {0} would run"
    )]
    Nodes(usize),
    /// Shorter than [`DURATION_MIN`].
    #[error("--duration is at least {DURATION_MIN:?}, not {0:?}")]
    Duration(Duration),
}

/// A demo that has shown nothing. Its nodes have been ended and its directory removed, unless the
/// variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The plan cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Directories, sockets or the terminal. If the directory itself could not be removed, the
    /// error names it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A node did not start.
    #[error("{node} did not start")]
    Start {
        /// Its name.
        node: String,
        /// Why.
        source: StartError,
    },
    /// A node could not be asked.
    #[error("a node could not be asked")]
    Client(#[from] ClientError),
    /// Something did not happen in time.
    #[error("gave up waiting for {what} after {seconds} s")]
    Stuck {
        /// What was waited for.
        what: &'static str,
        /// How long.
        seconds: u64,
    },
    /// A part of the demo has panicked, and said so on stderr.
    #[error("a part of the demo has ended by itself")]
    Stopped,
    /// Somebody wanted it to end.
    #[error("interrupted before there was a verdict")]
    Interrupted,
    /// It ran to its end and something did not hold.
    #[error("the demo did not hold what it should show")]
    NotHeld,
}

/// How the demo is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// As a story, line by line.
    Story(Voice),
    /// On a live screen; `q` ends it.
    Screen,
}

impl Plan {
    /// `nodes` in each of `datacenters`; `duration` is about how long the whole demo takes.
    ///
    /// # Errors
    /// [`PlanError`], with the bound that is broken.
    pub fn new(datacenters: usize, nodes: usize, duration: Duration) -> Result<Self, PlanError> {
        if !(2..=DATACENTERS_MAX).contains(&datacenters) {
            return Err(PlanError::Datacenters(datacenters));
        }
        let all = datacenters.saturating_mul(nodes);
        if nodes == 0 || all > NODES_MAX {
            return Err(PlanError::Nodes(all));
        }
        if duration < DURATION_MIN {
            return Err(PlanError::Duration(duration));
        }
        Ok(Self {
            datacenters,
            nodes,
            duration,
        })
    }

    fn all_nodes(self) -> usize {
        self.datacenters * self.nodes
    }

    /// Replicas of a key in each datacenter: those of `replication = auto`.
    fn replicas_each(self) -> usize {
        self.nodes.min(3)
    }
}

/// Runs the demo to its end, or until `stop`.
///
/// # Errors
/// [`DemoError`]. A demo that ran to its end is no error, whatever its [`Report::doubts`].
pub async fn run(
    plan: Plan,
    show: Show,
    stop: impl Future<Output = ()>,
) -> Result<Report, DemoError> {
    match show {
        Show::Story(voice) => run_on(&Board::new(voice, plan.datacenters), plan, stop).await,
        Show::Screen => {
            let board = Board::new(Voice::Screen, plan.datacenters);
            let screen = screen::Screen::open(&board)?;
            let quit = screen.quit();
            let stop = async {
                tokio::select! {
                    () = stop => {}
                    () = quit => {}
                }
            };
            let result = run_on(&board, plan, stop).await;
            screen.close().await;
            result
        }
    }
}

async fn run_on(
    board: &Arc<Board>,
    plan: Plan,
    stop: impl Future<Output = ()>,
) -> Result<Report, DemoError> {
    let mut cluster = Cluster::plan(plan, board)?;
    let result = tokio::select! {
        result = scenario::play(plan, &mut cluster, board) => result,
        () = stop => Err(DemoError::Interrupted),
    };
    let ended = cluster.end().await;
    let report = result?;
    ended?;
    Ok(report)
}

/// What is left to say when the demo is over: after a story the verdict and what speaks against it,
/// after a screen also what it has shown.
pub fn summary(report: &Report, show: Show) -> String {
    let doubts = report.doubts().iter().fold(String::new(), |lines, doubt| {
        lines + &format!("  - {doubt}\n")
    });
    let shown = match show {
        Show::Story(_) => String::new(),
        Show::Screen => format!(
            "{}\n{}\n",
            report::levels_table(&report.table, &SIDES),
            report.account()
        ),
    };
    format!("{shown}{doubts}{}", report.verdict())
}
