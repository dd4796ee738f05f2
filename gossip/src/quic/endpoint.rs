//! The transport of a node: its one socket, and dialling and accepting its peers.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dashmap::DashMap;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, Incoming, Runtime, ServerConfig, TokioRuntime};
use quorate_crdt::NodeId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::join::{self, Heard};
use super::keys::{KeyError, NodeIdentity, random_bytes};
use super::link::{Link, establish};
use super::porch::Porch;
use super::reasons::{CloseReason, PeerError};
use super::shape::{LinkShape, ShapedSocket};
use super::tls::{self, Protocol};
use super::tuning::{Profile, Tuning};
use crate::transport::{CallError, Class, Inbound, Later, Transport};
use crate::wire::VERSION;

/// The shortest and the longest pause between two dials. Guesses: a restart takes longer than the
/// shortest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long a dial may take. Short, because packets that were lost in a cut are repeated more and
/// more slowly, whereas a new dial starts afresh. A guess.
const DIAL: Duration = Duration::from_millis(1500);
/// How many connections may be open or opening. Above half of that, strangers must first prove
/// their address (QUIC retry).
const CONNECTIONS_MAX: u32 = 8192;
/// How long a shutdown waits for connections to close.
const FAREWELL: Duration = Duration::from_secs(3);

/// How a node listens, and with which identity.
#[derive(Clone, Debug)]
pub struct QuicConfig {
    /// The address of its socket; port 0 chooses one.
    pub listen: SocketAddr,
    /// What it proves its identity with.
    pub identity: NodeIdentity,
    /// Simulated delays and cuts, for demonstrations and tests. `listen` must then not be the
    /// unspecified address.
    pub shape: Option<Arc<LinkShape>>,
    /// The kind of network it is on.
    pub profile: Profile,
}

impl QuicConfig {
    /// Listens at `listen` on an ordinary network.
    pub fn new(listen: SocketAddr, identity: NodeIdentity) -> Self {
        Self {
            listen,
            identity,
            shape: None,
            profile: Profile::default(),
        }
    }
}

/// Why a node cannot listen. Nothing is left open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The caller is not inside a tokio runtime.
    #[error("a QUIC endpoint needs a tokio runtime")]
    NoRuntime,
    /// The socket cannot be opened.
    #[error("cannot listen at {address}")]
    Socket {
        /// The address asked for.
        address: SocketAddr,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// TLS does not accept the identity.
    #[error("the identity is not usable")]
    Identity(#[source] rustls::Error),
    /// There are no random bytes.
    #[error(transparent)]
    Random(#[from] KeyError),
}

/// [`Transport`] over QUIC. Dropping it closes all connections without waiting for them.
pub struct QuicTransport {
    shared: Arc<Shared>,
}

/// What all tasks of a transport share.
struct Shared {
    identity: NodeIdentity,
    endpoint: Endpoint,
    client: Arc<QuicClientConfig>,
    tuning: Tuning,
    inbound: Arc<dyn Inbound>,
    runtime: Handle,
    links: DashMap<NodeId, Arc<Link>>,
    /// At most one connection of a node at a time is past its handshake.
    turns: DashMap<NodeId, Arc<Mutex<()>>>,
    dialers: DashMap<NodeId, Dialer>,
    troubles: DashMap<NodeId, PeerError>,
    refused: [AtomicU64; 16],
    porch: Mutex<Porch>,
    sessions: Arc<Semaphore>,
}

struct Dialer {
    address: SocketAddr,
    task: AbortHandle,
}

impl QuicTransport {
    /// Opens the socket and starts to accept connections. It dials nobody before
    /// [`set_peers`](Transport::set_peers).
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(config: QuicConfig, inbound: Arc<dyn Inbound>) -> Result<Arc<Self>, BindError> {
        let runtime = Handle::try_current().map_err(|_outside| BindError::NoRuntime)?;
        let QuicConfig {
            listen,
            identity,
            shape,
            profile,
        } = config;
        let tuning = Tuning {
            profile,
            local: listen.ip().is_loopback(),
            shaped: shape.is_some(),
        };
        let mut server = ServerConfig::with_crypto(Arc::new(
            tls::server(identity.keys()).map_err(BindError::Identity)?,
        ));
        server.transport_config(tuning.transport(listen));
        let client =
            Arc::new(tls::client(identity.keys(), tls::ALPN).map_err(BindError::Identity)?);
        let endpoint = open(listen, tuning, server, shape).map_err(|source| BindError::Socket {
            address: listen,
            source,
        })?;
        let shared = Arc::new(Shared {
            identity,
            endpoint,
            client,
            tuning,
            inbound,
            runtime,
            links: DashMap::new(),
            turns: DashMap::new(),
            dialers: DashMap::new(),
            troubles: DashMap::new(),
            refused: core::array::from_fn(|_| AtomicU64::new(0)),
            porch: Mutex::default(),
            sessions: Arc::new(Semaphore::new(CONNECTIONS_MAX as usize)),
        });
        tokio::spawn(Arc::clone(&shared).accept_all());
        Ok(Arc::new(Self { shared }))
    }

    /// The address it listens on, which other nodes dial.
    ///
    /// # Errors
    /// The operating system's error for the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.endpoint.local_addr()
    }

    /// Why the last attempt to connect to `node` failed, or why its last connection ended. `None`
    /// while connected, or before the first attempt.
    pub fn trouble(&self, node: NodeId) -> Option<PeerError> {
        self.shared.troubles.get(&node).map(|error| error.clone())
    }

    /// How many connections this node has refused for this reason so far.
    pub fn refused(&self, reason: CloseReason) -> u64 {
        self.shared.refused[reason as usize].load(Ordering::Relaxed)
    }

    /// Tells all peers, closes all connections and waits until they are closed, for a few seconds
    /// at most. The transport cannot be used afterwards. Its address is free soon after the
    /// transport is dropped.
    pub async fn shutdown(&self) {
        self.shared.stop();
        let gone = async {
            let _all = self.shared.sessions.acquire_many(CONNECTIONS_MAX).await;
            self.shared.endpoint.wait_idle().await;
        };
        if tokio::time::timeout(FAREWELL, gone).await.is_err() {
            tracing::warn!("connections were still open when the transport stopped");
        }
    }
}

impl Drop for QuicTransport {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl fmt::Debug for QuicTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicTransport")
            .field("identity", &self.shared.identity)
            .field("links", &self.shared.links.len())
            .finish_non_exhaustive()
    }
}

