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

/// The state of all healing at one core.
#[derive(Debug, Default)]
pub(super) struct Healing {
    pub(super) ticks: u64,
    /// What each node was last told about each replica: the number of events seen, the placement,
    /// and whether it was being filled or partial.
    pub(super) told: BTreeMap<(NodeId, At), (u64, Epoch, bool, bool)>,
    /// Streams to this node, by partition.
    pub(super) pulls: BTreeMap<At, Pull>,
    /// What replicas lack that is not being streamed to them.
    pub(super) wants: BTreeMap<At, Want>,
    /// The tick at which each node last answered a question about missed events.
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

    /// Conversations in progress.
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
    /// The range that is streamed.
    pub(super) range: Range,
    /// How the stream mends the replica; `None` if it only fills it.
    pub(super) mends: Option<Mend>,
    /// The replica that is streamed, and its context at the start.
    pub(super) from: Option<(ReplicaId, CausalContext)>,
    pub(super) after: Option<Cut>,
    pub(super) asked_at: Duration,
    /// When the last piece came or, before the first, when the stream began.
    pub(super) moved_at: Duration,
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
