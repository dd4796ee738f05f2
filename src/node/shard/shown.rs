//! What a shard shows its [`Onlooker`](super::super::world::Onlooker) at every turn.

use std::sync::atomic::Ordering;

use quorate_control::topology::Epoch;
use quorate_dynamo::Kept;

use super::super::inbox::Inbox;
use super::Shard;

/// Each kind of [`Timer`](quorate_dynamo::protocol::Timer): none runs twice.
const TIMERS_MAX: usize = 4;

impl Shard {
    /// After a topology has come.
    pub(super) fn show_topology(&self, epoch: Epoch) {
        if let Some(watched) = &self.around.watched {
            watched.onlooker.acts(watched.core, epoch);
        }
    }

    /// After a tick, which is when the bounds of what is kept for other nodes hold.
    pub(super) fn show_tick(&self) {
        if let Some(watched) = &self.around.watched {
            watched
                .onlooker
                .keeps(watched.core, &self.dynamo.kept(true));
        }
    }

    /// After a turn, which is when all other bounds hold. `more` says that some of the works that
    /// were taken are left.
    pub(super) fn show_turn(&mut self, inbox: &Inbox, more: bool) {
        let Some(watched) = &self.around.watched else {
            return;
        };
        let mut kept = self.dynamo.kept(false);
        let queues = self.around.queues;
        let unread = if inbox.receiver.is_empty() && !more {
            inbox.bytes.load(Ordering::Relaxed)
        } else {
            0
        };
        kept.extend([
            Kept::passing(
                "clients that wait for their answer",
                self.waiters.len(),
                self.dynamo.asked(),
            ),
            Kept::lasting("timers", self.timers.len(), TIMERS_MAX),
            Kept::lasting("bytes of an empty inbox", unread, 0),
            Kept::passing(
                "bytes that wait for the disk",
                self.commits.bytes_before_last(),
                queues.unsynced_bytes_max,
            ),
            Kept::lasting(
                "bytes that a turn brings about before the last of its works",
                self.pace.made_before_last,
                queues.turn_bytes_max,
            ),
            Kept::passing(
                "bytes of questions in the longest line before the last",
                self.lines.longest(),
                queues.peer_bytes_max,
            ),
            Kept::lasting(
                "questions answered for a node that has too much to take",
                self.pace.overfed,
                0,
            ),
        ]);
        watched.onlooker.keeps(watched.core, &kept);
    }
}
