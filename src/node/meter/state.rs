//! Figures that are not counted but looked at: the node's replicas, and the disk, the network, the
//! control group and the process under them.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use quorate_control::consensus::{GroupReport, Role};
use quorate_control::topology::Topology;
use quorate_crdt::NodeId;
use quorate_dynamo::protocol::ReplicaSummary;

use crate::doors::name_of;
use crate::process::ProcessFigures;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeLabel {
    node: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyspaceLabel {
    keyspace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GroupLabel {
    group: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FigureLabel {
    group: String,
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabel {
    version: &'static str,
}

type Seconds = Gauge<f64, AtomicU64>;

/// Figures that are read at the moment the metrics are scraped.
#[derive(Clone, Debug, Default)]
pub(in crate::node) struct Readings {
    /// Bytes of the store.
    pub(in crate::node) disk_bytes: u64,
    /// Bytes that are free on its device.
    pub(in crate::node) free_bytes: Option<u64>,
    /// Commits requested since the start.
    pub(in crate::node) commits: u64,
    /// Synchronisations of the disk since the start.
    pub(in crate::node) syncs: u64,
    /// Nodes of the topology.
    pub(in crate::node) nodes: u64,
    /// Connected nodes.
    pub(in crate::node) peers: u64,
    /// Term of the control group.
    pub(in crate::node) raft_term: u64,
    /// The Raft groups.
    pub(in crate::node) groups: Vec<GroupReport>,
    /// The process, where it can be looked at.
    pub(in crate::node) process: Option<ProcessFigures>,
}

/// The figures of the node's own replicas.
#[derive(Default)]
struct Data {
    rows: Family<KeyspaceLabel, Gauge>,
    recent: Gauge,
    residuals: Gauge,
    filling: Gauge,
    mismatches: Gauge,
}

/// The figures of the process, with the names that Prometheus gives them everywhere.
#[derive(Default)]
struct Process {
    cpu: Counter<f64, AtomicU64>,
    memory: Gauge,
    descriptors: Gauge,
    descriptors_max: Gauge,
    started: Seconds,
}

/// The figures of the node's Raft groups.
#[derive(Default)]
struct Groups {
    term: Family<GroupLabel, Gauge>,
    leads: Family<GroupLabel, Gauge>,
    applied: Family<GroupLabel, Gauge>,
    behind: Family<GroupLabel, Gauge>,
    snapshot: Family<GroupLabel, Gauge>,
    differs: Family<GroupLabel, Gauge>,
    figures: Family<FigureLabel, Gauge>,
    heartbeat: Family<GroupLabel, Seconds>,
    batches: Family<GroupLabel, Counter>,
    entries: Family<GroupLabel, Counter>,
    took: Family<GroupLabel, Counter<f64, AtomicU64>>,
}

/// All of them.
#[derive(Default)]
pub(super) struct State {
    groups: Groups,
    data: Data,
    process: Process,
    clocks: Family<NodeLabel, Seconds>,
    rtt: Family<NodeLabel, Seconds>,
    build: Family<BuildLabel, Gauge>,
    disk_bytes: Gauge,
    free_bytes: Gauge,
    nodes: Gauge,
    peers: Gauge,
    raft_term: Gauge,
    leader_changes: Counter,
    commits: Counter,
    syncs: Counter,
}

/// A number as a gauge takes it.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Raises a counter to a total that is kept elsewhere.
pub(super) fn raise(counter: &Counter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

impl State {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let state = Self::default();
        let version = env!("CARGO_PKG_VERSION");
        state.build.get_or_create(&BuildLabel { version }).set(1);
        state.data.register(registry);
        state.process.register(registry);
        state.groups.register(registry);
        registry.register(
            "quorate_clock_offset_seconds",
            "How far the wall clock of a node is ahead of what this node considers the right time",
            state.clocks.clone(),
        );
        registry.register(
            "quorate_peer_rtt_seconds",
            "Smoothed round trip to a connected node",
            state.rtt.clone(),
        );
        registry.register(
            "quorate_build_info",
            "The version of the program; always 1",
            state.build.clone(),
        );
        registry.register(
            "quorate_store_bytes",
            "Size of the store",
            state.disk_bytes.clone(),
        );
        registry.register(
            "quorate_store_free_bytes",
            "Free space on the device of the store",
            state.free_bytes.clone(),
        );
        registry.register(
            "quorate_nodes",
            "Nodes of the topology that this node acts on",
            state.nodes.clone(),
        );
        registry.register(
            "quorate_peers_connected",
            "Nodes with a connection to this one",
            state.peers.clone(),
        );
        registry.register(
            "quorate_raft_term",
            "Term of the control group",
            state.raft_term.clone(),
        );
        registry.register(
            "quorate_raft_leader_changes",
            "Changes of the control group's leader that this node saw",
            state.leader_changes.clone(),
        );
        registry.register(
            "quorate_store_commits",
            "Commits requested from the store",
            state.commits.clone(),
        );
        registry.register(
            "quorate_store_syncs",
            "Synchronisations of the store",
            state.syncs.clone(),
        );
        state
    }

    pub(super) fn leader_changed(&self) {
        self.leader_changes.inc();
    }

    pub(super) fn mismatches(&self, partitions: usize) {
        self.data.mismatches.set(signed(partitions as u64));
    }

    pub(super) fn clocks(&self, offsets: &BTreeMap<NodeId, i64>, topology: &Topology) {
        let seconds = |(node, offset): (&NodeId, &i64)| (*node, *offset as f64 / 1000.0);
        show(&self.clocks, offsets.iter().map(seconds), topology);
    }

    pub(super) fn round_trips(&self, rtt: &BTreeMap<NodeId, Duration>, topology: &Topology) {
        let seconds = |(node, rtt): (&NodeId, &Duration)| (*node, rtt.as_secs_f64());
        show(&self.rtt, rtt.iter().map(seconds), topology);
    }

    pub(super) fn summarised<'a>(
        &self,
        summaries: impl Iterator<Item = &'a ReplicaSummary>,
        topology: &Topology,
    ) {
        self.data.summarised(summaries, topology);
    }

    pub(super) fn read(&self, readings: &Readings) {
        readings
            .groups
            .iter()
            .for_each(|group| self.groups.read(group));
        self.disk_bytes.set(signed(readings.disk_bytes));
        self.free_bytes
            .set(signed(readings.free_bytes.unwrap_or(0)));
        self.nodes.set(signed(readings.nodes));
        self.peers.set(signed(readings.peers));
        self.raft_term.set(signed(readings.raft_term));
        raise(&self.commits, readings.commits);
        raise(&self.syncs, readings.syncs);
        if let Some(process) = readings.process {
            self.process.read(process);
        }
    }
}

/// Sets a figure of each node, and forgets the others.
fn show(
    family: &Family<NodeLabel, Seconds>,
    figures: impl Iterator<Item = (NodeId, f64)>,
    topology: &Topology,
) {
    family.clear();
    for (node, figure) in figures {
        let node = name_of(node, topology);
        family.get_or_create(&NodeLabel { node }).set(figure);
    }
}

impl Data {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "quorate_rows",
            "Live rows of this node's replicas",
            self.rows.clone(),
        );
        registry.register(
            "quorate_recent_events",
            "Events that some primary may not know yet",
            self.recent.clone(),
        );
        registry.register(
            "quorate_residual_ranges",
            "Ranges whose truth is ahead of their replica's context",
            self.residuals.clone(),
        );
        registry.register(
            "quorate_filling_replicas",
            "Replicas that are being filled",
            self.filling.clone(),
        );
        registry.register(
            "quorate_digest_mismatch_partitions",
            "Partitions of the last status with equal contexts and different digests",
            self.mismatches.clone(),
        );
    }

    fn summarised<'a>(
        &self,
        summaries: impl Iterator<Item = &'a ReplicaSummary>,
        topology: &Topology,
    ) {
        let (mut rows, mut recent, mut residuals, mut filling) = (BTreeMap::new(), 0, 0, 0);
        for summary in summaries {
            *rows.entry(summary.keyspace).or_default() += summary.rows;
            recent += summary.recent;
            residuals += summary.residuals;
            filling += i64::from(summary.filling);
        }
        self.rows.clear();
        for (keyspace, rows) in rows {
            // A replica whose keyspace was dropped is about to be erased.
            if let Some(keyspace) = topology.keyspaces.get(&keyspace) {
                let keyspace = keyspace.name.to_string();
                self.rows
                    .get_or_create(&KeyspaceLabel { keyspace })
                    .set(signed(rows));
            }
        }
        self.recent.set(signed(recent));
        self.residuals.set(signed(residuals));
        self.filling.set(filling);
    }
}

