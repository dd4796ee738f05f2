//! The tasks that run beside a node's shards: following the topology, proposing what shards report,
//! watching the surroundings, detecting failures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use quorate_control::consensus::{ReadLevel, VoteTrust};
use quorate_control::coordinate::{CoordinationAnswer, CoordinationQuery};
use quorate_control::state::Command;
use quorate_control::store::StoreError;
use quorate_control::topology::{Epoch, FencingToken, KeyspaceId, Partition, Topology};
use quorate_crdt::NodeId;
use quorate_gossip::wire;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::adopted::{Adopted, Keeper};
use super::detector;
use super::disk_guard::report;
use super::hub::{Call, News, tagged};
use super::inbox::Sight;
use super::outbox::Report;
use super::rekey;
use super::shared::Shared;
use crate::doors::Load;
use crate::planted::{
    ADDRESS_UNTOLD, ADDRESSES_UNHEARD, TOPOLOGY_FROM_THE_LEADER_ALONE, TOPOLOGY_GOES_BACK,
};

/// How long another node may take to tell its topology.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// How often round trips and free space are looked at, and another node is asked for its topology.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a node asks which fencing tokens may still be held. Guess: a partition has room for
/// the fences of thousands of locks, and each answer may cost every replica a write.
const FLOOR_EVERY: Duration = Duration::from_secs(30);
/// How often a node looks whether the topology has its address.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// How often the node's own figures are summed for its metrics.
const SUMMARISE_EVERY: Duration = Duration::from_secs(5);
/// Bytes that must stay free on the device of the data directory. Below it writes are refused while
/// there is still room to clean up. Guess.
const FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;
/// Below this the node stops by itself with its data in order, before the engine fails in the
/// middle of something. Guess: some seconds of removals.
const FREE_BYTES_LAST: u64 = 16 * 1024 * 1024;

/// What the tasks read from the rest of the node. Each queue has this one reader.
pub(super) struct Feeds {
    /// The topology that was kept, and the place to keep newer ones.
    pub(super) keeper: Keeper,
    /// What shards report of moves.
    pub(super) reports: mpsc::UnboundedReceiver<Report>,
    /// What the network tells the failure detector.
    pub(super) news: mpsc::UnboundedReceiver<News>,
    /// The incarnation under which this node appears to the failure detectors of others.
    pub(super) appearance: u64,
}

/// Keeps a node's tasks alive; dropping it ends them.
pub(super) struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Starts the tasks on the current runtime.
pub(super) fn spawn(shared: &Arc<Shared>, feeds: Feeds) -> Tasks {
    let Feeds {
        keeper,
        reports,
        news,
        appearance,
    } = feeds;
    let tasks = [
        tokio::spawn(Arc::clone(shared).follow_topology(keeper)),
        tokio::spawn(Arc::clone(shared).hear_of_topologies()),
        tokio::spawn(Arc::clone(shared).propose_reports(reports)),
        tokio::spawn(Arc::clone(shared).look_around()),
        tokio::spawn(Arc::clone(shared).follow_floor()),
        tokio::spawn(Arc::clone(shared).own_up()),
        tokio::spawn(Arc::clone(shared).tell_address()),
        tokio::spawn(rekey::run(Arc::clone(shared))),
        tokio::spawn(Arc::clone(shared).hear_of_addresses()),
        tokio::spawn(detector::run(Arc::clone(shared), appearance, news)),
    ];
    Tasks(
        tasks
            .iter()
            .map(tokio::task::JoinHandle::abort_handle)
            .collect(),
    )
}

