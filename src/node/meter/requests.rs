//! Counts the requests of this node's clients, by keyspace, level and outcome.
//!
//! A counter is found by index and not by its labels: it is counted for every request.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use quorate_control::topology::{KeyspaceId, Topology};
use quorate_dynamo::Consistency;
use quorate_dynamo::op::{Answer, Op, PartitionOp, Request, RequestError};
use tokio::time::Instant;

/// In seconds, from a read from memory to a write over three continents.
const LATENCY_BUCKETS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
const OPS: [&str; 2] = ["read", "write"];
const OUTCOMES: [&str; 6] = [
    "ok",
    "rejected",
    "unavailable",
    "timed_out",
    "overloaded",
    "stopping",
];
/// The named levels and, last, all numeric ones.
const LEVELS: usize = Consistency::NAMED.len() + 1;
const NUMERIC: &str = "NUMERIC";
const SERIES: usize = OPS.len() * LEVELS * OUTCOMES.len();

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    keyspace: String,
    op: &'static str,
    level: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OpLabel {
    op: &'static str,
}

/// What is counted about requests.
pub(super) struct Requests {
    counters: Family<RequestLabels, Counter>,
    latency: [Histogram; OPS.len()],
    keyspaces: ArcSwap<BTreeMap<KeyspaceId, Arc<Series>>>,
    /// For requests to keyspaces that the topology does not have.
    unknown: Arc<Series>,
}

/// The counters of one keyspace.
#[derive(Debug)]
struct Series {
    keyspace: Arc<str>,
    /// The levels of reads and writes that name none.
    defaults: [usize; OPS.len()],
    counters: [OnceLock<Counter>; SERIES],
}

/// What the metrics need to know of a request when its reply comes.
#[derive(Clone, Debug)]
pub(in crate::node) struct Sample {
    series: Arc<Series>,
    op: usize,
    level: usize,
    started: Instant,
}

impl Series {
    fn new(keyspace: Arc<str>, defaults: [usize; OPS.len()]) -> Arc<Self> {
        Arc::new(Self {
            keyspace,
            defaults,
            counters: [const { OnceLock::new() }; SERIES],
        })
    }

    fn labels(&self, op: usize, level: usize, outcome: usize) -> RequestLabels {
        let named = Consistency::NAMED.get(level);
        RequestLabels {
            keyspace: self.keyspace.to_string(),
            op: OPS[op],
            level: named.map_or_else(|| NUMERIC.to_owned(), Consistency::to_string),
            outcome: OUTCOMES[outcome],
        }
    }
}

fn index(op: usize, level: usize, outcome: usize) -> usize {
    (op * LEVELS + level) * OUTCOMES.len() + outcome
}

fn level_index(level: Consistency) -> usize {
    let named = Consistency::NAMED.iter().position(|named| *named == level);
    named.unwrap_or(Consistency::NAMED.len())
}

impl Requests {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let counters = Family::default();
        let seconds =
            Family::<OpLabel, Histogram>::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS));
        registry.register(
            "quorate_requests",
            "Requests answered",
            Family::clone(&counters),
        );
        registry.register(
            "quorate_request_duration_seconds",
            "Time from submission to reply",
            seconds.clone(),
        );
        Self {
            counters,
            latency: OPS.map(|op| seconds.get_or_create(&OpLabel { op }).clone()),
            keyspaces: ArcSwap::default(),
            unknown: Series::new("".into(), [level_index(Consistency::LocalQuorum); 2]),
        }
    }

    /// Follows the keyspaces of the topology. What was counted for one that is gone is dropped.
    pub(super) fn adopt(&self, topology: &Topology) {
        let before = self.keyspaces.load();
        let mut now = BTreeMap::new();
        for (&id, keyspace) in &topology.keyspaces {
            let default = |level: &str| level.parse().map_or(0, level_index);
            let defaults = [default(&keyspace.read), default(&keyspace.write)];
            let kept = before.get(&id);
            let kept =
                kept.filter(|kept| kept.keyspace == keyspace.name && kept.defaults == defaults);
            let series = kept.map_or_else(
                || Series::new(Arc::clone(&keyspace.name), defaults),
                Arc::clone,
            );
            now.insert(id, series);
        }
        let gone = before.iter().filter(|(id, _)| !now.contains_key(id));
        for series in gone.map(|(_, series)| series) {
            for op in 0..OPS.len() {
                for level in 0..LEVELS {
                    for outcome in 0..OUTCOMES.len() {
                        self.counters.remove(&series.labels(op, level, outcome));
                    }
                }
            }
        }
        self.keyspaces.store(Arc::new(now));
    }

    /// Begins to measure a request.
    pub(super) fn sample(&self, request: &Request) -> Sample {
        let op = usize::from(matches!(
            request.op,
            Op::Mutate(..) | Op::Partition(_, PartitionOp::Clear)
        ));
        let keyspaces = self.keyspaces.load();
        let series = keyspaces.get(&request.keyspace).unwrap_or(&self.unknown);
        Sample {
            op,
            level: request.consistency.map_or(series.defaults[op], level_index),
            series: Arc::clone(series),
            started: Instant::now(),
        }
    }

    pub(super) fn replied(&self, sample: &Sample, result: &Result<Answer, RequestError>) {
        let Sample {
            series, op, level, ..
        } = sample;
        let outcome = outcome(result);
        let labels = || series.labels(*op, *level, outcome);
        series.counters[index(*op, *level, outcome)]
            .get_or_init(|| self.counters.get_or_create_owned(&labels()))
            .inc();
        self.latency[*op].observe(sample.started.elapsed().as_secs_f64());
    }

    /// How many requests were answered, over all keyspaces that there are.
    pub(super) fn answered(&self) -> u64 {
        let keyspaces = self.keyspaces.load();
        let counters = keyspaces.values().flat_map(|series| &series.counters);
        counters.filter_map(OnceLock::get).map(Counter::get).sum()
    }
}

fn outcome(result: &Result<Answer, RequestError>) -> usize {
    match result {
        Ok(_) => 0,
        Err(
            RequestError::Unavailable { .. }
            | RequestError::Refused { .. }
            | RequestError::Fenced { .. }
            | RequestError::NotClosed { .. }
            | RequestError::Moving
            | RequestError::ReadOnly { .. },
        ) => 2,
        Err(RequestError::TimedOut { .. } | RequestError::DiskSlow { .. }) => 3,
        Err(RequestError::Overloaded | RequestError::DiskFull) => 4,
        Err(RequestError::Stopping) => 5,
        Err(_) => 1,
    }
}
