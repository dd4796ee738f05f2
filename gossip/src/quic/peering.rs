//! How two nodes come to share one connection: who dials whom and where, who is let in, and which
//! of several connections stays.
//!
//! Either side may dial, because either may know an address of the other that works. Of two nodes
//! the one with the lower number dials first; the other leaves it a head start. The side that has
//! dialled opens its streams only if it has no connection with the other node; the side that was
//! dialled takes the first stream as proof that the other has none, and gives up its own. If both
//! dial at once, the dial of the lower number stays.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use dashmap::DashMap;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, Incoming};
use quorate_crdt::{NodeId, PublicKey};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::join::{self, Heard};
use super::keys::{KeyError, KeyPair, NodeIdentity, random_bytes};
use super::link::{Link, Streams, accept_first, open};
use super::porch::Porch;
use super::reasons::{CloseReason, PeerError};
use super::tls::{self, Protocol};
use super::tuning::Tuning;
use super::whereabouts::{Whereabouts, look_up};
use crate::planted::LOWER_DIALS_ALONE;
use crate::transport::Inbound;
use crate::wire::VERSION;

/// The shortest and the longest pause between two dials. Guesses: a restart takes longer than the
/// shortest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long a dial may take. Short, because packets that were lost in a cut are repeated more and
/// more slowly, whereas a new dial starts afresh. A guess.
const DIAL: Duration = Duration::from_millis(1500);
/// How long the node with the higher number leaves it to the other to dial. A guess: a few round
/// trips over an ocean.
const HEAD_START: Duration = Duration::from_millis(500);
/// How many connections may be open or opening. Above half of that, strangers must first prove
/// their address (QUIC retry).
pub(super) const CONNECTIONS_MAX: u32 = 8192;

/// What all tasks of a transport share.
pub(super) struct Peering {
    pub(super) identity: NodeIdentity,
    pub(super) endpoint: Endpoint,
    pub(super) shown: watch::Sender<Arc<Shown>>,
    pub(super) tuning: Tuning,
    pub(super) inbound: Arc<dyn Inbound>,
    pub(super) runtime: Handle,
    /// The connections that are up.
    pub(super) links: DashMap<NodeId, Arc<Link>>,
    pub(super) troubles: DashMap<NodeId, PeerError>,
    pub(super) refused: [AtomicU64; 16],
    pub(super) porch: Mutex<Porch>,
    pub(super) sessions: Arc<Semaphore>,
    pub(super) whereabouts: Whereabouts,
    pub(super) courtship: Courtship,
}

/// The key that this node shows on the connections that it makes.
pub(super) struct Shown {
    public: PublicKey,
    client: Arc<QuicClientConfig>,
}

impl Shown {
    pub(super) fn new(keys: &KeyPair) -> Result<Self, rustls::Error> {
        Ok(Self {
            public: keys.public(),
            client: Arc::new(tls::client(keys, tls::ALPN)?),
        })
    }
}

/// Who is looked for, and with whom a connection is being made.
#[derive(Default)]
pub(super) struct Courtship {
    /// The tasks that look for each peer, and those that ask at seeds.
    seekers: DashMap<NodeId, AbortHandle>,
    seeds: DashMap<Arc<str>, AbortHandle>,
    /// At most one connection of a node at a time is past its first stream.
    turns: DashMap<NodeId, Arc<Mutex<()>>>,
    /// Connections that this node has dialled and the other has not yet answered.
    proposals: DashMap<NodeId, Connection>,
}

impl Courtship {
    fn turn(&self, node: NodeId) -> Arc<Mutex<()>> {
        Arc::clone(&self.turns.entry(node).or_default())
    }

    fn stop(&self) {
        self.seekers.retain(|_, task| {
            task.abort();
            false
        });
        self.seeds.retain(|_, task| {
            task.abort();
            false
        });
    }
}

/// Growing pauses between attempts.
struct Pauses {
    jitter: StdRng,
    next: Duration,
}

impl Pauses {
    fn new() -> Result<Self, KeyError> {
        Ok(Self {
            jitter: StdRng::from_seed(random_bytes()?),
            next: BACKOFF.0,
        })
    }

    fn reset(&mut self) {
        self.next = BACKOFF.0;
    }

    async fn wait(&mut self) {
        let share = self.jitter.random_range(0.5..1.0);
        tokio::time::sleep(self.next.mul_f64(share)).await;
        self.next = (self.next * 2).min(BACKOFF.1);
    }
}

