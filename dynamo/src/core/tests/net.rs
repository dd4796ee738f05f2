//! Cores joined by a queue, in virtual time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::store::{MemoryStore, Store};
use quorate_control::topology::{
    ClusterId, Epoch, Keyspace, KeyspaceId, NodeInfo, Partition, Phase, Placement, Replication,
    SplitPolicy, Timing, Topology, Transition,
};
use quorate_crdt::{NodeId, Now};

use crate::consistency::Consistency;
use crate::fence::Claim;
use crate::op::{Answer, Mutation, Op, Query, Reply, Request, RequestError, SetExpiry};
use crate::protocol::{
    Config, Effect, Input, Message, Place, ReplicaSummary, RequestId, Ticket, Timer,
};
use crate::{Dynamo, Kept, Seat};

pub(super) const START_UNIX_MILLIS: u64 = 1_800_000_000_000;

type Picks = fn(&Message) -> bool;

pub(super) struct Net {
    pub(super) cores: BTreeMap<NodeId, Dynamo>,
    /// Messages on their way: from, to, message.
    pub(super) queue: VecDeque<(NodeId, NodeId, Message)>,
    timers: BTreeMap<Duration, Vec<(NodeId, Timer)>>,
    /// How long messages take that are sent from now on, and what arrives when.
    pub(super) latency: fn(NodeId, NodeId) -> Duration,
    arriving: BTreeMap<Duration, Vec<(NodeId, NodeId, Message)>>,
    /// How long clients wait.
    pub(super) timeout: Duration,
    /// How far wall clocks are off, in milliseconds.
    pub(super) skew: BTreeMap<NodeId, i64>,
    /// Nodes whose repairs are lost.
    helpless: BTreeSet<NodeId>,
    /// Bytes of all repairs that were sent.
    pub(super) repair_bytes: usize,
    /// Pairs of nodes that cannot hear each other.
    cut: BTreeSet<(NodeId, NodeId)>,
    pub(super) now: Duration,
    tickets: u64,
    lives: u64,
    pub(super) replies: BTreeMap<u64, Result<Answer, RequestError>>,
    pub(super) waited: BTreeMap<u64, u32>,
    pub(super) topology: Topology,
    /// Reports that a clock is off: by whom, whose clock, and by how much.
    pub(super) clock_news: Vec<(NodeId, NodeId, Option<i64>)>,
    /// The configuration with which nodes are booted from now on.
    pub(super) config: Config,
    pub(super) reports: Vec<NodeId>,
    /// The message to lose: how many to let pass, among those that this function picks.
    losing: Option<(usize, Picks)>,
    /// Bytes of the largest message of a repair or a stream so far.
    pub(super) largest_chunk: usize,
    /// The last message that was lost in this way.
    pub(super) last_lost: Option<(NodeId, NodeId, Message)>,
}

/// The only partition, as long as it does not move.
pub(super) const PLACE: Place = Place {
    keyspace: KeyspaceId(0),
    partition: Partition(0),
    epoch: Epoch(1),
};

pub(super) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) fn node(n: u64) -> NodeId {
    NodeId(n)
}

/// `datacenters[i]` nodes in datacenter `dc<i+1>`, and one partition that all of them hold.
pub(super) fn topology(datacenters: &[u64]) -> Topology {
    let mut nodes = BTreeMap::new();
    for (index, count) in datacenters.iter().enumerate() {
        for _ in 0..*count {
            let id = nodes.len() as u64 + 1;
            let info = NodeInfo {
                name: format!("n{id}").into(),
                datacenter: format!("dc{}", index + 1).into(),
                rack: "r1".into(),
                quic: "127.0.0.1:1".into(),
                key: quorate_crdt::PublicKey([0; 32]),
                next_key: None,
                voter: true,
                witness: false,
            };
            nodes.insert(node(id), info);
        }
    }
    let placement = vec![Placement::stable(Epoch(1), nodes.keys().copied().collect())];
    let keyspace = Keyspace {
        name: "default".into(),
        replication: Replication::Auto,
        read: "QUORUM".into(),
        write: "QUORUM".into(),
        split: SplitPolicy::default(),
        placement,
    };
    Topology {
        cluster: ClusterId(1),
        epoch: Epoch(1),
        nodes,
        keyspaces: BTreeMap::from([(KeyspaceId(0), keyspace)]),
        users: BTreeMap::new(),
        timing: Timing::default(),
    }
}

