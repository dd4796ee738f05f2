//! What all connections of one face share.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cursors::Cursors;
use super::encode::Protocol;
use crate::config::{Durability, Secret};
use crate::doors::Data;
use crate::limits::{self, Guests};

/// How the Redis face behaves.
#[derive(Clone, Debug)]
pub struct RespConfig {
    /// What clients must give in `AUTH` or `HELLO`; `None` lets everyone in.
    pub password: Option<Secret>,
    /// The time a request may take when the client names none. Default: 2 s (guess).
    pub timeout: Duration,
    /// How many connections there may be, over all faces that share it. Default: as many as the
    /// file descriptors allow, at most 10 000 (Redis).
    pub guests: Arc<Guests>,
    /// When a write is on disk: what `CONFIG GET append…` says. `None` when nothing outlives the
    /// process.
    pub durability: Option<Durability>,
    /// How long a client may take to authenticate, if there is a password. Default: 10 s (guess).
    pub greeting: Duration,
    /// Silence on an idle connection before the kernel probes it. Default: 300 s (Redis).
    pub keepalive: Duration,
    /// How long a client may leave its replies unread before it is cut off. Default: 60 s (guess).
    pub write_stall: Duration,
}

impl Default for RespConfig {
    fn default() -> Self {
        Self {
            password: None,
            timeout: Duration::from_secs(2),
            guests: Guests::new(limits::clients_max()),
            durability: Some(Durability::Sync),
            greeting: Duration::from_secs(10),
            keepalive: Duration::from_mins(5),
            write_stall: Duration::from_mins(1),
        }
    }
}

/// The shared half of the face.
pub(crate) struct Server {
    /// The node.
    pub data: Arc<dyn Data>,
    /// How to behave.
    pub config: RespConfig,
    /// Where clients connect.
    pub address: SocketAddr,
    /// The connections there are.
    pub clients: Clients,
    /// Positions of scans under way.
    pub cursors: Cursors,
    /// For `INFO stats`.
    pub counters: Counters,
    /// Bytes of answers that clients have not taken yet.
    pub answers: Arc<AtomicUsize>,
    /// When the face began to serve.
    pub started: Instant,
}

impl Server {
    pub(crate) fn new(data: Arc<dyn Data>, config: RespConfig, address: SocketAddr) -> Self {
        let (clients, cursors, counters) =
            (Clients::default(), Cursors::default(), Counters::default());
        Self {
            data,
            config,
            address,
            clients,
            cursors,
            counters,
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
    /// Commands parsed, refused ones included.
    pub commands: AtomicU64,
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections turned away because there were too many.
    pub rejected: AtomicU64,
}

impl Counters {
    /// Adds `count` to one of the totals.
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// What `CLIENT LIST` tells of a connection.
#[derive(Clone, Debug)]
pub(crate) struct ClientInfo {
    /// Where it comes from.
    pub address: SocketAddr,
    /// When it came.
    pub since: Instant,
    /// Set by `CLIENT SETNAME`.
    pub name: String,
    /// Set by `CLIENT SETINFO LIB-NAME`.
    pub library: String,
    /// Set by `CLIENT SETINFO LIB-VER`.
    pub library_version: String,
    /// The user of the last `AUTH`.
    pub user: String,
    /// The number of its keyspace.
    pub keyspace: u32,
    /// Its protocol version.
    pub protocol: Protocol,
}

/// The connections there are, by number. Locked only at connect, at close and by commands about
/// clients.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    by_id: Mutex<BTreeMap<u64, ClientInfo>>,
    last: AtomicU64,
}

impl Clients {
    /// Enters a connection and gives it its number.
    pub(crate) fn enter(&self, address: SocketAddr) -> u64 {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let info = ClientInfo {
            address,
            since: Instant::now(),
            name: String::new(),
            library: String::new(),
            library_version: String::new(),
            user: "default".to_owned(),
            keyspace: 0,
            protocol: Protocol::Resp2,
        };
        self.with(|clients| clients.insert(id, info));
        id
    }

    /// Forgets a connection.
    pub(crate) fn leave(&self, id: u64) {
        self.with(|clients| clients.remove(&id));
    }

    /// Changes what is known of a connection.
    pub(crate) fn update(&self, id: u64, change: impl FnOnce(&mut ClientInfo)) {
        self.with(|clients| clients.get_mut(&id).map(change));
    }

    /// What is known of a connection.
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

    /// How many connections there are.
    pub(crate) fn count(&self) -> usize {
        self.with(|clients| clients.len())
    }

    /// The map is valid after every step of every closure, so a panic elsewhere does not spoil it.
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<u64, ClientInfo>) -> T) -> T {
        act(&mut self.by_id.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
