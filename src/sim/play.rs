//! Plays a plan: starts the cluster, lets everything happen at its time, mends everything, waits for rest, and judges.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_control::state::{Command, NewKeyspace};
use quorate_control::store::MemoryStore;
use quorate_control::topology::Replication;
use quorate_crdt::NodeId;
use quorate_dynamo::Consistency;
use quorate_gossip::transport::JoinRequest;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::ask::{Asker, Counter, Errand, keyspace_of};
use super::history::{Fate, Record, Told};
use super::oracle::{Oracle, Violation};
use super::plan::{Action, Ask, Deed, Key, Plan, conditions};
use super::{Simulation, Trace, panics, promise, rest};
use crate::sim;

/// How often all disks are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the cluster may take to come to rest after everything is mended. Guess: several detections, elections, streams and repairs.
pub(super) const REST_WITHIN: Duration = Duration::from_secs(60);
/// How long a request of the last check may take.
const LAST_TIMEOUT_MS: u64 = 2_000;

/// What came of a plan.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Every request with its answer.
    pub history: Vec<Told>,
    /// What happened beside requests, and when, in milliseconds.
    pub events: Vec<(u64, String)>,
    /// Faults that were done, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Promises that were broken.
    pub violations: Vec<Violation>,
    /// Equal for equal runs: everything that was delivered and answered.
    pub trace: u64,
    /// How much time has passed in the simulation.
    pub virtual_time: Duration,
}

impl Outcome {
    /// Requests that were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.history.iter().filter(|told| told.fate() == Fate::Done && told.ask.id < promise::LAST).count()
    }
}

/// Plays `plan` to its end, on this thread.
pub fn play(plan: &Plan) -> Outcome {
    let begun = sim::run(plan.seed, plan.layout(), async |cluster| {
        let made = make_first(cluster, plan.shape.partitions).await;
        let stage = Stage::new(plan, cluster);
        if !made {
            stage.oracle().found("start", "the first keyspace was not made".to_owned());
        }
        stage.play().await
    });
    let panicked = panics::taken();
    match begun {
        Ok((mut outcome, trace)) => {
            outcome.trace = fingerprint(&outcome, trace);
            outcome.violations.extend(panicked.map(|what| Violation { check: "panic", at: 0, what }));
            outcome
        }
        Err(error) => Outcome {
            history: Vec::new(),
            events: Vec::new(),
            faults: BTreeMap::new(),
            violations: vec![Violation { check: "start", at: 0, what: error.to_string() }],
            trace: 0,
            virtual_time: Duration::ZERO,
        },
    }
}

/// Makes the keyspace that most requests are about, and waits until every node knows it. Whether it was made.
async fn make_first(cluster: &Simulation, partitions: u16) -> bool {
    let proposal = cluster.hosts.values().find_map(|host| host.started(|started| started.propose(keyspace(1, partitions))));
    let Some(proposal) = proposal else { return false };
    if proposal.await.is_err() {
        return false;
    }
    let known = || cluster.hosts.values().all(|host| host.data().is_some_and(|data| keyspace_of(&data.topology(), 1).is_some()));
    for _ in 0..100 {
        if known() {
            return true;
        }
        sleep(Duration::from_millis(100)).await;
    }
    false
}

fn keyspace(number: u8, partitions: u16) -> Command {
    Command::CreateKeyspace(NewKeyspace {
        name: format!("ks{number}").into(),
        replication: Replication::Auto,
        partitions,
        read: "QUORUM".into(),
        write: "QUORUM".into(),
    })
}

fn fingerprint(outcome: &Outcome, trace: Trace) -> u64 {
    let told = outcome.history.iter().map(|told| format!("{:?} {:?} {:?} {:?}\n", told.ask.id, told.from, told.to, told.result));
    xxhash_rust::xxh3::xxh3_64_with_seed(told.collect::<String>().as_bytes(), trace.hash)
}

/// A cluster on which a plan is played.
pub(super) struct Stage<'a> {
    pub(super) plan: &'a Plan,
    pub(super) cluster: &'a mut Simulation,
    pub(super) start: Instant,
    counter: Counter,
    clients: BTreeMap<u8, mpsc::UnboundedSender<Errand>>,
    backups: BTreeMap<NodeId, MemoryStore>,
    faults: BTreeMap<&'static str, u64>,
    events: Vec<(u64, String)>,
    removed: Vec<NodeId>,
}

