//! `quorate demo`: starts a cluster across several datacenters on this machine, splits it, heals it
//! and proves that it converged. Another scene shows what fencing tokens are for.
//!
//! The nodes are real ([`crate::node::Node`]) and speak QUIC over loopback sockets. Only the
//! distance between datacenters is simulated, below QUIC. The clients speak the Redis protocol and
//! record what they are told. At the end everything is read back at every node and compared with
//! that record.

mod audit;
mod board;
mod cluster;
mod error;
mod fencing;
mod ledger;
mod plan;
mod report;
mod scenario;
mod score;
mod screen;
mod wan;
mod workload;

use std::future::Future;
use std::sync::Arc;

use board::Board;
pub use board::Voice;
use cluster::Cluster;
pub use error::DemoError;
pub use fencing::FencingReport;
pub use plan::{DURATION_MIN, NODES_MAX, Plan, PlanError};
pub use report::{Doubt, Harms, Healing, Report};
pub use score::{Cell, LEVELS, SIDES, Side, Totals};
pub use wan::DATACENTERS_MAX;

/// How to present the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// As a story, line by line.
    Story(Voice),
    /// On a live screen. `q` ends it.
    Screen,
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

/// Plays the scene about fencing to its end, or until `stop`. It is told as a story.
///
/// # Errors
/// [`DemoError`]. A scene that ran to its end is not an error, whatever it has shown.
pub async fn fencing(
    plan: Plan,
    voice: Voice,
    stop: impl Future<Output = ()>,
) -> Result<FencingReport, DemoError> {
    let board = Board::new(voice, plan.datacenters);
    let mut cluster = Cluster::plan(plan, &board)?;
    let result = tokio::select! {
        result = fencing::play(&mut cluster, &board) => result,
        () = stop => Err(DemoError::Interrupted),
    };
    let ended = cluster.end().await;
    let report = result?;
    ended?;
    Ok(report)
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
