//! The network's state: who is plugged in, who is connected, what is in transit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_crdt::{NodeId, PublicKey};
use quorate_gossip::transport::{CallError, Class, Inbound};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use crate::sim::trace::Trace;

/// Delays and losses of the network. Delays are one way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// Delay between two nodes in one datacenter.
    pub within: Duration,
    /// Delay between two datacenters.
    pub between: Duration,
    /// Each delay is lengthened by up to this share of itself.
    pub jitter: f64,
    /// The share of datagrams that are lost. A lost stream frame is sent again, so it arrives late
    /// and holds up those behind it.
    pub loss: f64,
    /// A connection breaks after this long without an answer.
    pub idle: Duration,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            within: Duration::from_micros(250),
            between: Duration::from_millis(20),
            jitter: 0.3,
            loss: 0.01,
            idle: Duration::from_millis(1500),
        }
    }
}

pub(super) struct State {
    pub(super) rng: StdRng,
    pub(super) conditions: Conditions,
    pub(super) trouble: Trouble,
    pub(super) hosts: BTreeMap<NodeId, Host>,
    /// Directed pairs over which nothing passes.
    pub(super) blocked: BTreeSet<(NodeId, NodeId)>,
    pub(super) connections: BTreeMap<(NodeId, NodeId), Connection>,
    /// When the last frame arrives, by direction and class. Keeps frames of one class in order.
    pub(super) last: BTreeMap<(NodeId, NodeId, Class), Instant>,
    /// Events held back by a cut, on a connection that has not broken yet.
    pub(super) stalled: BTreeMap<(NodeId, NodeId), Vec<Event>>,
    pub(super) queue: BTreeMap<(Instant, u64), Event>,
    pub(super) calls: BTreeMap<u64, Call>,
    pub(super) numbers: u64,
    pub(super) trace: Trace,
}

/// Faults of the network beyond its [`Conditions`].
#[derive(Default)]
pub(super) struct Trouble {
    /// The share of data frames that arrive twice.
    pub(super) duplicated: f64,
    /// The share of data frames that later ones overtake.
    pub(super) overtaken: f64,
    /// The share of data frames dropped in each direction while the connection stays up, as a full
    /// queue would.
    pub(super) dropped: BTreeMap<(NodeId, NodeId), f64>,
    /// Nodes that neither receive nor send for now, with the events that wait for them.
    pub(super) stopped: BTreeMap<NodeId, Vec<Event>>,
}

pub(super) struct Host {
    pub(super) inbound: Arc<dyn Inbound>,
    pub(super) key: PublicKey,
    pub(super) datacenter: Arc<str>,
    /// Where the node is.
    pub(super) address: Arc<str>,
    /// The nodes that may be connected, and where its topology says that they are.
    pub(super) told: BTreeMap<NodeId, Arc<str>>,
    /// Where each of them was when the two were last connected.
    pub(super) proven: BTreeMap<NodeId, Arc<str>>,
    /// Where other nodes say that they have met it.
    pub(super) heard: BTreeMap<NodeId, Arc<str>>,
    /// Tells the lives of a restarted node apart.
    pub(super) life: u64,
}

impl Host {
    /// Whether the node would find `peer` if that is at `address`. As real nodes do, it looks where
    /// it was told, where it has met the peer and where others have.
    fn finds(&self, peer: NodeId, address: &Arc<str>) -> bool {
        [&self.told, &self.proven, &self.heard]
            .into_iter()
            .any(|known| known.get(&peer) == Some(address))
    }
}

pub(super) struct Connection {
    /// Never reused, so whatever was sent on a broken connection finds it gone.
    pub(super) id: u64,
    pub(super) lives: (u64, u64),
    pub(super) silent_since: Option<Instant>,
}

pub(super) struct Call {
    pub(super) connection: u64,
    pub(super) peer: NodeId,
    pub(super) answer: oneshot::Sender<Result<Bytes, CallError>>,
}

/// A message in transit.
#[derive(Clone)]
pub(super) struct Event {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    /// The connection it was sent on.
    pub(super) connection: u64,
    pub(super) body: Body,
}

#[derive(Clone)]
pub(super) enum Body {
    Frame(Class, Bytes),
    Datagram(Bytes),
    Call(u64, Bytes),
    Answer(u64, Bytes),
}

/// A connection that came up or went down, as reported to one of its ends.
pub(super) type Change = (Arc<dyn Inbound>, NodeId, bool);

pub(super) fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

impl Body {
    /// What the trace records of it.
    pub(super) fn digest(&self) -> u64 {
        let (kind, bytes) = match self {
            Self::Frame(class, bytes) => (*class as u64, bytes),
            Self::Datagram(bytes) => (3, bytes),
            Self::Call(_, bytes) => (4, bytes),
            Self::Answer(_, bytes) => (5, bytes),
        };
        xxh3_64(bytes).wrapping_mul(8).wrapping_add(kind)
    }
}

