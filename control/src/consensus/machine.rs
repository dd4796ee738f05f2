//! What a group decides, as its author writes it: a pure machine that is fed with commands.

use std::fmt::Display;
use std::time::Duration;

use quorate_crdt::NodeId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::state::LogIndex;

/// A Raft group of the cluster. Its number stands in every message and every record of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u16);

impl GroupId {
    /// Decides the topology. Every node has a part in it, as a voter or a learner.
    pub const TOPOLOGY: Self = Self(0);
    /// Decides locks, sessions and elections. Its voters are those of the topology group; other
    /// nodes hold none of its state.
    pub const COORDINATION: Self = Self(1);
}

impl Display for GroupId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::TOPOLOGY => f.write_str("topology"),
            Self::COORDINATION => f.write_str("coordination"),
            Self(number) => write!(f, "group-{number}"),
        }
    }
}

/// How fresh the answer to a query must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadLevel {
    /// Everything that was decided before the query began. Any member answers: it asks the leader
    /// up to where the log goes, who asks a majority whether it still leads (Raft dissertation,
    /// §6.4). Queries at the same time share the questions.
    Strong,
    /// As strong, without a round trip to others than the leader, while a majority has answered the
    /// leader within nine tenths of the longest election timeout on a local network; otherwise as
    /// strong. It relies on clocks whose rates differ by less than a tenth.
    Lease,
    /// What the member that answers has applied.
    Stale {
        /// Everything that was decided longer ago than this is in the answer, by the clock of the
        /// member, which does not count the time for which its machine slept. The member shows it
        /// by what it last asked the leader, and asks again if that was earlier. `None`: however
        /// old.
        within: Option<Duration>,
    },
}

/// What a group decides on. [`apply`](Self::apply) and [`pass`](Self::pass) are the only ways to
/// change it.
///
/// **Law:** the state, the outcomes and the events are a function of the calls of these two alone:
/// no clock, no randomness, no iteration over a hash map. All replicas get the same calls in the
/// same order. Reading a state back makes anew what was not written, and refuses a state to which
/// no calls lead.
pub trait Machine: Clone + Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What may be proposed. In words, for logs, it tells no secret.
    type Command: Display + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What comes of a command.
    type Outcome: Serialize + DeserializeOwned + Send + 'static;
    /// What watchers are told of. Not part of the state: a replica that is filled by a snapshot
    /// emits none for what is in it.
    type Event: Clone + Send + 'static;
    /// What may be asked.
    type Query: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What is answered.
    type Answer: Serialize + DeserializeOwned + Send + 'static;
    /// What is published for those who act on it; cheap to clone.
    type Published: Clone + Send + Sync + 'static;

    /// Carries out the command at this position of the log. Positions are strictly increasing; the
    /// first is at least 1.
    fn apply(
        &mut self,
        index: LogIndex,
        command: Self::Command,
        events: &mut Vec<Self::Event>,
    ) -> Self::Outcome;

    /// So many milliseconds have passed since the entry before, by the clock of the leader of
    /// `term`. Called for every entry, before its command, if it has one. Time before the first
    /// call for a term is not counted, and neither is time without a leader. So whatever is timed
    /// by it ends late rather than early, if the first call for a term begins it anew.
    fn pass(
        &mut self,
        _index: LogIndex,
        _term: u64,
        _elapsed_ms: u64,
        _events: &mut Vec<Self::Event>,
    ) {
    }

    /// Whether something in the state waits for time to pass. If not, an idle group writes nothing.
    fn awaits_time(&self) -> bool {
        false
    }

    /// Answers a query from the state as it is.
    fn answer(&self, query: &Self::Query) -> Self::Answer;

    /// How much there is of what, for operators.
    fn figures(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// The only node that may propose the command; `None` if any may.
    fn speaks_for(_command: &Self::Command) -> Option<NodeId> {
        None
    }

    /// What is told to those who act on it, once it is durable.
    fn published(&self) -> Self::Published;

    /// Rises whenever there is something new to publish.
    fn version(_published: &Self::Published) -> u64 {
        0
    }
}
