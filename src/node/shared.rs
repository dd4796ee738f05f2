//! What the tasks and the doors of a running node share, and what one can wait for in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_control::store::StoreError;
use quorate_control::topology::{Epoch, Topology};
use quorate_crdt::NodeId;
use quorate_gossip::transport::Transport;
use tokio::sync::{oneshot, watch};

use super::control::Control;
use super::disk_guard::Failure;
use super::hub::Hub;
use super::inbox::Work;
use super::keys::Keys;
use super::reach::Reach;
use super::world::{Settings, World};
use crate::doors::name_of;

/// How long a node waits for its control group to catch up before it serves on the topology that it
/// has kept.
const CATCH_UP: Duration = Duration::from_secs(5);
/// How long a node that has started waits to meet all others before it serves, and how long to meet
/// a majority. An earlier request would fail for want of nodes that are about to be found.
const MEET_ALL: Duration = Duration::from_secs(2);
const MEET_MAJORITY: Duration = Duration::from_secs(3);
const MEET_POLL: Duration = Duration::from_millis(10);

/// A node, as its tasks and its doors see it.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) world: World,
    pub(super) hub: Arc<Hub>,
    pub(super) transport: Arc<dyn Transport>,
    /// Where other nodes reach this one.
    pub(super) address: Arc<str>,
    pub(super) keys: Option<Arc<Keys>>,
    pub(super) control: Arc<Control>,
    pub(super) failure: Failure,
    /// The epoch of the topology that everybody in the node has been told of.
    pub(super) acted: watch::Sender<Option<Epoch>>,
    /// The last topology that another node has told.
    pub(super) heard: watch::Sender<Arc<Topology>>,
}

impl Shared {
    /// This node's way to all others.
    pub(super) fn reach(&self) -> Reach<'_> {
        Reach {
            me: self.settings.node,
            transport: &*self.transport,
        }
    }

    /// Waits until the node must stop, and says why.
    pub(super) async fn failed(&self) -> Arc<StoreError> {
        let mut failure = self.failure.subscribe();
        loop {
            let found = failure.borrow_and_update().clone();
            match found {
                Some(error) => return error,
                // The sender lives as long as this.
                None => drop(failure.changed().await),
            }
        }
    }

    /// Waits until the node acts on a topology that names it and that is as new as the one its own
    /// control group has read back. If the control group takes longer than [`CATCH_UP`], the
    /// topology that was kept will do.
    pub(super) async fn in_topology(&self) {
        let mut acted = self.acted.subscribe();
        // The senders live as long as this and the group.
        drop(
            acted
                .wait_for(|acted| acted.is_some() && self.knows_itself())
                .await,
        );
        let caught_up = async {
            let mut topologies = self.control.topology();
            let known = topologies
                .wait_for(|topology| topology.nodes.contains_key(&self.settings.node))
                .await
                .map(|topology| topology.epoch);
            if let Ok(epoch) = known {
                drop(
                    acted
                        .wait_for(|acted| acted.is_some_and(|acted| acted >= epoch))
                        .await,
                );
            }
        };
        drop(tokio::time::timeout(CATCH_UP, caught_up).await);
    }

    /// Waits until the node acts on a topology that satisfies `wanted`, at most [`CATCH_UP`].
    pub(super) async fn acts_on(&self, wanted: impl Fn(&Topology) -> bool) {
        let mut acted = self.acted.subscribe();
        // The sender lives as long as this.
        drop(
            tokio::time::timeout(CATCH_UP, acted.wait_for(|_| wanted(&self.hub.topology()))).await,
        );
    }

    /// Whether the node acts on a topology that names it.
    pub(super) fn is_placed(&self) -> bool {
        self.acted.borrow().is_some() && self.knows_itself()
    }

    fn knows_itself(&self) -> bool {
        self.hub.topology().nodes.contains_key(&self.settings.node)
    }

    /// Waits until the failure detector has found the other nodes, at most [`MEET_ALL`] or, while
    /// less than a majority is found, [`MEET_MAJORITY`]. Logs the names of those it has not found.
    pub(super) async fn meet_others(&self) {
        let begun = tokio::time::Instant::now();
        loop {
            let others = self.hub.topology().nodes.len().saturating_sub(1);
            let met = self.hub.reached.load(Ordering::Acquire);
            if met >= others {
                return;
            }
            let bound = if 2 * met >= others {
                MEET_ALL
            } else {
                MEET_MAJORITY
            };
            if begun.elapsed() >= bound {
                break;
            }
            tokio::time::sleep(MEET_POLL).await;
        }
        let topology = self.hub.topology();
        let missing: Vec<String> = self
            .hub
            .unreachable
            .load()
            .keys()
            .map(|node| name_of(*node, &topology))
            .collect();
        tracing::warn!(
            missing = missing.join(", "),
            "this node serves but cannot reach all others: have their addresses changed?"
        );
    }

    /// The nodes that vote now, as far as this one knows. The topology says which ones are to vote;
    /// one that does not answer or has not caught up does not.
    pub(super) fn voters(&self, topology: &Topology) -> BTreeSet<NodeId> {
        let voters = BTreeSet::from_iter(self.control.group().status().voters);
        if voters.is_empty() {
            return topology.voters().collect();
        }
        voters
    }

    /// The round trip to every connected node.
    pub(super) fn round_trips(&self) -> BTreeMap<NodeId, Duration> {
        let topology = self.hub.topology();
        let others = topology.nodes.keys();
        let others = others.filter(|&&node| node != self.settings.node);
        others
            .filter_map(|&node| Some((node, self.transport.rtt(node)?)))
            .collect()
    }

    /// Lets every shard finish the work that it has been given.
    pub(super) async fn stop_shards(&self) {
        for lane in &self.hub.lanes {
            let (done, stopped) = oneshot::channel();
            if lane.push_surely(Work::Stop(done)).await {
                // A shard that fails meanwhile drops the sender: then nothing more comes from it.
                drop(stopped.await);
            }
        }
    }
}
