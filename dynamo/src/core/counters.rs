//! What a core counts for metrics.

/// What a core has done, for metrics. Monotone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reads that found a replica with something else and repaired it.
    pub read_repairs: u64,
    /// Deltas sent to replicas that lagged.
    pub repairs_sent: u64,
    /// Deltas of anti-entropy that were joined.
    pub repairs_joined: u64,
    /// Partitions filled by streaming from another replica.
    pub streams: u64,
    /// Deltas for primaries that could not be reached.
    pub hints: HintCounters,
    /// Equal contexts with different digests: a bug or bit rot.
    pub digest_mismatches: u64,
    /// Partitions replaced or united by a stream because of one.
    pub mended: u64,
    /// New writes refused because they were or would have been stamped by a clock that is off.
    pub drift_refused: u64,
    /// Questions refused because asker and asked knew different placements.
    pub epoch_refused: u64,
    /// Requests that asked further replicas because the first were slow.
    pub hedged: u64,
    /// Expired keys removed.
    pub expired: u64,
    /// Entries that this node stamped under a wrong clock and has replaced by the same under the
    /// lowest stamp.
    pub stamps_withdrawn: u64,
}

/// What has become of hints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HintCounters {
    /// Kept.
    pub kept: u64,
    /// Dropped because there were too many.
    pub dropped: u64,
}
