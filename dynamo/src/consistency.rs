//! Consistency levels: what a request asks of its replicas.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The per-request level, with Cassandra's names.
///
/// Text form, which [`fmt::Display`] and [`FromStr`] share: `ONE`, `LOCAL_QUORUM`, …; numeric `R=2`, `W=3` or `R=2,W=2`. Case does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Consistency {
    /// One replica, anywhere.
    One,
    /// Two replicas.
    Two,
    /// Three replicas.
    Three,
    /// A majority of all replicas, over all datacenters.
    Quorum,
    /// Every replica.
    All,
    /// One replica in the client's datacenter.
    LocalOne,
    /// A majority of the replicas in the client's datacenter.
    LocalQuorum,
    /// A majority of the replicas in every datacenter.
    EachQuorum,
    /// So many replicas: `read` of them for reads, `write` of them for writes; at least 1 each.
    Numeric {
        /// Replicas that a read needs.
        read: u8,
        /// Replicas that a write needs.
        write: u8,
    },
}

/// The text names no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such consistency level: {text:?}; use ONE, TWO, THREE, QUORUM, ALL, LOCAL_ONE, LOCAL_QUORUM, EACH_QUORUM or R=n,W=n")]
pub struct UnknownLevel {
    /// What was given.
    pub text: String,
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::One => "ONE",
            Self::Two => "TWO",
            Self::Three => "THREE",
            Self::Quorum => "QUORUM",
            Self::All => "ALL",
            Self::LocalOne => "LOCAL_ONE",
            Self::LocalQuorum => "LOCAL_QUORUM",
            Self::EachQuorum => "EACH_QUORUM",
            Self::Numeric { read, write } => return write!(f, "R={read},W={write}"),
        };
        f.write_str(name)
    }
}

impl FromStr for Consistency {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        let unknown = || UnknownLevel { text: text.chars().take(64).collect() };
        Ok(match text.to_ascii_uppercase().as_str() {
            "ONE" => Self::One,
            "TWO" => Self::Two,
            "THREE" => Self::Three,
            "QUORUM" => Self::Quorum,
            "ALL" => Self::All,
            "LOCAL_ONE" => Self::LocalOne,
            "LOCAL_QUORUM" => Self::LocalQuorum,
            "EACH_QUORUM" => Self::EachQuorum,
            numeric => parse_numeric(numeric).ok_or_else(unknown)?,
        })
    }
}

/// `R=n`, `W=n` or both in either order; the one not given is 1.
fn parse_numeric(text: &str) -> Option<Consistency> {
    let (mut read, mut write) = (None, None);
    for part in text.split(',') {
        let (name, number) = part.split_once('=')?;
        let slot = match name.trim() {
            "R" => &mut read,
            "W" => &mut write,
            _ => return None,
        };
        let number: u8 = number.trim().parse().ok().filter(|n| *n > 0)?;
        if slot.replace(number).is_some() {
            return None;
        }
    }
    Some(Consistency::Numeric { read: read.unwrap_or(1), write: write.unwrap_or(1) })
}
