//! What clients ask of the coordination group.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::request::{Key, Kind};

/// How many permits a simulated semaphore has.
pub(in crate::sim) const PERMITS: u32 = 3;

/// One request of one client to the coordination group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bid {
    /// Its number.
    pub id: u32,
    /// The client. A client has one bid under way at a time.
    pub client: u8,
    /// The node that it talks to.
    pub node: u64,
    /// What it is about.
    pub thing: Thing,
    /// What the client wants.
    pub wish: Wish,
}

/// Something that can be held, by its number among those of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thing {
    /// A lock. That of number n guards the guarded key of this number.
    Lock(u8),
    /// A semaphore.
    Semaphore(u8),
    /// The leadership of an election.
    Election(u8),
    /// A value of metadata, which is not held but written.
    Metadata(u8),
}

/// What is done. Renewals and returns name the newest grant that the client was told of, or one so
/// many before it: whoever was stopped comes back with an old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// To hold it, under a session of its own.
    Take(Stake),
    /// To hold it for longer.
    Renew(u8),
    /// To give it back.
    GiveBack(u8),
    /// To know who holds it: by what a majority says now, or by the leader's lease.
    Look {
        /// By the lease.
        by_lease: bool,
    },
    /// To write the number of the bid: in any case, or only if the value is the one that the client
    /// has seen last.
    Write {
        /// Only then.
        if_seen: bool,
    },
}

/// How something is to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stake {
    /// How long the session lives after each renewal, in milliseconds.
    pub ttl: u64,
    /// How long to wait for it, in milliseconds.
    pub wait: u64,
    /// Whether others may hold a lock too.
    pub shared: bool,
    /// How many permits of a semaphore.
    pub permits: u32,
}

impl Thing {
    /// The name of the thing among those of its kind.
    pub(in crate::sim) fn name(self) -> Bytes {
        match self {
            Self::Lock(number) => Key(Kind::Guarded, number).name(),
            Self::Semaphore(number) | Self::Election(number) | Self::Metadata(number) => {
                format!("{number}").into()
            }
        }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock(number) => write!(f, "lock{number}"),
            Self::Semaphore(number) => write!(f, "semaphore{number}"),
            Self::Election(number) => write!(f, "election{number}"),
            Self::Metadata(number) => write!(f, "metadata{number}"),
        }
    }
}

impl fmt::Display for Bid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            client,
            node,
            thing,
            wish,
        } = self;
        write!(f, "#b{id} client {client} at node {node}: {wish:?} {thing}")
    }
}
