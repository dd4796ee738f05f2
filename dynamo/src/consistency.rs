//! Consistency levels: how many replicas a request needs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The level of one request, with Cassandra's names.
///
/// Its text form, shared by [`fmt::Display`] and [`FromStr`], is a name such as `ONE` or
/// `LOCAL_QUORUM`, or numbers: `R=2`, `W=3`, `R=2,W=2`. Case does not matter.
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
    /// Explicit numbers of replicas, each at least 1.
    Numeric {
        /// Replicas that a read needs.
        read: u8,
        /// Replicas that a write needs.
        write: u8,
    },
}

impl Consistency {
    /// The levels that have a name: all but the numeric ones.
    pub const NAMED: [Self; NAMES.len()] = [
        Self::One,
        Self::Two,
        Self::Three,
        Self::Quorum,
        Self::All,
        Self::LocalOne,
        Self::LocalQuorum,
        Self::EachQuorum,
    ];

    /// Whether it needs a majority of all replicas, so that any two such requests meet.
    pub fn needs_majority(self) -> bool {
        matches!(self, Self::Quorum | Self::EachQuorum | Self::All)
    }
}

/// The text is not a level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such consistency level: {text:?}; use ONE, TWO, THREE, QUORUM, ALL, LOCAL_ONE, LOCAL_QUORUM, EACH_QUORUM or R=n,W=n"
)]
pub struct UnknownLevel {
    /// The text, cut to 64 characters.
    pub text: String,
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Numeric { read, write } = self {
            return write!(f, "R={read},W={write}");
        }
        let named = Self::NAMED.iter().position(|level| level == self);
        f.write_str(named.map_or("", |at| NAMES[at]))
    }
}

impl FromStr for Consistency {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        let unknown = || UnknownLevel {
            text: text.chars().take(64).collect(),
        };
        let named = NAMES
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text));
        match named {
            Some(at) => Ok(Self::NAMED[at]),
            None => parse_numeric(&text.to_ascii_uppercase()).ok_or_else(unknown),
        }
    }
}

/// The names of [`Consistency::NAMED`], in the same order.
const NAMES: [&str; 8] = [
    "ONE",
    "TWO",
    "THREE",
    "QUORUM",
    "ALL",
    "LOCAL_ONE",
    "LOCAL_QUORUM",
    "EACH_QUORUM",
];

/// Parses `R=n`, `W=n` or both in either order. A number that is missing is 1.
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
    Some(Consistency::Numeric {
        read: read.unwrap_or(1),
        write: write.unwrap_or(1),
    })
}
