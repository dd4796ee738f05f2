//! The document behind `quorate status` and `GET /v1/status`: what the answering node knows about
//! its cluster.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

mod print;
pub(crate) use print::bytes;
#[cfg(test)]
mod tests;

/// The cluster as one node sees it. Its JSON form is stable, because scripts read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster's id, 32 hexadecimal digits.
    pub cluster: String,
    /// The epoch of the node's topology.
    pub epoch: u64,
    /// When the answering node drew it, in milliseconds since 1970 by its wall clock.
    #[serde(default)]
    pub at_ms: u64,
    /// The name of the control group's leader, if a majority of the voters follows it.
    pub leader: Option<String>,
    /// The voters of the control group whose stores may forget a vote when their machine stops, or
    /// have done so. A forgotten vote can elect two leaders in one term.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volatile_voters: Vec<String>,
    /// How far the voters of the control group agree.
    #[serde(default)]
    pub control: ControlView,
    /// All admitted nodes.
    pub nodes: Vec<NodeStatus>,
    /// All keyspaces.
    pub keyspaces: Vec<KeyspaceStatus>,
    /// Whether the control group has a leader, and the default levels of every keyspace can be met
    /// from every datacenter that answers.
    #[serde(default)]
    pub ready: bool,
    /// Whether every replica of every partition was asked, and has the same context and the same
    /// digest as the others.
    pub converged: bool,
}

/// How far the voters of the control group agree on who leads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlView {
    /// The highest term that a voter has told.
    pub term: u64,
    /// How many voters there are.
    pub voters: u32,
    /// How many of them answered.
    pub answering: u32,
    /// How many of them follow the leader of that term; 0 if no voter knows one.
    pub following: u32,
}

/// One admitted node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The name that the operator gave it.
    pub name: String,
    /// Its number, which the logs of other nodes may use.
    #[serde(default)]
    pub number: u64,
    /// Its datacenter.
    pub datacenter: String,
    /// Its rack.
    pub rack: String,
    /// Where other nodes reach it over QUIC.
    #[serde(default)]
    pub address: String,
    /// The version of the program that it runs; `None` if it did not answer.
    #[serde(default)]
    pub version: Option<String>,
    /// How the answering node sees it.
    pub state: NodeState,
    /// Since when the answering node cannot reach it, in milliseconds since 1970.
    #[serde(default)]
    pub down_since: Option<u64>,
    /// Whether it votes in the control group.
    #[serde(default)]
    pub voter: bool,
    /// Whether it is being removed.
    #[serde(default)]
    pub leaving: bool,
    /// How many partitions it holds or is being given, over all keyspaces.
    #[serde(default)]
    pub partitions: u32,
    /// The smoothed round trip from the answering node to it, in microseconds; absent for the
    /// answering node itself, and while there is no connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u64>,
    /// Its disk and its memory; absent if it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// By how many milliseconds its wall clock is ahead of what the answering node considers right
    /// (negative: behind); absent while it has not been compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
}

/// What a node uses, and how much it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Bytes of its store.
    pub store_bytes: u64,
    /// Bytes that are free on the device of its data directory; `None` if it has none.
    pub free_bytes: Option<u64>,
    /// Bytes of memory that its process keeps resident; `None` where that cannot be read.
    pub memory_bytes: Option<u64>,
    /// Requests of its clients that it answered per second, over the last five seconds.
    pub requests_per_s: u64,
}

/// How a node is seen by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It answers probes.
    Alive,
    /// It has missed probes and has not refuted the suspicion yet.
    Suspect,
    /// It is considered unreachable.
    Down,
}