impl Net {
    pub(super) fn new(datacenters: &[u64]) -> Self {
        Self::of(topology(datacenters))
    }

    pub(super) fn of(topology: Topology) -> Self {
        let mut net = Self {
            cores: BTreeMap::new(),
            queue: VecDeque::new(),
            timers: BTreeMap::new(),
            latency: |_, _| Duration::ZERO,
            arriving: BTreeMap::new(),
            timeout: Duration::from_millis(500),
            skew: BTreeMap::new(),
            cut: BTreeSet::new(),
            now: Duration::ZERO,
            tickets: 0,
            lives: 76,
            replies: BTreeMap::new(),
            waited: BTreeMap::new(),
            topology,
            clock_news: Vec::new(),
            config: Config {
                persist: false,
                ..Config::default()
            },
            reports: Vec::new(),
            losing: None,
            last_lost: None,
            largest_chunk: 0,
            repair_bytes: 0,
            helpless: BTreeSet::new(),
        };
        for id in net.topology.nodes.keys().copied().collect::<Vec<_>>() {
            net.boot(id, false);
        }
        net.settle();
        net
    }

    /// `nodes` nodes, of which the first three hold the partition.
    pub(super) fn three_of(nodes: u64) -> Self {
        let mut topology = topology(&[nodes]);
        topology
            .keyspaces
            .values_mut()
            .next()
            .expect("default")
            .placement[0]
            .replicas
            .truncate(3);
        Self::of(topology)
    }

    /// Boots every node with the present `config`, as for the first time in its life.
    pub(super) fn boot_all(&mut self) {
        for id in self.topology.nodes.keys().copied().collect::<Vec<_>>() {
            self.boot(id, false);
        }
        self.settle();
    }

    /// Loses the `nth` of the messages that `which` picks, counted from now.
    pub(super) fn lose(&mut self, nth: usize, which: Picks) {
        self.losing = Some((nth, which));
    }

    /// Runs until the message chosen by [`lose`](Self::lose) has been lost.
    pub(super) fn run_until_lost(&mut self) {
        for _ in 0..200 {
            if self.last_lost.is_some() {
                return;
            }
            self.run(Duration::from_millis(50));
        }
        panic!("there was no such message");
    }

    /// Starts the node, in the same life, on a copy of its disk from before it wrote anything.
    pub(super) fn copy_of_nothing(&mut self, at: u64) {
        let config = Config {
            persist: true,
            ..self.config.clone()
        };
        self.lives += 1;
        let seat = Seat {
            me: node(at),
            incarnation: 1,
            core: 0,
            cores: 1,
            life: self.lives,
            restarted: false,
        };
        let now = self.clock();
        let store = MemoryStore::new();
        let mut core = Dynamo::new(config.clone(), seat.clone());
        core.handle(
            now,
            Input::Topology(Arc::new(self.topology.clone())),
            &mut Vec::new(),
        );
        store.apply(core.drain()).expect("in memory");
        let mut core = Dynamo::new(
            config,
            Seat {
                restarted: true,
                ..seat
            },
        );
        core.restore(&store).expect("in memory");
        self.cores.insert(node(at), core);
        self.input(node(at), Input::Topology(Arc::new(self.topology.clone())));
    }

    /// Kills the node and starts it again with all that it had written to disk, if it was booted
    /// with a disk.
    pub(super) fn restart(&mut self, id: NodeId) {
        let store = MemoryStore::new();
        let mut core = self.cores.remove(&id).expect("a node");
        store.apply(core.drain()).expect("in memory");
        self.start_on(id, &store);
    }

