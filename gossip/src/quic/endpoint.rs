//! The transport of a node: its one socket, and what is sent over its connections.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dashmap::DashMap;
use quinn::{Endpoint, Runtime, ServerConfig, TokioRuntime};
use quorate_crdt::NodeId;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore, watch};

use super::keys::{KeyError, KeyPair, NodeIdentity};
use super::peering::{CONNECTIONS_MAX, Courtship, Peering, Shown};
use super::reasons::{CloseReason, PeerError};
use super::shape::{LinkShape, ShapedSocket};
use super::tls;
use super::tuning::{Profile, Tuning};
use super::whereabouts::Whereabouts;
use crate::transport::{CallError, Class, Inbound, Later, Transport};

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
    shared: Arc<Peering>,
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
        let server = listening(identity.keys(), tuning, listen).map_err(BindError::Identity)?;
        let shown = Shown::new(identity.keys()).map_err(BindError::Identity)?;
        let endpoint = open(listen, tuning, server, shape).map_err(|source| BindError::Socket {
            address: listen,
            source,
        })?;
        let shared = Arc::new(Peering {
            identity,
            endpoint,
            shown: watch::Sender::new(Arc::new(shown)),
            tuning,
            inbound,
            runtime,
            links: DashMap::new(),
            troubles: DashMap::new(),
            refused: core::array::from_fn(|_| AtomicU64::new(0)),
            porch: Mutex::default(),
            sessions: Arc::new(Semaphore::new(CONNECTIONS_MAX as usize)),
            whereabouts: Whereabouts::default(),
            courtship: Courtship::default(),
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

    /// Shows these keys on every connection from now on. Connections that are up stay until the
    /// other side no longer takes the former key for this node's.
    ///
    /// # Errors
    /// [`BindError::Identity`], or [`BindError::Socket`] if the socket is closed; then the former
    /// keys are shown.
    pub fn show(&self, keys: &KeyPair) -> Result<(), BindError> {
        let address = self.shared.endpoint.local_addr();
        let address = address.map_err(|source| BindError::Socket {
            address: (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
            source,
        })?;
        let shown = Shown::new(keys).map_err(BindError::Identity)?;
        let server = listening(keys, self.shared.tuning, address).map_err(BindError::Identity)?;
        self.shared.endpoint.set_server_config(Some(server));
        self.shared.shown.send_replace(Arc::new(shown));
        Ok(())
    }

    /// Asks at these addresses, each `host:port`, which members are there, while any peer is not
    /// connected. So a node finds members that are not where the topology says.
    pub fn ask_at(&self, seeds: Vec<Arc<str>>) {
        self.shared.ask_at(seeds);
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

/// The settings of the listening side, which shows these keys.
fn listening(
    keys: &KeyPair,
    tuning: Tuning,
    listen: SocketAddr,
) -> Result<ServerConfig, rustls::Error> {
    let mut server = ServerConfig::with_crypto(Arc::new(tls::server(keys)?));
    server.transport_config(tuning.transport(listen));
    Ok(server)
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

    fn set_peers(&self, mut peers: BTreeMap<NodeId, Arc<str>>) {
        peers.remove(&self.shared.identity.node());
        self.shared.set_peers(peers);
    }

    fn met(&self) -> BTreeMap<NodeId, Arc<str>> {
        let nodes: Vec<NodeId> = self.shared.links.iter().map(|link| *link.key()).collect();
        self.shared.whereabouts.proven(&nodes)
    }

    fn hear(&self, met: BTreeMap<NodeId, Arc<str>>) {
        self.shared.whereabouts.hear(met);
    }

    fn rtt(&self, to: NodeId) -> Option<Duration> {
        self.shared.links.get(&to).map(|link| link.connection.rtt())
    }

    fn connected(&self, to: NodeId) -> bool {
        self.shared.links.contains_key(&to)
    }
}
