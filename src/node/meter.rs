//! The metrics of a node, in Prometheus form. No label ever holds a key.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use quorate_control::topology::Topology;
use quorate_crdt::NodeId;
use quorate_dynamo::Consistency;
use quorate_dynamo::Counters;
use quorate_dynamo::op::{Answer, Op, PartitionOp, Request, RequestError};
use quorate_dynamo::protocol::{Purpose, ReplicaSummary};
use tokio::time::Instant;

use crate::doors::name_of;

/// In seconds, from a read from memory to a write over three continents.
const LATENCY_BUCKETS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
const OPS: [&str; 2] = ["read", "write"];
const LEVELS: [&str; 10] = [
    "DEFAULT",
    "ONE",
    "TWO",
    "THREE",
    "QUORUM",
    "ALL",
    "LOCAL_ONE",
    "LOCAL_QUORUM",
    "EACH_QUORUM",
    "NUMERIC",
];
const OUTCOMES: [&str; 6] = [
    "ok",
    "rejected",
    "unavailable",
    "timed_out",
    "overloaded",
    "stopping",
];
const SERIES: usize = OPS.len() * LEVELS.len() * OUTCOMES.len();

/// What the metrics need to know of a request when its reply comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    op: usize,
    level: usize,
    started: Instant,
}

impl Sample {
    pub(super) fn of(request: &Request) -> Self {
        let op = usize::from(matches!(
            request.op,
            Op::Mutate(..) | Op::Partition(_, PartitionOp::Clear)
        ));
        let level = match request.consistency {
            None => 0,
            Some(Consistency::One) => 1,
            Some(Consistency::Two) => 2,
            Some(Consistency::Three) => 3,
            Some(Consistency::Quorum) => 4,
            Some(Consistency::All) => 5,
            Some(Consistency::LocalOne) => 6,
            Some(Consistency::LocalQuorum) => 7,
            Some(Consistency::EachQuorum) => 8,
            Some(Consistency::Numeric { .. }) => 9,
        };
        Self {
            op,
            level,
            started: Instant::now(),
        }
    }
}