impl<'a> Stage<'a> {
    fn new(plan: &'a Plan, cluster: &'a mut Simulation) -> Self {
        let start = Instant::now();
        let counter = Counter { start, epoch: cluster.start, record: Record::default(), oracle: Oracle::new(start) };
        for (&node, host) in &cluster.hosts {
            counter.oracle.watch(node, host.disk.clone(), host.door());
        }
        let (clients, backups, faults) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { plan, cluster, start, counter, clients, backups, faults, events: Vec::new(), removed: Vec::new() }
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
        self.look_until(self.start + Duration::from_millis(plan.until), look).await;
        self.note("everything is mended".to_owned());
        self.mend();
        let rested = self.rest().await;
        let mut last = Vec::new();
        if rested {
            last = self.last_words().await;
        }
        self.oracle().look();
        let history = self.counter.record.take();
        let spread = self.spread_of_clocks();
        let judged = promise::Judged { plan, history: &history, last: &last, destroyed: &self.oracle().destructions(), spread };
        let mut violations = self.oracle().violations();
        violations.extend(promise::judge(&judged));
        let virtual_time = self.start.elapsed();
        let Self { faults, events, .. } = self;
        let trace = 0;
        Outcome { history: history.into_iter().chain(last).collect(), events, faults, violations, trace, virtual_time }
    }

    /// Lets time pass, and looks at the disks meanwhile.
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

    /// A process whose disk has failed is gone soon after.
    fn bury(&mut self) {
        for node in self.cluster.nodes() {
            let Some(host) = self.cluster.hosts.get_mut(&node) else { continue };
            if host.is_up() && let Some(failure) = host.failure() {
                host.crash(&self.cluster.network);
                self.note(format!("node {} has ended: {failure}", node.0));
            }
        }
    }

