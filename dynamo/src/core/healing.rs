//! What a core remembers about healing its replicas: streams to them, what they lack and who is
//! asked for it, hints for others, and replicas whose memory is still unconfirmed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_control::topology::Epoch;
use quorate_crdt::{CausalContext, NodeId, ReplicaId};

use super::hints::Hints;
use crate::planted;
use crate::protocol::StreamId;
use crate::replica::{Cut, Mend, Range};
use crate::seen::At;

/// Conversations of one core at the same time. Guess: answers of about 2 MiB each fit into a
/// shard's inbox twice.
pub(super) const TALKS_AT_ONCE: usize = 16;

/// An answer may queue behind answers about other partitions for this many times as long as one may
/// take that does not. Guess.
const PATIENCE_IN_LINE: u64 = 10;

/// Streams of one core that wait for a piece at the same time; the others wait in line. Guess:
/// pieces of 256 KiB fit into a shard's inbox many times, and a source is never idle.
pub(super) const STREAMS_AT_ONCE: usize = 8;

/// The state of all healing at one core.
#[derive(Debug, Default)]
pub(super) struct Healing {
    pub(super) ticks: u64,
    /// What each node was last told about each replica.
    pub(super) told: BTreeMap<(NodeId, At), Report>,
    /// Streams to this node, by partition.
    pub(super) pulls: BTreeMap<At, Pull>,
    /// What replicas lack that is not being streamed to them.
    pub(super) wants: BTreeMap<At, Want>,
    /// The tick at which each node last answered a question about missed events, or sent a piece
    /// of a stream.
    pub(super) helped_at: BTreeMap<NodeId, u64>,
    /// The number of the last stream or conversation.
    pub(super) streams: u64,
    /// Hints for unreachable primaries.
    pub(super) hints: Hints,
    /// Replicas whose memory nobody has confirmed yet.
    pub(super) waking: Waking,
}

impl Healing {
    pub(super) fn forget_told(&mut self, node: NodeId) {
        self.told.retain(|(held, _), _| *held != node);
    }

    /// Forgets a replica that is gone.
    pub(super) fn forget_place(&mut self, at: At) {
        self.pulls.remove(&at);
        self.waking.forget(at);
        self.wants.remove(&at);
        self.told.retain(|(_, held), _| *held != at);
    }

    /// Streams that wait for a piece.
    pub(super) fn streaming(&self) -> usize {
        let asked = |pull: &&Pull| pull.asked_at.is_some();
        self.pulls.values().filter(asked).count()
    }

    /// The stream that has waited in line for the longest.
    pub(super) fn first_in_line(&self) -> Option<At> {
        let waiting = self
            .pulls
            .iter()
            .filter(|(_, pull)| pull.asked_at.is_none());
        let first = waiting.min_by_key(|(_, pull)| pull.stream.number);
        first.map(|(at, _)| *at)
    }

    /// For how many ticks neither this conversation with `node`, which last moved at `moved_at`,
    /// nor any other conversation or stream with it has moved. An answer may queue behind others,
    /// so it is not late while they come; but not for ever either: a conversation that has been
    /// quiet for [`PATIENCE_IN_LINE`] times as long as `patience` counts as silent, whatever else
    /// comes.
    pub(super) fn is_silent(&self, node: NodeId, moved_at: u64, patience: u64) -> bool {
        let quiet = self.ticks - moved_at;
        let other = self.helped_at.get(&node).copied().unwrap_or(0);
        quiet.min(self.ticks - other) > patience || quiet > patience * PATIENCE_IN_LINE
    }

    /// Conversations in progress.
    pub(super) fn talks(&self) -> usize {
        self.wants
            .values()
            .filter(|want| want.talk.is_some())
            .count()
    }
}

/// What is worth telling others as soon as it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// The number of events seen.
    pub(super) events: u64,
    pub(super) epoch: Epoch,
    pub(super) filling: bool,
    pub(super) partial: bool,
    /// How often the fences were raised; 0 where nothing is fenced.
    pub(super) raised: u64,
}

/// A stream to this node.
#[derive(Debug)]
pub(super) struct Pull {
    pub(super) stream: StreamId,
    pub(super) source: NodeId,
    /// The range that is streamed.
    pub(super) range: Range,
    /// How the stream mends the replica; `None` if it only fills it.
    pub(super) mends: Option<Mend>,
    /// The replica that is streamed, and its context at the start.
    pub(super) from: Option<(ReplicaId, CausalContext)>,
    pub(super) after: Option<Cut>,
    /// The tick at which the next piece was last asked for; `None` while the stream waits in line.
    pub(super) asked_at: Option<u64>,
    /// The tick at which the last piece came or, before the first, was asked for.
    pub(super) moved_at: u64,
}

/// What one replica lacks, and what it does about it.
#[derive(Debug, Default)]
pub(super) struct Want {
    /// What was lacking when this was last noted.
    pub(super) noted: CausalContext,
    pub(super) noted_at: Duration,
    /// What was lacking at two times so far apart that it would have arrived if it were on its way.
    pub(super) overdue: CausalContext,
    /// The helper that was asked last; the next one is asked next.
    pub(super) last: Option<NodeId>,
    /// Helpers that have said they do not remember the missing events one by one.
    pub(super) forgetful: BTreeSet<NodeId>,
    pub(super) talk: Option<Talk>,
    /// How often in a row each helper was asked in vain.
    pub(super) in_vain: BTreeMap<NodeId, u32>,
}

/// A conversation with a helper.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) name: StreamId,
    pub(super) helper: NodeId,
    pub(super) events: CausalContext,
    /// The tick at which it last brought something, or began.
    pub(super) moved_at: u64,
}

/// The replicas of this core that are waking.
#[derive(Debug, Default)]
pub(super) struct Waking {
    /// When they wake, even if answers are missing; `None` if nobody has been asked yet.
    pub(super) until: Option<Duration>,
    /// For each replica, the nodes that have told it what they had heard.
    pub(super) told: BTreeMap<At, BTreeSet<NodeId>>,
}

impl Waking {
    /// A replica has been read from disk.
    pub(super) fn begin(&mut self, at: At) {
        self.told.insert(at, BTreeSet::new());
    }

    pub(super) fn forget(&mut self, at: At) {
        self.told.remove(&at);
    }

    pub(super) fn contains(&self, at: At) -> bool {
        self.told.contains_key(&at) && !planted::WAKES_AT_ONCE.is_planted()
    }

    /// Whether the replica still waits for `node`.
    pub(super) fn awaits(&self, at: At, node: NodeId) -> bool {
        self.told.get(&at).is_some_and(|told| !told.contains(&node))
    }
}
