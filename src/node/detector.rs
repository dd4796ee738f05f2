//! Drives the failure detector: sends its datagrams, fires its timers, and tells the shards what it
//! finds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_crdt::NodeId;
use quorate_gossip::membership::{Config, Effect, Input, Member, Membership, Timer};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::hub::News;
use super::inbox::Sight;
use super::shared::Shared;
use crate::doors::name_of;

/// How often connections and peers are looked at, in addition to the news about them.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Beyond this round trip to any node the detector takes its time.
const FAR: Duration = Duration::from_millis(30);
/// For how long all round trips must stay below half of [`FAR`] before it hurries again. Guess.
const NEAR_FOR: Duration = Duration::from_mins(1);
/// How long nothing is told after a change of pace: the members find each other anew.
const FIND_EACH_OTHER: Duration = Duration::from_secs(5);

/// Whether the nodes are far apart, as far as this node can measure.
struct Distance {
    far: bool,
    /// Since when all are near, while the detector takes its time.
    near_since: Option<Instant>,
}

impl Distance {
    /// Takes another look. Returns whether the pace must change.
    fn look(&mut self, longest: Duration, now: Instant) -> bool {
        let near = longest < FAR / 2;
        self.near_since = self.near_since.filter(|_| near).or(near.then_some(now));
        let near_for = self.near_since.map_or(Duration::ZERO, |since| now - since);
        let far = longest > FAR || (self.far && near_for < NEAR_FOR);
        std::mem::replace(&mut self.far, far) != far
    }

    fn pace(&self) -> Config {
        if self.far {
            Config::wan()
        } else {
            Config::lan()
        }
    }
}

/// The failure detector of a node, and what its driver has to remember.
struct Detector {
    shared: Arc<Shared>,
    membership: Membership,
    effects: Vec<Effect>,
    timers: BTreeMap<(Instant, u64), Timer>,
    armed: u64,
    peers: Vec<NodeId>,
    /// Whether the shards were last told that a node can be reached.
    told: BTreeMap<NodeId, bool>,
    /// `None` if the pace was given.
    distance: Option<Distance>,
    /// Before this nothing is told.
    quiet_until: Instant,
}

/// Runs until the node stops. `appearance` is the incarnation under which this node appears to the
/// failure detectors of others; it rises from start to start.
pub(super) async fn run(
    shared: Arc<Shared>,
    appearance: u64,
    mut news: mpsc::UnboundedReceiver<News>,
) {
    let me = Member {
        node: shared.settings.node,
        incarnation: appearance,
    };
    let given = shared.settings.gossip.clone();
    let distance = Distance {
        far: false,
        near_since: None,
    };
    let config = given.clone().unwrap_or_else(|| distance.pace());
    let membership = Membership::new(config, me, shared.world.seed ^ me.node.0);
    let mut detector = Detector {
        shared,
        membership,
        effects: Vec::new(),
        timers: BTreeMap::new(),
        armed: 0,
        peers: Vec::new(),
        told: BTreeMap::new(),
        distance: given.is_none().then_some(distance),
        quiet_until: Instant::now(),
    };
    let mut look = Instant::now();
    loop {
        let due = detector
            .timers
            .first_key_value()
            .map_or(look, |(&(at, _), _)| at.min(look));
        tokio::select! {
            biased;
            news = news.recv() => match news {
                Some(News::Connection) => detector.tell_shards().await,
                Some(News::Datagram(from, payload)) => {
                    detector.handle(Input::Datagram { from, payload }).await;
                }
                None => return,
            },
            () = tokio::time::sleep_until(due) => {
                detector.fire().await;
                if look <= Instant::now() {
                    look = Instant::now() + LOOK_EVERY;
                    detector.look().await;
                }
            }
        }
    }
}

