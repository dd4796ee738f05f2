//! The batches of one shard that are on their way to the disk, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::planted::FRAMES_WAIT_WITHOUT_BOUND;

/// The batches that are not released yet, and how many bytes leave with them.
#[derive(Debug)]
pub(super) struct Commits {
    /// When each was handed to the commit, and the bytes of the frames that leave with it.
    waiting: VecDeque<(Instant, usize)>,
    /// Bytes of all frames in `waiting`.
    bytes: usize,
    /// Once `bytes` is above it, the shard begins nothing that would add to it.
    bytes_max: usize,
    /// Batches that have been taken off `waiting`.
    seen: u64,
    /// Batches that have been released; counted on the committer's thread.
    released: Arc<AtomicU64>,
}

impl Commits {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            bytes_max,
            seen: 0,
            released: Arc::default(),
        }
    }

    /// Notes that a batch with `bytes` bytes of frames is handed to the commit. Its release must
    /// add one to the counter that this returns.
    pub(super) fn hand_over(&mut self, bytes: usize) -> Arc<AtomicU64> {
        self.bytes += bytes;
        self.waiting.push_back((Instant::now(), bytes));
        Arc::clone(&self.released)
    }

    /// How long the oldest batch has been waiting; `None` if all are released.
    pub(super) fn lag(&mut self) -> Option<Duration> {
        self.look();
        self.waiting.front().map(|(since, _)| since.elapsed())
    }

    /// Whether more waits than the bound allows.
    pub(super) fn too_much(&mut self) -> bool {
        self.look();
        self.bytes > self.bytes_max && !FRAMES_WAIT_WITHOUT_BOUND.is_planted()
    }

    /// Bytes that were already waiting when the last batch with frames was added. This, and not the
    /// sum, is what the bound bounds.
    pub(super) fn bytes_before_last(&mut self) -> usize {
        self.look();
        let last = self
            .waiting
            .iter()
            .rev()
            .map(|(_, bytes)| *bytes)
            .find(|bytes| *bytes > 0);
        self.bytes - last.unwrap_or(0)
    }

    fn look(&mut self) {
        let released = self.released.load(Ordering::Acquire);
        while self.seen < released {
            self.bytes -= self.waiting.pop_front().map_or(0, |(_, bytes)| bytes);
            self.seen += 1;
        }
    }
}