impl Peering {
    /// Replaces the peers: looks for those that are new and lets go of those that are none any
    /// more. A connection that is up stays, whatever address the topology has for its node, as long
    /// as the key that was shown on it is still its node's.
    pub(super) fn set_peers(self: &Arc<Self>, peers: BTreeMap<NodeId, Arc<str>>) {
        self.courtship.seekers.retain(|node, task| {
            let keep = peers.contains_key(node);
            if !keep {
                task.abort();
            }
            keep
        });
        for link in &self.links {
            if !peers.contains_key(link.key()) {
                CloseReason::Removed.close(&link.connection);
            } else if self.member(&link.connection) != Some(*link.key()) {
                // It was made under a key that the peer has changed for another.
                CloseReason::NotAdmitted.close(&link.connection);
            }
        }
        let nodes: Vec<NodeId> = peers.keys().copied().collect();
        self.whereabouts.tell(peers);
        for node in nodes {
            self.courtship.seekers.entry(node).or_insert_with(|| {
                self.runtime
                    .spawn(Arc::clone(self).seek(node))
                    .abort_handle()
            });
        }
    }

    /// Asks at these addresses for members, while any peer is not connected.
    pub(super) fn ask_at(self: &Arc<Self>, seeds: Vec<Arc<str>>) {
        for seed in seeds {
            let asking = Arc::clone(self).ask_at_seed(Arc::clone(&seed));
            let task = self.runtime.spawn(asking).abort_handle();
            self.courtship.seeds.insert(seed, task);
        }
    }

    /// Ends everything; the peers are told.
    pub(super) fn stop(&self) {
        self.courtship.stop();
        self.endpoint.close(
            quinn::VarInt::from_u32(CloseReason::Shutdown as u32),
            CloseReason::Shutdown.to_string().as_bytes(),
        );
    }

    pub(super) async fn accept_all(self: Arc<Self>) {
        while let Some(incoming) = self.endpoint.accept().await {
            let open = self.endpoint.open_connections();
            if open > CONNECTIONS_MAX as usize / 2 && !incoming.remote_address_validated() {
                // Cannot fail, because the address is not validated yet.
                let _retried = incoming.retry();
            } else if let Ok(permit) = Arc::clone(&self.sessions).try_acquire_owned() {
                tokio::spawn(Arc::clone(&self).admit(incoming, permit));
            } else {
                incoming.refuse();
            }
        }
    }

    /// The accepting side of a connection, from its first packet to its end.
    async fn admit(self: Arc<Self>, incoming: Incoming, _permit: OwnedSemaphorePermit) {
        let remote = incoming.remote_address();
        let connection = match async { incoming.accept()?.await }.await {
            Ok(connection) => connection,
            Err(error) if PeerError::from(&error) == PeerError::OtherVersion => {
                return tracing::warn!(%remote, speaks = VERSION, "refused a node that speaks another version of the protocol");
            }
            Err(error) => return tracing::debug!(%remote, %error, "a handshake failed"),
        };
        match tls::protocol(&connection) {
            Some(Protocol::Join) => self.hear_newcomer(&connection).await,
            Some(Protocol::Member) => {
                if let Ok(node) = self.vet(&connection, None) {
                    self.answer(node, connection).await;
                }
            }
            None => CloseReason::Violation.close(&connection),
        }
    }

    /// Hears what a newcomer asks, unless too many others ask or have asked in vain.
    async fn hear_newcomer(&self, connection: &Connection) {
        let address = connection.remote_address().ip();
        if !self.porch.lock().await.enter(address, Instant::now()) {
            CloseReason::Busy.close(connection);
            self.refused[CloseReason::Busy as usize].fetch_add(1, Ordering::Relaxed);
            return;
        }
        let heard = join::serve(connection, self.identity.cluster(), &self.inbound).await;
        let mut porch = self.porch.lock().await;
        if heard == Heard::NoToken {
            porch.strike(address);
            tracing::warn!(%address, "refused a newcomer that holds no token of this cluster");
        }
        porch.leave(address);
    }

    /// The member on the other side of the connection, by its key.
    fn member(&self, connection: &Connection) -> Option<NodeId> {
        self.inbound.member(&tls::peer(connection)?)
    }

