//! How the merged texts become a [`NodeConfig`].

use std::net::SocketAddr;
use std::path::PathBuf;

use super::error::ConfigError;
use super::layers::{Given, Sources};
use super::settings::{
    Access, Join, Listen, NodeConfig, REQUEST_TIMEOUT, SLOW_COMMAND, SYNC_INTERVAL, Secret,
    TokenSource,
};
use super::text::{self, parse_duration};
use crate::store::{Durability, Engine};
use crate::tls::{KeyFiles, TlsFiles};

/// Makes the configuration from what was given, with defaults for the rest.
pub(super) fn build(given: &Given, sources: &Sources) -> Result<NodeConfig, ConfigError> {
    if let Some(origin) = given.origin_of("etcd") {
        return Err(ConfigError::EtcdNotServed { origin });
    }
    if let Some(origin) = given.origin_of("network") {
        return Err(ConfigError::NetworkMeasured { origin });
    }
    let address = |name, port| {
        given
            .take(name, parse_address)
            .map(|found| found.unwrap_or(SocketAddr::from(([127, 0, 0, 1], port))))
    };
    let name = |name, default: &str| {
        given
            .take(name, parse_name)
            .map(|found| found.unwrap_or_else(|| default.to_owned()))
    };
    let quic = address("quic", 7381)?;
    let join = join(given)?;
    Ok(NodeConfig {
        data_dir: match given.take("data_dir", parse_path)? {
            Some(path) => path,
            None => default_data_dir(sources).ok_or(ConfigError::NoDataDir)?,
        },
        node: match given.take("node", parse_name)? {
            Some(name) => name,
            None => host_name(),
        },
        datacenter: name("datacenter", "dc1")?,
        rack: name("rack", "r1")?,
        listen: Listen {
            resp: address("resp", 7379)?,
            http: address("http", 7380)?,
            quic,
            advertise: given.take("advertise", parse_host)?,
        },
        found: match given.take("found", parse_switch)? {
            Some(found) => found,
            // The single node that anybody can try: nobody expects other data in its directory.
            None => {
                join.is_none() && given.origin_of("data_dir").is_none() && quic.ip().is_loopback()
            }
        },
        join,
        storage: given
            .take("storage", parse_storage)?
            .unwrap_or(Engine::Fjall),
        durability: durability(given)?,
        access: access(given)?,
        slow_command: given
            .take("slow_command", parse_duration)?
            .unwrap_or(SLOW_COMMAND),
        request_timeout: given
            .take("request_timeout", parse_duration)?
            .unwrap_or(REQUEST_TIMEOUT),
        partitions: given.take("partitions", |text| {
            text.parse().ok().filter(|n| text::is_partitions(*n))
        })?,
    })
}

fn parse_switch(text: &str) -> Option<bool> {
    text.parse().ok()
}

fn parse_host(text: &str) -> Option<String> {
    text::is_address(text).then(|| text.to_owned())
}

/// A token alone is refused, because nothing says where to show it. Members alone are enough for a
/// node that comes back.
fn join(given: &Given) -> Result<Option<Join>, ConfigError> {
    let addresses = given.take("join", |text| {
        text.split(',').map(str::trim).map(parse_host).collect()
    })?;
    let replace = given.take("replace", parse_name)?;
    let witness = given.take("witness", parse_switch)?.unwrap_or(false);
    let alone = |key| ConfigError::Alone {
        origin: given.origin(key),
        key,
        other: "join",
    };
    match (addresses, token(given)?) {
        (Some(addresses), token) => Ok(Some(Join {
            addresses,
            token: token.map(|(_, token)| token),
            replace,
            witness,
        })),
        (None, None) if replace.is_some() => Err(alone("replace")),
        (None, None) if witness => Err(alone("witness")),
        (None, None) => Ok(None),
        (None, Some((key, _))) => Err(alone(key)),
    }
}