fn outcome(result: &Result<Answer, RequestError>) -> usize {
    match result {
        Ok(_) => 0,
        Err(
            RequestError::Unavailable { .. } | RequestError::Refused { .. } | RequestError::Moving,
        ) => 2,
        Err(RequestError::TimedOut { .. } | RequestError::DiskSlow { .. }) => 3,
        Err(RequestError::Overloaded | RequestError::DiskFull) => 4,
        Err(RequestError::Stopping) => 5,
        Err(_) => 1,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    op: &'static str,
    level: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OpLabel {
    op: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeLabel {
    node: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PurposeLabel {
    purpose: &'static str,
}

/// Traffic between the data planes of nodes, by purpose.
#[derive(Clone, Default)]
struct Traffic {
    frames: Family<PurposeLabel, Counter>,
    bytes: Family<PurposeLabel, Counter>,
    dropped: Family<PurposeLabel, Counter>,
}

/// What the cores of the node have done, summed over the cores.
#[derive(Clone, Default)]
struct Healing([Counter; HEALING.len()]);

/// Name and help of each counter of [`Healing`], in order.
const HEALING: [(&str, &str); 12] = [
    (
        "quorate_read_repairs",
        "Reads that found a replica with something else and repaired it",
    ),
    (
        "quorate_repairs_sent",
        "Deltas sent to replicas that lagged",
    ),
    (
        "quorate_repairs_joined",
        "Deltas of anti-entropy that were joined",
    ),
    (
        "quorate_streams",
        "Partitions filled by streaming from another replica",
    ),
    (
        "quorate_hints_kept",
        "Deltas kept for primaries that could not be reached",
    ),
    (
        "quorate_hints_dropped",
        "Hints dropped because there were too many",
    ),
    (
        "quorate_digest_mismatches",
        "Equal contexts found with different digests: a bug or bit rot",
    ),
    (
        "quorate_drift_refused",
        "New writes refused because a clock was off",
    ),
    (
        "quorate_epoch_refused",
        "Questions refused because the two nodes knew different placements",
    ),
    (
        "quorate_hedged_requests",
        "Requests that asked further replicas because the first were slow",
    ),
    ("quorate_expired_keys", "Expired keys removed"),
    (
        "quorate_stamps_withdrawn",
        "Entries stamped under a wrong clock and put back under the lowest stamp",
    ),
];

/// Figures of the node's own replicas, summed, and of the disk, the network and the control group
/// under them.
#[derive(Clone, Default)]
struct State {
    clocks: Family<NodeLabel, Gauge<f64, AtomicU64>>,
    rows: Gauge,
    recent: Gauge,
    residuals: Gauge,
    filling: Gauge,
    mismatches: Gauge,
    disk_bytes: Gauge,
    peers: Gauge,
    raft_term: Gauge,
    leader_changes: Counter,
    commits: Counter,
    syncs: Counter,
}

/// A node's registry and what is counted in it.
pub(super) struct Meter {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    /// The members of `requests` by index, to find them without a lookup.
    series: [OnceLock<Counter>; SERIES],
    latency: [Histogram; OPS.len()],
    traffic: Traffic,
    healing: Healing,
    state: State,
    garbage: Counter,
    shed: Counter,
}

/// Figures that are read at the moment the metrics are scraped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Readings {
    /// Bytes of the store.
    pub(super) disk_bytes: u64,
    /// Commits requested since the start.
    pub(super) commits: u64,
    /// Synchronisations of the disk since the start.
    pub(super) syncs: u64,
    /// Connected nodes.
    pub(super) peers: u64,
    /// Term of the control group.
    pub(super) raft_term: u64,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

impl Meter {
    pub(super) fn new() -> Self {
        let mut registry = Registry::default();
        let (requests, seconds) = (
            Family::default(),
            Family::<OpLabel, Histogram>::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
        );
        registry.register(
            "quorate_requests",
            "Requests answered",
            Family::clone(&requests),
        );
        registry.register(
            "quorate_request_duration_seconds",
            "Time from submission to reply",
            seconds.clone(),
        );
        let latency = OPS.map(|op| seconds.get_or_create(&OpLabel { op }).clone());
        let (traffic, healing, state) = (
            Traffic::register(&mut registry),
            Healing::register(&mut registry),
            State::register(&mut registry),
        );
        let (garbage, shed) = (Counter::default(), Counter::default());
        registry.register(
            "quorate_frames_malformed",
            "Frames of peers that could not be decoded",
            garbage.clone(),
        );
        registry.register(
            "quorate_messages_shed",
            "Messages dropped because their shard had too much to do",
            shed.clone(),
        );
        let series = [const { OnceLock::new() }; SERIES];
        Self {
            registry,
            requests,
            series,
            latency,
            traffic,
            healing,
            state,
            garbage,
            shed,
        }
    }

    pub(super) fn replied(&self, sample: &Sample, result: &Result<Answer, RequestError>) {
        let outcome = outcome(result);
        let index = (sample.op * LEVELS.len() + sample.level) * OUTCOMES.len() + outcome;
        let labels = || RequestLabels {
            op: OPS[sample.op],
            level: LEVELS[sample.level],
            outcome: OUTCOMES[outcome],
        };
        self.series[index]
            .get_or_init(|| self.requests.get_or_create(&labels()).clone())
            .inc();
        self.latency[sample.op].observe(sample.started.elapsed().as_secs_f64());
    }

    /// Counts a frame that the transport took or refused.
    pub(super) fn sent(&self, purpose: Purpose, bytes: usize, taken: bool) {
        let label = PurposeLabel {
            purpose: purpose.name(),
        };
        if taken {
            self.traffic.frames.get_or_create(&label).inc();
            self.traffic
                .bytes
                .get_or_create(&label)
                .inc_by(bytes as u64);
        } else {
            self.traffic.dropped.get_or_create(&label).inc();
        }
    }

    /// Sets the counters to what the cores have done so far.
    pub(super) fn counted(&self, cores: &[Counters]) {
        let sum = |of: fn(&Counters) -> u64| cores.iter().map(of).sum();
        let totals: [u64; HEALING.len()] = [
            sum(|core| core.read_repairs),
            sum(|core| core.repairs_sent),
            sum(|core| core.repairs_joined),
            sum(|core| core.streams),
            sum(|core| core.hints.kept),
            sum(|core| core.hints.dropped),
            sum(|core| core.digest_mismatches),
            sum(|core| core.drift_refused),
            sum(|core| core.epoch_refused),
            sum(|core| core.hedged),
            sum(|core| core.expired),
            sum(|core| core.stamps_withdrawn),
        ];
        for (counter, total) in self.healing.0.iter().zip(totals) {
            raise(counter, total);
        }
    }

    pub(super) fn malformed(&self) {
        self.garbage.inc();
    }

    pub(super) fn shed(&self) {
        self.shed.inc();
    }

    pub(super) fn leader_changed(&self) {
        self.state.leader_changes.inc();
    }

    /// Sets the number of partitions whose replicas have equal contexts and different digests, as
    /// the last status found it.
    pub(super) fn mismatches(&self, partitions: usize) {
        self.state.mismatches.set(signed(partitions as u64));
    }

    /// Sets how many milliseconds the clock of each node is ahead.
    pub(super) fn clocks(&self, offsets: &BTreeMap<NodeId, i64>, topology: &Topology) {
        self.state.clocks.clear();
        for (node, offset) in offsets {
            self.state
                .clocks
                .get_or_create(&NodeLabel {
                    node: name_of(*node, topology),
                })
                .set(*offset as f64 / 1000.0);
        }
    }

    /// Sets the sums over all replicas of this node.
    pub(super) fn summarised<'a>(&self, summaries: impl Iterator<Item = &'a ReplicaSummary>) {
        let (mut rows, mut recent, mut residuals, mut filling) = (0, 0, 0, 0);
        for summary in summaries {
            rows += summary.rows;
            recent += summary.recent;
            residuals += summary.residuals;
            filling += i64::from(summary.filling);
        }
        self.state.rows.set(signed(rows));
        self.state.recent.set(signed(recent));
        self.state.residuals.set(signed(residuals));
        self.state.filling.set(filling);
    }

    /// The metrics as text, with `readings` taken just now.
    pub(super) fn text(&self, readings: Readings) -> String {
        self.state.disk_bytes.set(signed(readings.disk_bytes));
        self.state.peers.set(signed(readings.peers));
        self.state.raft_term.set(signed(readings.raft_term));
        raise(&self.state.commits, readings.commits);
        raise(&self.state.syncs, readings.syncs);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("invariant: writing to a string does not fail");
        text
    }
}

/// A number as a gauge takes it.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Raises a counter to a total that is kept elsewhere.
fn raise(counter: &Counter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

impl Traffic {
    fn register(registry: &mut Registry) -> Self {
        let traffic = Self::default();
        registry.register(
            "quorate_frames_sent",
            "Frames that the transport accepted",
            traffic.frames.clone(),
        );
        registry.register(
            "quorate_frames_sent_bytes",
            "Bytes of frames that the transport accepted",
            traffic.bytes.clone(),
        );
        registry.register(
            "quorate_frames_dropped",
            "Frames that the transport refused",
            traffic.dropped.clone(),
        );
        traffic
    }
}

impl Healing {
    fn register(registry: &mut Registry) -> Self {
        let healing = Self::default();
        for ((name, help), counter) in HEALING.into_iter().zip(&healing.0) {
            registry.register(name, help, counter.clone());
        }
        healing
    }
}

impl State {
    fn register(registry: &mut Registry) -> Self {
        let state = Self::default();
        registry.register(
            "quorate_clock_offset_seconds",
            "How far the wall clock of a node is ahead of what this node considers the right time",
            state.clocks.clone(),
        );
        registry.register(
            "quorate_rows",
            "Live rows of this node's replicas",
            state.rows.clone(),
        );
        registry.register(
            "quorate_recent_events",
            "Events that some primary may not know yet",
            state.recent.clone(),
        );
        registry.register(
            "quorate_residual_ranges",
            "Ranges whose truth is ahead of their replica's context",
            state.residuals.clone(),
        );
        registry.register(
            "quorate_filling_replicas",
            "Replicas that are being filled",
            state.filling.clone(),
        );
        registry.register(
            "quorate_digest_mismatch_partitions",
            "Partitions of the last status with equal contexts and different digests",
            state.mismatches.clone(),
        );
        registry.register(
            "quorate_store_bytes",
            "Size of the store",
            state.disk_bytes.clone(),
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
}
