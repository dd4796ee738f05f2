//! The fingerprint of a run: two runs of one seed must have the same.

use quorate_crdt::NodeId;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A running hash over every delivery: when, from whom, to whom, which bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    start: Instant,
    /// How many events it covers.
    pub events: u64,
    /// Hash of the events, in order.
    pub hash: u64,
}

impl Trace {
    /// An empty trace that counts time from now.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
            events: 0,
            hash: 0,
        }
    }

    /// Adds one event at `now`.
    pub fn event(&mut self, now: Instant, from: NodeId, to: NodeId, digest: u64) {
        let micros = (now - self.start).as_micros() as u64;
        let mut bytes = [0; 32];
        for (slot, number) in bytes
            .chunks_exact_mut(8)
            .zip([micros, from.0, to.0, digest])
        {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        self.hash = xxh3_64_with_seed(&bytes, self.hash);
        self.events += 1;
    }
}