    /// Decides whether `connection` may carry anything; closes it if not.
    fn vet(&self, connection: &Connection, dialled: Option<NodeId>) -> Result<NodeId, PeerError> {
        if tls::peer(connection) == Some(self.shown.borrow().public) {
            // A list of all members names this node as well.
            CloseReason::Duplicate.close(connection);
            return Err(PeerError::Itself);
        }
        let member = self.member(connection);
        let refusal = match member {
            Some(node) if dialled.is_none_or(|expected| expected == node) => return Ok(node),
            None if dialled.is_none() => CloseReason::NotAdmitted,
            _ => CloseReason::WrongNode,
        };
        refusal.close(connection);
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
        let node = dialled.or(member);
        tracing::warn!(remote = %connection.remote_address(), ?node, %refusal, "refused a connection");
        if let Some(node) = node {
            self.troubles.insert(node, PeerError::Refused(refusal));
        }
        Err(PeerError::Refused(refusal))
    }

    /// The side that was dialled. The first stream of the other side says that it has no other
    /// connection with this node, even if this side has not noticed yet.
    async fn answer(self: Arc<Self>, node: NodeId, connection: Connection) {
        let first = match accept_first(&connection).await {
            Ok(first) => first,
            Err(error) => return self.note(node, &error),
        };
        let own = self.courtship.proposals.get(&node).map(|own| own.clone());
        if let Some(own) = own {
            if self.identity.node() < node {
                return CloseReason::Duplicate.close(&connection);
            }
            CloseReason::Duplicate.close(&own);
        }
        if let Some(former) = self.links.get(&node) {
            CloseReason::Duplicate.close(&former.connection);
        }
        let _turn = self.courtship.turn(node).lock_owned().await;
        match open(&connection).await {
            Ok(writers) => {
                self.session(node, connection, Streams { writers, first })
                    .await;
            }
            Err(error) => self.note(node, &error),
        }
    }

    /// The side that has dialled. Returns whether the connection was ever up.
    async fn propose(
        self: Arc<Self>,
        node: NodeId,
        connection: Connection,
        _turn: OwnedMutexGuard<()>,
    ) -> bool {
        self.courtship.proposals.insert(node, connection.clone());
        let opened = async {
            let writers = open(&connection).await?;
            // Proves that the other side has accepted this side's key.
            let first = accept_first(&connection).await?;
            Ok::<_, quinn::ConnectionError>(Streams { writers, first })
        };
        let opened = opened.await;
        self.courtship.proposals.remove(&node);
        match opened {
            Ok(streams) => {
                self.session(node, connection, streams).await;
                true
            }
            Err(error) => {
                CloseReason::StreamEnded.close(&connection);
                self.note(node, &error);
                false
            }
        }
    }

    /// Runs a connection between two members that accept each other, until it ends.
    async fn session(&self, node: NodeId, connection: Connection, streams: Streams) {
        let link = Link::new(node, connection.clone());
        self.whereabouts.prove(node, connection.remote_address());
        self.links.insert(node, Arc::clone(&link));
        self.troubles.remove(&node);
        self.inbound.connection(node, true);
        if self.member(&connection) != Some(node) {
            // The peer was removed after `vet`, when `set_peers` could not see this connection yet.
            CloseReason::NotAdmitted.close(&connection);
        }
        let error = link.run(streams, &self.inbound).await;
        self.links.remove(&node);
        self.inbound.connection(node, false);
        CloseReason::StreamEnded.close(&connection);
        self.note(node, &error);
    }

    /// Notes why there is no connection with `node`, unless there is another one.
    fn note(&self, node: NodeId, error: &quinn::ConnectionError) {
        let error = PeerError::from(error);
        if self.links.contains_key(&node) {
            return tracing::debug!(%node, %error, "another connection stays");
        }
        tracing::debug!(%node, %error, "a connection ended");
        self.troubles.insert(node, error);
    }

