//! What a core counts for metrics.

/// What a core has done, for metrics. Every counter only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reads that found another replica with other data and repaired it.
    pub read_repairs: u64,
    /// Deltas sent to replicas that lagged.
    pub repairs_sent: u64,
    /// Deltas joined through anti-entropy.
    pub repairs_joined: u64,
    /// Partitions filled by a stream from another replica.
    pub streams: u64,
    /// Hints for unreachable primaries.
    pub hints: HintCounters,
    /// Times that a replica with an equal context had a different digest: a bug or bit rot.
    pub digest_mismatches: u64,
    /// Partitions that a stream has mended after such a mismatch.
    pub mended: u64,
    /// New writes refused because the clock that stamped them, or would have, was off.
    pub drift_refused: u64,
    /// Questions refused because the two nodes knew different placements.
    pub epoch_refused: u64,
    /// Questions to further replicas because the first ones were slow.
    pub hedged: u64,
    /// Times that it was checked whether the writes of a client that waits have spread.
    pub waits_looked_at: u64,
    /// Expired keys removed.
    pub expired: u64,
    /// Entries that this node had stamped under a wrong clock and has replaced by the same values
    /// with the lowest stamp.
    pub stamps_withdrawn: u64,
}

/// What happened to hints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HintCounters {
    /// Hints kept.
    pub kept: u64,
    /// Hints dropped because there were too many.
    pub dropped: u64,
}
