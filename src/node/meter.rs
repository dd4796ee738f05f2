//! The metrics of a node, in Prometheus form. No label ever holds a key.

mod locks;
mod requests;
mod state;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use quorate_control::topology::Topology;
use quorate_crdt::NodeId;
use quorate_dynamo::Counters;
use quorate_dynamo::op::{Answer, Request, RequestError};
use quorate_dynamo::protocol::{Purpose, ReplicaSummary};

pub(super) use locks::HoldFigures;
use locks::Locks;
use requests::Requests;
pub(super) use requests::Sample;
pub(super) use state::Readings;
use state::{State, raise};

#[cfg(test)]
mod tests;

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

/// A node's registry and what is counted in it.
pub(super) struct Meter {
    registry: Registry,
    requests: Requests,
    traffic: Traffic,
    healing: Healing,
    state: State,
    locks: Locks,
    garbage: Counter,
    shed: Counter,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

impl Meter {
    /// `sync_seconds` is filled elsewhere: the time that each synchronisation of the disk took.
    pub(super) fn new(sync_seconds: Option<Histogram>) -> Self {
        let mut registry = Registry::default();
        let requests = Requests::register(&mut registry);
        let (traffic, healing, state) = (
            Traffic::register(&mut registry),
            Healing::register(&mut registry),
            State::register(&mut registry),
        );
        let locks = Locks::register(&mut registry);
        if let Some(seconds) = sync_seconds {
            registry.register(
                "quorate_store_sync_duration_seconds",
                "Time that a synchronisation of the store took",
                seconds,
            );
        }
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
        Self {
            registry,
            requests,
            traffic,
            healing,
            state,
            locks,
            garbage,
            shed,
        }
    }

    /// Follows the keyspaces of the topology.
    pub(super) fn adopt(&self, topology: &Topology) {
        self.requests.adopt(topology);
    }

    /// Begins to measure a request.
    pub(super) fn sample(&self, request: &Request) -> Sample {
        self.requests.sample(request)
    }

    pub(super) fn replied(&self, sample: &Sample, result: &Result<Answer, RequestError>) {
        self.requests.replied(sample, result);
    }

    /// How many requests were answered since the start.
    pub(super) fn answered(&self) -> u64 {
        self.requests.answered()
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
        self.state.leader_changed();
    }

    /// Sets the number of partitions whose replicas have equal contexts and different digests, as
    /// the last status found it.
    pub(super) fn mismatches(&self, partitions: usize) {
        self.state.mismatches(partitions);
    }

    /// Sets how many milliseconds the clock of each node is ahead.
    pub(super) fn clocks(&self, offsets: &BTreeMap<NodeId, i64>, topology: &Topology) {
        self.state.clocks(offsets, topology);
    }

    /// Sets the round trip to each connected node.
    pub(super) fn round_trips(&self, rtt: &BTreeMap<NodeId, Duration>, topology: &Topology) {
        self.state.round_trips(rtt, topology);
    }

    /// Sets the sums over all replicas of this node.
    pub(super) fn summarised<'a>(
        &self,
        summaries: impl Iterator<Item = &'a ReplicaSummary>,
        topology: &Topology,
    ) {
        self.state.summarised(summaries, topology);
    }

    /// The metrics as `OpenMetrics` text, with `readings` and `held` taken just now.
    pub(super) fn text(&self, readings: &Readings, held: HoldFigures) -> String {
        self.state.read(readings);
        self.locks.read(held);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("invariant: writing to a string does not fail");
        text
    }
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
