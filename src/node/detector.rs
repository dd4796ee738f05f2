//! Drives the failure detector: sends its datagrams, fires its timers, and tells the shards what it
//! finds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_crdt::NodeId;
use quorate_gossip::membership::{Effect, Input, Member, Membership, Timer};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::hub::News;
use super::inbox::Sight;
use super::shared::Shared;
use crate::doors::name_of;

/// How often connections and peers are looked at, in addition to the news about them.
const LOOK_EVERY: Duration = Duration::from_millis(500);

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
    let config = shared.settings.gossip.clone();
    let membership = Membership::new(config, me, shared.world.seed ^ me.node.0);
    let mut detector = Detector {
        shared,
        membership,
        effects: Vec::new(),
        timers: BTreeMap::new(),
        armed: 0,
        peers: Vec::new(),
        told: BTreeMap::new(),
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

    async fn look(&mut self) {
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
