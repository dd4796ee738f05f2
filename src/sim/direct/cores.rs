//! Cores of the data plane, joined by a message queue in virtual time: a test bed for schedules in
//! which the order of single messages matters.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::store::{MemoryStore, Store};
use quorate_control::topology::{Epoch, KeyspaceId, Partition, Topology};
use quorate_crdt::{NodeId, Now};
use quorate_dynamo::op::{Answer, Mutation, Op, RequestError, SetExpiry};
use quorate_dynamo::protocol::{Config, Effect, Input, Message, Place, ReplicaSummary, Timer};
use quorate_dynamo::{Dynamo, Kept, Seat};

use super::topology::topology;
use crate::sim::clock::START_UNIX_MILLIS;

mod moves;
mod requests;

/// The only partition, as long as it does not move.
pub(super) const PLACE: Place = Place {
    keyspace: KeyspaceId(0),
    partition: Partition(0),
    epoch: Epoch(1),
};
/// Selects messages.
pub(super) type Picks = fn(&Message) -> bool;
/// A message under way: sender, receiver, content.
pub(super) type Letter = (NodeId, NodeId, Message);

/// Some cores and everything between them.
pub(super) struct Cores {
    pub(super) at: BTreeMap<NodeId, Dynamo>,
    pub(super) queue: VecDeque<Letter>,
    timers: BTreeMap<Duration, Vec<(NodeId, Timer)>>,
    pub(super) links: Links,
    /// How far wall clocks are off, in milliseconds.
    pub(super) skew: BTreeMap<NodeId, i64>,
    pub(super) now: Duration,
    /// The last ticket or life that was given out.
    numbers: u64,
    replies: BTreeMap<u64, Result<Answer, RequestError>>,
    pub(super) topology: Topology,
    pub(super) noted: Noted,
    /// Which message to lose (the n-th of those that the function selects), and the one that was
    /// lost.
    losing: (Option<(usize, Picks)>, Option<Letter>),
    pub(super) repairs: Repairs,
}

/// The links between the nodes.
pub(super) struct Links {
    /// How long messages take that are sent from now on.
    pub(super) latency: fn(NodeId, NodeId) -> Duration,
    /// Messages in transit, by time of arrival.
    arriving: BTreeMap<Duration, Vec<Letter>>,
    /// Directed pairs that do not hear each other.
    cut: BTreeSet<(NodeId, NodeId)>,
}

/// What the cores have shown so far.
#[derive(Default)]
pub(super) struct Noted {
    /// Nodes that reported their part of a move as done.
    pub(super) reports: BTreeSet<NodeId>,
    /// Something a core kept beyond its bound at the end of a tick.
    pub(super) beyond: Option<Kept>,
}

/// What is known about repairs.
#[derive(Default)]
pub(super) struct Repairs {
    /// Nodes whose repairs never arrive.
    pub(super) idle: BTreeSet<NodeId>,
    /// How many rows were sent in repairs.
    pub(super) rows: usize,
}

pub(super) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// An operation that sets a key to a value.
pub(super) fn set(key: &str, value: &str) -> Op {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Op::Mutate(
        Bytes::copy_from_slice(key.as_bytes()),
        Mutation::Set {
            value,
            expiry: SetExpiry::Clear,
        },
    )
}

/// Something the core keeps beyond its bound.
pub(super) fn beyond(core: &Dynamo) -> Option<Kept> {
    core.kept(true)
        .into_iter()
        .find(|kept| kept.held > kept.max)
}

impl Cores {
    /// One datacenter of `nodes`, of which the first `held_by` hold the partition.
    pub(super) fn new(nodes: u64, held_by: usize, change: impl FnOnce(&mut Config)) -> Self {
        Self::of(topology(&[nodes], held_by), change)
    }

    /// Three nodes that all hold the partition.
    pub(super) fn three() -> Self {
        Self::new(3, 3, |_| {})
    }

