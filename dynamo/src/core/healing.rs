//! What a core remembers about healing its replicas: what is streamed to them, what they lack, who
//! is asked for it, what is kept for others, and whose memory is still unconfirmed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_control::topology::Epoch;
use quorate_crdt::{CausalContext, NodeId, ReplicaId};

use super::hints::Hints;
use super::places::At;
use crate::planted;
use crate::protocol::StreamId;
use crate::replica::{Cut, Mend, Range};

/// Conversations of one core at the same time. Guess: their answers of about 2 MiB each fit into a
/// shard's inbox twice.
pub(super) const TALKS_AT_ONCE: usize = 16;

/// State of the healings of one core.
#[derive(Debug, Default)]
pub(super) struct Healing {
    pub(super) ticks: u64,
    /// What each node was last told of each replica: events seen, placement, whether it was being
    /// filled and partial.
    pub(super) told: BTreeMap<(NodeId, At), (u64, Epoch, bool, bool)>,
    /// Partitions being streamed to this node.
    pub(super) pulls: BTreeMap<At, Pull>,
    /// What replicas lack that is not streamed to them.
    pub(super) wants: BTreeMap<At, Want>,
    /// The tick at which each node last answered a question about what was missed.
    pub(super) helped_at: BTreeMap<NodeId, u64>,
    /// The number of the last stream or conversation.
    pub(super) streams: u64,
    /// What is kept for absent primaries.
    pub(super) hints: Hints,
    /// Replicas whose memory nobody has confirmed yet.
    pub(super) waking: Waking,
}

impl Healing {
    pub(super) fn forget_told(&mut self, node: NodeId) {
        self.told.retain(|(held, _), _| *held != node);
    }

    /// A replica has gone: nothing is streamed to it, and nobody has been told of it.
    pub(super) fn forget_place(&mut self, at: At) {
        self.pulls.remove(&at);
        self.waking.forget(at);
        self.wants.remove(&at);
        self.told.retain(|(_, held), _| *held != at);
    }

    /// Conversations under way.
    pub(super) fn talks(&self) -> usize {
        self.wants
            .values()
            .filter(|want| want.talk.is_some())
            .count()
    }
}

/// A stream to this node.
#[derive(Debug)]
pub(super) struct Pull {
    pub(super) stream: StreamId,
    pub(super) source: NodeId,
    /// What is streamed.
    pub(super) range: Range,
    /// Whether what is streamed replaces what is here.
    pub(super) mends: Option<Mend>,
    /// The replica that is streamed, and what it had seen at the start.
    pub(super) from: Option<(ReplicaId, CausalContext)>,
    pub(super) after: Option<Cut>,
    pub(super) asked_at: Duration,
    /// When the last piece came, or the first was asked for.
    pub(super) moved_at: Duration,
}

/// What one replica lacks, and what it does about it.
#[derive(Debug, Default)]
pub(super) struct Want {
    /// What was lacking when that was noted last.
    pub(super) noted: CausalContext,
    pub(super) noted_at: Duration,
    /// What was lacking at two times so far apart that it would have come if it were on its way.
    pub(super) overdue: CausalContext,
    /// Whom of the helpers was asked last: the next one is asked next.
    pub(super) last: Option<NodeId>,
    /// Who has said that it does not remember one by one what is asked for.
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
    /// When they wake, whoever has answered by then; `None`: nobody has been asked yet.
    pub(super) until: Option<Duration>,
    /// Who has told each what it had known.
    pub(super) told: BTreeMap<At, BTreeSet<NodeId>>,
}

impl Waking {
    /// A replica has been taken up from disk.
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
