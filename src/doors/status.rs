//! The document behind `quorate status` and `GET /v1/status`: what the answering node knows about
//! its cluster.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::table::Table;

#[cfg(test)]
mod tests;

/// The cluster as one node sees it. Its JSON form is stable, because scripts read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster's id, 32 hexadecimal digits.
    pub cluster: String,
    /// The epoch of the node's topology.
    pub epoch: u64,
    /// The name of the control group's leader; `None` while the node knows none.
    pub leader: Option<String>,
    /// The voters of the control group whose stores may forget a vote when their machine, or with
    /// `--storage memory` their process, stops, or have done so. A forgotten vote can elect two
    /// leaders in one term.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volatile_voters: Vec<String>,
    /// All admitted nodes.
    pub nodes: Vec<NodeStatus>,
    /// All keyspaces.
    pub keyspaces: Vec<KeyspaceStatus>,
    /// Whether every replica of every partition was asked, and has the same context and the same
    /// digest as the others.
    pub converged: bool,
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
    /// How the answering node sees it.
    pub state: NodeState,
    /// By how many milliseconds its wall clock is ahead of what the answering node considers right
    /// (negative: behind); absent while it has not been compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
}

/// A clock that is off by more than this is named in the form for people. Equals the bound within
/// which stamps are believed: `Config::drift_max`.
const CLOCK_OFF_MS: u64 = 500;

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyspaceStatus {
    /// Its name.
    pub name: String,
    /// The number of its partitions.
    pub partitions: u32,
    /// How many replicas each datacenter holds.
    pub replication: BTreeMap<String, u8>,
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
}

impl Status {
    /// The document in its JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("invariant: the document is a tree of texts and numbers")
    }

    /// Sets `converged` to what the keyspaces say.
    #[must_use]
    pub fn concluded(mut self) -> Self {
        self.converged = self
            .keyspaces
            .iter()
            .all(|keyspace| keyspace.contexts_equal && keyspace.digests_equal);
        self
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

/// The form for people: a summary, then the nodes, then the keyspaces.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alive = self
            .nodes
            .iter()
            .filter(|node| node.state == NodeState::Alive)
            .count();
        writeln!(f, "cluster    {}", self.cluster)?;
        writeln!(f, "epoch      {}", self.epoch)?;
        writeln!(
            f,
            "leader     {}",
            self.leader
                .as_deref()
                .unwrap_or("none: this node sees no quorum of the control group")
        )?;
        if !self.volatile_voters.is_empty() {
            writeln!(
                f,
                "votes      may be forgotten by {}: sled, memory or an older copy of a disk keeps no promise; let nodes with --storage fjall join or replace them",
                self.volatile_voters.join(", ")
            )?;
        }
        writeln!(f, "nodes      {alive} of {} alive", self.nodes.len())?;
        writeln!(
            f,
            "converged  {}",
            if self.converged { "yes" } else { "no" }
        )?;
        for (node, offset) in self
            .nodes
            .iter()
            .filter_map(|node| Some((node, node.clock_offset_ms?)))
        {
            if offset.unsigned_abs() > CLOCK_OFF_MS {
                let (seconds, millis) =
                    (offset.unsigned_abs() / 1000, offset.unsigned_abs() % 1000);
                let direction = if offset < 0 { "behind" } else { "ahead" };
                writeln!(
                    f,
                    "clock      {} is {seconds}.{millis:03} s {direction}: the node refuses writes that need a stamp until the clock is right",
                    node.name
                )?;
            }
        }
        writeln!(f)?;
        writeln!(f, "{}", self.node_table())?;
        write!(f, "{}", self.keyspace_table())
    }
}

impl Status {
    fn node_table(&self) -> Table {
        let mut table = Table::new(["NODE", "NUMBER", "DATACENTER", "RACK", "STATE"]);
        for node in &self.nodes {
            table.push([
                node.name.clone(),
                node.number.to_string(),
                node.datacenter.clone(),
                node.rack.clone(),
                node.state.to_string(),
            ]);
        }
        table
    }

    fn keyspace_table(&self) -> Table {
        let equal = |equal: bool| if equal { "equal" } else { "DIFFER" }.to_owned();
        let mut table = Table::new([
            "KEYSPACE",
            "PARTITIONS",
            "REPLICATION",
            "ROWS",
            "RECENT",
            "RESIDUALS",
            "CONTEXTS",
            "DIGESTS",
        ]);
        for keyspace in &self.keyspaces {
            let replication: Vec<String> = keyspace
                .replication
                .iter()
                .map(|(dc, count)| format!("{dc}={count}"))
                .collect();
            table.push([
                keyspace.name.clone(),
                keyspace.partitions.to_string(),
                replication.join(","),
                keyspace.rows.to_string(),
                keyspace.recent.to_string(),
                keyspace.residuals.to_string(),
                equal(keyspace.contexts_equal),
                equal(keyspace.digests_equal),
            ]);
        }
        table
    }
}
