//! Drills on the control group's votes and log, on a slow disk.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::consensus::{ConsensusConfig, ControlGroup, Link, LinkError};
use quorate_control::state::NodeSpec;
use quorate_crdt::NodeId;
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::drill::{Drills, Verdict, holds};
use crate::sim::cluster::{founding, key_of};
use crate::sim::disk::SimDisk;

pub(super) const DRILLS: Drills = &[
    ("vote-unsynced", "leads-by-a-lost-vote", vote),
    ("log-unsynced", "committed-not-durable", entry),
];

/// How long a sync takes. The vote is written behind the first entry, so it takes two syncs; an
/// entry of the leader takes one more.
const SYNC: Duration = Duration::from_millis(400);

/// There are no other nodes.
struct Alone;

impl Link for Alone {
    fn call(
        &self,
        _: NodeId,
        _: Bytes,
        _: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, LinkError>> + Send>> {
        Box::pin(async { Err(LinkError::Unreachable) })
    }
}

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
        let seconds = Duration::from_secs;
        let config = ConsensusConfig {
            heartbeat: seconds(1),
            election_min: seconds(3),
            election_max: seconds(6),
            ..ConsensusConfig::new(NodeId(1), 1)
        };
        let opened = ControlGroup::open(
            config,
            Arc::new(disk.clone()),
            Arc::new(disk.clone()),
            Arc::new(Alone),
        )
        .await;
        let group = opened.map_err(|error| error.to_string())?;
        disk.slow_down(SYNC);
        let quic = "10.0.0.1:7381".into();
        let spec = NodeSpec {
            name: "n1".into(),
            datacenter: "dc1".into(),
            rack: "rack1".into(),
            quic,
            key: key_of(0),
        };
        let asked = group.clone();
        let founded = tokio::spawn(async move { asked.found(founding(1, spec)).await.is_ok() });
        sleep(time).await;
        founded.abort();
        let status = group.status();
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
