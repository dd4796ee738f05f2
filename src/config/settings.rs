//! The configuration of a node, as the rest of the program sees it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use quorate_control::topology::DEFAULT_PARTITIONS;
pub use quorate_crdt::Secret;

use crate::store::{Durability, Engine};
use crate::tls::TlsFiles;

/// How long a request may take by default. Guess: longer than a WAN round trip with one retry.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Partitions of the keyspace `default`, unless the founder of the cluster chooses another number.
pub const PARTITIONS: u16 = DEFAULT_PARTITIONS;
/// Time between two syncs under [`Durability::Interval`] by default, as in Redis' `everysec`.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// How long a command may take before the slow log keeps it, by default, as in Redis.
pub const SLOW_COMMAND: Duration = Duration::from_millis(10);

/// The configuration that `quorate start` takes. One from [`NodeConfig::load`] is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Where the node keeps its data. A directory belongs to one node.
    pub data_dir: PathBuf,
    /// The operator's name for the node, unique in the cluster.
    pub node: String,
    /// Its datacenter.
    pub datacenter: String,
    /// Its rack within the datacenter.
    pub rack: String,
    /// Addresses to listen at.
    pub listen: Listen,
    /// Whether a node that has no data yet founds a cluster. A node that has data comes back as the
    /// node that it was.
    pub found: bool,
    /// Members of the cluster. A node that has no data yet joins it there; a node that comes back
    /// looks for the others there too, in case their addresses have changed. Without `found` and
    /// `join`, a node that has no data does not start.
    pub join: Option<Join>,
    /// The storage engine.
    pub storage: Engine,
    /// When a write may be acknowledged.
    pub durability: Durability,
    /// Who may come in through the faces.
    pub access: Access,
    /// Timeout of a request that names none.
    pub request_timeout: Duration,
    /// A command of a Redis client that takes longer is kept in the slow log.
    pub slow_command: Duration,
    /// Partitions of the keyspace `default`, and of every keyspace that is created without a
    /// number: a power of two. The founder decides, by default for [`PARTITIONS`]; another node
    /// that names a number must name the same.
    pub partitions: Option<u16>,
}

/// The addresses that a node listens at, and the one that it tells. Port 0 lets the system choose
/// one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// For Redis clients.
    pub resp: SocketAddr,
    /// For HTTP clients.
    pub http: SocketAddr,
    /// For other nodes. Connections are always authenticated, so it may be reachable from anywhere.
    pub quic: SocketAddr,
    /// What other nodes are told to dial, `host:port`. `None` means the address of `quic`, which
    /// then must not be an unspecified one such as 0.0.0.0.
    pub advertise: Option<String>,
}

/// Who may come in through the RESP and HTTP faces, unlike the `Access` of `quorate-dynamo`, which
/// says what a request does with a partition. A face on an address that is not loopback needs TLS,
/// and a password, users or certificates of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The password of the user `default`, who may do everything.
    pub password: Option<Secret>,
    /// Makes both faces speak TLS, and only TLS.
    pub tls: Option<TlsFiles>,
    /// Whether a face may be open to other machines all the same.
    pub insecure: bool,
    /// The most clients at a time; `None` takes as many as there are file descriptors for.
    pub clients_max: Option<usize>,
}

impl Access {
    /// Whether clients must show who they are even if the cluster has no users.
    pub fn asks_clients(&self) -> bool {
        let certificates = self.tls.as_ref().and_then(|tls| tls.client_ca.as_ref());
        self.password.is_some() || certificates.is_some()
    }
}

/// Where members of an existing cluster are, and the proof that the node may join it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The QUIC addresses of one or more members, each `host:port`. A name is looked up whenever it
    /// is dialled.
    pub addresses: Vec<String>,
    /// A join token that the cluster has issued. A node that comes back needs none.
    pub token: Option<TokenSource>,
    /// The name of the dead member whose place a newcomer takes.
    pub replace: Option<String>,
    /// Whether a newcomer is there to vote only.
    pub witness: bool,
}

/// Where the join token is. It is looked for only by a node that has yet to join, so its file may
/// be gone later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// Here, as text.
    Given(Secret),
    /// In this file, alone.
    File(PathBuf),
}

impl TokenSource {
    /// The token's text, without white space around it.
    ///
    /// # Errors
    /// The operating system's error for the file.
    pub fn read(&self) -> std::io::Result<Secret> {
        match self {
            Self::Given(token) => Ok(token.clone()),
            Self::File(path) => std::fs::read_to_string(path).map(|text| Secret::new(text.trim())),
        }
    }
}
