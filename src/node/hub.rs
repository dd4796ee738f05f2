//! The node's switchboard: what comes from peers and faces goes to the shard, or the plane, that it
//! is for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use quorate_control::state::ControlState;
use quorate_control::topology::{Epoch, Keyspace, KeyspaceId, Partition, Placement, Topology};
use quorate_crdt::NodeId;
use quorate_dynamo::op::{Op, Request, RequestError};
use quorate_dynamo::protocol::{Input, Message, ReplicaSummary, Route};
use quorate_gossip::transport::{Class, Inbound, JoinGrant, JoinRefusal, JoinRequest, Reply};
use quorate_gossip::wire;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::adopted::Adopted;
use super::meter::{Meter, Sample};
use super::shard::{Lane, Waiter, Work};
use crate::doors::Pending;

/// What a call is about: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Call {
    /// A message of the control group.
    Control = 0,
    /// Asks for the figures of all replicas of the node: no body; answered by a list of
    /// [`ReplicaSummary`].
    Summaries = 1,
    /// Asks for the topology that the node acts on: an epoch; answered by it if it is newer, else
    /// by nothing.
    Topology = 2,
    /// Asks for the version of the program: no body; answered by its text.
    Version = 3,
}

/// `body` as a call of this kind.
pub(super) fn tagged(call: Call, body: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + body.len());
    bytes.push(call as u8);
    bytes.extend_from_slice(body);
    bytes.into()
}

/// What the failure detector's driver is told by the network.
#[derive(Debug)]
pub(super) enum News {
    /// An unordered payload of a peer.
    Datagram(NodeId, Bytes),
    /// A connection came up or went down.
    Connection,
}

/// What shards are told of the world. What they own they learn from [`Hub::publish`] alone.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sight {
    /// Another node can, or cannot, be reached.
    Reachable { node: NodeId, up: bool },
    /// How far another node is.
    RoundTrip { node: NodeId, rtt: Duration },
    /// Whether the disk has no room for writes.
    DiskFull(bool),
}

impl From<Sight> for Input {
    fn from(sight: Sight) -> Self {
        match sight {
            Sight::Reachable { node, up } => Self::Reachable { node, up },
            Sight::RoundTrip { node, rtt } => Self::RoundTrip { node, rtt },
            Sight::DiskFull(full) => Self::DiskFull(full),
        }
    }
}

/// The way to the control group, known once that has started.
pub(super) trait ControlDoor: Send + Sync + 'static {
    /// A message of the group from a peer; answered in kind.
    fn receive(&self, from: NodeId, request: Bytes) -> Reply<Bytes>;

    /// Admits a newcomer.
    fn admit(&self, request: JoinRequest) -> Reply<Result<JoinGrant, JoinRefusal>>;
}

/// Shared by everything that reaches the node from outside.
pub(super) struct Hub {
    me: NodeId,
    pub(super) lanes: Vec<Lane>,
    /// What faces route by and connections are admitted by: set by [`publish`](Self::publish)
    /// alone.
    topology: ArcSwap<Topology>,
    pub(super) meter: Arc<Meter>,
    pub(super) news: mpsc::UnboundedSender<News>,
    pub(super) control: OnceLock<Arc<dyn ControlDoor>>,
    pub(super) peers: AtomicUsize,
    /// Nodes that the failure detector considers unreachable, each with the wall clock's
    /// milliseconds since 1970 at which it found so.
    pub(super) unreachable: ArcSwap<BTreeMap<NodeId, u64>>,
    /// How many nodes the failure detector has found reachable; 0 before it has looked.
    pub(super) reached: AtomicUsize,
    /// By how many milliseconds the clock of each node is ahead, as the first shard last said.
    pub(super) clocks: ArcSwap<BTreeMap<NodeId, i64>>,
}

impl Hub {
    pub(super) fn new(
        me: NodeId,
        lanes: Vec<Lane>,
        kept: Option<&Adopted>,
        news: mpsc::UnboundedSender<News>,
    ) -> Self {
        let nothing = || Arc::clone(ControlState::default().topology());
        Self {
            me,
            lanes,
            topology: ArcSwap::from(kept.map_or_else(nothing, Adopted::share)),
            meter: Arc::new(Meter::new()),
            news,
            control: OnceLock::new(),
            peers: AtomicUsize::new(0),
            unreachable: ArcSwap::from_pointee(BTreeMap::new()),
            reached: AtomicUsize::new(0),
            clocks: ArcSwap::from_pointee(BTreeMap::new()),
        }
    }

