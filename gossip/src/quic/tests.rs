#![expect(
    clippy::disallowed_types,
    reason = "the test node shares its lists with the transport's tasks"
)]

use core::future::Future;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use quorate_crdt::{NodeId, PublicKey, Secret};
use tokio::sync::mpsc;

use super::*;
use crate::token::JoinToken;
use crate::transport::{
    Class, Expected, Inbound, JoinGrant, JoinRefusal, JoinRequest, Later, Transport,
};

mod finding;
mod identity;
mod joining;
mod shaped;
mod talking;

/// Longer than anything here takes on a busy machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, PartialEq)]
enum Event {
    Frames(NodeId, Class, Vec<Bytes>),
    Datagram(NodeId, Bytes),
    Connection(NodeId, bool),
}

type Decide = dyn Fn(PublicKey, &JoinRequest) -> Result<JoinGrant, JoinRefusal> + Send + Sync;

const CLUSTER: u128 = 0xC0_FFEE;

/// The keys of the first nodes of every cluster.
static KEYS: LazyLock<Vec<KeyPair>> =
    LazyLock::new(|| (0..10).map(|_| KeyPair::generate().unwrap()).collect());

fn keys_of(node: NodeId) -> KeyPair {
    KEYS[usize::try_from(node.0).unwrap()].clone()
}

fn identity_of(node: u64) -> NodeIdentity {
    NodeIdentity::new(NodeId(node), CLUSTER, keys_of(NodeId(node)))
}

/// The node's side of a transport: records what comes in.
struct Recorder {
    events: mpsc::UnboundedSender<Event>,
    admitted: Mutex<BTreeMap<PublicKey, NodeId>>,
    /// The tokens of the cluster.
    tokens: Mutex<Vec<JoinToken>>,
    decide: Box<Decide>,
}

impl Inbound for Recorder {
    fn frames(&self, from: NodeId, class: Class, frames: Vec<Bytes>) {
        let _over = self.events.send(Event::Frames(from, class, frames));
    }

    fn datagram(&self, from: NodeId, payload: Bytes) {
        let _over = self.events.send(Event::Datagram(from, payload));
    }

    fn call(&self, from: NodeId, request: Bytes) -> Later<Bytes> {
        match request.as_ref() {
            b"never" => Box::pin(core::future::pending()),
            _ => Box::pin(core::future::ready(Bytes::from(
                [from.to_string().as_bytes(), b":", &request].concat(),
            ))),
        }
    }

    fn token(&self, id: u64) -> Option<Secret> {
        let tokens = self.tokens.lock().unwrap();
        let token = tokens.iter().find(|token| token.id == id)?;
        Some(token.verifier())
    }

    fn join(&self, key: PublicKey, request: JoinRequest) -> Later<Result<JoinGrant, JoinRefusal>> {
        Box::pin(core::future::ready((self.decide)(key, &request)))
    }

    fn member(&self, key: &PublicKey) -> Option<NodeId> {
        self.admitted.lock().unwrap().get(key).copied()
    }

    fn connection(&self, peer: NodeId, up: bool) {
        let _over = self.events.send(Event::Connection(peer, up));
    }
}

/// A transport with the events that came out of it.
struct Node {
    id: NodeId,
    transport: Arc<QuicTransport>,
    recorder: Arc<Recorder>,
    events: mpsc::UnboundedReceiver<Event>,
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

impl Node {
    fn start(identity: NodeIdentity) -> Self {
        Self::start_as(QuicConfig::new(loopback(0), identity), |_, _| {
            Err(JoinRefusal::NotReady)
        })
    }

    fn start_as(
        config: QuicConfig,
        decide: impl Fn(PublicKey, &JoinRequest) -> Result<JoinGrant, JoinRefusal>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let recorder = Arc::new(Recorder {
            events: sender,
            admitted: Mutex::default(),
            tokens: Mutex::default(),
            decide: Box::new(decide),
        });
        let id = config.identity.node();
        let transport = QuicTransport::bind(config, Arc::clone(&recorder) as _).unwrap();
        Self {
            id,
            transport,
            recorder,
            events,
        }
    }

    fn address(&self) -> SocketAddr {
        self.transport.local_addr().unwrap()
    }

    /// Admits and dials exactly these.
    fn know(&self, others: &[(NodeId, SocketAddr)]) {
        self.admit(&others.iter().map(|(node, _)| *node).collect::<Vec<_>>());
        let told = |(node, address): &(NodeId, SocketAddr)| (*node, address.to_string().into());
        self.transport.set_peers(others.iter().map(told).collect());
    }

    /// Believes the keys of exactly these.
    fn admit(&self, nodes: &[NodeId]) {
        *self.recorder.admitted.lock().unwrap() = nodes
            .iter()
            .map(|node| (keys_of(*node).public(), *node))
            .collect();
    }

    async fn event(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event in time")
            .expect("a live transport")
    }

    /// The frames of one class, until there are `count`; other events are dropped.
    async fn frames(&mut self, of: Class, count: usize) -> Vec<Bytes> {
        let mut seen = Vec::new();
        while seen.len() < count {
            if let Event::Frames(_, class, frames) = self.event().await
                && class == of
            {
                seen.extend(frames);
            }
        }
        seen
    }

    async fn until_connection(&mut self, peer: NodeId, up: bool) {
        while self.event().await != Event::Connection(peer, up) {}
    }

    /// Waits until `condition` holds.
    async fn until(&self, condition: impl Fn(&QuicTransport) -> bool) {
        eventually(|| core::future::ready(condition(&self.transport).then_some(()))).await;
    }
}

/// Polls until there is something.
async fn eventually<T, F: Future<Output = Option<T>>>(mut poll: impl FnMut() -> F) -> T {
    let polling = async {
        let mut every = tokio::time::interval(Duration::from_millis(5));
        loop {
            if let Some(found) = poll().await {
                return found;
            }
            every.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, polling)
        .await
        .expect("the condition never held")
}

/// Nodes 1 to `count` of one cluster, all connected with all.
async fn cluster(count: u64) -> Vec<Node> {
    let mut nodes: Vec<_> = (1..=count)
        .map(|node| Node::start(identity_of(node)))
        .collect();
    let all: Vec<_> = nodes.iter().map(|node| (node.id, node.address())).collect();
    for node in &nodes {
        let others: Vec<_> = all
            .iter()
            .copied()
            .filter(|(other, _)| *other != node.id)
            .collect();
        node.know(&others);
    }
    for node in &mut nodes {
        let mut missing: BTreeSet<_> = all
            .iter()
            .map(|(other, _)| *other)
            .filter(|other| *other != node.id)
            .collect();
        while !missing.is_empty() {
            match node.event().await {
                Event::Connection(peer, true) => assert!(missing.remove(&peer)),
                other => panic!("{other:?} before all connections were up"),
            }
        }
    }
    nodes
}
