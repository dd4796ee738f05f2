//! The configuration of a node, merged from three sources: TOML file < environment (`QUORATE_…`) <
//! flags.
//!
//! The files, each of which names only files above it:
//!
//! | file | what it is for |
//! |---|---|
//! | `text` | the text forms of values |
//! | `settings` | the result: [`NodeConfig`] |
//! | `origin` | where a value came from |
//! | `error` | why a configuration is refused |
//! | `table` | the one table of keys |
//! | `layers` | the three sources and how they merge |
//! | `log` | what is logged |
//! | `build` | from texts to a [`NodeConfig`] |

use std::net::SocketAddr;

mod build;
mod error;
mod layers;
mod log;
mod origin;
mod settings;
mod table;
mod text;

pub use error::ConfigError;
pub use layers::Sources;
pub use log::{LogConfig, LogFormat, parse_log_filter};
pub use origin::Origin;
pub use settings::{
    Access, Join, Listen, NodeConfig, PARTITIONS, REQUEST_TIMEOUT, SLOW_COMMAND, SYNC_INTERVAL,
    Secret, TokenSource,
};
pub use text::parse_duration;

use crate::store::Identity;
pub use crate::store::{Durability, Engine};
pub use crate::tls::{KeyFiles, TlsFiles};

impl NodeConfig {
    /// Merges the sources, fills in the defaults, and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`] with the origin of the wrong value.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let given = layers::merge(sources)?;
        let config = build::build(&given, sources)?;
        config.validate_with(|key| given.origin(key))?;
        Ok(config)
    }

    /// Checks what the types cannot express: no face open to strangers, valid names, a power of
    /// two.
    ///
    /// For configurations made in Rust; [`NodeConfig::load`] does it itself.
    ///
    /// # Errors
    /// [`ConfigError`] with [`Origin::Default`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_with(|_key| Origin::Default)
    }

    /// The first face that other machines can reach although it lacks TLS, or although nobody there
    /// must say who it is: the node has no password and asks for no certificates, and the cluster
    /// has no users. Only [`Access::insecure`] allows that.
    pub fn exposed(&self, has_users: bool) -> Option<(&'static str, SocketAddr)> {
        if self.access.tls.is_some() && (has_users || self.access.asks_clients()) {
            return None;
        }
        [("resp", self.listen.resp), ("http", self.listen.http)]
            .into_iter()
            .find(|(_, address)| !address.ip().is_loopback())
    }

    fn validate_with(&self, origin: impl Fn(&'static str) -> Origin) -> Result<(), ConfigError> {
        // Only a cluster that exists already can have users.
        let may_have_users = self.join.is_some() || Identity::is_in(&self.data_dir);
        if let Some((key, address)) = self.exposed(may_have_users)
            && !self.access.insecure
        {
            return Err(ConfigError::Unprotected {
                key,
                address,
                origin: origin(key),
            });
        }
        self.check_addresses(&origin)?;
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
        if self
            .partitions
            .is_some_and(|count| !text::is_partitions(count))
        {
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

    /// Checks that other nodes can be told where this one is, and that it knows what to do without
    /// data.
    fn check_addresses(&self, origin: &impl Fn(&'static str) -> Origin) -> Result<(), ConfigError> {
        let Listen {
            quic, advertise, ..
        } = &self.listen;
        if quic.ip().is_unspecified() && advertise.is_none() {
            return Err(ConfigError::Unadvertised {
                origin: origin("quic"),
                address: *quic,
            });
        }
        if self.found && self.join.is_some() {
            return Err(ConfigError::Contradiction {
                origin: origin("found"),
                key: "found",
                other: "join",
            });
        }
        let members = self.join.iter().flat_map(|join| &join.addresses);
        let told = advertise.iter().map(|address| ("advertise", address));
        for (key, address) in members.map(|address| ("join", address)).chain(told) {
            if !text::is_address(address) {
                return Err(ConfigError::BadValue {
                    key,
                    expected: text::HOST,
                    origin: origin(key),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
