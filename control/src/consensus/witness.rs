//! A witness holds the others back from losing their majority, and leads nobody: it keeps out of
//! elections, because everything that asks the leader would come to the machine that is there to
//! vote only.
//!
//! It may be the only one that has an entry. Then nobody else can be elected, however long the
//! others wait: so a witness that has heard from no leader for a while stands for election after
//! all, gives the others what they lack, and hands over.
//!
//! ```text
//! leader a, witness w   entry 7 is decided by a and w
//!           w           a dies; b lacks entry 7, and w votes for nobody who lacks it
//!           w           leads, gives b entry 7, hands over
//! leader b, witness w
//! ```

use std::sync::Arc;

use tokio::time::{Instant, sleep};

use super::engine::Engine;
use crate::planted::WITNESS_KEEPS_ALL_BACK;

/// For how many of the longest election timeouts a witness leaves it to the others to elect
/// somebody. Guess: some rounds of votes that fail.
const LEFT_TO_OTHERS: u32 = 3;

impl Engine {
    /// Runs for ever on a witness, and waits for ever on every other node.
    pub(super) async fn keep_back(self: Arc<Self>) {
        let mut topology = self.topology.clone();
        loop {
            if !self.is_witness(self.me()) {
                if topology.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let Some(raft) = self.raft() else {
                sleep(self.timing().election_max()).await;
                continue;
            };
            let patience = self.timing().election_max() * LEFT_TO_OTHERS;
            let heard = *self.heard.borrow();
            let is_needed = heard.elapsed() > patience && !WITNESS_KEEPS_ALL_BACK.is_planted();
            raft.runtime_config()
                .elect(is_needed && self.lives.may_vote());
            if self.leader() == Some(self.me()) {
                let until = Instant::now() + patience;
                if let Err(error) = self.hand_over_here(None, until).await {
                    let group = self.group();
                    tracing::debug!(%group, %error, "a witness leads until another voter has all entries");
                }
            }
            sleep(self.timing().heartbeat()).await;
        }
    }
}