impl State {
    pub(super) fn new(seed: u64, conditions: Conditions) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            conditions,
            trouble: Trouble::default(),
            hosts: BTreeMap::new(),
            blocked: BTreeSet::new(),
            connections: BTreeMap::new(),
            last: BTreeMap::new(),
            stalled: BTreeMap::new(),
            queue: BTreeMap::new(),
            calls: BTreeMap::new(),
            numbers: 0,
            trace: Trace::start(),
        }
    }

    /// A number never given before.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The connection between two nodes, provided that `life` is still the current life of `from`.
    pub(super) fn connection(&self, from: NodeId, life: u64, to: NodeId) -> Option<u64> {
        self.hosts.get(&from).filter(|host| host.life == life)?;
        self.connections
            .get(&pair(from, to))
            .map(|connection| connection.id)
    }

    /// Whether the connection that the event was sent on is still up.
    pub(super) fn is_up(&self, event: &Event) -> bool {
        self.connections
            .get(&pair(event.from, event.to))
            .is_some_and(|connection| connection.id == event.connection)
    }

    /// Holds an event back until the cut ends or the connection breaks. Datagrams are lost instead.
    pub(super) fn stall(&mut self, event: Event) {
        if !matches!(event.body, Body::Datagram(_)) {
            self.stalled
                .entry((event.from, event.to))
                .or_default()
                .push(event);
        }
    }

    /// Returns the event, unless one of its ends is suspended: then it waits there.
    pub(super) fn unless_stopped(&mut self, event: Event) -> Option<Event> {
        let end = [event.to, event.from]
            .into_iter()
            .find(|node| self.trouble.stopped.contains_key(node));
        let Some(waiting) = end.and_then(|node| self.trouble.stopped.get_mut(&node)) else {
            return Some(event);
        };
        // An operating system drops datagrams that nobody reads.
        if !matches!(event.body, Body::Datagram(_)) {
            waiting.push(event);
        }
        None
    }

    /// Where the nodes are that `node` is connected with, provided that `life` is its current life.
    pub(super) fn met(&self, node: NodeId, life: u64) -> BTreeMap<NodeId, Arc<str>> {
        let Some(host) = self.hosts.get(&node).filter(|host| host.life == life) else {
            return BTreeMap::new();
        };
        let connected = |peer: &NodeId| self.connections.contains_key(&pair(node, *peer));
        let met = host.proven.iter().filter(|(peer, _)| connected(peer));
        met.map(|(peer, address)| (*peer, Arc::clone(address)))
            .collect()
    }

    /// The pairs that list each other as peers and of which one finds the other: either may dial.
    pub(super) fn pairs(&self) -> Vec<(NodeId, NodeId)> {
        let mut pairs = Vec::new();
        for (&a, host_a) in &self.hosts {
            for (&b, host_b) in self.hosts.range(NodeId(a.0 + 1)..) {
                if host_a.told.contains_key(&b)
                    && host_b.told.contains_key(&a)
                    && (host_a.finds(b, &host_b.address) || host_b.finds(a, &host_a.address))
                {
                    pairs.push((a, b));
                }
            }
        }
        pairs
    }

    /// Bytes of frames that are on their way from one node to another.
    pub(super) fn backlog(&self, from: NodeId, to: NodeId, class: Class) -> usize {
        let stalled = self.stalled.get(&(from, to)).into_iter().flatten();
        let under_way = self.queue.values().chain(stalled);
        under_way
            .filter(|event| event.from == from && event.to == to)
            .filter_map(|event| match &event.body {
                Body::Frame(of, bytes) if *of == class => Some(bytes.len()),
                _ => None,
            })
            .sum()
    }

    /// Gives the event its delay and queues it.
    pub(super) fn dispatch(&mut self, event: Event) {
        if !self.is_up(&event) {
            return;
        }
        if self.blocked.contains(&(event.from, event.to)) {
            self.stall(event);
            return;
        }
        let Some(event) = self.unless_stopped(event) else {
            return;
        };
        let delay = self.delay(event.from, event.to);
        let lost = self.rng.random_bool(self.conditions.loss);
        let mut at = Instant::now() + delay;
        let class = match &event.body {
            Body::Datagram(_) if lost => return,
            Body::Datagram(_) => None,
            Body::Frame(class, _) => Some(*class),
            // Calls and answers share the stream of the control class.
            Body::Call(..) | Body::Answer(..) => Some(Class::Control),
        };
        let data = matches!(&event.body, Body::Frame(..));
        if data
            && self
                .trouble
                .dropped
                .get(&(event.from, event.to))
                .is_some_and(|&share| self.rng.random_bool(share))
        {
            return;
        }
        if data && self.trouble.duplicated > 0.0 && self.rng.random_bool(self.trouble.duplicated) {
            let (again, number) = (at + 3 * delay, self.number());
            self.queue.insert((again, number), event.clone());
        }
        let overtaken =
            data && self.trouble.overtaken > 0.0 && self.rng.random_bool(self.trouble.overtaken);
        if overtaken {
            at += delay.mul_f64(4.0 * self.rng.random::<f64>());
        } else if let Some(class) = class {
            if lost {
                // Found missing after a round trip and sent again.
                at += 2 * delay;
            }
            let previous = self.last.entry((event.from, event.to, class)).or_insert(at);
            at = at.max(*previous);
            *previous = at;
        }
        let number = self.number();
        self.queue.insert((at, number), event);
    }

    /// The usual delay from `from` to `to`, without jitter.
    pub(super) fn distance(&self, from: NodeId, to: NodeId) -> Duration {
        let datacenter = |node| self.hosts.get(&node).map(|host| &host.datacenter);
        if datacenter(from) == datacenter(to) {
            self.conditions.within
        } else {
            self.conditions.between
        }
    }

    fn delay(&mut self, from: NodeId, to: NodeId) -> Duration {
        let jitter = 1.0 + self.conditions.jitter * self.rng.random::<f64>();
        self.distance(from, to).mul_f64(jitter)
    }

    /// Breaks connections that have been silent for too long, are not wanted or belong to a former
    /// life, and connects wanted pairs. Returns the ends to notify.
    pub(super) fn reconnect(
        &mut self,
        now: Instant,
        wanted: &BTreeSet<(NodeId, NodeId)>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let idle = self.conditions.idle;
        let mut broken = Vec::new();
        for (&(a, b), connection) in &mut self.connections {
            let present = self.hosts.contains_key(&a) && self.hosts.contains_key(&b);
            let lives = (
                self.hosts.get(&a).map(|host| host.life),
                self.hosts.get(&b).map(|host| host.life),
            );
            let reset = lives.0.is_some_and(|life| life != connection.lives.0)
                || lives.1.is_some_and(|life| life != connection.lives.1);
            let stopped =
                self.trouble.stopped.contains_key(&a) || self.trouble.stopped.contains_key(&b);
            let silent = !present
                || stopped
                || self.blocked.contains(&(a, b))
                || self.blocked.contains(&(b, a));
            match (silent, connection.silent_since) {
                (false, _) => connection.silent_since = None,
                (true, None) => connection.silent_since = Some(now),
                (true, Some(_)) => {}
            }
            let dead = connection
                .silent_since
                .is_some_and(|since| now - since >= idle);
            if dead || reset || (present && !wanted.contains(&(a, b))) {
                broken.push((a, b));
            }
        }
        for (a, b) in broken {
            self.break_up(a, b, &mut changes);
        }
        for &(a, b) in wanted {
            let stopped =
                self.trouble.stopped.contains_key(&a) || self.trouble.stopped.contains_key(&b);
            let free = !stopped && !self.connections.contains_key(&(a, b));
            if free && !self.blocked.contains(&(a, b)) && !self.blocked.contains(&(b, a)) {
                self.connect(a, b, &mut changes);
            }
        }
        changes
    }

    fn connect(&mut self, a: NodeId, b: NodeId, changes: &mut Vec<Change>) {
        let id = self.number();
        // Either may have been unplugged since the caller looked.
        let (Some(host_a), Some(host_b)) = (self.hosts.get(&a), self.hosts.get(&b)) else {
            return;
        };
        let (at_a, at_b) = (Arc::clone(&host_a.address), Arc::clone(&host_b.address));
        changes.push((Arc::clone(&host_a.inbound), b, true));
        changes.push((Arc::clone(&host_b.inbound), a, true));
        self.connections.insert(
            (a, b),
            Connection {
                id,
                lives: (host_a.life, host_b.life),
                silent_since: None,
            },
        );
        for (node, peer, at) in [(a, b, at_b), (b, a, at_a)] {
            if let Some(host) = self.hosts.get_mut(&node) {
                host.proven.insert(peer, at);
            }
        }
    }

    fn break_up(&mut self, a: NodeId, b: NodeId, changes: &mut Vec<Change>) {
        let Some(connection) = self.connections.remove(&(a, b)) else {
            return;
        };
        for (end, life, peer) in [(a, connection.lives.0, b), (b, connection.lives.1, a)] {
            // A new life has never heard of the connection.
            if let Some(host) = self.hosts.get(&end).filter(|host| host.life == life) {
                changes.push((Arc::clone(&host.inbound), peer, false));
            }
        }
        self.stalled.remove(&(a, b));
        self.stalled.remove(&(b, a));
        let lost: Vec<u64> = self
            .calls
            .iter()
            .filter(|(_, call)| call.connection == connection.id)
            .map(|(&id, _)| id)
            .collect();
        for id in lost {
            if let Some(call) = self.calls.remove(&id) {
                // The caller may have given up.
                drop(call.answer.send(Err(CallError::Disconnected(call.peer))));
            }
        }
    }
}