    /// The shard that owns a partition, of whatever keyspace.
    pub(super) fn core_of(&self, partition: Partition) -> u8 {
        (usize::from(partition.0) % self.lanes.len()) as u8
    }

    /// Lets calls and newcomers through to the control group. Once; a second door is ignored.
    pub(super) fn open_control(&self, door: Arc<dyn ControlDoor>) {
        drop(self.control.set(door));
    }

    /// How many nodes there is a connection to.
    pub(super) fn connected_peers(&self) -> u64 {
        self.peers.load(Ordering::Relaxed) as u64
    }

    /// Puts a client's request in line at the shard of its partition.
    pub(super) fn submit(
        &self,
        request: Request,
    ) -> Pending<Result<quorate_dynamo::op::Answer, RequestError>> {
        let (reply, pending) = oneshot::channel();
        let partition = match &request.op {
            Op::Query(key, _) | Op::Mutate(key, _) => self
                .topology
                .load()
                .keyspaces
                .get(&request.keyspace)
                .map_or(Partition(0), |keyspace| keyspace.partition_of(key)),
            Op::Partition(partition, _) => *partition,
        };
        let waiter = Waiter {
            reply,
            sample: Sample::of(&request),
        };
        let lane = &self.lanes[usize::from(self.core_of(partition))];
        if let Err(refused) = lane.push(Work::Request(Box::new(request), waiter)) {
            let (error, work) = match refused {
                TrySendError::Full(work) => (RequestError::Overloaded, work),
                TrySendError::Closed(work) => (RequestError::Stopping, work),
            };
            if let Work::Request(_, waiter) = work {
                let result = Err(error);
                self.meter.replied(&waiter.sample, &result);
                // The client may have gone.
                drop(waiter.reply.send(result));
            }
        }
        pending
    }

    /// The topology that this node acts on; one without nodes before there is any.
    pub(super) fn topology(&self) -> Arc<Topology> {
        self.topology.load_full()
    }

    /// Hands a topology to the shards and then to everybody else, so that no request is in line
    /// before the topology that it was routed by.
    pub(super) async fn publish(&self, adopted: &Adopted) {
        for lane in &self.lanes {
            lane.push_surely(Work::Topology(adopted.clone())).await;
        }
        self.topology.store(adopted.share());
    }

    /// Tells every shard what was seen.
    pub(super) async fn tell_shards(&self, sight: Sight) {
        for lane in &self.lanes {
            lane.push_surely(Work::Sight(sight)).await;
        }
    }

    /// How many other replicas can be reached of the partition that has the fewest, as far as the
    /// failure detector knows.
    pub(super) fn reachable_replicas(&self) -> u32 {
        let (topology, unreachable) = (self.topology(), self.unreachable.load());
        let reached = |placement: &Placement| {
            let others = placement
                .holders()
                .into_iter()
                .filter(|node| *node != self.me && !unreachable.contains_key(node));
            others.count() as u32
        };
        topology
            .keyspaces
            .values()
            .flat_map(Keyspace::partitions)
            .map(|(_, placement)| reached(placement))
            .min()
            .unwrap_or(0)
    }

    /// The figures of all replicas of this node; a shard that has stopped tells nothing.
    pub(super) async fn summaries(&self) -> Vec<ReplicaSummary> {
        let (mut all, mut counters, mut clocks) = (Vec::new(), Vec::new(), None);
        for lane in &self.lanes {
            let (answer, answered) = oneshot::channel();
            lane.push_surely(Work::Summaries(answer)).await;
            if let Ok(figures) = answered.await {
                all.extend(figures.summaries);
                counters.push(figures.counters);
                clocks.get_or_insert(figures.clocks);
            }
        }
        if let Some(clocks) = clocks {
            self.meter.clocks(&clocks, &self.topology());
            self.clocks.store(Arc::new(clocks));
        }
        self.meter.summarised(all.iter());
        self.meter.counted(&counters);
        all
    }