    /// Kills the node and starts it again on this disk.
    pub(super) fn start_on(&mut self, id: NodeId, disk: &MemoryStore) {
        self.lives += 1;
        let seat = Seat {
            me: id,
            incarnation: self.lives as u32,
            core: 0,
            cores: 1,
            life: self.lives,
            restarted: true,
        };
        let mut core = Dynamo::new(self.config.clone(), seat);
        core.restore(disk).expect("in memory");
        self.cores.insert(id, core);
        self.input(id, Input::Topology(Arc::new(self.topology.clone())));
    }

    pub(super) fn boot(&mut self, id: NodeId, restarted: bool) {
        let incarnation = if restarted { 2 } else { 1 };
        self.lives += 1;
        let seat = Seat {
            me: id,
            incarnation,
            core: 0,
            cores: 1,
            life: self.lives,
            restarted,
        };
        self.cores
            .insert(id, Dynamo::new(self.config.clone(), seat));
        self.input(id, Input::Topology(Arc::new(self.topology.clone())));
    }

    pub(super) fn clock(&self) -> Now {
        Now {
            monotonic: self.now,
            unix_millis: START_UNIX_MILLIS + self.now.as_millis() as u64,
        }
    }

    pub(super) fn input(&mut self, at: NodeId, input: Input) {
        let mut now = self.clock();
        now.unix_millis = now
            .unix_millis
            .saturating_add_signed(self.skew.get(&at).copied().unwrap_or(0));
        let mut effects = Vec::new();
        let ticked = matches!(input, Input::Timer(Timer::AntiEntropy));
        let core = self.cores.get_mut(&at).expect("a node");
        core.handle(now, input, &mut effects);
        if ticked {
            let beyond: Vec<Kept> = core
                .kept(true)
                .into_iter()
                .filter(|kept| kept.held > kept.max)
                .collect();
            assert_eq!(beyond, [], "node {} keeps too much", at.0);
        }
        for effect in effects {
            match effect {
                Effect::Send { to, message } => match (self.latency)(at, to) {
                    Duration::ZERO => self.queue.push_back((at, to, message)),
                    latency => self
                        .arriving
                        .entry(self.now + latency)
                        .or_default()
                        .push((at, to, message)),
                },
                Effect::Reply { ticket, result } => assert!(
                    self.replies.insert(ticket.0, result).is_none(),
                    "one reply a request"
                ),
                Effect::Waited { ticket, replicas } => {
                    assert!(self.waited.insert(ticket.0, replicas).is_none());
                }
                Effect::Arm { after, timer } => self
                    .timers
                    .entry(self.now + after)
                    .or_default()
                    .push((at, timer)),
                Effect::Report { .. } => self.reports.push(at),
                Effect::ClockOff { node, offset_ms } => self.clock_news.push((at, node, offset_ms)),
                Effect::NewLife => {
                    self.lives += 1;
                    self.input(at, Input::Incarnation(self.lives as u32));
                }
            }
        }
    }

    /// Delivers every message, and everything that follows from it.
    pub(super) fn settle(&mut self) {
        while let Some((from, to, message)) = self.queue.pop_front() {
            if let Message::Chunk { .. } | Message::Repair { .. } = &message {
                let bytes = postcard::to_stdvec(&message)
                    .expect("a message has a postcard form")
                    .len();
                self.largest_chunk = self.largest_chunk.max(bytes);
                self.repair_bytes += bytes;
            }
            if matches!(message, Message::Repair { .. }) && self.helpless.contains(&from) {
                continue;
            }
            let lost = match &mut self.losing {
                Some((nth, which)) if which(&message) => {
                    *nth -= 1;
                    *nth == 0
                }
                _ => false,
            };
            if lost {
                self.losing = None;
                self.last_lost = Some((from, to, message));
            } else if self.hears(from, to) && self.cores.contains_key(&to) {
                self.input(to, Input::Message { from, message });
            }
        }
    }

