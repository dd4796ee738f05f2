//! What a core tells about itself: figures for `status` and metrics, and what it keeps in memory,
//! so that checks can show that memory follows the work.

use quorate_crdt::CausalContext;
use xxhash_rust::xxh3::xxh3_128;

use super::Dynamo;
use super::counters::Counters;
use super::forwards::REMEMBERED_MAX;
use super::healing::{STREAMS_AT_ONCE, TALKS_AT_ONCE};
use super::kept::Kept;
use crate::protocol::ReplicaSummary;
use crate::replica::{FENCES_MAX, Replica};
use crate::seen::At;

/// What fences are called among what a core keeps.
const FENCES: &str = "fences of one partition";

impl Dynamo {
    /// What this core keeps. The bounds on `recent` hold after each
    /// [`Timer::AntiEntropy`](crate::protocol::Timer::AntiEntropy); all others hold after every
    /// input.
    pub fn kept(&self, recent: bool) -> Vec<Kept> {
        let (config, flights, healing) = (&self.config, &self.flights, &self.healing);
        // A single request may exceed the bound, or it could never be executed.
        let flight_bytes_max = if flights.len() > 1 {
            config.flight_bytes_max
        } else {
            usize::MAX
        };
        let mut kept = vec![
            Kept::passing("requests in flight", flights.len(), config.flights_max),
            Kept::passing(
                "bytes of requests in flight",
                flights.weights(),
                flight_bytes_max,
            ),
            Kept::lasting(
                "writes whose acknowledgements nobody waits for",
                flights.owed.len(),
                self.owed_max(),
            ),
            Kept::lasting(
                "forwarded writes of one sender",
                flights.forwards.most(),
                REMEMBERED_MAX,
            ),
            Kept::passing(
                "forwarded reads in flight",
                flights.forwards.reads(),
                flights.len(),
            ),
            Kept::passing("waits for writes to spread", self.waiters.len(), usize::MAX),
            Kept::passing(
                "bytes of hints",
                healing.hints.weights(),
                config.hint_bytes_max,
            ),
            Kept::passing(
                "partitions streamed to this core",
                healing.pulls.len(),
                self.replicas.len(),
            ),
            Kept::passing(
                "streams that wait for a piece",
                healing.streaming(),
                STREAMS_AT_ONCE,
            ),
            Kept::passing(
                "conversations about what was missed",
                healing.talks(),
                TALKS_AT_ONCE,
            ),
            // What several replicas have admitted comes together in their reports.
            Kept::lasting(FENCES, self.fences(), FENCES_MAX * self.clocks_there_are()),
            Kept::passing(
                "removed rows that lie on disk",
                self.removed_rows(),
                self.removed_rows_max(),
            ),
            Kept::passing(
                "records of erased replicas that lie on disk",
                self.erased_records(),
                usize::MAX,
            ),
        ];
        if recent {
            kept.extend(self.kept_of_recent());
        }
        kept
    }

    fn kept_of_recent(&self) -> [Kept; 2] {
        let recent = self.config.recent;
        let counts = self.replicas.values().map(Replica::recent_count);
        let bytes = self.replicas.values().map(Replica::recent_bytes).sum();
        [
            Kept::passing(
                "recent events of one partition",
                counts.max().unwrap_or(0),
                recent.events_max,
            ),
            Kept::passing("bytes of recent events", bytes, recent.bytes_max),
        ]
    }

    /// The fences of the partition that has the most.
    fn fences(&self) -> usize {
        let fences = |replica: &Replica| replica.fences().len();
        self.replicas.values().map(fences).max().unwrap_or(0)
    }

    /// How many clients of this node are waiting for an answer.
    pub fn asked(&self) -> usize {
        self.flights.of_clients() + self.waiters.len()
    }

    /// Figures of every replica of this core.
    pub fn summaries(&self) -> Vec<ReplicaSummary> {
        let summary = |(&(keyspace, partition), replica): (&At, &Replica)| ReplicaSummary {
            keyspace,
            partition,
            rows: replica.row_count(),
            bytes: replica.held_bytes() as u64,
            recent: replica.recent_count() as u64,
            residuals: replica.residual_count() as u64,
            context: context_hash(replica.context()),
            digest: replica.digest(),
            filling: replica.filling(),
            quarantined: replica.is_quarantined(),
        };
        self.replicas.iter().map(summary).collect()
    }

    /// Live rows of all replicas of this core.
    pub fn row_count(&self) -> u64 {
        self.replicas.values().map(Replica::row_count).sum()
    }

    /// What this core has done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Requests in flight now.
    pub fn flights(&self) -> usize {
        self.flights.len()
    }

    /// Bytes of the hints kept for unreachable primaries.
    pub fn hint_bytes(&self) -> usize {
        self.healing.hints.bytes()
    }
}

/// Equal contexts have equal encodings, and so equal hashes.
fn context_hash(context: &CausalContext) -> u128 {
    xxh3_128(
        &postcard::to_stdvec(context).expect("invariant: a context always has a postcard form"),
    )
}
