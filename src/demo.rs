//! `quorate demo`: starts a cluster across several datacenters on this machine, splits it, heals it
//! and proves that it converged.
//!
//! The nodes are real ([`crate::node::Node`]) and speak QUIC over loopback sockets. Only the
//! distance between datacenters is simulated, below QUIC. The clients speak the Redis protocol and
//! record what they are told. At the end everything is read back at every node and compared with
//! that record.

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

/// The most nodes in all datacenters together, because they share one machine.
pub const NODES_MAX: usize = 24;
/// The shortest demo in which the levels can be compared.
pub const DURATION_MIN: Duration = Duration::from_secs(10);

/// How large the demo is. [`Plan::new`] returns only plans that can be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    datacenters: usize,
    /// Nodes in each datacenter.
    nodes: usize,
    duration: Duration,
}

/// Why a plan cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// One datacenter alone cannot be split, and only [`DATACENTERS_MAX`] places are known.
    #[error("--datacenters must be from 2 to {DATACENTERS_MAX}, not {0}")]
    Datacenters(usize),
    /// No nodes, or more than [`NODES_MAX`] in total.
    #[error(
        "--nodes must be at least 1, with at most {NODES_MAX} nodes in all datacenters together; this makes {0}"
    )]
    Nodes(usize),
    /// Shorter than [`DURATION_MIN`].
    #[error("--duration must be at least {DURATION_MIN:?}, not {0:?}")]
    Duration(Duration),
}

/// Why a demo showed nothing. Its nodes have been stopped and its directory removed, unless the
/// variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The plan cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An error with directories, sockets or the terminal. If the demo's directory could not be
    /// removed, the error names it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A node failed to start.
    #[error("{node} did not start")]
    Start {
        /// The node's name.
        node: String,
        /// Why it failed.
        source: StartError,
    },
    /// A client's connection to a node failed.
    #[error("a client's connection to a node failed")]
    Client(#[from] ClientError),
    /// Something did not happen in time.
    #[error("gave up waiting for {what} after {seconds} s")]
    Stuck {
        /// What was waited for.
        what: &'static str,
        /// How long, in seconds.
        seconds: u64,
    },
    /// A task of the demo panicked; stderr has the message.
    #[error("a task of the demo stopped unexpectedly")]
    Stopped,
    /// The user ended the demo.
    #[error("interrupted before there was a verdict")]
    Interrupted,
    /// The demo ran to its end, but something did not hold.
    #[error("the demo did not show what it should")]
    NotHeld,
}

/// How to present the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// As a story, line by line.
    Story(Voice),
    /// On a live screen. `q` ends it.
    Screen,
}

impl Plan {
    /// A demo with `nodes` in each of `datacenters`, which takes about `duration`.
    ///
    /// # Errors
    /// [`PlanError`] names the bound that was violated.
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

    /// Replicas of a key in each datacenter, as `replication = auto` chooses them.
    fn replicas_each(self) -> usize {
        self.nodes.min(3)
    }
}

/// Runs the demo to its end, or until `stop`.
///
/// # Errors
/// [`DemoError`]. A demo that ran to its end is not an error, whatever its [`Report::doubts`].
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

/// What remains to be printed after the demo: after a story the verdict and its reasons, after a
/// screen also the figures.
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