    pub(super) fn of(topology: Topology, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            persist: false,
            ..Config::default()
        };
        change(&mut config);
        let mut net = Self {
            at: BTreeMap::new(),
            queue: VecDeque::new(),
            timers: BTreeMap::new(),
            links: Links {
                latency: |_, _| Duration::ZERO,
                arriving: BTreeMap::new(),
                cut: BTreeSet::new(),
            },
            skew: BTreeMap::new(),
            now: Duration::ZERO,
            numbers: 76,
            replies: BTreeMap::new(),
            topology,
            noted: Noted::default(),
            losing: (None, None),
            repairs: Repairs::default(),
        };
        for node in net.topology.nodes.keys().copied().collect::<Vec<_>>() {
            net.boot_with(node.0, false, config.clone());
        }
        // The nodes compare their clocks; from then on they may stamp.
        net.settle();
        net
    }

    /// Starts a new life of a node with empty memory. If `wiped`, the node knows that it has lost
    /// its disk.
    pub(super) fn boot(&mut self, at: u64, wiped: bool) {
        self.boot_with(
            at,
            wiped,
            Config {
                persist: false,
                ..Config::default()
            },
        );
    }

    pub(super) fn boot_with(&mut self, at: u64, restarted: bool, config: Config) {
        self.numbers += 1;
        let seat = Seat {
            me: NodeId(at),
            incarnation: 1 + u32::from(restarted),
            core: 0,
            cores: 1,
            life: self.numbers,
            restarted,
        };
        self.put(at, Dynamo::new(config, seat));
    }

    /// Makes `core` the core of a node.
    pub(super) fn put(&mut self, at: u64, core: Dynamo) {
        self.at.insert(NodeId(at), core);
        self.input(at, Input::Topology(Arc::new(self.topology.clone())));
    }

    /// Takes what a node has written since it was booted, as a disk.
    pub(super) fn disk(&mut self, at: u64) -> Result<MemoryStore, String> {
        let store = MemoryStore::new();
        let kept = self
            .at
            .get_mut(&NodeId(at))
            .map(Dynamo::drain)
            .unwrap_or_default();
        store.apply(kept).map_err(|error| error.to_string())?;
        Ok(store)
    }

    /// Starts a node again, for the first time, on this disk.
    pub(super) fn start_on(&mut self, at: u64, disk: &MemoryStore) -> Result<(), String> {
        let seat = Seat {
            me: NodeId(at),
            incarnation: 2,
            core: 0,
            cores: 1,
            life: 500 + at,
            restarted: true,
        };
        let mut core = Dynamo::new(Config::default(), seat);
        core.restore(disk).map_err(|error| error.to_string())?;
        self.put(at, core);
        Ok(())
    }

    /// What a right clock shows.
    pub(super) fn clock(&self) -> Now {
        Now {
            monotonic: self.now,
            unix_millis: START_UNIX_MILLIS + self.now.as_millis() as u64,
        }
    }

    pub(super) fn input(&mut self, at: u64, input: Input) {
        let (at, mut now) = (NodeId(at), self.clock());
        now.unix_millis = now
            .unix_millis
            .saturating_add_signed(self.skew.get(&at).copied().unwrap_or(0));
        let mut effects = Vec::new();
        let Some(core) = self.at.get_mut(&at) else {
            return;
        };
        core.handle(now, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Send { to, message } => match (self.links.latency)(at, to) {
                    Duration::ZERO => self.queue.push_back((at, to, message)),
                    latency => self
                        .links
                        .arriving
                        .entry(self.now + latency)
                        .or_default()
                        .push((at, to, message)),
                },
                Effect::Reply { ticket, result } => drop(self.replies.insert(ticket.0, result)),
                Effect::Arm { after, timer } => self
                    .timers
                    .entry(self.now + after)
                    .or_default()
                    .push((at, timer)),
                Effect::Report { .. } => drop(self.noted.reports.insert(at)),
                Effect::Waited { .. } | Effect::ClockOff { .. } => {}
                Effect::NewLife => {
                    self.numbers += 1;
                    self.input(at.0, Input::Incarnation(self.numbers as u32));
                }
            }
        }
    }

    /// Delivers a letter, whatever is cut.
    pub(super) fn deliver(&mut self, letter: Letter) {
        let (from, to, message) = letter;
        self.input(to.0, Input::Message { from, message });
    }

    /// Takes the letters under way to `to` out of the queue.
    pub(super) fn held_back(&mut self, to: u64) -> Vec<Letter> {
        let (held, rest) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, at, _)| *at == NodeId(to));
        self.queue = rest.into();
        held
    }

    /// Tells `nodes` that another node is, or is not, reachable.
    pub(super) fn sees(&mut self, nodes: &[u64], other: u64, up: bool) {
        for at in nodes {
            self.input(
                *at,
                Input::Reachable {
                    node: NodeId(other),
                    up,
                },
            );
        }
    }

    /// Loses the `nth` message from now on that `which` selects.
    pub(super) fn lose(&mut self, nth: usize, which: Picks) {
        self.losing = (Some((nth, which)), None);
    }

    /// Runs until that message has been lost, and returns it.
    pub(super) fn lost(&mut self) -> Option<Letter> {
        for _ in 0..200 {
            if self.losing.1.is_some() {
                break;
            }
            self.run(Duration::from_millis(50));
        }
        self.losing.1.take()
    }

    /// Delivers everything under way and whatever that causes.
    pub(super) fn settle(&mut self) {
        while let Some(letter) = self.queue.pop_front() {
            if let Message::Repair { delta, .. } = &letter.2 {
                self.repairs.rows += delta
                    .parts
                    .iter()
                    .map(|part| part.rows.len())
                    .sum::<usize>();
                if self.repairs.idle.contains(&letter.0) {
                    continue;
                }
            }
            let mut lost = false;
            if let Some((nth, which)) = &mut self.losing.0
                && which(&letter.2)
            {
                *nth -= 1;
                lost = *nth == 0;
            }
            if lost {
                self.losing = (None, Some(letter));
            } else if self.hears(&letter) {
                self.deliver(letter);
            }
        }
    }

    /// Whether the letter's path is open.
    pub(super) fn hears(&self, letter: &Letter) -> bool {
        !self.links.cut.contains(&(letter.0, letter.1))
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while let Some(at) = self
            .timers
            .keys()
            .chain(self.links.arriving.keys())
            .min()
            .copied()
            .filter(|at| *at <= end)
        {
            self.now = at;
            self.queue
                .extend(self.links.arriving.remove(&at).unwrap_or_default());
            self.settle();
            for (node, timer) in self.timers.remove(&at).unwrap_or_default() {
                self.input(node.0, Input::Timer(timer));
                let ticked = self.at.get(&node).filter(|_| timer == Timer::AntiEntropy);
                self.noted.beyond = self.noted.beyond.or(ticked.and_then(beyond));
            }
            self.settle();
        }
        self.now = end;
    }

    pub(super) fn cut(&mut self, left: &[u64], right: &[u64]) {
        for (a, b) in left
            .iter()
            .flat_map(|a| right.iter().map(|b| (NodeId(*a), NodeId(*b))))
        {
            self.links.cut.extend([(a, b), (b, a)]);
        }
    }

    pub(super) fn heal(&mut self) {
        self.links.cut.clear();
    }

    /// The summary of a node's replica, if it has one.
    pub(super) fn summary(&self, at: u64) -> Option<ReplicaSummary> {
        self.at.get(&NodeId(at))?.summaries().into_iter().next()
    }

    /// The number of rows in a node's replica.
    pub(super) fn rows(&self, at: u64) -> u64 {
        self.summary(at).map_or(0, |summary| summary.rows)
    }

    /// Whether all replicas are equal and nothing is left to do.
    pub(super) fn converged(&self) -> bool {
        let all: Vec<_> = self
            .at
            .keys()
            .filter_map(|node| self.summary(node.0))
            .collect();
        all.windows(2)
            .all(|two| two[0].context == two[1].context && two[0].digest == two[1].digest)
            && all
                .iter()
                .all(|one| one.residuals == 0 && one.recent == 0 && !one.filling)
    }
}