impl Shared {
    /// Acts on the topology that was kept, then on each newer one as soon as it is kept. A newer
    /// topology comes from this node's own part in the control group or from another node.
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
            // Biased, so that equal seeds give equal runs.
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
    /// is not enough: while this node was away, a node that it has never heard of may have become
    /// the leader, and this node accepts connections only from nodes that its topology names.
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
                .call(reached[turn % reached.len()], question, ASK_TIMEOUT)
                .await
            else {
                continue;
            };
            // An empty answer means: nothing newer. A topology without this node is ignored,
            // because only the control group may tell a node that it was removed.
            let newer = wire::decode::<Topology>(&answer).ok();
            let newer = newer.filter(|newer| {
                newer.cluster == topology.cluster && newer.nodes.contains_key(&self.settings.node)
            });
            if let Some(newer) = newer {
                self.heard.send_replace(Arc::new(newer));
            }
        }
    }

    /// While nodes are missing, asks one node after the other where it has met them. A node that
    /// has moved can tell its address only to those whom it finds, and to the topology only when a
    /// majority of the voters have found each other.
    async fn hear_of_addresses(self: Arc<Self>) {
        for turn in 0_usize.. {
            tokio::time::sleep(LOOK_EVERY).await;
            let met = self.transport.met();
            self.hub.met.store(Arc::new(met.clone()));
            let others = self.hub.topology().nodes.len().saturating_sub(1);
            let asked = met.keys().nth(turn % met.len().max(1)).copied();
            let missing = met.len() < others && !ADDRESSES_UNHEARD.is_planted();
            let Some(asked) = asked.filter(|_| missing) else {
                continue;
            };
            let question = tagged(Call::Met, &[]);
            if let Ok(answer) = self.transport.call(asked, question, ASK_TIMEOUT).await
                && let Ok(mut heard) = wire::decode::<BTreeMap<NodeId, Arc<str>>>(&answer)
            {
                heard.retain(|node, _| !met.contains_key(node));
                self.transport.hear(heard);
            }
        }
    }

    async fn act_on(&self, adopted: &Adopted) {
        self.hub.publish(adopted).await;
        self.transport.set_peers(peers(adopted));
        self.acted.send_replace(Some(adopted.epoch));
    }

    /// Proposes what shards report. Shards repeat a report until the topology shows it, so all
    /// reports that wait are merged first.
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
                    node: self.settings.node,
                    keyspace,
                    partitions: partitions.into_iter().collect(),
                    epoch,
                };
                if let Err(error) = self.control.propose(command).await {
                    tracing::debug!(%error, "a report of a move was not accepted; it will be repeated");
                }
            }
        }
    }

    /// Tells the control group when this node's directory turns out to be an older one.
    async fn own_up(self: Arc<Self>) {
        let node = self.settings.node;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let group = self.control.group();
            if group.status().standing != VoteTrust::Forgetful
                || group.read(|state| state.volatile().contains(&node))
            {
                continue;
            }
            if let Err(error) = self.control.propose(Command::Distrust { node }).await {
                tracing::debug!(%error, "a report of this node's store was not accepted; it will be repeated");
            }
        }
    }

    /// Tells the cluster where this node is, if the topology has another address for it. Then every
    /// node finds it, also one whose own address has changed since.
    async fn tell_address(self: Arc<Self>) {
        let node = self.settings.node;
        let told = || {
            let topology = self.hub.topology();
            let info = topology.nodes.get(&node);
            info.is_none_or(|info| info.quic == self.address)
        };
        loop {
            tokio::time::sleep(TELL_EVERY).await;
            if told() || ADDRESS_UNTOLD.is_planted() {
                continue;
            }
            let command = Command::MoveNode {
                node,
                quic: Arc::clone(&self.address),
            };
            if let Err(error) = self.control.propose(command).await {
                tracing::debug!(%error, "the node's new address was not accepted; it will be proposed again");
            }
        }
    }

    /// Tells the shards the oldest token under which anything is held. What carries an older one is
    /// refused by every replica from then on, so none need remember a fence for it.
    async fn follow_floor(self: Arc<Self>) {
        // Below the first token there is nothing to refuse.
        let mut told = FencingToken(1);
        loop {
            tokio::time::sleep(FLOOR_EVERY).await;
            // What an older state says is lower, and as true.
            let group = self.control.coordination();
            let level = ReadLevel::Stale { within: None };
            let asked = group.query(&CoordinationQuery::Floor, level, ASK_TIMEOUT);
            if let Ok(CoordinationAnswer::Floor(floor)) = asked.await
                && floor > told
            {
                told = floor;
                self.hub.tell_shards(Sight::Floor(floor.0)).await;
            }
        }
    }

    /// Watches what changes by itself, and tells the shards: round trips, free space. Stops the
    /// node when the disk is full or has failed without anybody waiting for it.
    async fn look_around(self: Arc<Self>) {
        let (mut full, mut leader) = (false, None);
        let mut summarised = tokio::time::Instant::now();
        let mut answered = 0;
        self.look_at_load(0);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let rtt = self.round_trips();
            self.hub.meter.round_trips(&rtt, &self.hub.topology());
            for (node, rtt) in rtt {
                self.hub.tell_shards(Sight::RoundTrip { node, rtt }).await;
            }
            let leads = self.control.group().leader();
            if leads.is_some() && leads != leader {
                leader = leads;
                self.hub.meter.leader_changed();
            }
            if let Some(error) = self.world.gauge.failure() {
                return report(&self.failure, &error);
            }
            let room = DiskRoom::of(self.world.gauge.free_bytes());
            if room == DiskRoom::None {
                return report(&self.failure, &Arc::new(StoreError::Full));
            }
            let now_full = room == DiskRoom::Little;
            if now_full != full {
                full = now_full;
                tracing::warn!(
                    full,
                    "the free space of the data directory crossed its lower bound"
                );
                self.hub.tell_shards(Sight::DiskFull(full)).await;
            }
            if summarised.elapsed() >= SUMMARISE_EVERY {
                let before = std::mem::replace(&mut answered, self.hub.meter.answered());
                let since = summarised.elapsed().as_secs().max(1);
                self.look_at_load(answered.saturating_sub(before) / since);
                summarised = tokio::time::Instant::now();
                self.hub.summaries().await;
            }
        }
    }
}

impl Shared {
    /// Notes what the node uses.
    fn look_at_load(&self, requests_per_s: u64) {
        let (store, gauge) = (&self.world.store, &self.world.gauge);
        self.hub.load.store(Arc::new(Load {
            store_bytes: store.stats().bytes,
            free_bytes: gauge.free_bytes(),
            memory_bytes: gauge.process().map(|process| process.taken.resident_bytes),
            requests_per_s,
        }));
    }
}

/// How much room the disk has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum DiskRoom {
    /// Enough for everything.
    Enough,
    /// Enough for removals only.
    Little,
    /// Not enough for anything.
    None,
}

impl DiskRoom {
    fn of(free: Option<u64>) -> Self {
        match free {
            Some(free) if free < FREE_BYTES_LAST => Self::None,
            Some(free) if free < FREE_BYTES_MIN => Self::Little,
            _ => Self::Enough,
        }
    }
}

/// The nodes to connect with, and their addresses.
fn peers(topology: &Topology) -> BTreeMap<NodeId, Arc<str>> {
    topology
        .nodes
        .iter()
        .map(|(&node, info)| (node, Arc::clone(&info.quic)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_with_little_room_takes_removals_and_one_without_ends_the_node() {
        let megabyte = 1 << 20;
        assert_eq!(
            DiskRoom::of(None),
            DiskRoom::Enough,
            "a disk of which nothing is known"
        );
        assert_eq!(DiskRoom::of(Some(300 * megabyte)), DiskRoom::Enough);
        assert_eq!(DiskRoom::of(Some(100 * megabyte)), DiskRoom::Little);
        assert_eq!(DiskRoom::of(Some(megabyte)), DiskRoom::None);
    }
}
