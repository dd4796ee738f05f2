//! Drills on the control group's votes and log, on a slow disk.

use std::sync::Arc;
use std::time::Duration;

use quorate_control::consensus::{Consensus, ConsensusConfig, Pace};
use quorate_control::state::{ControlState, LogIndex, NodeSpec};
use quorate_control::topology::Timing;
use quorate_crdt::NodeId;
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::drill::{Drills, Verdict, holds};
use super::group::{Net, admission, spec};
use crate::sim::cluster::founding;
use crate::sim::disk::SimDisk;

pub(super) const DRILLS: Drills = &[
    ("vote-unsynced", "leads-by-a-lost-vote", vote),
    ("log-unsynced", "committed-not-durable", entry),
    ("volatile-votes", "forgetful-voter", forgetful),
];

/// How long a sync takes. The vote is written behind the first entry, so it takes two syncs; an
/// entry of the leader takes one more.
const SYNC: Duration = Duration::from_millis(400);

/// Whether a group of one has a leader, and what it has applied, at `time` after its founding
/// began.
fn after(time: Duration) -> Result<(bool, u64), String> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let disk = SimDisk::new(1);
        tokio::spawn(disk.work());
        let config = ConsensusConfig {
            pace: Pace::Fixed(Timing::of(Duration::from_millis(400))),
            ..ConsensusConfig::new(NodeId(1), 1)
        };
        let opened = Consensus::open(
            config,
            Arc::new(disk.clone()),
            Arc::new(disk.clone()),
            Arc::new(Net::default()),
        )
        .await;
        let node = opened.map_err(|error| error.to_string())?;
        disk.slow_down(SYNC);
        let asked = node.clone();
        let founded = tokio::spawn(async move { asked.found(founding(1, spec(1))).await.is_ok() });
        sleep(time).await;
        founded.abort();
        let status = node.topology().status();
        Ok((status.leader.is_some(), status.applied.0))
    })
}

/// A node must not lead before its own vote is durable.
fn vote() -> Verdict {
    let (leads, _) = after(SYNC / 2)?;
    holds(
        !leads,
        "the node leads although a power loss would take away its own vote",
    )
}

/// Nothing may be committed before it is durable; in the end it must be.
fn entry() -> Verdict {
    let (_, applied) = after(SYNC * 5 / 2)?;
    holds(
        applied == 0,
        format!("entry {applied} is committed although a power loss would take it away"),
    )?;
    let (_, applied) = after(SYNC * 20)?;
    holds(applied > 0, "nothing is ever committed")
}

/// A node whose store may forget what it has synchronised must not vote beside one that keeps it.
fn forgetful() -> Verdict {
    let mut state = ControlState::default();
    state.apply(LogIndex(1), founding(1, spec(1)));
    for number in 2..=3_u64 {
        let node = NodeSpec {
            durable: false,
            ..spec(number)
        };
        state.apply(LogIndex(number), admission(node));
    }
    let voters: Vec<_> = state.topology().voters().collect();
    holds(
        voters == [NodeId(1)] && state.volatile().len() == 2,
        format!("nodes that may forget their votes are among the voters {voters:?}"),
    )
}