/// One keyspace, summed up over all its partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyspaceStatus {
    /// Its name.
    pub name: String,
    /// The number of its partitions.
    pub partitions: u32,
    /// How many replicas each datacenter holds.
    pub replication: BTreeMap<String, u8>,
    /// Which levels requests have that name none.
    #[serde(default)]
    pub defaults: Defaults,
    /// Live rows, each counted once however many replicas hold it.
    pub rows: u64,
    /// Events that some replica still keeps because it does not know that all primaries have them.
    pub recent: u64,
    /// Ranges in which some replica waits for events that it knows to be overwritten; 0 in the
    /// steady state.
    pub residuals: u64,
    /// Whether all replicas of each partition have the same causal context; false when one could
    /// not be asked.
    pub contexts_equal: bool,
    /// Whether all replicas of each partition have the same digest of live rows; false when one
    /// could not be asked.
    pub digests_equal: bool,
    /// Its partitions that move; `None` if none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Moving>,
    /// Which nodes do not have what they should hold.
    #[serde(default)]
    pub lacking: Vec<Lacking>,
    /// Which levels can be met now, from each datacenter that answers.
    #[serde(default)]
    pub levels: Vec<Levels>,
}

/// The levels of requests that name none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defaults {
    /// Of reads.
    pub read: String,
    /// Of writes.
    pub write: String,
    /// The fewest replicas that have a write when it is acknowledged at that level. With 1, the
    /// loss of one node can lose it.
    pub copies: u32,
}

/// The partitions of a keyspace that are on their way to other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    /// How many move.
    pub partitions: u32,
    /// How many of these are being copied; the others are switching over.
    pub copying: u32,
    /// The nodes that the moves wait for.
    pub waiting_for: Vec<Waiting>,
}

/// A node that moves wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its name.
    pub node: String,
    /// How many moving partitions wait for it.
    pub partitions: u32,
    /// What it has yet to do.
    pub reason: WaitReason,
}

/// Why a move waits for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// It does not answer.
    Silent,
    /// It is being filled.
    Filling,
    /// It has everything, and its report is on its way to the control group.
    Reporting,
}

/// A node that does not have what it should hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacking {
    /// Its name.
    pub node: String,
    /// In how many partitions.
    pub partitions: u32,
    /// In which way.
    pub reason: LackReason,
}

/// In which way a replica is not like the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LackReason {
    /// Its node does not answer.
    Silent,
    /// It does not exist yet.
    Absent,
    /// It is being filled, and is not read.
    Filling,
    /// It differs from replicas that have seen the same, and no majority agrees with it.
    Quarantined,
    /// It has not seen the same events as the others.
    Behind,
}

/// Which levels requests of one datacenter's clients can have now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Levels {
    /// Where the clients are.
    pub datacenter: String,
    /// The levels at which every key can be read.
    pub read: Vec<String>,
    /// The levels at which every key can be written.
    pub write: Vec<String>,
    /// The levels that the placement allows and that cannot be met now.
    pub unmet: Vec<Unmet>,
}

/// A level that cannot be met now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    /// The level.
    pub level: String,
    /// Whether reads or writes cannot have it.
    pub access: AccessKind,
    /// In how many partitions.
    pub partitions: u32,
    /// Replicas that it needs, in the partition that lacks most.
    pub required: u32,
    /// Replicas that can answer there.
    pub answering: u32,
    /// The nodes that it waits for, over all partitions.
    pub missing: Vec<String>,
}

/// What a client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessKind {
    /// To read.
    Read,
    /// To write.
    Write,
}

impl Status {
    /// The document in its JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("invariant: the document is a tree of texts and numbers")
    }

    /// Sets `converged` to what the keyspaces say, and `ready` to what they and the control group
    /// say.
    #[must_use]
    pub fn concluded(mut self) -> Self {
        let (mut converged, mut ready) = (true, self.leader.is_some());
        for keyspace in &self.keyspaces {
            converged &= keyspace.contexts_equal && keyspace.digests_equal;
            ready &= keyspace.defaults_unmet().next().is_none();
        }
        (self.converged, self.ready) = (converged, ready);
        self
    }
}

impl KeyspaceStatus {
    /// The default levels that cannot be met now, and from where.
    pub fn defaults_unmet(&self) -> impl Iterator<Item = (&Levels, &Unmet)> {
        let is_default = |unmet: &Unmet| {
            unmet.level
                == *match unmet.access {
                    AccessKind::Read => &self.defaults.read,
                    AccessKind::Write => &self.defaults.write,
                }
        };
        self.levels.iter().flat_map(move |levels| {
            let unmet = levels.unmet.iter().filter(move |unmet| is_default(unmet));
            unmet.map(move |unmet| (levels, unmet))
        })
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Down => "down",
        })
    }
}
