//! What the two sides of a split may do with a keyspace.

use std::fmt;
use std::str::FromStr;

use quorate_crdt::NodeId;
use serde::{Deserialize, Serialize};

/// What a keyspace allows on the side of a split that does not reach a majority of the voters.
///
/// At most one side reaches one, so at most one side writes to a keyspace that is read-only in the
/// minority, as soon as the failure detector has noticed the split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitPolicy {
    /// Both sides read and write, as far as each level allows; what they wrote merges afterwards.
    #[default]
    Available,
    /// A node that does not reach a majority of the voters executes no writes. Reads go on.
    ReadOnlyInMinority,
}

impl SplitPolicy {
    /// Every policy.
    pub const ALL: [Self; 2] = [Self::Available, Self::ReadOnlyInMinority];

    /// Its name, which parses back.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::ReadOnlyInMinority => "read-only-in-minority",
        }
    }
}

impl fmt::Display for SplitPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no [`SplitPolicy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use available or read-only-in-minority")]
pub struct NoSplitPolicy;

impl FromStr for SplitPolicy {
    type Err = NoSplitPolicy;

    fn from_str(text: &str) -> Result<Self, NoSplitPolicy> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.name() == text)
            .ok_or(NoSplitPolicy)
    }
}

/// How many of the voters a node on the smaller side of a split reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minority {
    /// The voters that it reaches, itself included if it is one.
    pub reached: u32,
    /// All voters.
    pub voters: u32,
}

impl Minority {
    /// Counts those of `voters` for which `reached` holds; `None` if they are a majority, or if
    /// there is no voter yet.
    pub fn of(
        voters: impl Iterator<Item = NodeId>,
        reached: impl Fn(NodeId) -> bool,
    ) -> Option<Self> {
        let mut found = Self {
            reached: 0,
            voters: 0,
        };
        for node in voters {
            found.voters += 1;
            found.reached += u32::from(reached(node));
        }
        (found.voters > 0 && found.reached <= found.voters / 2).then_some(found)
    }
}