    /// Looks for `node` whenever there is no connection with it.
    async fn seek(self: Arc<Self>, node: NodeId) {
        let Ok(mut pauses) = Pauses::new() else {
            return tracing::error!("no randomness: {node} is not dialled");
        };
        loop {
            if self.links.contains_key(&node) {
                // Until that connection ends.
                drop(self.courtship.turn(node).lock_owned().await);
                pauses.reset();
            }
            if self.identity.node() > node {
                tokio::time::sleep(HEAD_START).await;
                if self.links.contains_key(&node) || LOWER_DIALS_ALONE.is_planted() {
                    continue;
                }
            }
            match self.dial_everywhere(node).await {
                Ok(connection) => {
                    if self.court(node, connection).await {
                        pauses.reset();
                    }
                }
                Err(PeerError::Local) => return,
                Err(error) => {
                    tracing::debug!(%node, %error, "a dial failed");
                    let other_version = error == PeerError::OtherVersion;
                    if self.troubles.insert(node, error.clone()).as_ref() != Some(&error)
                        && other_version
                    {
                        tracing::warn!(%node, %error, "no connection");
                    }
                }
            }
            pauses.wait().await;
        }
    }

    /// Proposes a connection that was dialled, unless there is another, and waits until it ends.
    /// Returns whether it was ever up.
    async fn court(self: &Arc<Self>, node: NodeId, connection: Connection) -> bool {
        let Ok(turn) = self.courtship.turn(node).try_lock_owned() else {
            CloseReason::Duplicate.close(&connection);
            return false;
        };
        let Ok(permit) = Arc::clone(&self.sessions).acquire_owned().await else {
            return false;
        };
        let shared = Arc::clone(self);
        // In a task of its own: if the seeker is aborted, the session must still tell the node that
        // it has ended.
        let session = tokio::spawn(async move {
            let _permit = permit;
            shared.propose(node, connection, turn).await
        });
        session.await.is_ok_and(|up| up)
    }

    /// Dials every address at which `node` may be, and takes the first that answers as `node`.
    async fn dial_everywhere(self: &Arc<Self>, node: NodeId) -> Result<Connection, PeerError> {
        let mut dials = JoinSet::new();
        for address in self.whereabouts.of(node).await {
            let shared = Arc::clone(self);
            dials.spawn(async move {
                let connection = shared.dial(address).await?;
                shared.vet(&connection, Some(node))?;
                Ok::<_, PeerError>(connection)
            });
        }
        let mut worst = PeerError::UnknownHost;
        while let Some(dialled) = dials.join_next().await {
            match dialled {
                Ok(Ok(connection)) => return Ok(connection),
                // The reason that says more than that nobody is there stays.
                Ok(Err(error))
                    if matches!(worst, PeerError::UnknownHost | PeerError::Unreachable) =>
                {
                    worst = error;
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
        Err(worst)
    }

    /// Asks who is at the addresses of `seed` whenever a peer is missing, and connects with members
    /// that are not connected yet.
    async fn ask_at_seed(self: Arc<Self>, seed: Arc<str>) {
        let Ok(mut pauses) = Pauses::new() else {
            return tracing::error!("no randomness: nobody is asked at {seed}");
        };
        let mut found: BTreeMap<SocketAddr, NodeId> = BTreeMap::new();
        loop {
            let seekers = &self.courtship.seekers;
            let complete = seekers
                .iter()
                .all(|seeker| self.links.contains_key(seeker.key()));
            let addresses = if complete {
                Vec::new()
            } else {
                look_up(&seed).await
            };
            for address in addresses {
                let known = found.get(&address).is_some_and(|node| {
                    *node == self.identity.node() || self.links.contains_key(node)
                });
                if known {
                    continue;
                }
                let Ok(connection) = self.dial(address).await else {
                    continue;
                };
                match self.vet(&connection, None) {
                    Ok(node) => {
                        found.insert(address, node);
                        let shared = Arc::clone(&self);
                        tokio::spawn(async move { shared.court(node, connection).await });
                    }
                    Err(PeerError::Itself) => {
                        found.insert(address, self.identity.node());
                    }
                    Err(_) => {}
                }
            }
            pauses.wait().await;
        }
    }

    async fn dial(&self, address: SocketAddr) -> Result<Connection, PeerError> {
        let mut config = ClientConfig::new(Arc::clone(&self.shown.borrow().client) as _);
        config.transport_config(self.tuning.transport(address));
        let connecting = match self
            .endpoint
            .connect_with(config, address, tls::SERVER_NAME)
        {
            Ok(connecting) => connecting,
            Err(quinn::ConnectError::EndpointStopping) => return Err(PeerError::Local),
            Err(_cannot_now) => return Err(PeerError::Unreachable),
        };
        match tokio::time::timeout(DIAL, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(PeerError::from(&error)),
            Err(_elapsed) => Err(PeerError::Unreachable),
        }
    }
}
