//! Drives the failure detector: its datagrams, its timers, and what it finds out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_crdt::NodeId;
use quorate_gossip::membership::{Config, Effect, Input, Member, Membership, Timer};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::hub::{News, Sight};
use super::running::Running;
use crate::doors::name_of;

/// How often connections and peers are looked at, beside the news of them.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The failure detector of a node, with what its driver has to remember.
struct Detector {
    running: Arc<Running>,
    membership: Membership,
    effects: Vec<Effect>,
    timers: BTreeMap<(Instant, u64), Timer>,
    armed: u64,
    peers: Vec<NodeId>,
    /// What the shards were told of each node.
    told: BTreeMap<NodeId, bool>,
}

/// Runs until the node stops.
pub(super) async fn run(
    running: Arc<Running>,
    (config, appearance): (Config, u64),
    mut news: mpsc::UnboundedReceiver<News>,
) {
    let me = Member {
        node: running.parts.node,
        incarnation: appearance,
    };
    let membership = Membership::new(config, me, running.parts.seed ^ me.node.0);
    let mut detector = Detector {
        running,
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
                Some(News::Datagram(from, payload)) => detector.handle(Input::Datagram { from, payload }).await,
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
        let now = self.running.parts.clock.now();
        self.membership.handle(now, input, &mut self.effects);
        let mut changed = false;
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Datagram { to, payload } => self.running.transport.datagram(to, payload),
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
        let topology = self.running.hub.topology();
        let peers: Vec<NodeId> = topology
            .nodes
            .keys()
            .copied()
            .filter(|&node| node != self.running.parts.node)
            .collect();
        if peers != self.peers {
            self.peers.clone_from(&peers);
            self.told.retain(|node, _| peers.contains(node));
            self.handle(Input::Peers(peers)).await;
            // Nobody can have answered yet; the next look tells.
            return;
        }
        self.tell_shards().await;
    }

    /// Tells the shards what is new. A node can be reached when it is alive and there is a
    /// connection to it: without the one nobody answers, without the other nothing gets there. The
    /// shards take a node for reachable until they are told otherwise.
    async fn tell_shards(&mut self) {
        for &node in &self.peers {
            let up = self.membership.is_up(node) && self.running.transport.connected(node);
            if self.told.insert(node, up).unwrap_or(true) != up {
                let name = name_of(node, &self.running.hub.topology());
                tracing::info!(
                    node = name,
                    number = node.0,
                    up,
                    "a node's reachability changed"
                );
                self.running
                    .hub
                    .tell_shards(Sight::Reachable { node, up })
                    .await;
            }
        }
        self.running.hub.reached.store(
            self.told.values().filter(|up| **up).count(),
            Ordering::Release,
        );
        let (before, now) = (
            self.running.hub.unreachable.load(),
            self.running.parts.clock.now().unix_millis,
        );
        let unreachable = self
            .told
            .iter()
            .filter(|(_, up)| !**up)
            .map(|(&node, _)| (node, before.get(&node).copied().unwrap_or(now)))
            .collect();
        self.running.hub.unreachable.store(Arc::new(unreachable));
    }
}
