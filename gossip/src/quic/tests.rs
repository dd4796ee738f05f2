#![expect(
    clippy::disallowed_types,
    reason = "the test node shares its lists with the transport's tasks"
)]

use core::future::Future;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use quorate_crdt::NodeId;
use tokio::sync::mpsc;

use super::*;
use crate::transport::{Class, Inbound, JoinGrant, JoinRefusal, JoinRequest, Later, Transport};

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

type Decide = dyn Fn(&JoinRequest) -> Result<JoinGrant, JoinRefusal> + Send + Sync;

/// The node's side of a transport: records what comes in.
struct Recorder {
    events: mpsc::UnboundedSender<Event>,
    admitted: Mutex<BTreeSet<NodeId>>,
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

    fn join(&self, request: JoinRequest) -> Later<Result<JoinGrant, JoinRefusal>> {
        Box::pin(core::future::ready((self.decide)(&request)))
    }

    fn admits(&self, node: NodeId) -> bool {
        self.admitted.lock().unwrap().contains(&node)
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
        Self::start_as(QuicConfig::new(loopback(0), identity), |_| {
            Err(JoinRefusal::UnknownToken)
        })
    }

    fn start_as(
        config: QuicConfig,
        decide: impl Fn(&JoinRequest) -> Result<JoinGrant, JoinRefusal> + Send + Sync + 'static,
    ) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let recorder = Arc::new(Recorder {
            events: sender,
            admitted: Mutex::default(),
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
        *self.recorder.admitted.lock().unwrap() = others.iter().map(|(node, _)| *node).collect();
        let told = |(node, address): &(NodeId, SocketAddr)| (*node, address.to_string().into());
        self.transport.set_peers(others.iter().map(told).collect());
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
async fn cluster(count: u64) -> (ClusterAuthority, Vec<Node>) {
    let authority = ClusterAuthority::generate(0xC0_FFEE).unwrap();
    let mut nodes: Vec<_> = (1..=count)
        .map(|node| Node::start(authority.identity(NodeId(node)).unwrap()))
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
    (authority, nodes)
}
