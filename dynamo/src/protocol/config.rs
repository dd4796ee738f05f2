//! What an operator may tune in a core.

use std::time::Duration;

use crate::op::Limits;
use crate::replica::ROWS_AT_ONCE;

/// What an operator may tune. Each default says whether it comes from a paper, a measurement or a
/// guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How often a replica tells the others what it has seen and forgets what all of them know.
    /// Default 200 ms (guess: below what a person notices).
    pub anti_entropy_every: Duration,
    /// How long a read waits for the replicas that it asked before it asks the others too. Default
    /// 50 ms, or twice the round trip if that is longer (guess).
    pub hedge_after: Duration,
    /// How often expired keys are looked for and removed. Default 1 s (guess).
    pub reap_every: Duration,
    /// How many events are remembered for replicas that lag.
    pub recent: RecentBounds,
    /// Bytes in one chunk of a stream and in one repair message. Default 256 KiB (guess: well below
    /// the frame limit, large compared to a header).
    pub chunk_bytes: usize,
    /// Bytes of hints kept for all unreachable primaries. Beyond it hints are dropped and
    /// anti-entropy does the work. Default 64 MiB (guess).
    pub hint_bytes_max: usize,
    /// Requests in flight. Beyond it requests are refused as overloaded. Default 100 000 (guess).
    pub flights_max: usize,
    /// Bytes that the requests in flight may have brought. Beyond it requests are refused as
    /// overloaded. Default 256 MiB (guess).
    pub flight_bytes_max: usize,
    /// How fast removed rows leave the disk.
    pub removal: Removal,
    /// How large the values of one key may become.
    pub limits: Limits,
    /// How far a remote clock may be ahead. Default 500 ms (as in `CockroachDB`).
    pub drift_max: Duration,
    /// Whether changes are recorded for [`Dynamo::drain`](crate::Dynamo::drain). Off for nodes that
    /// keep everything in memory.
    pub persist: bool,
}

/// How many events are remembered for replicas that lag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentBounds {
    /// Events per partition. Beyond it a lagging replica is filled by streaming. Default 1 000 000
    /// (guess).
    pub events_max: usize,
    /// Bytes of the events of all partitions of this core. Beyond it the partitions with the most
    /// events forget their oldest. Default 128 MiB (guess).
    pub bytes_max: usize,
}

/// How removed rows leave the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// How many rows an event may delete from disk in its own batch. An event that removes more
    /// leaves a mark, and the rows then go this many at a time. Default 1 000 (measured: about 3
    /// ms).
    pub rows_at_once: usize,
    /// The pause between two such batches. Default 10 ms (guess: a shard then spends a third of its
    /// time on it).
    pub every: Duration,
    /// How many removed rows of a core may still lie on disk. The more there are, the more go at a
    /// time, up to ten times as many. Beyond this bound, an event that removes many rows first
    /// deletes as many as it adds. Default 1 000 000 (guess: about 100 MB of names).
    pub waiting_max: usize,
}

impl Config {
    /// How many ticks of anti-entropy a time takes, rounded down.
    pub(crate) fn ticks_in(&self, time: Duration) -> u64 {
        (time.as_nanos() / self.anti_entropy_every.as_nanos().max(1)) as u64
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            anti_entropy_every: Duration::from_millis(200),
            hedge_after: Duration::from_millis(50),
            reap_every: Duration::from_secs(1),
            recent: RecentBounds {
                events_max: 1_000_000,
                bytes_max: 128 * 1024 * 1024,
            },
            chunk_bytes: 256 * 1024,
            hint_bytes_max: 64 * 1024 * 1024,
            flights_max: 100_000,
            flight_bytes_max: 256 * 1024 * 1024,
            removal: Removal {
                rows_at_once: ROWS_AT_ONCE,
                every: Duration::from_millis(10),
                waiting_max: 1_000_000,
            },
            limits: Limits::default(),
            drift_max: Duration::from_millis(500),
            persist: true,
        }
    }
}