    pub(super) fn note(&mut self, what: String) {
        self.events.push((self.start.elapsed().as_millis() as u64, what));
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

    /// Gives a client its errand.
    pub(super) fn send(&mut self, ask: Ask) {
        let Some(host) = self.cluster.hosts.get(&NodeId(ask.node)) else { return };
        let counter = &self.counter;
        let client = self.clients.entry(ask.client).or_insert_with(|| {
            let (sender, errands) = mpsc::unbounded_channel();
            tokio::spawn(Asker::new(counter.clone()).work(errands));
            sender
        });
        // A client works as long as its stage stands.
        drop(client.send((ask, host.door())));
    }

    /// Does what a plan says; whether there was anything to do.
    fn fault(&mut self, action: &Action) -> bool {
        let network = self.cluster.network.clone();
        let nodes = |numbers: &[u64]| numbers.iter().map(|&number| NodeId(number)).collect::<Vec<_>>();
        match action {
            Action::Ask(_) => return false,
            Action::Cut { from, to } => network.cut(&nodes(from), &nodes(to)),
            Action::Heal => network.heal(),
            Action::Weather { within_us, between_ms, loss } => network.set_conditions(conditions(*within_us, *between_ms, *loss)),
            Action::Garble { duplicated, overtaken } => network.garble(*duplicated, *overtaken),
            Action::DropFrames { from, to, share } => network.drop_frames(NodeId(*from), NodeId(*to), *share),
            Action::Stop(node) | Action::GoOn(node) | Action::Crash(node) | Action::Restart(node) => {
                return self.process_fault(action, NodeId(*node));
            }
            Action::SlowDisk(node, _) | Action::FullDisk(node, _) | Action::FailDisk(node) | Action::Backup(node) => {
                return self.disk_fault(action, NodeId(*node));
            }
            Action::Restore(node) | Action::Wipe(node) | Action::Rot(node) => return self.destroy(action, NodeId(*node)),
            Action::Jump(node, _) | Action::Drift(node, _) | Action::Freeze(node, _) | Action::MendClock(node) => {
                return self.clock_fault(action, NodeId(*node));
            }
            _ => return self.topology_change(action),
        }
        true
    }

    fn process_fault(&mut self, action: &Action, node: NodeId) -> bool {
        let Some(host) = self.cluster.hosts.get_mut(&node) else { return false };
        match action {
            Action::Restart(_) => {
                if host.is_alive() || self.removed.contains(&node) {
                    return false;
                }
                self.cluster.start_process(node, None);
            }
            _ if !host.is_alive() => return false,
            Action::Stop(_) => host.stop(&self.cluster.network),
            Action::GoOn(_) => host.go_on(&self.cluster.network),
            _ => host.crash(&self.cluster.network),
        }
        true
    }

    fn disk_fault(&mut self, action: &Action, node: NodeId) -> bool {
        let Some(host) = self.cluster.hosts.get(&node) else { return false };
        let disk = host.disk.get();
        match action {
            Action::SlowDisk(_, millis) => disk.slow_down(Duration::from_millis(*millis)),
            Action::FullDisk(_, full) => disk.set_full(*full),
            Action::FailDisk(_) => disk.fail(),
            _ => drop(self.backups.insert(node, disk.backup())),
        }
        true
    }

    /// Changes the disk of a dead node behind its back.
    fn destroy(&mut self, action: &Action, node: NodeId) -> bool {
        let Some(host) = self.cluster.hosts.get(&node).filter(|host| !host.is_alive()) else { return false };
        let disk = host.disk.get();
        let next = match action {
            Action::Restore(_) => match self.backups.get(&node) {
                Some(backup) => disk.restored(backup),
                None => return false,
            },
            Action::Wipe(_) => disk.restored(&MemoryStore::new()),
            _ => match disk.rotten() {
                Some(rotten) => rotten,
                None => return false,
            },
        };
        host.disk.set(next);
        self.oracle().destroyed(node, matches!(action, Action::Rot(_)));
        true
    }

    fn clock_fault(&mut self, action: &Action, node: NodeId) -> bool {
        let Some(host) = self.cluster.hosts.get(&node) else { return false };
        match action {
            Action::Jump(_, millis) => host.clock.jump(*millis),
            Action::Drift(_, millionths) => host.clock.drift(*millionths),
            Action::Freeze(_, frozen) => host.clock.freeze(*frozen),
            _ => host.clock.mend(),
        }
        true
    }

    fn topology_change(&mut self, action: &Action) -> bool {
        let topology = self.oracle().newest();
        let known = |number: u8| topology.as_deref().and_then(|topology| keyspace_of(topology, number));
        let command = match action {
            Action::MakeKeyspace { number, partitions } => keyspace(*number, *partitions),
            Action::DropKeyspace(number) => match known(*number).filter(|_| *number > 0) {
                Some(keyspace) => Command::DropKeyspace(keyspace),
                None => return false,
            },
            Action::Replicate { keyspace: number, replicas } => {
                let Some(keyspace) = known(*number) else { return false };
                let fixed = replicas.iter().map(|(datacenter, &count)| (format!("dc{datacenter}").into(), count));
                let replication = Some(Replication::Fixed(fixed.collect()));
                Command::AlterKeyspace { keyspace, replication, read: None, write: None }
            }
            Action::Remove { node, lost } => {
                if *lost {
                    self.removed.push(NodeId(*node));
                    self.oracle().destroyed(NodeId(*node), false);
                }
                Command::RemoveNode { node: NodeId(*node), lost: *lost }
            }
            Action::Join(datacenter) => return self.newcomer(*datacenter),
            _ => return false,
        };
        self.propose(command)
    }

    /// Proposes through the first node that is up; the answer does not matter.
    fn propose(&self, command: Command) -> bool {
        let Some(proposal) = self.cluster.hosts.values().find_map(|host| host.started(|started| started.propose(command.clone()))) else {
            return false;
        };
        tokio::spawn(async move { drop(proposal.await) });
        true
    }

    /// A node asks to be let in, and starts when it is.
    fn newcomer(&mut self, datacenter: u8) -> bool {
        let datacenter: Arc<str> = format!("dc{datacenter}").into();
        self.cluster.invite(&datacenter)
    }

    /// Ends every fault, and starts every node again that should run.
    fn mend(&mut self) {
        self.cluster.network.set_conditions(conditions(500, 5, 0.0));
        self.cluster.network.calm();
        for node in self.cluster.nodes() {
            let Some(host) = self.cluster.hosts.get_mut(&node) else { continue };
            host.clock.mend();
            host.disk.get().slow_down(Duration::ZERO);
            host.disk.get().set_full(false);
            host.go_on(&self.cluster.network);
            if let Some(failure) = host.failure() {
                self.note(format!("node {} had given up: {failure}", node.0));
                self.process_fault(&Action::Crash(node.0), node);
            }
            if !self.removed.contains(&node) {
                self.process_fault(&Action::Restart(node.0), node);
            }
        }
    }

    /// By how much two wall clocks may have differed at most, in milliseconds.
    fn spread_of_clocks(&self) -> u64 {
        let bent = |step: &super::plan::Step| match step.action {
            Action::Jump(_, millis) => millis.unsigned_abs(),
            Action::Drift(_, millionths) => millionths.unsigned_abs() * self.plan.until / 1_000_000 + 1,
            Action::Freeze(..) => self.plan.until,
            _ => 0,
        };
        2 * self.plan.shape.skew_ms + self.plan.steps.iter().map(bent).sum::<u64>()
    }

    /// Waits until all is quiet, then until everybody could write; says what is not.
    async fn rest(&mut self) -> bool {
        let deadline = Instant::now() + REST_WITHIN;
        loop {
            self.cluster.take_newcomers(&self.counter.oracle).await;
            self.oracle().look();
            match rest::unrest(self.cluster).await {
                None => return true,
                Some(unrest) if Instant::now() > deadline => {
                    self.oracle().found(unrest.0, format!("{} s after everything is mended: {}", REST_WITHIN.as_secs(), unrest.1));
                    return false;
                }
                Some(_) => sleep(Duration::from_millis(250)).await,
            }
        }
    }

    /// Every key through every node at `ONE`, and a write at `ALL` to every keyspace.
    async fn last_words(&mut self) -> Vec<Told> {
        let mut keys: Vec<(u8, Key)> = self.plan.steps.iter().filter_map(|step| match &step.action {
            Action::Ask(ask) => Some((ask.keyspace, ask.key)),
            _ => None,
        }).collect();
        keys.sort_unstable();
        keys.dedup();
        let topology = self.oracle().newest();
        let member = |node: NodeId| topology.as_deref().is_some_and(|topology| topology.nodes.contains_key(&node));
        let there = |number: u8| topology.as_deref().is_some_and(|topology| keyspace_of(topology, number).is_some());
        keys.retain(|(keyspace, _)| there(*keyspace));
        let counter = Counter { record: Record::default(), ..self.counter.clone() };
        let mut id = 1_000_000;
        let mut errands = Vec::new();
        let nodes: Vec<(NodeId, super::host::Door)> =
            self.cluster.hosts.iter().filter(|(node, host)| host.is_up() && member(**node)).map(|(&node, host)| (node, host.door())).collect();
        for (node, door) in &nodes {
            for &(keyspace, key) in &keys {
                for deed in promise::last_reads(key.0) {
                    id += 1;
                    let (node, timeout, level, client) = (node.0, LAST_TIMEOUT_MS, Consistency::One, 0);
                    errands.push((Ask { id, client, node, level, keyspace, key, deed, timeout }, door.clone()));
                }
            }
        }
        for &(keyspace, key) in &keys {
            let Some((node, door)) = nodes.get(id as usize % nodes.len().max(1)) else { continue };
            id += 1;
            let (node, timeout, level, client) = (node.0, LAST_TIMEOUT_MS, Consistency::All, 0);
            errands.push((Ask { id, client, node, level, keyspace, key, deed: Deed::Delete, timeout }, door.clone()));
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        errands.into_iter().for_each(|errand| drop(sender.send(errand)));
        drop(sender);
        Asker::new(counter.clone()).work(receiver).await;
        counter.record.take()
    }
}

/// A request to be let in.
pub(super) fn knock(name: Arc<str>, datacenter: &Arc<str>, number: usize) -> JoinRequest {
    let (token, secret) = (quorate_gossip::token::TokenId(sim::TOKEN.0), quorate_gossip::token::TokenSecret(sim::TOKEN.1));
    let quic = ([10, 0, 0, number as u8 + 1], 7381).into();
    JoinRequest { token, secret, name, datacenter: Arc::clone(datacenter), rack: "rack1".into(), quic }
}
