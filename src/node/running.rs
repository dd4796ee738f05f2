//! A node at work: its background tasks, and the doors to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_control::state::Command;
use quorate_control::store::StoreError;
use quorate_control::topology::{Epoch, KeyspaceId, Partition, Topology};
use quorate_crdt::NodeId;
use quorate_dynamo::protocol::ReplicaSummary;
use quorate_gossip::membership;
use quorate_gossip::transport::Transport;
use quorate_gossip::wire;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::adopted::{Adopted, Keeper};
use super::assembly::{Connected, NodeParts};
use super::control::Control;
use super::guard::{Failure, report};
use super::hub::{Call, Hub, Sight, tagged};
use super::release::Report;
use super::shard::Work;
use super::status::{self, Answers};
use crate::doors::{Status, name_of};
use crate::planted::{TOPOLOGY_FROM_THE_LEADER_ALONE, TOPOLOGY_GOES_BACK};

/// How long another node may take to tell its figures.
pub(super) const STATUS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a node waits for its control group to catch up before it serves on the topology that it
/// has kept.
const CATCH_UP: Duration = Duration::from_secs(5);
/// How long a node that has started waits to meet all others before it serves, and how long to meet
/// a majority. A request that came earlier would fail for want of nodes that are about to be found.
const MEET_ALL: Duration = Duration::from_secs(2);
const MEET_MAJORITY: Duration = Duration::from_secs(3);
const MEET_POLL: Duration = Duration::from_millis(10);
/// How often round trips and free space are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the node's own figures are summed for its metrics.
const SUMMARISE_EVERY: Duration = Duration::from_secs(5);
/// Bytes that must stay free on the device of the data directory; below, writes are refused while
/// there is still room to clean up. Guess.
const FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;
/// Below this the node ends by itself, with its data in order, before the engine fails in the
/// middle of something. Guess: some seconds of removals.
const FREE_BYTES_LAST: u64 = 16 * 1024 * 1024;

/// How much room a disk has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Room {
    /// For everything.
    Enough,
    /// For what removes.
    Little,
    /// For nothing.
    None,
}

impl Room {
    fn of(free: Option<u64>) -> Self {
        match free {
            Some(free) if free < FREE_BYTES_LAST => Self::None,
            Some(free) if free < FREE_BYTES_MIN => Self::Little,
            _ => Self::Enough,
        }
    }
}

/// The node's disk, as far as it can be looked at from outside of the store.
pub trait DiskGauge: Send + Sync + 'static {
    /// Bytes that can still be written; `None`: not known, or without bound.
    fn free_bytes(&self) -> Option<u64>;

    /// Commits asked for and synchronisations made since the start.
    fn commits_and_syncs(&self) -> (u64, u64);

    /// Why nothing may be acknowledged any more, although nobody may have asked since.
    fn failure(&self) -> Option<Arc<StoreError>> {
        None
    }
}

/// Shared by all tasks and doors of a running node.
pub(super) struct Running {
    pub(super) hub: Arc<Hub>,
    pub(super) parts: NodeParts,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) control: Arc<Control>,
    pub(super) gauge: Arc<dyn DiskGauge>,
    pub(super) failure: Failure,
    /// The epoch of the topology that everybody in the node has been told of.
    acted: watch::Sender<Option<Epoch>>,
    /// The last topology that another node has told.
    heard: watch::Sender<Arc<Topology>>,
}