fn open(
    listen: SocketAddr,
    tuning: Tuning,
    server: ServerConfig,
    shape: Option<Arc<LinkShape>>,
) -> io::Result<Endpoint> {
    let socket = std::net::UdpSocket::bind(listen)?;
    let mut socket = TokioRuntime.wrap_udp_socket(socket)?;
    if let Some(shape) = shape {
        socket = ShapedSocket::wrap(socket, shape)?;
    }
    Endpoint::new_with_abstract_socket(
        tuning.endpoint(),
        Some(server),
        socket,
        Arc::new(TokioRuntime),
    )
}

impl Transport for QuicTransport {
    fn send(&self, to: NodeId, class: Class, frame: Bytes) -> bool {
        self.shared
            .links
            .get(&to)
            .is_some_and(|link| link.send(class, frame))
    }

    fn backlog(&self, to: NodeId, class: Class) -> usize {
        self.shared
            .links
            .get(&to)
            .map_or(0, |link| link.backlog(class))
    }

    fn datagram(&self, to: NodeId, payload: Bytes) {
        if let Some(link) = self.shared.links.get(&to) {
            link.datagram(payload);
        }
    }

    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        timeout: Duration,
    ) -> Later<Result<Bytes, CallError>> {
        let link = self.shared.links.get(&to).map(|link| Arc::clone(&link));
        let Some(link) = link else {
            return Box::pin(core::future::ready(Err(CallError::NotConnected(to))));
        };
        let _timer_of = self.shared.runtime.enter();
        link.call(request, timeout)
    }

    fn set_peers(&self, mut peers: BTreeMap<NodeId, SocketAddr>) {
        peers.remove(&self.shared.identity.node());
        self.shared.dialers.retain(|node, dialer| {
            let keep = peers.get(node) == Some(&dialer.address);
            if !keep {
                dialer.task.abort();
            }
            keep
        });
        for link in &self.shared.links {
            let moved = peers.contains_key(link.key())
                && !self.shared.dialers.contains_key(link.key())
                && self.shared.dials(*link.key());
            if moved || !peers.contains_key(link.key()) {
                CloseReason::Removed.close(&link.connection);
            }
        }
        for (node, address) in peers {
            if self.shared.dials(node) {
                let dial = || {
                    self.shared
                        .runtime
                        .spawn(Arc::clone(&self.shared).dial_for_ever(node, address))
                        .abort_handle()
                };
                self.shared.dialers.entry(node).or_insert_with(|| Dialer {
                    address,
                    task: dial(),
                });
            }
        }
    }

    fn rtt(&self, to: NodeId) -> Option<Duration> {
        self.shared.links.get(&to).map(|link| link.connection.rtt())
    }

    fn connected(&self, to: NodeId) -> bool {
        self.shared.links.contains_key(&to)
    }
}

