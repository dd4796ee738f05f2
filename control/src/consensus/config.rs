//! Times and sizes of the groups.

use std::time::Duration;

use openraft::SnapshotPolicy;
use quorate_crdt::NodeId;

/// How this node takes part. All nodes of a cluster should use the same times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsensusConfig {
    /// This node's number: the one it was admitted under, or 1 for the node that founds the
    /// cluster. A node that has lost its disk must come back under a new number.
    pub node: NodeId,
    /// The seed of the election timeouts, and the number of this life of the node. Draw it at
    /// random at every start, or in a simulation from the simulation's seed.
    pub seed: u64,
    /// How often a leader sends a sign of life.
    pub heartbeat: Duration,
    /// The shortest election timeout.
    pub election_min: Duration,
    /// The longest election timeout, and how long a follower refuses to vote after it has heard
    /// from its leader. A failover takes 1.5 to 2 times as long.
    pub election_max: Duration,
    /// A snapshot is made after this many log entries since the last one.
    pub snapshot_every: u64,
    /// How many log entries are kept for slow followers although the snapshot contains them.
    pub keep: u64,
}

/// The settings cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsensusConfigError {
    /// A follower must be able to miss two heartbeats without starting an election.
    #[error(
        "the longest election timeout ({election_max:?}) is less than three heartbeats ({heartbeat:?})"
    )]
    Heartbeat {
        /// The heartbeat given.
        heartbeat: Duration,
        /// The longest election timeout given.
        election_max: Duration,
    },
    /// Election timeouts are drawn between the two, which must be longer than a heartbeat.
    #[error("election timeouts from {min:?} to {max:?} are not a range above the heartbeat")]
    Election {
        /// The shortest one given.
        min: Duration,
        /// The longest one given.
        max: Duration,
    },
    /// Times are counted in whole milliseconds.
    #[error("the heartbeat is shorter than one millisecond")]
    TooShort,
    /// A snapshot needs at least one entry.
    #[error("a snapshot cannot be made after every 0 entries")]
    Snapshot,
}

impl ConsensusConfig {
    /// For a local network: heartbeat 50 ms, elections 150 to 300 ms (measured: a failover takes
    /// 0.42 to 0.56 s). Over a WAN all three should be at least that long, and the shortest
    /// election timeout at least ten round trips. A snapshot every 1000 entries is a guess.
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
    /// [`ConsensusConfigError`] for the first thing that is wrong.
    pub fn validate(&self) -> Result<(), ConsensusConfigError> {
        let Self {
            heartbeat,
            election_min: min,
            election_max: max,
            ..
        } = *self;
        if heartbeat < Duration::from_millis(1) {
            Err(ConsensusConfigError::TooShort)
        } else if max < heartbeat * 3 {
            Err(ConsensusConfigError::Heartbeat {
                heartbeat,
                election_max: max,
            })
        } else if min <= heartbeat || min >= max {
            Err(ConsensusConfigError::Election { min, max })
        } else if self.snapshot_every == 0 {
            Err(ConsensusConfigError::Snapshot)
        } else {
            Ok(())
        }
    }

    /// How long after a majority has answered a leader may serve reads without asking again: a
    /// tenth less than the time for which those that have answered elect nobody else. So clocks may
    /// differ in rate by a tenth.
    pub(super) fn lease(&self) -> Duration {
        self.election_max / 10 * 9
    }

    /// The settings for openraft. Pre-vote keeps the term of an isolated node from rising, a
    /// restarted leader must be elected again, and a follower whose log has gone back (because it
    /// lost its disk) is never silently filled again.
    pub(super) fn engine(&self) -> openraft::Config {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        openraft::Config {
            cluster_name: "quorate".to_owned(),
            heartbeat_interval: ms(self.heartbeat),
            election_timeout_min: ms(self.election_min),
            election_timeout_max: ms(self.election_max),
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
