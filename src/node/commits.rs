//! Batches of one shard on their way to the disk, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When each batch that is not released yet was handed to the commit.
#[derive(Debug, Default)]
pub(super) struct Commits {
    waiting: VecDeque<Instant>,
    /// Batches that have been taken off `waiting`.
    seen: u64,
    released: Arc<AtomicU64>,
}

impl Commits {
    /// A batch is handed to the commit. Whoever releases it adds one to what this gives.
    pub(super) fn hand_over(&mut self) -> Arc<AtomicU64> {
        self.waiting.push_back(Instant::now());
        Arc::clone(&self.released)
    }

    /// How long the oldest batch has been waiting; `None`: all are released.
    pub(super) fn lag(&mut self) -> Option<Duration> {
        let released = self.released.load(Ordering::Acquire);
        while self.seen < released {
            self.waiting.pop_front();
            self.seen += 1;
        }
        self.waiting.front().map(Instant::elapsed)
    }
}
