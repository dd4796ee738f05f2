//! What can happen to a cluster: requests, and faults of processes, disks, clocks and the network.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::bid::Bid;
use super::request::Ask;

/// What can happen: a request or a fault. Nodes are named by their numbers. Unlike the `Action` of
/// `check`, it is carried out, not recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A client sends a request to the data plane.
    Ask(Ask),
    /// A client sends a request to the coordination group.
    Bid(Bid),
    /// Nothing that `from` sends reaches `to` any more.
    Cut {
        /// The senders.
        from: Vec<u64>,
        /// The receivers.
        to: Vec<u64>,
    },
    /// All cuts end.
    Heal,
    /// The network's delay and loss change.
    Weather {
        /// As [`Shape::within_us`](super::Shape::within_us).
        within_us: u64,
        /// As [`Shape::between_ms`](super::Shape::between_ms).
        between_ms: u64,
        /// As [`Shape::loss`](super::Shape::loss).
        loss: f64,
    },
    /// Some data frames arrive twice or are overtaken.
    Garble {
        /// The share that arrives twice.
        duplicated: f64,
        /// The share that is overtaken.
        overtaken: f64,
    },
    /// Some data frames in one direction are dropped while the connection stays up.
    DropFrames {
        /// The sender.
        from: u64,
        /// The receiver.
        to: u64,
        /// The share that is dropped.
        share: f64,
    },
    /// A process is suspended: it gets no CPU time and sends nothing.
    Stop(u64),
    /// A suspended process continues.
    GoOn(u64),
    /// A process is killed, whatever it is doing.
    Crash(u64),
    /// A dead node starts.
    Restart(u64),
    /// A dead node gets another address.
    Readdress(u64),
    /// Syncs of a node take this many milliseconds longer.
    SlowDisk(u64, u64),
    /// A disk fills up, or has room again.
    FullDisk(u64, bool),
    /// Syncs fail from now on; the node must stop by itself.
    FailDisk(u64),
    /// The shard that next writes rows panics; the node must stop by itself.
    Panic(u64),
    /// A copy of a node's data is set aside.
    Backup(u64),
    /// A dead node's data is replaced by the copy set aside.
    Restore(u64),
    /// A dead node's data is gone.
    Wipe(u64),
    /// One byte of a value on a dead node's disk changes.
    Rot(u64),
    /// A wall clock jumps by this many milliseconds.
    Jump(u64, i64),
    /// A wall clock runs too fast by this many millionths.
    Drift(u64, i64),
    /// A wall clock stands still, or runs on.
    Freeze(u64, bool),
    /// A wall clock is right again.
    MendClock(u64),
    /// An administrator creates a keyspace.
    MakeKeyspace {
        /// Its name is `ks` and this number.
        number: u8,
        /// Its number of partitions.
        partitions: u16,
    },
    /// An administrator drops a keyspace.
    DropKeyspace(u8),
    /// An administrator changes how many replicas of a keyspace each datacenter holds.
    Replicate {
        /// The keyspace; 0 is `default`.
        keyspace: u8,
        /// Replicas by datacenter number, counted from 1.
        replicas: BTreeMap<u8, u8>,
    },
    /// One more node joins in this datacenter.
    Join(u8),
    /// One more node asks for the place of this one, which is dead for good.
    Replace(u64),
    /// An administrator takes all partitions from a node, or lets it hold some again.
    Drain {
        /// The node.
        node: u64,
        /// Whether it is to hold nothing.
        drained: bool,
    },
    /// An administrator removes a node.
    Remove {
        /// The node.
        node: u64,
        /// Whether its disk is lost for good.
        lost: bool,
    },
}

impl Action {
    /// Whether it is a client's request.
    pub fn is_request(&self) -> bool {
        matches!(self, Self::Ask(_) | Self::Bid(_))
    }