    pub(super) fn hears(&self, from: NodeId, to: NodeId) -> bool {
        !self.cut.contains(&(from, to))
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while let Some(at) = self
            .timers
            .keys()
            .chain(self.arriving.keys())
            .min()
            .copied()
            .filter(|at| *at <= end)
        {
            self.now = at;
            self.queue
                .extend(self.arriving.remove(&at).unwrap_or_default());
            self.settle();
            for (node, timer) in self.timers.remove(&at).unwrap_or_default() {
                if self.cores.contains_key(&node) {
                    self.input(node, Input::Timer(timer));
                }
            }
            self.settle();
        }
        self.now = end;
    }

    /// Lets time pass while every message stays on its way.
    pub(super) fn hold(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.timers.keys().next().copied().filter(|at| *at <= end) {
            self.now = at;
            for (node, timer) in self.timers.remove(&at).unwrap_or_default() {
                self.input(node, Input::Timer(timer));
            }
        }
        self.now = end;
    }

    /// Delivers messages up to the first write, which is lost with all the rest. From then on, one
    /// of three nodes is cut off.
    pub(super) fn cut_off_before_writes(&mut self, at: u64) {
        while let Some((from, to, message)) = self.queue.pop_front() {
            if matches!(message, Message::Write { .. }) {
                self.drop_all();
            } else {
                self.input(to, Input::Message { from, message });
            }
        }
        let others: Vec<u64> = (1..=3).filter(|other| *other != at).collect();
        self.cut(&[at], &others);
    }

    pub(super) fn drop_all(&mut self) {
        self.queue.clear();
    }

    pub(super) fn cut(&mut self, left: &[u64], right: &[u64]) {
        for (a, b) in left
            .iter()
            .flat_map(|a| right.iter().map(|b| (node(*a), node(*b))))
        {
            self.cut.extend([(a, b), (b, a)]);
        }
    }

    /// Loses all repairs from `from`.
    pub(super) fn helps_nobody(&mut self, from: u64) {
        self.helpless.insert(node(from));
    }

