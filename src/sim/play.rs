//! Plays a plan: starts the cluster, carries out every step at its time, repairs everything, waits
//! for rest, and judges the history.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_control::store::MemoryStore;
use quorate_crdt::NodeId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

mod fault;
mod last;

use super::ask::{Asker, Counter, Errand, keyspace_of};
use super::history::{Fate, Record, Told};
use super::host::Host;
use super::oracle::{Oracle, Violation};
use super::plan::{Action, Ask, Plan};
use super::{PANIC, Simulation, Trace, panics, promise, rest};
use crate::sim;

/// How often all disks are inspected.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the cluster may take to come to rest after every fault is repaired. Guess: several
/// detections, elections, streams and repairs.
pub(super) const REST_WITHIN: Duration = Duration::from_mins(1);
/// Minimum time until every node has noticed the repairs: free space and round trips are measured
/// once a second.
const NOTICED_WITHIN: Duration = Duration::from_millis(2_500);
/// How long a client may take to finish its current request, with all repetitions and its `WAIT`,
/// once everything is at rest.
const DISMISSED_WITHIN: Duration = Duration::from_secs(30);

/// By how much a clock may exceed the drift bound before the others are certain to notice: half the
/// longest round trip, plus rounding.
const HELD_OFF_SLACK_MS: u64 = 500;

/// The outcome of a plan.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Every request with its answer.
    pub history: Vec<Told>,
    /// Everything else that happened, with its time in milliseconds.
    pub events: Vec<(u64, String)>,
    /// Faults that took effect, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Promises that were broken.
    pub violations: Vec<Violation>,
    /// A hash of everything delivered and answered. Equal runs have equal traces.
    pub trace: u64,
    /// Virtual time from start to end.
    pub virtual_time: Duration,
}

impl Outcome {
    /// Requests that were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.history
            .iter()
            .filter(|told| told.fate() == Fate::Done && told.ask.id < promise::LAST)
            .count()
    }
}

/// Plays `plan` to its end on this thread.
pub fn play(plan: &Plan) -> Outcome {
    let begun = sim::run(plan.seed, plan.layout(), async |cluster| {
        let made = make_first(cluster, plan.shape.partitions).await;
        let stage = Stage::new(plan, cluster);
        if !made {
            stage
                .oracle()
                .found("start", "the first keyspace was not created".to_owned());
        }
        stage.play().await
    });
    let panicked = panics::taken();
    match begun {
        Ok((mut outcome, trace)) => {
            outcome.trace = fingerprint(&outcome, trace);
            // First in the list, because anything else that is wrong may follow from the panic.
            outcome.violations.splice(
                0..0,
                panicked.map(|what| Violation {
                    check: PANIC,
                    at: 0,
                    what,
                }),
            );
            outcome
        }
        Err(error) => Outcome {
            history: Vec::new(),
            events: Vec::new(),
            faults: BTreeMap::new(),
            violations: vec![Violation {
                check: "start",
                at: 0,
                what: error.to_string(),
            }],
            trace: 0,
            virtual_time: Duration::ZERO,
        },
    }
}

/// Creates the keyspace that most requests use and waits until every node knows it. Returns whether
/// that succeeded.
async fn make_first(cluster: &Simulation, partitions: u16) -> bool {
    let proposal = cluster
        .hosts
        .values()
        .find_map(|host| host.started(|started| started.propose(fault::keyspace(1, partitions))));
    let Some(proposal) = proposal else {
        return false;
    };
    if proposal.await.is_err() {
        return false;
    }
    let known = || {
        cluster.hosts.values().all(|host| {
            host.data()
                .is_some_and(|data| keyspace_of(&data.topology(), 1).is_some())
        })
    };
    for _ in 0..100 {
        if known() {
            return true;
        }
        sleep(Duration::from_millis(100)).await;
    }
    false
}

fn fingerprint(outcome: &Outcome, trace: Trace) -> u64 {
    let told = outcome.history.iter().map(|told| {
        format!(
            "{:?} {:?} {:?} {:?}\n",
            told.ask.id, told.from, told.to, told.result
        )
    });
    xxhash_rust::xxh3::xxh3_64_with_seed(told.collect::<String>().as_bytes(), trace.hash)
}

