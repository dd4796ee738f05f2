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
    Join, Listen, NodeConfig, PARTITIONS, REQUEST_TIMEOUT, SYNC_INTERVAL, Secret, TokenSource,
};
pub use text::parse_duration;

pub use crate::store::{Durability, Engine};

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

    /// Checks what the types cannot express: no face open without a password, valid names, a power
    /// of two.
    ///
    /// For configurations made in Rust; [`NodeConfig::load`] does it itself.
    ///
    /// # Errors
    /// [`ConfigError`] with [`Origin::Default`].
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
