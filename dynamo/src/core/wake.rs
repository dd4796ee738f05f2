//! A node that starts again may stand on an older disk than it had: a restored backup, a snapshot
//! of the machine, a disk that lied about a sync. Nothing on that disk says so. Only the others
//! know, by what they have heard of its former lives; so it asks them, by speaking, before its
//! replicas count in a majority. Until then a replica is *waking*: it takes and executes writes,
//! answers `ONE`, and leaves the rest waiting.
//!
//! Whoever hears a waking replica answers with what its former lives had said
//! ([`Message::Former`]). One that lacks some of it has lost part of its memory, and is filled as
//! one that has lost all. It speaks at each tick until all have answered that can be reached, and
//! wakes then, or after a second: a node that starts must not wait long for one that nobody has
//! noticed to be gone.

use std::time::Duration;

use quorate_crdt::{CausalContext, NodeId, Now, ReplicaId};

use super::Dynamo;
use super::flight::Until;
use super::places::At;
use crate::protocol::{Effect, Message, Place, Seen};

/// After so long a replica no longer waits for those that have not answered. Guess: many round
/// trips.
const PATIENCE: Duration = Duration::from_secs(1);

/// What `to` is told when its replica asks what its former lives had said.
pub(super) fn former_lives(to: NodeId, seen: &Seen, events: CausalContext) -> Effect {
    Effect::Send {
        to,
        message: Message::Former {
            place: seen.place,
            replica: seen.replica,
            events,
        },
    }
}

impl Dynamo {
    /// Whether nobody has confirmed yet that the replica has all that it had.
    pub(super) fn is_waking(&self, place: Place) -> bool {
        self.healing
            .waking
            .contains((place.keyspace, place.partition))
    }

    /// Another holder tells what it had heard of the former lives of a replica.
    pub(super) fn on_former(
        &mut self,
        now: Now,
        from: NodeId,
        place: Place,
        replica: ReplicaId,
        events: &CausalContext,
        effects: &mut Vec<Effect>,
    ) {
        let at = (place.keyspace, place.partition);
        let is_other = self.others(at).contains(&from);
        let Some(held) = self
            .replicas
            .get_mut(&at)
            .filter(|held| is_other && held.id() == replica)
        else {
            return;
        };
        if !held.filling() && !held.context().covers(events) {
            held.start_filling();
            self.dirty.insert(at);
        }
        if let Some(told) = self.healing.waking.told.get_mut(&at) {
            told.insert(from);
            self.wake(now, effects);
        }
    }

    /// Wakes the replicas that have waited for all that can be reached, or long enough.
    pub(super) fn wake(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let until = *self
            .healing
            .waking
            .until
            .get_or_insert(now.monotonic + PATIENCE);
        let waits = |at: At| {
            self.others(at)
                .iter()
                .any(|node| self.routes.reachable(*node) && self.healing.waking.awaits(at, *node))
        };
        let awake: Vec<At> = self
            .healing
            .waking
            .told
            .keys()
            .copied()
            .filter(|at| now.monotonic >= until || !waits(*at))
            .collect();
        for at in awake {
            self.healing.waking.forget(at);
            self.unpark(now, |until| *until == Until::Awake(at), effects);
        }
    }
}
