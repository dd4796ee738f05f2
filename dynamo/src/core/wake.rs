//! Asks the other holders, when a node starts, whether its disk is up to date. It may be an older
//! one: a restored backup, a snapshot of the machine, a disk that lied about a sync. Nothing on the
//! disk shows that. Only the others know, from what they have heard of the node's former lives.
//!
//! **Waking.** Until they have answered, a replica is *waking*: it takes and executes writes and
//! answers `ONE`, but lets everything else wait and counts in no majority. Its reports ask the
//! question, and each holder answers with what the former lives had reported ([`Message::Former`]).
//! A replica that lacks some of that has lost part of its memory, and is filled as if it had lost
//! everything.
//!
//! It asks at each tick and wakes when all reachable holders have answered, or after a second: a
//! starting node must not wait long for a node whose absence nobody has noticed yet.

use std::time::Duration;

use quorate_crdt::{CausalContext, NodeId, Now, ReplicaId};

use super::Dynamo;
use super::flight::Until;
use crate::protocol::{Effect, Message, Place, Seen};
use crate::seen::At;

/// How long a replica waits for holders that do not answer. Guess: many round trips.
const PATIENCE: Duration = Duration::from_secs(1);

/// The answer to a waking replica.
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
        self.healing.waking.contains(place.at())
    }

    /// Another holder tells what it had heard of a replica's former lives.
    pub(super) fn on_former(
        &mut self,
        now: Now,
        from: NodeId,
        place: Place,
        replica: ReplicaId,
        events: &CausalContext,
        effects: &mut Vec<Effect>,
    ) {
        let at = place.at();
        let is_other = self.others(at).contains(&from);
        let Some(held) = self
            .replicas
            .get_mut(&at)
            .filter(|held| is_other && held.id() == replica)
        else {
            return;
        };
        if held.hear_of_former_lives(events) {
            self.dirty.insert(at);
        }
        if let Some(told) = self.healing.waking.told.get_mut(&at) {
            told.insert(from);
            self.wake(now, effects);
        }
    }

    /// Wakes the replicas that have heard from all reachable holders, or have waited long enough.
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
