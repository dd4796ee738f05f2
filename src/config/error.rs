//! Why a configuration is refused.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::origin::Origin;

/// A configuration that no node can start with. Nothing was started or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file named by `--config` or `QUORATE_CONFIG` cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{origin}: {}", cause.message())]
    Syntax {
        /// File and line.
        origin: Origin,
        /// The error of the parser.
        cause: toml::de::Error,
    },
    /// There is no such key.
    #[error("{origin}: no such key: {key}; did you mean {nearest}?")]
    UnknownKey {
        /// Where it was given.
        origin: Origin,
        /// The key as it was written.
        key: Box<str>,
        /// The valid key with the least edit distance, spelled as that source spells it.
        nearest: Box<str>,
    },
    /// The key does not take the value. The value is not repeated, because it may be a secret.
    #[error("{origin}: {key} must be {expected}")]
    BadValue {
        /// Where it was given.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// What the key takes.
        expected: &'static str,
    },
    /// A face would be open to anybody who can reach this machine, or what passes through it could
    /// be read on the way.
    #[error(
        "{origin}: {key} = {address} can be reached from other machines: it needs TLS (--tls-cert and --tls-key), \
         and a password (QUORATE_PASSWORD), users or --tls-client-ca; or listen on a loopback address \
         such as 127.0.0.1:{}; or say --insecure",
        address.port()
    )]
    Unprotected {
        /// Where the address was given.
        origin: Origin,
        /// Which face: `resp` or `http`.
        key: &'static str,
        /// Its address.
        address: SocketAddr,
    },
    /// Other nodes cannot dial the address that this one listens at, and no other is given.
    #[error(
        "{origin}: quic = {address} is not an address that other nodes can dial; say which one they \
         are to dial with advertise (--advertise HOST:{})", address.port()
    )]
    Unadvertised {
        /// Where the address was given.
        origin: Origin,
        /// The address.
        address: SocketAddr,
    },
    /// Two keys contradict each other.
    #[error("{origin}: {key} and {other} contradict each other; leave one out")]
    Contradiction {
        /// Where the first was given.
        origin: Origin,
        /// The first key.
        key: &'static str,
        /// The second.
        other: &'static str,
    },
    /// This version does not serve the etcd protocol.
    #[error("{origin}: this version does not serve the etcd protocol yet; leave etcd out")]
    EtcdNotServed {
        /// Where the key was given.
        origin: Origin,
    },
    /// An earlier version was told how far the nodes are apart.
    #[error("{origin}: the round trips between the nodes are measured now; leave network out")]
    NetworkMeasured {
        /// Where the key was given.
        origin: Origin,
    },
    /// One key means nothing without the other.
    #[error("{origin}: {key} needs {other} as well")]
    Alone {
        /// Where the key was given.
        origin: Origin,
        /// The key that was given.
        key: &'static str,
        /// The one that is missing.
        other: &'static str,
    },
    /// Two keys say the same thing, and both were given.
    #[error("{origin}: {key} and {other} cannot both be given")]
    Both {
        /// Where the key was given.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// The other one.
        other: &'static str,
    },
    /// No `data_dir` was given, and neither `XDG_DATA_HOME` nor `HOME` says where this user keeps
    /// data.
    #[error("no data_dir is given, and neither XDG_DATA_HOME nor HOME is set; use --data-dir DIR")]
    NoDataDir,
}
