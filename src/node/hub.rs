//! The node's switchboard: takes what comes from other nodes and from faces to the right shard or
//! to the control group.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use quorate_control::state::ControlState;
use quorate_control::topology::{Epoch, Keyspace, KeyspaceId, Partition, Placement, Topology};
use quorate_crdt::{NodeId, PublicKey, Secret};
use quorate_dynamo::KeyView;
use quorate_dynamo::op::{Op, Request, RequestError};
use quorate_dynamo::protocol::{Message, ReplicaSummary, Route};
use quorate_gossip::transport::{Class, Inbound, JoinGrant, JoinRefusal, JoinRequest, Later};
use quorate_gossip::wire;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::adopted::Adopted;
use super::figures::{Following, NodeFigures};
use super::inbox::{Lane, Sight, Waiter, Work};
use super::meter::Meter;
use crate::doors::{Load, Pending, Room, name_of};

/// What a node answers to [`Call::Version`].
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long another node may take to answer a question about itself.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the shards may take to tell of their replicas: so long that the answer still comes
/// within [`ASK_TIMEOUT`].
const SUMMARIES_WITHIN: Duration = Duration::from_millis(500);

/// The subject of a call between nodes: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Call {
    /// A message of the control group.
    Control = 0,
    /// Asks what the node says about itself. No body; the answer is a [`NodeFigures`].
    Figures = 1,
    /// Asks for the topology that the node acts on. The body is an epoch; the answer is the
    /// topology if it is newer, else empty.
    Topology = 2,
    /// Asks for the version of the program: no body; answered by its text.
    Version = 3,
    /// Asks whether the node reaches another one: its number; answered by 1 or 0.
    Reaches = 4,
    /// Asks where the node has met those that it is connected with. No body; the answer is a map
    /// from numbers to addresses.
    Met = 5,
    /// Asks what the node holds of a key: a [`KeyQuestion`]; answered by an optional [`KeyView`].
    Explain = 6,
}

/// The body of [`Call::Explain`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct KeyQuestion {
    pub(super) keyspace: KeyspaceId,
    pub(super) key: Bytes,
}

/// A call of this kind with this body.
pub(super) fn tagged(call: Call, body: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + body.len());
    bytes.push(call as u8);
    bytes.extend_from_slice(body);
    bytes.into()
}

/// What the network tells the driver of the failure detector.
#[derive(Debug)]
pub(super) enum News {
    /// A datagram from another node.
    Datagram(NodeId, Bytes),
    /// A connection came up or went down.
    Connection,
}

/// The way to the control group. It is set once the group has started.
pub(super) trait ControlDoor: Send + Sync + 'static {
    /// Takes a message that `from` sent to the group, and answers it.
    fn receive(&self, from: NodeId, request: Bytes) -> Later<Bytes>;

    /// What the group keeps of a join token.
    fn token(&self, id: u64) -> Option<Secret>;

    /// Admits a newcomer that holds this key and the token of its request, or says why not.
    fn admit(&self, key: PublicKey, request: JoinRequest) -> Later<Result<JoinGrant, JoinRefusal>>;

    /// Whom this node follows.
    fn following(&self) -> Following;
}

/// Shared by everything that reaches a node from outside.
pub(super) struct Hub {
    me: NodeId,
    pub(super) lanes: Vec<Lane>,
    /// The topology by which faces route and connections are admitted. Only
    /// [`publish`](Self::publish) sets it.
    topology: ArcSwap<Topology>,
    pub(super) meter: Arc<Meter>,
    pub(super) news: mpsc::UnboundedSender<News>,
    pub(super) control: OnceLock<Arc<dyn ControlDoor>>,
    pub(super) peers: AtomicUsize,
    /// Nodes that the failure detector considers unreachable, each with the wall clock's
    /// milliseconds since 1970 at which it found so.
    pub(super) unreachable: ArcSwap<BTreeMap<NodeId, u64>>,
    /// How many nodes the failure detector has found reachable; 0 before its first look.
    pub(super) reached: AtomicUsize,
    /// Where the nodes are that this one is connected with, as of its last look.
    pub(super) met: ArcSwap<BTreeMap<NodeId, Arc<str>>>,
    /// How many milliseconds the clock of each node is ahead, as the first shard last said.
    pub(super) clocks: ArcSwap<BTreeMap<NodeId, i64>>,
    /// What the node uses, as last looked at.
    pub(super) load: ArcSwap<Load>,
}

impl Hub {
    pub(super) fn new(
        me: NodeId,
        lanes: Vec<Lane>,
        kept: Option<&Adopted>,
        meter: Meter,
        news: mpsc::UnboundedSender<News>,
    ) -> Self {
        let nothing = || Arc::clone(ControlState::default().topology());
        let topology = kept.map_or_else(nothing, Adopted::share);
        meter.adopt(&topology);
        Self {
            me,
            lanes,
            topology: ArcSwap::from(topology),
            meter: Arc::new(meter),
            news,
            control: OnceLock::new(),
            peers: AtomicUsize::new(0),
            unreachable: ArcSwap::from_pointee(BTreeMap::new()),
            reached: AtomicUsize::new(0),
            met: ArcSwap::from_pointee(BTreeMap::new()),
            clocks: ArcSwap::from_pointee(BTreeMap::new()),
            load: ArcSwap::from_pointee(Load::default()),
        }
    }

