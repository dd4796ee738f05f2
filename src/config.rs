//! What a node is told at its start, and where it was told: TOML file < environment (`QUORATE_…`) <
//! flags.

mod error;
mod keys;
mod layers;
mod text;

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

pub use error::ConfigError;
pub use layers::{Origin, Sources};
pub use text::parse_duration;

/// How long a request may take if nothing says otherwise. Guess: longer than a WAN round trip with
/// one retry.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Partitions of a keyspace if nothing says otherwise. Guess: divides well over a dozen nodes, and
/// idle ones cost little.
pub const PARTITIONS: u16 = 64;
/// Time between two syncs under [`Durability::Interval`] if nothing says otherwise, as Redis'
/// `everysec`.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Everything that `quorate start` takes. [`NodeConfig::load`] gives only valid ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Where the node keeps its data; it belongs to one node alone.
    pub data_dir: PathBuf,
    /// The operator's name for the node, unique in the cluster.
    pub node: String,
    /// Its datacenter.
    pub datacenter: String,
    /// Its rack within the datacenter.
    pub rack: String,
    /// Where it listens.
    pub listen: Listen,
    /// Whom it joins; `None` bootstraps a cluster, or goes on with the one in the data directory.
    pub join: Option<Join>,
    /// What it stores with.
    pub storage: Storage,
    /// When a write is on disk.
    pub durability: Durability,
    /// What clients of RESP and HTTP must present; without it both listen on loopback addresses
    /// only.
    pub password: Option<Secret>,
    /// How long a request that names no timeout may take.
    pub request_timeout: Duration,
    /// Whether round trips between nodes may exceed about 30 ms: elections and failure detection
    /// then take their time. Alike on all nodes.
    pub wide_area: bool,
    /// Partitions of a keyspace that names no number: a power of two. The keyspace `default` always
    /// has 64.
    pub partitions: u16,
}

/// The node's addresses; port 0 means: choose one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// For Redis clients.
    pub resp: SocketAddr,
    /// For HTTP clients.
    pub http: SocketAddr,
    /// For other nodes. It is always authenticated, so it may be reachable from anywhere.
    pub quic: SocketAddr,
}

/// The way into an existing cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The QUIC address of any member, `host:port`.
    pub address: String,
    /// A join token that the cluster made.
    pub token: Secret,
}

/// The storage engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// The default.
    Fjall,
    /// For those who ask for it: its flush does not sync on Linux, so it does not survive power
    /// loss.
    Sled,
    /// Nothing outlives the process.
    Memory,
}

/// When a write is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before it is acknowledged.
    Sync,
    /// At most so long after it was acknowledged: power loss takes back what is younger, a crash of
    /// the process does not.
    Interval(Duration),
    /// When the operating system likes.
    None,
}

/// A text that never appears in a log: its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for those who compare or send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `guess` is the text, in a time that depends on the length of `guess` alone.
    pub fn matches(&self, guess: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differing = guess.iter().enumerate().fold(0u8, |seen, (at, byte)| {
            seen | (byte ^ own.get(at).unwrap_or(&!byte))
        });
        differing == 0 && guess.len() == own.len()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Join {
    /// Looks the address up; a name may stand for several addresses.
    ///
    /// # Errors
    /// What the resolver says.
    pub fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        self.address.to_socket_addrs().map(Iterator::collect)
    }
}

impl NodeConfig {
    /// Merges the sources, fills in defaults and validates.
    ///
    /// # Errors
    /// [`ConfigError`], with the place of what is wrong.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let given = layers::merge(sources)?;
        let config = keys::build(&given, sources)?;
        config.validate_with(|key| given.origin(key))?;
        Ok(config)
    }

    /// Checks what the types cannot say: protected faces, a power of two, names that are not empty.
    ///
    /// [`NodeConfig::load`] does this itself; it is here for configurations made in Rust.
    ///
    /// # Errors
    /// [`ConfigError`], with [`Origin::Default`] for a place.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_with(|_key| Origin::Default)
    }

    fn validate_with(&self, origin: impl Fn(&'static str) -> Origin) -> Result<(), ConfigError> {
        for (key, address) in [("resp", self.listen.resp), ("http", self.listen.http)] {
            if !address.ip().is_loopback() && self.password.is_none() {
                return Err(ConfigError::Unprotected {
                    key,
                    address,
                    origin: origin(key),
                });
            }
        }
        for (key, name) in [
            ("node", &self.node),
            ("datacenter", &self.datacenter),
            ("rack", &self.rack),
        ] {
            if !text::is_name(name) {
                return Err(ConfigError::BadValue {
                    key,
                    expected: text::NAME,
                    origin: origin(key),
                });
            }
        }
        if !text::is_partitions(self.partitions) {
            return Err(ConfigError::BadValue {
                key: "partitions",
                expected: text::PARTITIONS,
                origin: origin("partitions"),
            });
        }
        if self.request_timeout.is_zero() {
            return Err(ConfigError::BadValue {
                key: "request_timeout",
                expected: text::DURATION,
                origin: origin("request_timeout"),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
