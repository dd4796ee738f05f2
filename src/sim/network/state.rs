//! What the network knows: who is plugged in, who is connected, what is under way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quorate_crdt::NodeId;
use quorate_gossip::transport::{CallError, Class, Inbound};
use rand::RngExt;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::{Body, Connection, Event, State};

/// A connection that came up or went down, as one of its ends is told.
pub(super) type Change = (Arc<dyn Inbound>, NodeId, bool);

pub(super) fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

impl Body {
    /// What of it goes into the trace.
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
    /// A number never given before.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The connection between two nodes, if `life` is still the life of `from`.
    pub(super) fn connection(&self, from: NodeId, life: u64, to: NodeId) -> Option<u64> {
        self.hosts.get(&from).filter(|host| host.life == life)?;
        self.connections
            .get(&pair(from, to))
            .map(|connection| connection.id)
    }

    /// Whether the connection that the event was sent on still stands.
    pub(super) fn is_up(&self, event: &Event) -> bool {
        self.connections
            .get(&pair(event.from, event.to))
            .is_some_and(|connection| connection.id == event.connection)
    }

    /// Holds an event back until the pair can talk again or its connection breaks. Datagrams are
    /// lost instead.
    pub(super) fn stall(&mut self, event: Event) {
        if !matches!(event.body, Body::Datagram(_)) {
            self.stalled
                .entry((event.from, event.to))
                .or_default()
                .push(event);
        }
    }

    /// The event, unless one of its ends is stopped: then it waits there.
    pub(super) fn unless_stopped(&mut self, event: Event) -> Option<Event> {
        let end = [event.to, event.from]
            .into_iter()
            .find(|node| self.trouble.stopped.contains_key(node));
        let Some(waiting) = end.and_then(|node| self.trouble.stopped.get_mut(&node)) else {
            return Some(event);
        };
        // What nobody reads from a socket is dropped by the system when it is a datagram.
        if !matches!(event.body, Body::Datagram(_)) {
            waiting.push(event);
        }
        None
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
                // Found missing after a round trip, and sent again.
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

    /// Breaks what is silent for too long, not wanted or of a former life, and connects what is
    /// wanted. Returns whom to tell.
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
        // Either may have been pulled since the caller looked.
        let (Some(host_a), Some(host_b)) = (self.hosts.get(&a), self.hosts.get(&b)) else {
            return;
        };
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