    /// The shard that owns a partition; the same for every keyspace.
    pub(super) fn core_of(&self, partition: Partition) -> u8 {
        (usize::from(partition.0) % self.lanes.len()) as u8
    }

    /// Opens the way to the control group. Only the first call counts.
    pub(super) fn open_control(&self, door: Arc<dyn ControlDoor>) {
        drop(self.control.set(door));
    }

    /// How many nodes this one is connected to.
    pub(super) fn connected_peers(&self) -> u64 {
        self.peers.load(Ordering::Relaxed) as u64
    }

    /// Puts a client's request in line at the shard of its partition. What it is answered counts in
    /// `room`.
    pub(super) fn submit(
        &self,
        request: Request,
        room: Option<Arc<Room>>,
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
            sample: self.meter.sample(&request),
            room,
            reads: !request.op.writes(),
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

    /// The topology that this node acts on. Before there is one, it is a topology without nodes.
    pub(super) fn topology(&self) -> Arc<Topology> {
        self.topology.load_full()
    }

    /// Hands a topology to the shards first and then to everybody else, so that no request stands
    /// in line before the topology by which it was routed.
    pub(super) async fn publish(&self, adopted: &Adopted) {
        for lane in &self.lanes {
            lane.push_surely(Work::Topology(adopted.clone())).await;
        }
        self.meter.adopt(adopted);
        self.topology.store(adopted.share());
    }

    /// Tells every shard a piece of news.
    pub(super) async fn tell_shards(&self, sight: Sight) {
        for lane in &self.lanes {
            lane.push_surely(Work::Sight(sight)).await;
        }
    }

    /// How many other replicas of a partition can be reached, for the partition that has the
    /// fewest, as far as the failure detector knows.
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

    /// The figures of all replicas of this node. A shard that has stopped is left out.
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
        self.meter.summarised(all.iter(), &self.topology());
        self.meter.counted(&counters);
        all
    }

    /// What this node says about itself.
    pub(super) async fn figures(&self) -> NodeFigures {
        let control = self.control.get();
        NodeFigures {
            version: VERSION.to_owned(),
            following: control.map_or_else(Following::default, |control| control.following()),
            load: **self.load.load(),
            // A node that is busy is not one that is down.
            replicas: timeout(SUMMARIES_WITHIN, self.summaries()).await.ok(),
        }
    }

    /// What this node's replica holds of a key; `None` if it has none.
    pub(super) async fn explain(&self, question: &KeyQuestion) -> Option<KeyView> {
        let KeyQuestion { keyspace, key } = question.clone();
        let partition = self
            .topology
            .load()
            .keyspaces
            .get(&keyspace)?
            .partition_of(&key);
        let (answer, answered) = oneshot::channel();
        let lane = &self.lanes[usize::from(self.core_of(partition))];
        let work = Work::Explain {
            at: (keyspace, partition),
            key,
            answer,
        };
        lane.push_surely(work).await;
        answered.await.ok().flatten()
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
                .push(message);
        };
        for message in messages {
            match message.route() {
                Route::Partition(_, partition) => put(self.core_of(partition), message),
                // This node was restarted with fewer cores, and the core that asked is gone.
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
            let from = name_of(from, &self.topology());
            tracing::warn!(
                from,
                bytes = frame.len(),
                "a frame that is not a list of messages was ignored"
            );
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

/// The transport's [`Inbound`]. Separate from the [`Hub`], which faces hold for longer.
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

    fn call(&self, from: NodeId, request: Bytes) -> Later<Bytes> {
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
            Some(&tag) if tag == Call::Figures as u8 => {
                Box::pin(async move { wire::encode(&hub.figures().await) })
            }
            Some(&tag) if tag == Call::Explain as u8 => {
                let question = wire::decode::<KeyQuestion>(&request[1..]);
                Box::pin(async move {
                    match question {
                        Ok(question) => wire::encode(&hub.explain(&question).await),
                        Err(_malformed) => Bytes::new(),
                    }
                })
            }
            Some(&tag) if tag == Call::Reaches as u8 => {
                let reaches = wire::decode::<NodeId>(&request[1..]).is_ok_and(|node| {
                    hub.reached.load(Ordering::Acquire) > 0
                        && hub.topology().nodes.contains_key(&node)
                        && !hub.unreachable.load().contains_key(&node)
                });
                Box::pin(async move { Bytes::copy_from_slice(&[u8::from(reaches)]) })
            }
            Some(&tag) if tag == Call::Met as u8 => {
                Box::pin(async move { wire::encode(&**hub.met.load()) })
            }
            Some(&tag) if tag == Call::Version as u8 => {
                Box::pin(async { Bytes::from_static(VERSION.as_bytes()) })
            }
            _ => {
                hub.meter.malformed();
                Box::pin(async { Bytes::new() })
            }
        }
    }

    fn token(&self, id: u64) -> Option<Secret> {
        self.0.control.get()?.token(id)
    }

    fn join(&self, key: PublicKey, request: JoinRequest) -> Later<Result<JoinGrant, JoinRefusal>> {
        match self.0.control.get() {
            Some(control) => control.admit(key, request),
            None => Box::pin(async { Err(JoinRefusal::NotReady) }),
        }
    }

    fn member(&self, key: &PublicKey) -> Option<NodeId> {
        self.0.topology.load().node_of(key)
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