impl Shared {
    /// Of two nodes the one with the lower number dials.
    fn dials(&self, node: NodeId) -> bool {
        self.identity.node() < node
    }

    fn stop(&self) {
        self.dialers.retain(|_, dialer| {
            dialer.task.abort();
            false
        });
        self.endpoint.close(
            quinn::VarInt::from_u32(CloseReason::Shutdown as u32),
            CloseReason::Shutdown.to_string().as_bytes(),
        );
    }

    async fn accept_all(self: Arc<Self>) {
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
                if let Some(node) = self.vet(&connection, None) {
                    self.session(node, connection).await;
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
    fn vet(&self, connection: &Connection, dialled: Option<NodeId>) -> Option<NodeId> {
        let member = self.member(connection);
        let refusal = match (member, dialled) {
            (None, None) => CloseReason::NotAdmitted,
            (member, Some(expected)) if member != Some(expected) => CloseReason::WrongNode,
            (Some(node), None) if node == self.identity.node() || self.dials(node) => {
                CloseReason::Duplicate
            }
            (node, _) => return node,
        };
        refusal.close(connection);
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
        let node = dialled.or(member);
        tracing::warn!(remote = %connection.remote_address(), ?node, %refusal, "refused a connection");
        if let Some(node) = node {
            self.troubles.insert(node, PeerError::Refused(refusal));
        }
        None
    }

    /// Runs a connection between two members that accept each other, until it ends. Returns whether
    /// it was ever up.
    async fn session(self: Arc<Self>, node: NodeId, connection: Connection) -> bool {
        // A peer that connects again has lost its previous connection, even if this side has not
        // noticed.
        if let Some(former) = self.links.get(&node) {
            CloseReason::Duplicate.close(&former.connection);
        }
        let turn = Arc::clone(&self.turns.entry(node).or_default());
        let _turn = turn.lock().await;
        let (up, error) = match establish(&connection).await {
            Ok(streams) => {
                let link = Link::new(node, connection.clone());
                self.links.insert(node, Arc::clone(&link));
                self.troubles.remove(&node);
                self.inbound.connection(node, true);
                if self.member(&connection) != Some(node) {
                    // The peer was removed after `vet`, when `set_peers` could not see this
                    // connection yet.
                    CloseReason::NotAdmitted.close(&connection);
                }
                let error = link.run(streams, &self.inbound).await;
                self.links.remove(&node);
                self.inbound.connection(node, false);
                (true, error)
            }
            Err(error) => (false, error),
        };
        CloseReason::StreamEnded.close(&connection);
        let error = PeerError::from(&error);
        tracing::info!(%node, %error, "a connection ended");
        self.troubles.insert(node, error);
        up
    }

    async fn dial_for_ever(self: Arc<Self>, node: NodeId, address: SocketAddr) {
        let Ok(seed) = random_bytes() else {
            return tracing::error!("no randomness: {node} is not dialled");
        };
        let mut jitter = StdRng::from_seed(seed);
        let mut pause = BACKOFF.0;
        loop {
            match self.dial(address).await {
                Ok(connection) => {
                    if self.vet(&connection, Some(node)).is_some() {
                        let Ok(permit) = Arc::clone(&self.sessions).acquire_owned().await else {
                            return;
                        };
                        let shared = Arc::clone(&self);
                        // In a task of its own: if this dialer is aborted, the session must still
                        // tell the node that it has ended.
                        let session = tokio::spawn(async move {
                            let _permit = permit;
                            shared.session(node, connection).await
                        });
                        if session.await.is_ok_and(|up| up) {
                            pause = BACKOFF.0;
                        }
                    }
                }
                Err(PeerError::Local) => return,
                Err(error) => {
                    tracing::debug!(%node, %address, %error, "a dial failed");
                    let other_version = error == PeerError::OtherVersion;
                    if self.troubles.insert(node, error.clone()).as_ref() != Some(&error)
                        && other_version
                    {
                        tracing::warn!(%node, %address, %error, "no connection");
                    }
                }
            }
            tokio::time::sleep(pause.mul_f64(jitter.random_range(0.5..1.0))).await;
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    async fn dial(&self, address: SocketAddr) -> Result<Connection, PeerError> {
        let mut config = ClientConfig::new(Arc::clone(&self.client) as _);
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