/// Keeps a node's background tasks alive; dropping it ends them.
pub(super) struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Running {
    /// Starts the background tasks on the current runtime. The shards are the caller's.
    pub(super) fn start(
        connected: Connected,
        control: Arc<Control>,
        gauge: Arc<dyn DiskGauge>,
        gossip: membership::Config,
    ) -> (Arc<Self>, Tasks) {
        let Connected {
            hub,
            parts,
            transport,
            shards,
            news,
            keeper,
            life,
            reports,
            failure,
        } = connected;
        debug_assert!(shards.is_empty(), "the caller takes the shards first");
        let (acted, heard) = (watch::Sender::new(None), watch::Sender::new(hub.topology()));
        let running = Arc::new(Self {
            hub,
            parts,
            transport,
            control,
            gauge,
            failure,
            acted,
            heard,
        });
        let tasks = [
            tokio::spawn(Arc::clone(&running).follow_topology(keeper)),
            tokio::spawn(Arc::clone(&running).hear_of_topologies()),
            tokio::spawn(Arc::clone(&running).propose_reports(reports)),
            tokio::spawn(Arc::clone(&running).look_around()),
            tokio::spawn(super::membership::run(
                Arc::clone(&running),
                (gossip, life.appearance),
                news,
            )),
        ];
        let tasks = Tasks(
            tasks
                .iter()
                .map(tokio::task::JoinHandle::abort_handle)
                .collect(),
        );
        (running, tasks)
    }

    /// Acts on the topology that was kept, and then on each newer one that the control group has
    /// decided, once it is kept: told by this node's own part in the group, or by another node.
    async fn follow_topology(self: Arc<Self>, mut keeper: Keeper) {
        if let Some(kept) = keeper.kept() {
            self.act_on(&kept).await;
        }
        let (mut topologies, mut heard) = (self.control.topology(), self.heard.subscribe());
        loop {
            let (decided, heard_of) = (
                Arc::clone(&topologies.borrow_and_update()),
                Arc::clone(&heard.borrow_and_update()),
            );
            let newest = if heard_of.epoch > decided.epoch && !TOPOLOGY_GOES_BACK.is_planted() {
                heard_of
            } else {
                decided
            };
            match keeper.keep(&newest).await {
                Ok(Some(adopted)) => self.act_on(&adopted).await,
                Ok(None) => {}
                Err(error) => return report(&self.failure, &error),
            }
            // Biased for the sake of equal runs.
            let changed = tokio::select! {
                biased;
                changed = topologies.changed() => changed,
                changed = heard.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Asks one node after the other whether it acts on a newer topology. The control group alone
    /// does not always tell: while this node was away, a node that it has never heard of can have
    /// become the leader, and this node lets in only whom its topology names.
    async fn hear_of_topologies(self: Arc<Self>) {
        for turn in 0_usize.. {
            tokio::time::sleep(LOOK_EVERY).await;
            let topology = self.hub.topology();
            let reached: Vec<NodeId> = topology
                .nodes
                .keys()
                .copied()
                .filter(|&node| self.transport.connected(node))
                .collect();
            if reached.is_empty() || TOPOLOGY_FROM_THE_LEADER_ALONE.is_planted() {
                continue;
            }
            let question = tagged(Call::Topology, &wire::encode(&topology.epoch));
            let Ok(answer) = self
                .transport
                .call(reached[turn % reached.len()], question, STATUS_TIMEOUT)
                .await
            else {
                continue;
            };
            // Nothing newer is no answer. That this node is removed, only the control group tells
            // it.
            let newer = wire::decode::<Topology>(&answer).ok();
            let newer = newer.filter(|newer| {
                newer.cluster == topology.cluster && newer.nodes.contains_key(&self.parts.node)
            });
            if let Some(newer) = newer {
                self.heard.send_replace(Arc::new(newer));
            }
        }
    }

    async fn act_on(&self, adopted: &Adopted) {
        self.hub.publish(adopted).await;
        self.transport.set_peers(peers(adopted));
        self.acted.send_replace(Some(adopted.epoch));
    }

    /// Proposes what shards report. Reports are repeated until the topology shows them, so those
    /// that wait are taken together.
    async fn propose_reports(self: Arc<Self>, mut reports: mpsc::UnboundedReceiver<Report>) {
        let mut waiting: Vec<Report> = Vec::new();
        while reports.recv_many(&mut waiting, 1024).await > 0 {
            let mut by_epoch: BTreeMap<(KeyspaceId, Epoch), BTreeSet<Partition>> = BTreeMap::new();
            for (keyspace, partitions) in waiting.drain(..) {
                for (partition, epoch) in partitions {
                    by_epoch
                        .entry((keyspace, epoch))
                        .or_default()
                        .insert(partition);
                }
            }
            for ((keyspace, epoch), partitions) in by_epoch {
                let command = Command::ReportMove {
                    node: self.parts.node,
                    keyspace,
                    partitions: partitions.into_iter().collect(),
                    epoch,
                };
                if let Err(error) = self.control.propose(command).await {
                    tracing::debug!(%error, "a report of a move was not taken; it will be repeated");
                }
            }
        }
    }

    /// Tells the shards what changes by itself.
    async fn look_around(self: Arc<Self>) {
        let (mut full, mut leader) = (false, None);
        let mut summarised = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let topology = self.hub.topology();
            for &node in topology
                .nodes
                .keys()
                .filter(|&&node| node != self.parts.node)
            {
                if let Some(rtt) = self.transport.rtt(node) {
                    self.hub.tell_shards(Sight::RoundTrip { node, rtt }).await;
                }
            }
            let leads = self.control.group().leader();
            if leads.is_some() && leads != leader {
                leader = leads;
                self.hub.meter.leader_changed();
            }
            if let Some(error) = self.gauge.failure() {
                // Of a synchronisation that nobody waited for.
                return report(&self.failure, &error);
            }
            let room = Room::of(self.gauge.free_bytes());
            if room == Room::None {
                // Almost nothing is left.
                return report(&self.failure, &Arc::new(StoreError::Full));
            }
            let now_full = room == Room::Little;
            if now_full != full {
                full = now_full;
                tracing::warn!(
                    full,
                    "the free space of the data directory crossed its bound"
                );
                self.hub.tell_shards(Sight::DiskFull(full)).await;
            }
            if summarised.elapsed() >= SUMMARISE_EVERY {
                summarised = tokio::time::Instant::now();
                self.hub.summaries().await;
            }
        }
    }

    /// Asks every node for its figures, all at once.
    async fn ask_all(&self, topology: &Topology) -> Answers {
        let mut asked = JoinSet::new();
        for &node in topology
            .nodes
            .keys()
            .filter(|&&node| node != self.parts.node)
        {
            let call = self
                .transport
                .call(node, tagged(Call::Summaries, &[]), STATUS_TIMEOUT);
            asked.spawn(async move {
                (
                    node,
                    call.await
                        .ok()
                        .and_then(|answer| wire::decode::<Vec<ReplicaSummary>>(&answer).ok()),
                )
            });
        }
        let mut answers = Answers::from([(self.parts.node, Some(self.hub.summaries().await))]);
        while let Some(answer) = asked.join_next().await {
            answers.extend(answer);
        }
        answers
    }

    /// The status document, from what every node says now.
    pub(super) async fn status(&self) -> Status {
        let topology = self.hub.topology();
        let answers = self.ask_all(&topology).await;
        let findings = status::draw(
            &topology,
            self.control.group().leader(),
            &answers,
            &self.hub.unreachable.load(),
        );
        let findings = findings.with_clocks(&topology, &self.hub.clocks.load());
        self.hub.meter.mismatches(findings.mismatches);
        findings.status
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

    /// Waits until the node acts on a topology that it is in and that is as new as what its own
    /// control group has read back; on one that was kept it goes on if that takes long.
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
                .wait_for(|topology| topology.nodes.contains_key(&self.parts.node))
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

    /// Waits until the node acts on a topology that satisfies `wanted`, a few seconds at most.
    pub(super) async fn acts_on(&self, wanted: impl Fn(&Topology) -> bool) {
        let mut acted = self.acted.subscribe();
        // The sender lives as long as this.
        drop(
            tokio::time::timeout(CATCH_UP, acted.wait_for(|_| wanted(&self.hub.topology()))).await,
        );
    }

    /// Whether the node acts on a topology that it is in.
    pub(super) fn is_placed(&self) -> bool {
        self.acted.borrow().is_some() && self.knows_itself()
    }

    fn knows_itself(&self) -> bool {
        self.hub.topology().nodes.contains_key(&self.parts.node)
    }

    /// Waits until the failure detector has found the others, within [`MEET_ALL`] and
    /// [`MEET_MAJORITY`], and says whom it has not.
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
            "this node serves, and does not reach all others: is their address still the one they had?"
        );
    }

    /// Lets every shard finish what it has been given.
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

/// Whom to connect with, and where.
fn peers(topology: &Topology) -> BTreeMap<NodeId, SocketAddr> {
    topology
        .nodes
        .iter()
        .map(|(&node, info)| (node, info.quic))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_with_little_room_takes_removals_and_one_without_ends_the_node() {
        let megabyte = 1 << 20;
        assert_eq!(
            Room::of(None),
            Room::Enough,
            "a disk of which nothing is known"
        );
        assert_eq!(Room::of(Some(300 * megabyte)), Room::Enough);
        assert_eq!(Room::of(Some(100 * megabyte)), Room::Little);
        assert_eq!(Room::of(Some(megabyte)), Room::None);
    }
}