/// A running cluster and the state of the plan being played on it.
pub(super) struct Stage<'a> {
    pub(super) plan: &'a Plan,
    pub(super) cluster: &'a mut Simulation,
    pub(super) start: Instant,
    counter: Counter,
    clients: BTreeMap<u8, (mpsc::UnboundedSender<Errand>, JoinHandle<()>)>,
    backups: BTreeMap<NodeId, MemoryStore>,
    faults: BTreeMap<&'static str, u64>,
    events: Vec<(u64, String)>,
    removed: Vec<NodeId>,
    /// Removals that were requested, and whether the node's disk is lost.
    removals: Vec<(NodeId, bool)>,
    /// Commands that may still be under way.
    proposals: Vec<JoinHandle<()>>,
}

impl<'a> Stage<'a> {
    fn new(plan: &'a Plan, cluster: &'a mut Simulation) -> Self {
        let start = Instant::now();
        let (record, oracle, dismissed) = (Record::default(), Oracle::new(start), Arc::default());
        let counter = Counter {
            start,
            epoch: cluster.start,
            record,
            oracle,
            dismissed,
        };
        for (&node, host) in &cluster.hosts {
            counter.oracle.watch(node, host);
        }
        let (clients, backups, faults) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            plan,
            cluster,
            start,
            counter,
            clients,
            backups,
            faults,
            events: Vec::new(),
            removed: Vec::new(),
            removals: Vec::new(),
            proposals: Vec::new(),
        }
    }

    pub(super) fn oracle(&self) -> &Oracle {
        &self.counter.oracle
    }

    async fn play(mut self) -> Outcome {
        let mut look = self.start;
        let plan = self.plan;
        for step in &plan.steps {
            let due = self.start + Duration::from_millis(step.at);
            look = self.look_until(due, look).await;
            self.act(&step.action);
        }
        self.look_until(self.start + Duration::from_millis(plan.until), look)
            .await;
        self.note("every fault is repaired".to_owned());
        self.mend();
        self.rest().await;
        if self.dismiss_clients().await {
            self.rest().await;
        }
        let last = self.last_words().await;
        self.oracle().look();
        let history = self.counter.record.take();
        let spread = self.spread_of_clocks();
        let judged = promise::Judged {
            plan,
            history: &history,
            last: &last,
            destroyed: &self.oracle().destructions(),
            spread,
        };
        let mut violations = self.oracle().violations();
        violations.extend(promise::judge(&judged));
        let virtual_time = self.start.elapsed();
        let Self { faults, events, .. } = self;
        let trace = 0;
        Outcome {
            history: history.into_iter().chain(last).collect(),
            events,
            faults,
            violations,
            trace,
            virtual_time,
        }
    }

    /// Lets time pass, and inspects the disks meanwhile.
    async fn look_until(&mut self, due: Instant, mut look: Instant) -> Instant {
        while look <= due {
            sleep_until(look).await;
            self.cluster.take_newcomers(&self.counter.oracle).await;
            self.bury();
            self.oracle().look();
            look += LOOK_EVERY;
        }
        sleep_until(due).await;
        look
    }

    /// Removes processes that have given up.
    fn bury(&mut self) {
        for node in self.cluster.nodes() {
            let Some(failure) = self.cluster.hosts.get(&node).and_then(Host::failure) else {
                continue;
            };
            self.has_ended(node, &failure);
            self.cluster.crash(node);
        }
    }

    /// Records that a node ended by itself. It may do so because of its disk, or because the plan
    /// made it panic; anything else is a violation.
    fn has_ended(&mut self, node: NodeId, failure: &str) {
        self.note(format!("node {} has ended: {failure}", node.0));
        let caused = self
            .cluster
            .hosts
            .get(&node)
            .is_some_and(|host| host.disk.get().has_failed());
        if !caused {
            self.oracle().found(
                "ended-without-cause",
                format!(
                    "node {} has ended although its disk is good: {failure}",
                    node.0
                ),
            );
        }
    }

    pub(super) fn note(&mut self, what: String) {
        self.events
            .push((self.start.elapsed().as_millis() as u64, what));
    }

    fn act(&mut self, action: &Action) {
        if let Action::Ask(ask) = action {
            self.send(ask.clone());
            return;
        }
        if self.fault(action) {
            self.note(action.to_string());
            if let Some(kind) = action.fault() {
                *self.faults.entry(kind).or_default() += 1;
            }
        }
    }

    /// Hands a client its next request.
    pub(super) fn send(&mut self, ask: Ask) {
        let door = |node: &u64| {
            Some((
                NodeId(*node),
                self.cluster.hosts.get(&NodeId(*node))?.door(),
            ))
        };
        let Some(at) = door(&ask.node) else { return };
        let errand = Errand {
            at,
            again: ask.again.iter().filter_map(door).collect(),
            ask,
        };
        let counter = &self.counter;
        let client = self.clients.entry(errand.ask.client).or_insert_with(|| {
            let (sender, errands) = mpsc::unbounded_channel();
            (
                sender,
                tokio::spawn(Asker::new(counter.clone()).work(errands)),
            )
        });
        // The channel stays open until the client is dismissed.
        drop(client.0.send(errand));
    }

    /// Lets every client finish its current request and drops the rest, so that the last check
    /// knows of every change. Returns whether any client was still busy.
    async fn dismiss_clients(&mut self) -> bool {
        let since = Instant::now();
        self.counter.dismissed.store(true, Ordering::Relaxed);
        for (client, (errands, work)) in std::mem::take(&mut self.clients) {
            drop(errands);
            if tokio::time::timeout(DISMISSED_WITHIN, work).await.is_err() {
                let what = format!(
                    "client {client} was still waiting {} s after it was dismissed",
                    DISMISSED_WITHIN.as_secs()
                );
                self.oracle().found("client-waits-for-ever", what);
            }
        }
        Instant::now() > since
    }

    /// The most by which two wall clocks may have differed, in milliseconds.
    fn spread_of_clocks(&self) -> u64 {
        let held_off = self.plan.knobs.drift_ms + HELD_OFF_SLACK_MS;
        let one = self.one_node_is_touched();
        let bent = |step: &super::plan::Step| match step.action {
            // A clock that far off stamps nothing, as long as others are there to contradict it.
            Action::Jump(_, millis) if one && millis.unsigned_abs() > held_off => 0,
            Action::Jump(_, millis) => millis.unsigned_abs(),
            Action::Drift(_, millionths) => {
                millionths.unsigned_abs() * self.plan.until / 1_000_000 + 1
            }
            Action::Freeze(..) => self.plan.until,
            _ => 0,
        };
        2 * self.plan.shape.skew_ms + self.plan.steps.iter().map(bent).sum::<u64>()
    }

    /// Whether any command was still under way at the last call. What such commands changed is only
    /// visible from the next look on.
    fn commands(&mut self) -> bool {
        let any = !self.proposals.is_empty();
        self.proposals.retain(|proposal| !proposal.is_finished());
        any
    }

    /// Whether at most one node is killed or has a wrong clock, and nothing else happens besides
    /// requests.
    fn one_node_is_touched(&self) -> bool {
        let touched = |step: &super::plan::Step| match step.action {
            Action::Ask(_) => None,
            Action::Crash(node)
            | Action::Restart(node)
            | Action::Jump(node, _)
            | Action::MendClock(node) => Some(node),
            _ => Some(0),
        };
        let touched: std::collections::BTreeSet<u64> =
            self.plan.steps.iter().filter_map(touched).collect();
        touched.len() <= 1 && !touched.contains(&0)
    }

    /// Waits until everything is quiet, and reports whatever still is not at the deadline.
    async fn rest(&mut self) {
        let deadline = Instant::now() + REST_WITHIN;
        sleep(NOTICED_WITHIN).await;
        let mut insist = Instant::now();
        loop {
            if insist <= Instant::now() {
                insist = Instant::now() + Duration::from_secs(10);
                self.insist();
            }
            self.cluster.take_newcomers(&self.counter.oracle).await;
            self.start_again();
            self.oracle().look();
            let mut unrest = rest::unrest(self.cluster).await;
            unrest.extend(self.commands().then(|| {
                (
                    "command-does-not-end",
                    "a command is still under way".to_owned(),
                )
            }));
            let asking = self.cluster.invited.len();
            unrest.extend((asking > 0).then(|| {
                (
                    "join-does-not-end",
                    format!("{asking} nodes are still asking to join"),
                )
            }));
            if unrest.is_empty() {
                return;
            }
            if Instant::now() > deadline {
                for (check, what) in unrest {
                    self.oracle().found(
                        check,
                        format!(
                            "{} s after every fault was repaired: {what}",
                            REST_WITHIN.as_secs()
                        ),
                    );
                }
                return;
            }
            sleep(Duration::from_millis(250)).await;
        }
    }
}