    /// Sorts the messages of a frame by shard.
    fn sort(&self, messages: Vec<Message>) -> BTreeMap<u8, Vec<Message>> {
        let cores = self.lanes.len() as u8;
        let mut by_core: BTreeMap<u8, Vec<Message>> = BTreeMap::new();
        let each = messages.len() / self.lanes.len().max(1) + 1;
        let mut put = |core, message| {
            by_core
                .entry(core)
                .or_insert_with(|| Vec::with_capacity(each))
                .push(message)
        };
        for message in messages {
            match message.route() {
                Route::Partition(_, partition) => put(self.core_of(partition), message),
                // A node that was restarted with fewer cores has forgotten what the others asked.
                Route::Core(core) if core >= cores => {}
                Route::Core(core) => put(core, message),
                Route::Many => {
                    for (core, part) in
                        message.split(|_: KeyspaceId, partition| self.core_of(partition))
                    {
                        put(core, part);
                    }
                }
            }
        }
        by_core
    }

    fn frame(&self, from: NodeId, frame: &[u8]) {
        let Ok(messages) = wire::decode_within::<Vec<Message>>(frame, wire::MESSAGE_BYTES_MAX)
        else {
            tracing::warn!(%from, bytes = frame.len(), "a frame that is no list of messages was ignored");
            self.meter.malformed();
            return;
        };
        let by_core = self.sort(messages);
        let share = frame.len() / by_core.len().max(1);
        for (core, messages) in by_core {
            if self.lanes[usize::from(core)]
                .push(Work::Messages(from, messages, share))
                .is_err()
            {
                self.meter.shed();
            }
        }
    }
}

/// What an [`Inbound`] is to the transport. Separate from [`Hub`], which faces hold for longer.
pub(super) struct Switchboard(pub(super) Arc<Hub>);

impl Inbound for Switchboard {
    fn frames(&self, from: NodeId, _class: Class, frames: Vec<Bytes>) {
        for frame in frames {
            self.0.frame(from, &frame);
        }
    }

    fn datagram(&self, from: NodeId, payload: Bytes) {
        // The receiver is gone only when the node stops.
        drop(self.0.news.send(News::Datagram(from, payload)));
    }

    fn call(&self, from: NodeId, request: Bytes) -> Reply<Bytes> {
        let hub = Arc::clone(&self.0);
        match request.first() {
            Some(&tag) if tag == Call::Control as u8 => match hub.control.get() {
                Some(control) => control.receive(from, request.slice(1..)),
                None => Box::pin(async { Bytes::new() }),
            },
            Some(&tag) if tag == Call::Topology as u8 => {
                let topology = hub.topology();
                let newer =
                    wire::decode::<Epoch>(&request[1..]).is_ok_and(|known| topology.epoch > known);
                let answer = if newer {
                    wire::encode(&*topology)
                } else {
                    Bytes::new()
                };
                Box::pin(async move { answer })
            }
            Some(&tag) if tag == Call::Summaries as u8 => {
                Box::pin(async move { wire::encode(&hub.summaries().await) })
            }
            Some(&tag) if tag == Call::Version as u8 => {
                Box::pin(async { Bytes::from_static(super::members::VERSION.as_bytes()) })
            }
            _ => {
                hub.meter.malformed();
                Box::pin(async { Bytes::new() })
            }
        }
    }

    fn join(&self, request: JoinRequest) -> Reply<Result<JoinGrant, JoinRefusal>> {
        match self.0.control.get() {
            Some(control) => control.admit(request),
            None => Box::pin(async { Err(JoinRefusal::NotReady) }),
        }
    }

    fn admits(&self, node: NodeId) -> bool {
        self.0.topology.load().nodes.contains_key(&node)
    }

    fn connection(&self, _peer: NodeId, up: bool) {
        if up {
            self.0.peers.fetch_add(1, Ordering::Relaxed);
        } else {
            self.0.peers.fetch_sub(1, Ordering::Relaxed);
        }
        // The receiver is gone only when the node stops.
        drop(self.0.news.send(News::Connection));
    }
}