impl Detector {
    async fn handle(&mut self, input: Input) {
        let now = self.shared.world.clock.now();
        self.membership.handle(now, input, &mut self.effects);
        let mut changed = false;
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Datagram { to, payload } => self.shared.transport.datagram(to, payload),
                Effect::Arm { after, timer } => {
                    self.armed += 1;
                    self.timers
                        .insert((Instant::now() + after, self.armed), timer);
                }
                Effect::Up(_) | Effect::Down(_) => changed = true,
            }
        }
        if changed {
            self.tell_shards().await;
        }
    }

    async fn fire(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self
            .timers
            .first_entry()
            .filter(|entry| entry.key().0 <= now)
        {
            let timer = entry.remove();
            self.handle(Input::Timer(timer)).await;
        }
    }

    /// Begins anew at another pace, as another appearance of this node, if the distance of the
    /// others asks for it.
    fn keep_pace(&mut self) {
        let round_trips = self.shared.round_trips();
        let longest = round_trips.into_values().max().unwrap_or_default();
        let now = Instant::now();
        let Some(distance) = &mut self.distance else {
            return;
        };
        if !distance.look(longest, now) {
            return;
        }
        let pace = distance.pace();
        tracing::info!(?longest, probes_every = ?pace.probe_period, "the failure detector changes its pace");
        let me = self.membership.me();
        let me = Member {
            incarnation: me.incarnation + 1,
            ..me
        };
        self.membership = Membership::new(pace, me, self.shared.world.seed ^ me.incarnation);
        self.timers.clear();
        self.peers.clear();
        self.quiet_until = now + FIND_EACH_OTHER;
    }

    async fn look(&mut self) {
        self.keep_pace();
        let topology = self.shared.hub.topology();
        let peers: Vec<NodeId> = topology
            .nodes
            .keys()
            .copied()
            .filter(|&node| node != self.shared.settings.node)
            .collect();
        if peers != self.peers {
            self.peers.clone_from(&peers);
            self.told.retain(|node, _| peers.contains(node));
            self.handle(Input::Peers(peers)).await;
            // Nobody can have answered yet. The next look tells the shards.
            return;
        }
        self.tell_shards().await;
    }

    /// Tells the shards what is new. A node can be reached if it is alive and there is a connection
    /// to it: a dead node does not answer, and without a connection nothing arrives there. The
    /// shards assume that a node can be reached until they are told otherwise.
    async fn tell_shards(&mut self) {
        if Instant::now() < self.quiet_until {
            return;
        }
        for &node in &self.peers {
            let up = self.membership.is_up(node) && self.shared.transport.connected(node);
            if self.told.insert(node, up).unwrap_or(true) != up {
                let name = name_of(node, &self.shared.hub.topology());
                if up {
                    tracing::info!(node = name, "a node can be reached again");
                } else {
                    tracing::warn!(node = name, "a node cannot be reached");
                }
                self.shared
                    .hub
                    .tell_shards(Sight::Reachable { node, up })
                    .await;
            }
        }
        self.shared.hub.reached.store(
            self.told.values().filter(|up| **up).count(),
            Ordering::Release,
        );
        let (before, now) = (
            self.shared.hub.unreachable.load(),
            self.shared.world.clock.now().unix_millis,
        );
        let unreachable = self
            .told
            .iter()
            .filter(|(_, up)| !**up)
            .map(|(&node, _)| (node, before.get(&node).copied().unwrap_or(now)))
            .collect();
        self.shared.hub.unreachable.store(Arc::new(unreachable));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_detector_takes_its_time_at_once_and_hurries_only_after_a_while() {
        let (begun, ms) = (Instant::now(), Duration::from_millis);
        let mut distance = Distance {
            far: false,
            near_since: None,
        };
        let looks = [
            (0, 20, false),
            (1, 40, true),
            // Neither near nor far: nothing changes.
            (2, 20, false),
            (3, 10, false),
            (62, 10, false),
            (63, 10, true),
            (64, 20, false),
        ];
        for (second, round_trip, changes) in looks {
            let now = begun + Duration::from_secs(second);
            assert_eq!(
                distance.look(ms(round_trip), now),
                changes,
                "second {second}"
            );
        }
        assert!(!distance.far);
    }
}
