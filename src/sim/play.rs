//! Plays a plan: starts the cluster, carries out every step at its time, repairs everything, waits
//! for rest, and judges the history.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::ask::keyspace_of;
use super::cluster::{self, Simulation};
use super::grants::{Fortune, Heard};
use super::history::{Fate, Told};
use super::host::Host;
use super::oracle::Violation;
use super::plan::Plan;
use super::plan::action::Action;
use super::plan::request::LAST;
use super::trace::Trace;
use super::{panics, promise, rest};

mod clocks;
mod fault;
mod last;
mod stage;

use stage::Stage;

/// How often all disks are inspected.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the cluster may take to come to rest after every fault is repaired. Guess: several
/// detections, elections, streams and repairs.
const REST_WITHIN: Duration = Duration::from_mins(1);
/// Minimum time until every node has noticed the repairs: free space and round trips are measured
/// once a second.
const NOTICED_WITHIN: Duration = Duration::from_millis(2_500);
/// How long a client may take to finish its current request, with all repetitions and its `WAIT`,
/// once everything is at rest.
const DISMISSED_WITHIN: Duration = Duration::from_secs(30);

/// The outcome of a plan.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Every request with its answer.
    pub history: Vec<Told>,
    /// Every bid with its answer.
    pub heard: Vec<Heard>,
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
        let done = |told: &&Told| told.fate() == Fate::Done && told.ask.id < LAST;
        let heard = |heard: &&Heard| {
            let vain = matches!(heard.fortune, Fortune::Refused | Fortune::Open);
            !vain && heard.bid.id < LAST
        };
        self.history.iter().filter(done).count() + self.heard.iter().filter(heard).count()
    }
}

/// Plays `plan` to its end on this thread.
pub fn play(plan: &Plan) -> Outcome {
    let begun = cluster::run(plan.seed, plan.layout(), async |cluster| {
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
                    check: panics::PANIC,
                    at: 0,
                    what,
                }),
            );
            outcome
        }
        Err(error) => Outcome {
            history: Vec::new(),
            heard: Vec::new(),
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
    let heard = outcome.heard.iter().map(|heard| format!("{heard:?}\n"));
    let all = told.chain(heard).collect::<String>();
    xxhash_rust::xxh3::xxh3_64_with_seed(all.as_bytes(), trace.hash)
}

impl Stage<'_> {
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
        self.last_bids().await;
        self.look();
        let history = self.shared.record.take();
        let (heard, of_holds) = self.shared.grants.take();
        let spread = clocks::spread(plan);
        let judged = promise::key::Judged {
            plan,
            history: &history,
            last: &last,
            heard: &heard,
            of_holds: of_holds.events(),
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
            heard,
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
            self.cluster.take_newcomers(&self.shared.oracle).await;
            self.bury();
            self.look();
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

    fn act(&mut self, action: &Action) {
        match action {
            Action::Ask(ask) => return self.send(ask.clone()),
            Action::Bid(bid) => return self.bid(bid.clone()),
            _ => {}
        }
        if self.fault(action) {
            self.note(action.to_string());
            if let Some(kind) = action.fault() {
                *self.faults.entry(kind).or_default() += 1;
            }
        }
    }

    /// Lets every client finish its current request and drops the rest, so that the last check
    /// knows of every change. Returns whether any client was still busy.
    async fn dismiss_clients(&mut self) -> bool {
        let since = Instant::now();
        self.shared.dismissed.store(true, Ordering::Relaxed);
        let askers = std::mem::take(&mut self.clients);
        let bidders = std::mem::take(&mut self.bidders);
        let askers = askers.into_iter().map(|(client, (_, work))| (client, work));
        let bidders = bidders
            .into_iter()
            .map(|(client, (_, work))| (client, work));
        for (client, work) in askers.chain(bidders).collect::<Vec<_>>() {
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
            self.cluster.take_newcomers(&self.shared.oracle).await;
            self.start_again();
            self.look();
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