    /// The kind of fault, for statistics; `None` if it is no fault.
    pub fn fault(&self) -> Option<&'static str> {
        Some(match self {
            Self::Ask(_)
            | Self::Bid(_)
            | Self::Heal
            | Self::GoOn(_)
            | Self::Restart(_)
            | Self::MendClock(_)
            | Self::Backup(_)
            | Self::FullDisk(_, false)
            | Self::Freeze(_, false)
            | Self::Drain { drained: false, .. } => return None,
            Self::Cut { .. } => "cut",
            Self::Weather { .. } => "weather",
            Self::Garble { .. } => "garble",
            Self::DropFrames { .. } => "drop-frames",
            Self::Stop(_) => "stop",
            Self::Crash(_) => "crash",
            Self::Readdress(_) => "readdress",
            Self::SlowDisk(..) => "slow-disk",
            Self::FullDisk(..) => "full-disk",
            Self::FailDisk(_) => "fail-disk",
            Self::Panic(_) => "panic",
            Self::Restore(_) => "restore",
            Self::Wipe(_) => "wipe",
            Self::Rot(_) => "rot",
            Self::Jump(..) => "clock-jump",
            Self::Drift(..) => "clock-drift",
            Self::Freeze(..) => "clock-freeze",
            Self::MakeKeyspace { .. } => "make-keyspace",
            Self::DropKeyspace(_) => "drop-keyspace",
            Self::Replicate { .. } => "replicate",
            Self::Join(_) => "join",
            Self::Replace(_) => "replace",
            Self::Drain { .. } => "drain",
            Self::Remove { .. } => "remove",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(ask) => ask.fmt(f),
            Self::Bid(bid) => bid.fmt(f),
            Self::Cut { from, to } => write!(f, "nothing from nodes {from:?} reaches nodes {to:?}"),
            Self::Heal => f.write_str("all cuts end"),
            Self::Weather {
                within_us,
                between_ms,
                loss,
            } => write!(
                f,
                "delays are {within_us} us within and {between_ms} ms between datacenters, loss {loss}"
            ),
            Self::Garble {
                duplicated,
                overtaken,
            } => write!(
                f,
                "frames arrive twice ({duplicated}) or are overtaken ({overtaken})"
            ),
            Self::DropFrames { from, to, share } => {
                write!(
                    f,
                    "frames from node {from} to node {to} are dropped ({share})"
                )
            }
            Self::Stop(node) => write!(f, "node {node} is suspended"),
            Self::GoOn(node) => write!(f, "node {node} continues"),
            Self::Crash(node) => write!(f, "node {node} is killed"),
            Self::Restart(node) => write!(f, "node {node} restarts"),
            Self::Readdress(node) => write!(f, "node {node} gets another address"),
            Self::SlowDisk(node, millis) => {
                write!(f, "syncs of node {node} take {millis} ms longer")
            }
            Self::FullDisk(node, true) => write!(f, "the disk of node {node} is full"),
            Self::FullDisk(node, false) => write!(f, "the disk of node {node} has room again"),
            Self::FailDisk(node) => write!(f, "the disk of node {node} fails"),
            Self::Panic(node) => write!(f, "a shard of node {node} is made to panic"),
            Self::Backup(node) => write!(f, "the data of node {node} is copied aside"),
            Self::Restore(node) => write!(f, "node {node} gets back its older data"),
            Self::Wipe(node) => write!(f, "the data of node {node} is wiped"),
            Self::Rot(node) => write!(f, "a byte on the disk of node {node} changes"),
            Self::Jump(node, millis) => write!(f, "the clock of node {node} jumps by {millis} ms"),
            Self::Drift(node, millionths) => {
                write!(f, "the clock of node {node} runs {millionths} ppm too fast")
            }
            Self::Freeze(node, true) => write!(f, "the clock of node {node} stands still"),
            Self::Freeze(node, false) => write!(f, "the clock of node {node} runs on"),
            Self::MendClock(node) => write!(f, "the clock of node {node} is right again"),
            decision => decision.fmt_decision(f),
        }
    }
}

impl Action {
    fn fmt_decision(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeKeyspace { number, partitions } => {
                write!(
                    f,
                    "keyspace ks{number} is created, partitions: {partitions}"
                )
            }
            Self::DropKeyspace(number) => write!(f, "keyspace ks{number} is dropped"),
            Self::Replicate { keyspace, replicas } => write!(
                f,
                "keyspace {keyspace} gets these replicas by datacenter: {replicas:?}"
            ),
            Self::Join(datacenter) => write!(f, "a node asks to join dc{datacenter}"),
            Self::Replace(node) => write!(f, "a node asks for the place of node {node}"),
            Self::Drain {
                node,
                drained: true,
            } => write!(f, "node {node} is drained"),
            Self::Drain { node, .. } => write!(f, "node {node} may hold partitions again"),
            Self::Remove { node, lost: true } => {
                write!(f, "node {node} is removed, its disk is lost")
            }
            Self::Remove { node, .. } => write!(f, "node {node} is removed"),
            other => write!(f, "{other:?}"),
        }
    }
}
