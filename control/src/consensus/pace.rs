//! The pace of all groups: the leader measures, the topology group decides, every engine follows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use quorate_crdt::NodeId;
use tokio::sync::watch;
use tokio::time::sleep;

use super::codec::encode;
use super::engine::Engine;
use super::link::Link;
use super::propose::Proposer;
use crate::planted::PACE_UNMEASURED;
use crate::state::Command;
use crate::topology::{Timing, Topology};

/// How often round trips are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many looks the shortest is taken of: what the network takes, without what a busy machine
/// adds.
const LOOKS: usize = 10;
/// For how many looks in a row a faster pace must suffice before it is proposed. Guess: a minute.
const CALM_LOOKS: u32 = 60;
/// How long a proposal may take.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How much later than the followers a leader changes its pace. Until then those that change to a
/// slower one are still reached often enough, and one of them can take over. Guess.
const LEADER_LATER: Duration = Duration::from_secs(2);

/// The last round trips to every other node.
#[derive(Default)]
struct Seen(BTreeMap<NodeId, VecDeque<Duration>>);

impl Seen {
    /// Takes another look, and returns the longest round trip to another node.
    fn look(&mut self, now: Vec<(NodeId, Duration)>) -> Duration {
        let now: BTreeMap<NodeId, Duration> = now.into_iter().collect();
        self.0.retain(|node, _| now.contains_key(node));
        for (node, round_trip) in now {
            let last = self.0.entry(node).or_default();
            last.push_back(round_trip);
            if last.len() > LOOKS {
                last.pop_front();
            }
        }
        let shortest = self.0.values().filter_map(|last| last.iter().min());
        shortest.max().copied().unwrap_or_default()
    }
}

/// Proposes another pace when the measured round trips ask for one. Runs for ever; only the leader
/// of the topology group proposes.
///
/// If the distance grows at once, no heartbeat of the present pace is answered in time, and nothing
/// can be decided. So every node tells its own engines how slow they must be at least: `floor`. It
/// also covers a node that is farther from the others than the leader is, should it lead next.
pub(super) async fn measure(
    engine: Arc<Engine>,
    proposer: Arc<Proposer>,
    link: Arc<dyn Link>,
    topology: watch::Receiver<Arc<Topology>>,
    floor: watch::Sender<Timing>,
) {
    let (mut seen, mut calm) = (Seen::default(), 0);
    loop {
        sleep(LOOK_EVERY).await;
        let round_trip = seen.look(link.round_trips());
        if PACE_UNMEASURED.is_planted() {
            continue;
        }
        let present = topology.borrow().timing;
        let wanted = present.next(round_trip);
        let slower = wanted.filter(|&wanted| wanted > present);
        set(&floor, slower.unwrap_or_default());
        if engine.leader() != Some(engine.me()) {
            calm = 0;
            continue;
        }
        calm = match wanted {
            Some(faster) if faster < present => calm + 1,
            _ => 0,
        };
        let Some(wanted) = wanted.filter(|&wanted| wanted > present || calm >= CALM_LOOKS) else {
            continue;
        };
        calm = 0;
        tracing::info!(?round_trip, heartbeat = ?wanted.heartbeat(), "the round trips ask for another pace");
        let decided = match encode(&Command::SetTiming(wanted)) {
            Ok(command) => proposer.propose(command, PROPOSE_TIMEOUT).await.map(drop),
            Err(_codec) => continue,
        };
        if let Err(error) = decided {
            tracing::debug!(%error, "another pace was not accepted; it will be proposed again");
        }
    }
}

fn set(floor: &watch::Sender<Timing>, timing: Timing) {
    floor.send_if_modified(|floor| std::mem::replace(floor, timing) != timing);
}

/// Lets the engine run at the pace of the topology, or at `floor` if that is slower. Runs for ever.
/// Followers change at once, and a leader later.
pub(super) async fn follow(
    engine: Arc<Engine>,
    mut topology: watch::Receiver<Arc<Topology>>,
    mut floor: watch::Receiver<Timing>,
) {
    loop {
        let mut wanted = || {
            topology
                .borrow_and_update()
                .timing
                .max(*floor.borrow_and_update())
        };
        if wanted() != engine.timing() {
            if engine.leader() == Some(engine.me()) {
                sleep(LEADER_LATER).await;
            }
            engine.change_pace(wanted()).await;
            continue;
        }
        // Biased, so that two runs of one seed are equal.
        let changed = tokio::select! {
            biased;
            changed = topology.changed() => changed,
            changed = floor.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(seen: &mut Seen, millis: &[u64]) -> Duration {
        let now = (2..).map(NodeId).zip(millis);
        let now = now.map(|(node, &millis)| (node, Duration::from_millis(millis)));
        seen.look(now.collect())
    }

    #[test]
    fn slow_answers_count_only_if_there_are_no_others_and_a_node_that_is_gone_is_forgotten() {
        let mut seen = Seen::default();
        let ms = Duration::from_millis;
        assert_eq!(looks(&mut seen, &[10, 20]), ms(20));
        for _ in 1..LOOKS {
            assert_eq!(looks(&mut seen, &[900, 20]), ms(20));
        }
        assert_eq!(looks(&mut seen, &[900, 20]), ms(900), "it stays slow");
        assert_eq!(looks(&mut seen, &[]), ms(0));
        assert_eq!(looks(&mut seen, &[10]), ms(10));
    }
}