fn access(given: &Given) -> Result<Access, ConfigError> {
    Ok(Access {
        password: given.take("password", parse_secret)?,
        tls: tls(given)?,
        insecure: given.take("insecure", parse_switch)?.unwrap_or(false),
        clients_max: given.take("maxclients", |text| {
            text.parse().ok().filter(|count| *count > 0)
        })?,
    })
}

/// A certificate without its key, or the other way round, is refused: the operator would expect
/// TLS.
fn tls(given: &Given) -> Result<Option<TlsFiles>, ConfigError> {
    let alone = |key, other| ConfigError::Alone {
        origin: given.origin(key),
        key,
        other,
    };
    let certificate = given.take("tls_cert", parse_path)?;
    let key = given.take("tls_key", parse_path)?;
    let client_ca = given.take("tls_client_ca", parse_path)?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
            own: KeyFiles { certificate, key },
            client_ca,
        })),
        (Some(_), None) => Err(alone("tls_cert", "tls_key")),
        (None, Some(_)) => Err(alone("tls_key", "tls_cert")),
        (None, None) if client_ca.is_some() => Err(alone("tls_client_ca", "tls_cert")),
        (None, None) => Ok(None),
    }
}

/// The join token, and by which key it was given.
fn token(given: &Given) -> Result<Option<(&'static str, TokenSource)>, ConfigError> {
    let text = given.take("token", parse_secret)?;
    let file = given.take("token_file", parse_path)?;
    let text = text.map(|token| ("token", TokenSource::Given(token)));
    let file = file.map(|path| ("token_file", TokenSource::File(path)));
    match (text, file) {
        (Some(_), Some(_)) => Err(ConfigError::Both {
            origin: given.origin("token_file"),
            key: "token_file",
            other: "token",
        }),
        (text, file) => Ok(text.or(file)),
    }
}

/// An interval with another durability is refused: the operator would expect a promise that the
/// node does not give.
fn durability(given: &Given) -> Result<Durability, ConfigError> {
    let interval = given.take("durability_interval", parse_duration)?;
    let mode = given.take("durability", |text| match text {
        "sync" => Some(Durability::Sync),
        "interval" => Some(Durability::Interval(interval.unwrap_or(SYNC_INTERVAL))),
        "none" => Some(Durability::None),
        _ => None,
    })?;
    match (mode.unwrap_or(Durability::Sync), interval) {
        (Durability::Sync | Durability::None, Some(_)) => Err(ConfigError::Alone {
            origin: given.origin("durability_interval"),
            key: "durability_interval",
            other: "durability = \"interval\"",
        }),
        (durability, _) => Ok(durability),
    }
}

fn parse_address(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}

fn parse_name(text: &str) -> Option<String> {
    text::is_name(text).then(|| text.to_owned())
}

fn parse_path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn parse_secret(text: &str) -> Option<Secret> {
    (!text.is_empty()).then(|| Secret::new(text))
}

fn parse_storage(text: &str) -> Option<Engine> {
    match text {
        "fjall" => Some(Engine::Fjall),
        "sled" => Some(Engine::Sled),
        "memory" => Some(Engine::Memory),
        _ => None,
    }
}

/// Where this platform keeps a user's data.
fn default_data_dir(sources: &Sources) -> Option<PathBuf> {
    let variable = |name| {
        sources
            .variable(name)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    };
    if cfg!(target_os = "macos") {
        return Some(variable("HOME")?.join("Library/Application Support/quorate"));
    }
    // The XDG base directory specification says to ignore a relative XDG_DATA_HOME.
    let base = variable("XDG_DATA_HOME").filter(|path| path.is_absolute());
    Some(
        base.or_else(|| Some(variable("HOME")?.join(".local/share")))?
            .join("quorate"),
    )
}

/// The host's name up to its first dot, or "node" if that is not a valid name.
fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().unwrap_or_default();
    parse_name(name.split('.').next().unwrap_or_default()).unwrap_or_else(|| "node".to_owned())
}
