//! Replicas that have applied the same entries have the same state. Each hashes its state at the
//! same entries and compares with the other voters. One that differs from a majority of them stops:
//! a bug, or a bit that was flipped, must not become what is answered, led by or copied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::engine::Engine;
use super::mark::Mark;
use crate::planted::DIFFERENT_GOES_ON;
use crate::quorum::majority;
use crate::state::LogIndex;

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
            let others: Vec<_> = others
                .filter_map(|(_, said)| Some(&*said.as_ref()?.marks))
                .collect();
            if let Some(index) = outvoted(&own, &others, needed)
                && !DIFFERENT_GOES_ON.is_planted()
            {
                let group = self.group();
                tracing::error!(%group, index = index.0, "this node has decided otherwise than a majority of the voters: a bug or a flipped bit. It takes no part in the group any more; keep its directory for those who look into it, and put a new node in its place");
                self.differs.send_replace(Some(index));
                self.stop().await;
                return;
            }
        }
    }
}

/// The last entry after which so many others, each of which has one voice, have another state than
/// this node. `others` has what each of them says.
fn outvoted(own: &[Mark], others: &[&[Mark]], needed: usize) -> Option<LogIndex> {
    let differs = |own: &&Mark| {
        let mut voices: BTreeMap<u128, usize> = BTreeMap::new();
        for said in others {
            let same_entry = said.iter().filter(|other| other.index == own.index);
            // A node that says the same twice is still one.
            let hashes: BTreeSet<u128> = same_entry.map(|other| other.hash).collect();
            for hash in hashes {
                *voices.entry(hash).or_default() += 1;
            }
        }
        let mut outvoting = voices.into_iter().filter(|(_, count)| *count >= needed);
        outvoting.any(|(hash, _)| hash != own.hash)
    };
    own.iter().rev().find(differs).map(|mark| mark.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(index: u64, hash: u128) -> Mark {
        Mark {
            index: LogIndex(index),
            hash,
        }
    }

    #[test]
    fn a_majority_of_the_voters_outvotes_one_and_one_voter_outvotes_nobody() {
        let own = [mark(1000, 1), mark(2000, 2)];
        let (same, other) = (own.to_vec(), vec![mark(1000, 1), mark(2000, 3)]);
        assert_eq!(outvoted(&own, &[&same, &other], 2), None);
        assert_eq!(outvoted(&own, &[&other, &other], 2), Some(LogIndex(2000)));
        let loud = vec![mark(2000, 3); 8];
        assert_eq!(
            outvoted(&own, &[&loud, &same], 2),
            None,
            "one voter, however often it says so"
        );
    }
}
