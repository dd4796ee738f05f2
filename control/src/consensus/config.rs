//! The settings of the control group.

use std::time::Duration;

use openraft::SnapshotPolicy;
use quorate_crdt::NodeId;

/// How this node takes part. All nodes of a cluster should have the same times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsensusConfig {
    /// This node, by the number it was admitted under; 1 for the node that founds the cluster. A
    /// node that lost its disk must come back under a new number.
    pub node: NodeId,
    /// What election timeouts are drawn from. Draw it at random; in a simulation, from the
    /// simulation's seed.
    pub seed: u64,
    /// How often a leader says that it is there.
    pub heartbeat: Duration,
    /// The shortest election timeout.
    pub election_min: Duration,
    /// The longest one, and how long a follower refuses to vote after it heard its leader. A
    /// failover takes 1.5 to 2 times that.
    pub election_max: Duration,
    /// How many log entries after the last snapshot the next one is made.
    pub snapshot_every: u64,
    /// How many log entries that a snapshot already contains are kept for slow followers.
    pub keep: u64,
}

/// The settings cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A follower must be able to miss two heartbeats without an election.
    #[error(
        "the longest election timeout ({election_max:?}) is less than three heartbeats ({heartbeat:?})"
    )]
    Heartbeat {
        /// As given.
        heartbeat: Duration,
        /// As given.
        election_max: Duration,
    },
    /// Timeouts are drawn between the two, and must lie above a heartbeat.
    #[error("election timeouts from {min:?} to {max:?} are not a range above the heartbeat")]
    Election {
        /// As given.
        min: Duration,
        /// As given.
        max: Duration,
    },
    /// Times are counted in whole milliseconds.
    #[error("the heartbeat is shorter than one millisecond")]
    TooShort,
    /// A snapshot needs at least one entry.
    #[error("a snapshot after every 0 entries cannot be")]
    Snapshot,
}

impl ConsensusConfig {
    /// For a local network: heartbeat 50 ms, elections 150 to 300 ms (measured: a failover in 0.42
    /// to 0.56 s). Over a WAN all three should be at least that and the shortest election timeout
    /// at least ten round trips. A snapshot every 1000 entries: guess.
    pub const fn new(node: NodeId, seed: u64) -> Self {
        Self {
            node,
            seed,
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(150),
            election_max: Duration::from_millis(300),
            snapshot_every: 1000,
            keep: 200,
        }
    }

    /// Whether the settings can work.
    ///
    /// # Errors
    /// [`ConfigError`], the first thing that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Self {
            heartbeat,
            election_min: min,
            election_max: max,
            ..
        } = *self;
        if heartbeat < Duration::from_millis(1) {
            Err(ConfigError::TooShort)
        } else if max < heartbeat * 3 {
            Err(ConfigError::Heartbeat {
                heartbeat,
                election_max: max,
            })
        } else if min <= heartbeat || min >= max {
            Err(ConfigError::Election { min, max })
        } else if self.snapshot_every == 0 {
            Err(ConfigError::Snapshot)
        } else {
            Ok(())
        }
    }

    /// What openraft is told. Pre-vote keeps an isolated node's term from rising; a restarted
    /// leader must be elected again; and a follower whose log went back (a lost disk) is never
    /// silently fed again.
    pub(super) fn engine(&self) -> openraft::Config {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        openraft::Config {
            cluster_name: "quorate".to_owned(),
            heartbeat_interval: ms(self.heartbeat),
            election_timeout_min: ms(self.election_min),
            election_timeout_max: ms(self.election_max),
            // A snapshot is one message; it gets what a slow link needs for some megabytes. Guess.
            install_snapshot_timeout: 10_000,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: self.keep,
            replication_lag_threshold: self.snapshot_every.saturating_mul(2),
            enable_pre_vote: Some(true),
            enable_leader_restore: Some(false),
            allow_log_reversion: Some(false),
            ..openraft::Config::default()
        }
    }
}