impl Groups {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "quorate_group_term",
            "Term of a Raft group",
            self.term.clone(),
        );
        registry.register(
            "quorate_group_leads",
            "Whether this node leads a Raft group",
            self.leads.clone(),
        );
        registry.register(
            "quorate_group_applied_index",
            "The last entry of a Raft group that this node has applied",
            self.applied.clone(),
        );
        registry.register(
            "quorate_group_behind_entries",
            "On the leader of a Raft group: how many entries the slowest member lacks",
            self.behind.clone(),
        );
        registry.register(
            "quorate_group_snapshot_index",
            "The last entry of a Raft group that this node's snapshot contains",
            self.snapshot.clone(),
        );
        registry.register(
            "quorate_group_differs",
            "Whether this node's state differed from that of a majority, so that it takes no part",
            self.differs.clone(),
        );
        registry.register(
            "quorate_group_state",
            "How much there is of what in the state that this node has applied",
            self.figures.clone(),
        );
        registry.register(
            "quorate_group_heartbeat_seconds",
            "How often the leader of a Raft group sends a sign of life",
            self.heartbeat.clone(),
        );
        registry.register(
            "quorate_group_commits",
            "Batches of entries that a Raft group has committed under this node",
            self.batches.clone(),
        );
        registry.register(
            "quorate_group_entries",
            "Entries in these batches",
            self.entries.clone(),
        );
        registry.register(
            "quorate_group_commit_seconds",
            "Time that these batches took from their proposal until they were applied",
            self.took.clone(),
        );
    }

    fn read(&self, report: &GroupReport) {
        let label = GroupLabel {
            group: report.group.to_string(),
        };
        let GroupReport {
            status,
            details,
            timing,
            times,
            figures,
            ..
        } = report;
        let behind = details.followers.iter().map(|follower| follower.behind);
        let set = |family: &Family<GroupLabel, Gauge>, figure: u64| {
            family.get_or_create(&label).set(signed(figure));
        };
        set(&self.term, status.term);
        set(&self.leads, u64::from(status.role == Role::Leader));
        set(&self.applied, status.applied.0);
        set(&self.behind, behind.max().unwrap_or(0));
        set(&self.snapshot, details.snapshot.map_or(0, |index| index.0));
        set(&self.differs, u64::from(status.differs.is_some()));
        for &(what, figure) in figures {
            let group = label.group.clone();
            let label = FigureLabel { group, what };
            self.figures.get_or_create(&label).set(signed(figure));
        }
        let heartbeat = self.heartbeat.get_or_create(&label);
        heartbeat.set(timing.heartbeat().as_secs_f64());
        raise(&self.batches.get_or_create(&label), times.batches);
        raise(&self.entries.get_or_create(&label), times.entries);
        let took = self.took.get_or_create(&label);
        took.inc_by((times.took.as_secs_f64() - took.get()).max(0.0));
    }
}

impl Process {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "process_cpu_seconds",
            "Processor time that the process has used",
            self.cpu.clone(),
        );
        registry.register(
            "process_resident_memory_bytes",
            "Memory that the process keeps resident",
            self.memory.clone(),
        );
        registry.register(
            "process_open_fds",
            "File descriptors that are open",
            self.descriptors.clone(),
        );
        registry.register(
            "process_max_fds",
            "File descriptors that may be open",
            self.descriptors_max.clone(),
        );
        registry.register(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970",
            self.started.clone(),
        );
    }

    fn read(&self, figures: ProcessFigures) {
        let cpu = figures.cpu.as_secs_f64();
        self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
        self.memory.set(signed(figures.taken.resident_bytes));
        self.descriptors.set(signed(figures.descriptors));
        self.descriptors_max.set(signed(figures.descriptors_max));
        self.started.set(figures.started.as_secs_f64());
    }
}
