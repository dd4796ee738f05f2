//! The simulated network: latency by datacenter, jitter, loss, one-way cuts, and connections that
//! break and come back. A seed decides all of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_crdt::{NodeId, PublicKey};
use quorate_gossip::transport::{Inbound, JoinGrant, JoinRefusal, JoinRequest};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::trace::Trace;

pub(super) mod port;
pub(super) mod state;

use state::{Body, Conditions, Event, Host, State, Trouble};

/// How often connections are checked: silent ones are given up, missing ones made.
const SCAN_EVERY: Duration = Duration::from_millis(50);

/// The network of one simulation. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Rings when an event has been queued that may be due first.
    changed: Notify,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Network {
    /// An empty network. `seed` decides every delay and loss.
    pub fn new(seed: u64, conditions: Conditions) -> Self {
        let state = State::new(seed, conditions);
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Notify::new(),
            }),
        }
    }

    /// Starts delivering on the current runtime, until the task is aborted.
    pub fn start(&self) -> JoinHandle<()> {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(shared.run())
    }

    /// Unplugs a node. The others find out once their connections have been silent for long enough.
    pub fn unplug(&self, node: NodeId) {
        let mut state = self.shared.lock();
        let host = state.hosts.remove(&node);
        let waiting = state.trouble.stopped.remove(&node);
        drop(state);
        drop((host, waiting));
    }

    /// Blocks everything from any node in `from` to any node in `to` (one way).
    pub fn cut(&self, from: &[NodeId], to: &[NodeId]) {
        let mut state = self.shared.lock();
        for &a in from {
            state
                .blocked
                .extend(to.iter().filter(|&&b| b != a).map(|&b| (a, b)));
        }
    }

    /// Removes every cut. What connections that are still up have held back arrives late.
    pub fn heal(&self) {
        let mut state = self.shared.lock();
        state.blocked.clear();
        for event in std::mem::take(&mut state.stalled).into_values().flatten() {
            state.dispatch(event);
        }
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Changes the network's conditions.
    pub fn set_conditions(&self, conditions: Conditions) {
        self.shared.lock().conditions = conditions;
    }

    /// From now on these shares of all data frames arrive twice and are overtaken by later ones.
    pub fn garble(&self, duplicated: f64, overtaken: f64) {
        let mut state = self.shared.lock();
        (state.trouble.duplicated, state.trouble.overtaken) = (duplicated, overtaken);
    }

    /// From now on this share of the data frames from one node to another is silently dropped.
    pub fn drop_frames(&self, from: NodeId, to: NodeId, share: f64) {
        self.shared.lock().trouble.dropped.insert((from, to), share);
    }

    /// Suspends all traffic of the node until it continues. What is sent meanwhile waits, as in the
    /// buffers of a stopped process.
    pub fn stop(&self, node: NodeId) {
        self.shared.lock().trouble.stopped.entry(node).or_default();
    }

    /// Resumes a suspended node and delivers everything that waited for it.
    pub fn go_on(&self, node: NodeId) {
        let mut state = self.shared.lock();
        for event in state.trouble.stopped.remove(&node).unwrap_or_default() {
            state.dispatch(event);
        }
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Removes all faults and all cuts.
    pub fn calm(&self) {
        let stopped: Vec<NodeId> = {
            let mut state = self.shared.lock();
            let stopped = std::mem::take(&mut state.trouble.stopped);
            let nodes = stopped.keys().copied().collect();
            state.trouble = Trouble {
                stopped,
                ..Trouble::default()
            };
            nodes
        };
        for node in stopped {
            self.go_on(node);
        }
        self.heal();
    }

    /// Asks `member` to admit the newcomer that holds `key`, as the gossip crate's `join` does over
    /// QUIC. Takes one round trip between datacenters.
    ///
    /// # Errors
    /// What the member answers, or [`JoinRefusal::NotReady`] when it is not plugged in, or no
    /// longer is by the time it answers.
    pub async fn join(
        &self,
        member: NodeId,
        key: PublicKey,
        request: JoinRequest,
    ) -> Result<JoinGrant, JoinRefusal> {
        let (inbound, delay) = {
            let state = self.shared.lock();
            (
                state
                    .hosts
                    .get(&member)
                    .map(|host| Arc::clone(&host.inbound)),
                state.conditions.between,
            )
        };
        tokio::time::sleep(delay).await;
        let inbound = inbound.ok_or(JoinRefusal::NotReady)?;
        let answer = inbound.join(key, request).await;
        tokio::time::sleep(delay).await;
        let still = self
            .shared
            .lock()
            .hosts
            .get(&member)
            .is_some_and(|host| Arc::ptr_eq(&host.inbound, &inbound));
        if still {
            answer
        } else {
            Err(JoinRefusal::NotReady)
        }
    }

    /// The longest round trip between two nodes when nothing is lost.
    pub fn round_trip_max(&self) -> Duration {
        let conditions = self.shared.lock().conditions;
        (2 * conditions.between.max(conditions.within)).mul_f64(1.0 + conditions.jitter)
    }

    /// The hash of everything delivered so far, with its time.
    pub fn trace(&self) -> Trace {
        self.shared.lock().trace
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("invariant: no code panics while it holds the network")
    }

    async fn run(self: Arc<Self>) {
        let mut scan = Instant::now();
        loop {
            let due = self
                .lock()
                .queue
                .first_key_value()
                .map_or(scan, |(&(at, _), _)| at.min(scan));
            tokio::select! {
                biased;
                () = self.changed.notified() => continue,
                () = tokio::time::sleep_until(due) => {}
            }
            let now = Instant::now();
            if scan <= now {
                scan = now + SCAN_EVERY;
                self.scan(now);
            }
            while let Some((event, inbound)) = self.take_due(now) {
                self.deliver(event, &inbound);
            }
        }
    }

    /// Takes the next event that is due and can be delivered.
    fn take_due(&self, now: Instant) -> Option<(Event, Arc<dyn Inbound>)> {
        let mut state = self.lock();
        loop {
            let entry = state
                .queue
                .first_entry()
                .filter(|entry| entry.key().0 <= now)?;
            let event = entry.remove();
            if !state.is_up(&event) {
                continue;
            }
            if state.blocked.contains(&(event.from, event.to)) {
                state.stall(event);
                continue;
            }
            let Some(event) = state.unless_stopped(event) else {
                continue;
            };
            let Some(inbound) = state
                .hosts
                .get(&event.to)
                .map(|host| Arc::clone(&host.inbound))
            else {
                continue;
            };
            state
                .trace
                .event(now, event.from, event.to, event.body.digest());
            return Some((event, inbound));
        }
    }

    /// Hands an event to its node. Does not hold the lock, because the node may send at once.
    fn deliver(self: &Arc<Self>, event: Event, inbound: &Arc<dyn Inbound>) {
        let Event {
            from,
            to,
            connection,
            body,
        } = event;
        match body {
            Body::Frame(class, bytes) => inbound.frames(from, class, vec![bytes]),
            Body::Datagram(bytes) => inbound.datagram(from, bytes),
            Body::Answer(id, bytes) => {
                let call = self.lock().calls.remove(&id);
                if let Some(call) = call {
                    // The caller may have given up.
                    drop(call.answer.send(Ok(bytes)));
                }
            }
            Body::Call(id, bytes) => {
                let (shared, reply) = (Arc::clone(self), inbound.call(from, bytes));
                tokio::spawn(async move {
                    let body = Body::Answer(id, reply.await);
                    shared.send(Event {
                        from: to,
                        to: from,
                        connection,
                        body,
                    });
                });
            }
        }
    }

    /// Queues an event and wakes the delivery loop.
    fn send(&self, event: Event) {
        self.lock().dispatch(event);
        self.changed.notify_one();
    }

    /// Gives up silent connections and makes those that both sides want.
    fn scan(&self, now: Instant) {
        let (hosts, pairs) = {
            let state = self.lock();
            let seen =
                |(&node, host): (&NodeId, &Host)| (node, (host.key, Arc::clone(&host.inbound)));
            let hosts: BTreeMap<_, _> = state.hosts.iter().map(seen).collect();
            (hosts, state.pairs())
        };
        // Asks the nodes, so it does not hold the lock.
        let admits = |node: NodeId, peer: NodeId| {
            let (Some((_, inbound)), Some((key, _))) = (hosts.get(&node), hosts.get(&peer)) else {
                return false;
            };
            inbound.member(key) == Some(peer)
        };
        let wanted = pairs
            .into_iter()
            .filter(|&(a, b)| admits(a, b) && admits(b, a))
            .collect();
        let changes = self.lock().reconnect(now, &wanted);
        for (inbound, peer, up) in changes {
            inbound.connection(peer, up);
        }
    }
}
