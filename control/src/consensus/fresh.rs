//! Up to where a node must have applied the log to know everything that was decided before a
//! moment. Whoever asks a leader that a majority follows is told (Raft dissertation, §6.4); all who
//! want to know at the same time share the question.
//!
//! ```text
//! reader 1  begins, asks …………………… is told 17
//! reader 2     begins, waits for its turn … finds that nobody has asked since, asks …… is told 21
//! reader 3        begins, waits for its turn ………………………………………………………… takes the 21
//! ```

use std::future::Future;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// What a leader has said.
#[derive(Clone, Copy)]
struct Confirmed {
    /// Before this moment, by the clock of this node, nothing was decided beyond the index.
    asked: Instant,
    index: u64,
}

/// What this node knows of how complete its state is.
#[derive(Default)]
pub(super) struct Freshness {
    newest: watch::Sender<Option<Confirmed>>,
    /// Held by whoever asks.
    turn: Mutex<()>,
}

impl Freshness {
    /// An index at which everything is applied that was decided before `since`. `ask` is polled
    /// only if nobody else has asked since.
    ///
    /// # Errors
    /// Those of `ask`.
    pub(super) async fn index<E>(
        &self,
        since: Instant,
        ask: impl Future<Output = Result<u64, E>>,
    ) -> Result<u64, E> {
        if let Some(index) = self.known(since) {
            return Ok(index);
        }
        let _alone = self.turn.lock().await;
        if let Some(index) = self.known(since) {
            return Ok(index);
        }
        let asked = Instant::now();
        let index = ask.await?;
        self.newest.send_replace(Some(Confirmed { asked, index }));
        Ok(index)
    }

    fn known(&self, since: Instant) -> Option<u64> {
        let newest = self.newest.borrow();
        let newest = newest.filter(|newest| newest.asked >= since);
        newest.map(|newest| newest.index)
    }

    /// How old the state may be once the index is applied that is known; `None` if nothing is.
    pub(super) fn age(&self) -> Option<Duration> {
        self.newest.borrow().map(|newest| newest.asked.elapsed())
    }
}
