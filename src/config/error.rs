//! Why a configuration is refused.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Origin;

/// A configuration that no node can start with. Nothing has been started or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file named by `--config` or `QUORATE_CONFIG` cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{origin}: {}", cause.message())]
    Syntax {
        /// File and line.
        origin: Origin,
        /// What the parser says.
        cause: toml::de::Error,
    },
    /// There is no such key.
    #[error("{origin}: no such key: {key}; did you mean {nearest}?")]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The key as it was written.
        key: Box<str>,
        /// The valid one with the least edit distance, spelled as that source spells it.
        nearest: Box<str>,
    },
    /// The value is of another type, or not one that the key takes. The value is not repeated: it
    /// may be a secret.
    #[error("{origin}: {key} must be {expected}")]
    BadValue {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// What the key takes.
        expected: &'static str,
    },
    /// A face would be open to everybody who reaches this machine.
    #[error(
        "{origin}: {key} = {address} can be reached from other machines, but no password is set; \
         set one (QUORATE_PASSWORD, or password in the file) or listen on a loopback address such as 127.0.0.1:{}",
        address.port()
    )]
    Unprotected {
        /// Where the address stands.
        origin: Origin,
        /// Which face: `resp` or `http`.
        key: &'static str,
        /// Its address.
        address: SocketAddr,
    },
    /// This version does not serve the etcd protocol.
    #[error("{origin}: this version does not serve the etcd protocol yet; leave etcd out")]
    EtcdNotServed {
        /// Where the key stands.
        origin: Origin,
    },
    /// One key says nothing without the other.
    #[error("{origin}: {key} needs {other} as well")]
    Alone {
        /// Where the key stands.
        origin: Origin,
        /// The key that is there.
        key: &'static str,
        /// The one that is missing.
        other: &'static str,
    },
    /// No `data_dir` is given, and neither `XDG_DATA_HOME` nor `HOME` says where this user keeps
    /// data.
    #[error("no data_dir is given, and neither XDG_DATA_HOME nor HOME is set; use --data-dir DIR")]
    NoDataDir,
}
