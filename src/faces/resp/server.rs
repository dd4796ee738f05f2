//! State shared by all connections of the Redis face.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quorate_control::topology::KeyspaceId;
use tokio::sync::Notify;

use super::encode::Protocol;
use super::stats::Stats;
use crate::config::{Durability, SLOW_COMMAND};
use crate::doors::Data;
use crate::faces::gate::Gate;
use crate::limits::{self, Guests};
use crate::tls::TlsDoor;

/// The settings of the Redis face.
#[derive(Clone, Debug)]
pub struct RespConfig {
    /// Checks what clients show in `AUTH` or `HELLO`. Default: no password.
    pub gate: Arc<Gate>,
    /// Speaks TLS with clients. Default: none does.
    pub tls: Option<Arc<TlsDoor>>,
    /// The timeout of requests that name none. Default: 2 s (guess).
    pub timeout: Duration,
    /// Admits connections up to a bound, over all faces that share it. Default: as many as the file
    /// descriptors allow, at most 10 000 (Redis).
    pub guests: Arc<Guests>,
    /// When a write is on disk, as reported by `CONFIG GET append…`. `None` if nothing outlives the
    /// process.
    pub durability: Option<Durability>,
    /// A command that takes longer is kept in the slow log, until `CONFIG SET` says otherwise.
    /// Default: 10 ms (Redis).
    pub slow: Duration,
    /// How long a client may take for the handshake of TLS, and to authenticate if it must.
    /// Default: 10 s (guess).
    pub greeting: Duration,
    /// Silence on an idle connection before the kernel probes it. Default: 300 s (Redis).
    pub keepalive: Duration,
    /// How long a client may leave its replies unread before it is cut off. Default: 60 s (guess).
    pub write_stall: Duration,
}

impl Default for RespConfig {
    fn default() -> Self {
        Self {
            gate: Gate::new(None),
            tls: None,
            timeout: Duration::from_secs(2),
            guests: Guests::new(limits::clients_max()),
            durability: Some(Durability::Sync),
            slow: SLOW_COMMAND,
            greeting: Duration::from_secs(10),
            keepalive: Duration::from_mins(5),
            write_stall: Duration::from_mins(1),
        }
    }
}

/// The part of the face that all connections share.
pub(crate) struct Server {
    /// The door to the node.
    pub data: Arc<dyn Data>,
    /// The settings.
    pub config: RespConfig,
    /// The address at which clients connect.
    pub address: SocketAddr,
    /// All open connections.
    pub clients: Clients,
    /// The totals shown by `INFO stats`.
    pub counters: Counters,
    /// What became of commands.
    pub stats: Stats,
    /// The bytes of answers that clients have not taken yet.
    pub answers: Arc<AtomicUsize>,
    /// When the face started.
    pub started: Instant,
}

impl Server {
    /// What all connections to `address` share; `commands` are the names of all commands.
    pub(crate) fn new(
        data: Arc<dyn Data>,
        config: RespConfig,
        address: SocketAddr,
        commands: impl Iterator<Item = String>,
    ) -> Self {
        Self {
            stats: Stats::new(commands, config.slow),
            data,
            config,
            address,
            clients: Clients::default(),
            counters: Counters::default(),
            answers: Arc::default(),
            started: Instant::now(),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.config)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Totals since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Commands parsed, including refused ones.
    pub commands: AtomicU64,
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections turned away because there were too many.
    pub rejected: AtomicU64,
    /// Bytes received.
    pub input: AtomicU64,
    /// Bytes sent.
    pub output: AtomicU64,
}

impl Counters {
    /// Adds `count` to one of the totals.
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// Begins to count again.
    pub(crate) fn reset(&self) {
        let Self {
            commands,
            connections,
            rejected,
            input,
            output,
        } = self;
        for counter in [commands, connections, rejected, input, output] {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

/// What `CLIENT LIST` shows about a connection.
#[derive(Clone, Debug)]
pub(crate) struct ClientInfo {
    /// The client's address.
    pub address: SocketAddr,
    /// When it was accepted.
    pub since: Instant,
    /// Set by `CLIENT SETNAME`.
    pub name: String,
    /// Set by `CLIENT SETINFO LIB-NAME`.
    pub library: String,
    /// Set by `CLIENT SETINFO LIB-VER`.
    pub library_version: String,
    /// The user of the last `AUTH`.
    pub user: String,
    /// Its keyspace.
    pub keyspace: KeyspaceId,
    /// Its protocol version.
    pub protocol: Protocol,
    /// Tells the connection to end.
    pub leave: Arc<Notify>,
}

/// The open connections, by number. Locked only at connect, at close and by commands about clients.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    by_id: Mutex<BTreeMap<u64, ClientInfo>>,
    last: AtomicU64,
}

impl Clients {
    /// Adds a connection and returns its number, and what tells it to end.
    pub(crate) fn enter(&self, address: SocketAddr) -> (u64, Arc<Notify>) {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let leave = Arc::new(Notify::new());
        let info = ClientInfo {
            address,
            since: Instant::now(),
            name: String::new(),
            library: String::new(),
            library_version: String::new(),
            user: "default".to_owned(),
            keyspace: KeyspaceId(0),
            protocol: Protocol::Resp2,
            leave: Arc::clone(&leave),
        };
        self.with(|clients| clients.insert(id, info));
        (id, leave)
    }

    /// Removes a connection.
    pub(crate) fn leave(&self, id: u64) {
        self.with(|clients| clients.remove(&id));
    }

    /// Changes what is known about a connection.
    pub(crate) fn update(&self, id: u64, change: impl FnOnce(&mut ClientInfo)) {
        self.with(|clients| clients.get_mut(&id).map(change));
    }

    /// What is known about a connection.
    pub(crate) fn find(&self, id: u64) -> Option<ClientInfo> {
        self.with(|clients| clients.get(&id).cloned())
    }

    /// All connections by number.
    pub(crate) fn all(&self) -> Vec<(u64, ClientInfo)> {
        self.with(|clients| {
            clients
                .iter()
                .map(|(id, client)| (*id, client.clone()))
                .collect()
        })
    }

    /// The number of connections.
    pub(crate) fn count(&self) -> usize {
        self.with(|clients| clients.len())
    }

    /// Ignores poisoning: the map is valid after every step of every closure, so a panic elsewhere
    /// does not spoil it.
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<u64, ClientInfo>) -> T) -> T {
        act(&mut self.by_id.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
