//! Sizes and the pace of the groups.

use std::time::Duration;

use openraft::SnapshotPolicy;
use quorate_crdt::NodeId;

use crate::topology::Timing;

/// How this node takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsensusConfig {
    /// This node's number: the one it was admitted under, or 1 for the node that founds the
    /// cluster. A node that has lost its disk must come back under a new number.
    pub node: NodeId,
    /// The seed of the election timeouts, and the number of this life of the node. Draw it at
    /// random at every start, or in a simulation from the simulation's seed.
    pub seed: u64,
    /// How often heartbeats are sent and when elections begin.
    pub pace: Pace,
    /// A snapshot is made after this many log entries since the last one.
    pub snapshot_every: u64,
    /// How many log entries are kept for slow followers although the snapshot contains them.
    pub keep: u64,
}

/// Where the pace of the groups comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The leader measures how far the nodes are apart, and the group decides. It begins with
    /// [`Timing::NEAR`].
    Agreed,
    /// Always this one, for tests. All nodes of a cluster need the same.
    Fixed(Timing),
}

/// The settings cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsensusConfigError {
    /// A snapshot needs at least one entry.
    #[error("a snapshot cannot be made after every 0 entries")]
    Snapshot,
}

impl ConsensusConfig {
    /// With an agreed pace. A snapshot every 1000 entries is a guess.
    pub const fn new(node: NodeId, seed: u64) -> Self {
        Self {
            node,
            seed,
            pace: Pace::Agreed,
            snapshot_every: 1000,
            keep: 200,
        }
    }

    /// Whether the settings can work.
    ///
    /// # Errors
    /// [`ConsensusConfigError`] for the first thing that is wrong.
    pub fn validate(&self) -> Result<(), ConsensusConfigError> {
        if self.snapshot_every == 0 {
            return Err(ConsensusConfigError::Snapshot);
        }
        Ok(())
    }

    /// The pace to begin with.
    pub(super) fn first_timing(&self) -> Timing {
        match self.pace {
            Pace::Agreed => Timing::NEAR,
            Pace::Fixed(timing) => timing,
        }
    }

    /// The settings for openraft. It gives no sign of life by itself: all groups of a node do so
    /// at the same moment. What it calls the interval of heartbeats is how long it waits for an
    /// answer, and a fifth of it is how often it looks whether to stand for election, so the
    /// longest that it accepts costs the least. Pre-vote keeps the term of an isolated node from
    /// rising, a restarted leader must be elected again, and a follower whose log has gone back
    /// (because it lost its disk) is never silently filled again.
    pub(super) fn engine(&self, timing: Timing) -> openraft::Config {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        openraft::Config {
            cluster_name: "quorate".to_owned(),
            enable_heartbeat: false,
            heartbeat_interval: ms(timing.election_min()) - 1,
            election_timeout_min: ms(timing.election_min()),
            election_timeout_max: ms(timing.election_max()),
            // A snapshot is one message of some megabytes: time for a slow link. Guess.
            install_snapshot_timeout: 10_000,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: self.keep,
            replication_lag_threshold: self.snapshot_every.saturating_mul(2),
            enable_pre_vote: Some(true),
            // Until the other voters have been told of this life; the engine is told then.
            enable_elect: false,
            enable_leader_restore: Some(false),
            allow_log_reversion: Some(false),
            ..openraft::Config::default()
        }
    }
}