    pub(super) fn heal_between(&mut self, left: &[u64], right: &[u64]) {
        let among = |n: NodeId, of: &[u64]| of.iter().any(|m| node(*m) == n);
        self.cut.retain(|(a, b)| {
            !(among(*a, left) && among(*b, right) || among(*b, left) && among(*a, right))
        });
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(super) fn set_topology(&mut self, change: impl FnOnce(&mut Topology)) {
        change(&mut self.topology);
        self.topology.epoch.0 += 1;
        for id in self.cores.keys().copied().collect::<Vec<_>>() {
            self.input(id, Input::Topology(Arc::new(self.topology.clone())));
        }
    }

    /// Moves the only partition to `to`, one phase at a time.
    pub(super) fn begin_move(&mut self, to: &[u64]) {
        let to = to.iter().map(|n| node(*n)).collect();
        self.set_placement(|placement| {
            placement.transition = Some(Transition {
                to,
                phase: Phase::Copying,
                done: BTreeSet::new(),
            });
        });
    }

    pub(super) fn set_placement(&mut self, change: impl FnOnce(&mut Placement)) {
        self.set_topology(|topology| {
            let epoch = Epoch(topology.epoch.0 + 1);
            let placement = &mut topology
                .keyspaces
                .get_mut(&KeyspaceId(0))
                .expect("default")
                .placement[0];
            placement.epoch = epoch;
            change(placement);
        });
    }

    pub(super) fn submit(&mut self, at: u64, op: Op, level: Consistency) -> u64 {
        self.submit_as(at, op, level, None, None)
    }

    /// Submits a request under a lock.
    pub(super) fn submit_under(
        &mut self,
        at: u64,
        op: Op,
        level: Consistency,
        claim: Claim,
    ) -> u64 {
        self.submit_as(at, op, level, None, Some(claim))
    }

    pub(super) fn submit_as(
        &mut self,
        at: u64,
        op: Op,
        level: Consistency,
        id: Option<RequestId>,
        claim: Option<Claim>,
    ) -> u64 {
        self.tickets += 1;
        let request = Request {
            keyspace: KeyspaceId(0),
            op,
            consistency: Some(level),
            timeout: self.timeout,
            datacenter: self.topology.nodes[&node(at)].datacenter.clone(),
            id,
            claim,
        };
        self.input(
            node(at),
            Input::Request {
                ticket: Ticket(self.tickets),
                request,
            },
        );
        self.tickets
    }

    /// Submits a request and runs until there is a reply.
    pub(super) fn ask(
        &mut self,
        at: u64,
        op: Op,
        level: Consistency,
    ) -> Result<Reply, RequestError> {
        let ticket = self.submit(at, op, level);
        self.answer(ticket)
    }

    /// Like `ask`, with a request id.
    pub(super) fn ask_once(
        &mut self,
        at: u64,
        op: Op,
        level: Consistency,
        id: &str,
    ) -> Result<Reply, RequestError> {
        let ticket = self.submit_once(at, op, level, id);
        self.answer(ticket)
    }

    pub(super) fn submit_once(&mut self, at: u64, op: Op, level: Consistency, id: &str) -> u64 {
        self.submit_as(
            at,
            op,
            level,
            RequestId::new(Bytes::copy_from_slice(id.as_bytes())),
            None,
        )
    }

    pub(super) fn answer(&mut self, ticket: u64) -> Result<Reply, RequestError> {
        self.settle();
        if !self.replies.contains_key(&ticket) {
            self.run(self.timeout + Duration::from_millis(100));
        }
        self.replies[&ticket].clone().map(|answer| answer.reply)
    }

    pub(super) fn mutate(
        &mut self,
        at: u64,
        key: &str,
        mutation: Mutation,
        level: Consistency,
    ) -> Result<Reply, RequestError> {
        self.ask(
            at,
            Op::Mutate(Bytes::copy_from_slice(key.as_bytes()), mutation),
            level,
        )
    }

    pub(super) fn query(
        &mut self,
        at: u64,
        key: &str,
        query: Query,
        level: Consistency,
    ) -> Result<Reply, RequestError> {
        self.ask(
            at,
            Op::Query(Bytes::copy_from_slice(key.as_bytes()), query),
            level,
        )
    }

    pub(super) fn set(
        &mut self,
        at: u64,
        key: &str,
        value: &str,
        level: Consistency,
    ) -> Result<Reply, RequestError> {
        self.mutate(
            at,
            key,
            Mutation::Set {
                value: Bytes::copy_from_slice(value.as_bytes()),
                expiry: SetExpiry::Clear,
            },
            level,
        )
    }

    pub(super) fn get(
        &mut self,
        at: u64,
        key: &str,
        level: Consistency,
    ) -> Result<Option<String>, RequestError> {
        self.query(at, key, Query::Get, level)
            .map(|reply| match reply {
                Reply::Value(value) => Some(String::from_utf8(value.to_vec()).expect("text")),
                Reply::Nil => None,
                other => panic!("GET answered {other:?}"),
            })
    }

    pub(super) fn summary(&self, at: u64) -> ReplicaSummary {
        self.cores[&node(at)]
            .summaries()
            .into_iter()
            .next()
            .expect("one partition")
    }

    /// Checks that all replicas have the same context and digest, and that nothing is left over.
    pub(super) fn assert_converged(&self) {
        let first = self.cores.keys().next().expect("some node").0;
        let first = self.summary(first);
        for id in self.cores.keys() {
            let other = self.summary(id.0);
            assert_eq!(
                (other.context, other.digest),
                (first.context, first.digest),
                "{id:?} differs from the first"
            );
            assert_eq!(
                (other.residuals, other.recent, other.filling),
                (0, 0, false),
                "{id:?} is not at rest"
            );
        }
    }
}
