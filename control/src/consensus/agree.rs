//! Replicas that have applied the same entries have the same state. Each hashes its state at the
//! same entries and compares with the other voters. One that differs from a majority of them stops:
//! a bug, or a bit that was flipped, must not become what is answered, led by or copied.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::engine::Engine;
use super::mark::Mark;
use crate::planted::DIFFERENT_GOES_ON;
use crate::quorum::majority;

/// How long the others have to get there before they are asked.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a voter may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Runs until this node's state differs from that of the others; then the engine is stopped.
    pub(super) async fn compare(self: Arc<Self>) {
        let mut marks = self.parts.marks.subscribe();
        loop {
            if marks.changed().await.is_err() {
                return;
            }
            sleep(PAUSE).await;
            let own = marks.borrow_and_update().clone();
            let topology = Arc::clone(&self.topology.borrow());
            let said = self.survey(&topology, ANSWER_WITHIN).await;
            let needed = majority(said.len());
            let others = said.iter().filter(|(node, _)| **node != self.me());
            let others: Vec<_> = others.filter_map(|(_, said)| said.as_ref()).collect();
            let differs = own.iter().rev().find(|own| {
                let mut counts: BTreeMap<u128, usize> = BTreeMap::new();
                let same_entry = others.iter().flat_map(|said| &said.marks);
                for other in same_entry.filter(|other| other.index == own.index) {
                    *counts.entry(other.hash).or_default() += 1;
                }
                let mut outvoting = counts.into_iter().filter(|(_, count)| *count >= needed);
                outvoting.any(|(hash, _)| hash != own.hash)
            });
            if let Some(Mark { index, .. }) = differs
                && !DIFFERENT_GOES_ON.is_planted()
            {
                let group = self.group();
                tracing::error!(%group, index = index.0, "this node has decided otherwise than a majority of the voters: a bug or a flipped bit. It takes no part in the group any more; keep its directory for those who look into it, and put a new node in its place");
                self.differs.send_replace(Some(*index));
                self.stop().await;
                return;
            }
        }
    }
}
