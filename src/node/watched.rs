//! What a shard keeps, shown to whoever looks over its shoulder: the simulator does, at every turn.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quorate_control::topology::Epoch;
use quorate_dynamo::Kept;
use quorate_gossip::wire;
use serde::{Deserialize, Serialize};

use super::shard::{Inbox, Shard};

/// How much may wait in the driver of a shard, in bytes. Real nodes take the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queues {
    /// Once so much waits for a shard, further messages are dropped, as the network may do, and
    /// further requests refused. What comes before may itself be longer, or a long message would
    /// never arrive.
    pub inbox_bytes_max: usize,
    /// Once so much of a shard waits for the disk, nothing more is begun. Default: seconds of a
    /// busy network (guess).
    pub unsynced_bytes_max: usize,
    /// The longest message that is sent to another node.
    pub message_bytes_max: usize,
    /// Once a turn of a shard has brought about so much that is to be sent, it ends: what leaves is
    /// built before the next begins. Default 4 MiB (guess: as much as it takes in).
    pub turn_bytes_max: usize,
    /// Once so much waits to be sent to a node, its questions wait. Default 16 MiB (guess: a
    /// quarter of an outbox, so that what is short still finds room, and tens of milliseconds of a
    /// fast network).
    pub peer_bytes_max: usize,
}

impl Default for Queues {
    fn default() -> Self {
        let bytes = 64 * 1024 * 1024;
        Self {
            inbox_bytes_max: bytes,
            unsynced_bytes_max: bytes,
            message_bytes_max: wire::MESSAGE_BYTES_MAX,
            turn_bytes_max: 4 * 1024 * 1024,
            peer_bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// Looks over the shoulders of a node's shards. Nothing of the node depends on it.
pub trait Onlooker: Send + Sync + 'static {
    /// The shard of this number acts on this topology from now on.
    fn acts(&self, core: u8, epoch: Epoch);

    /// The shard of this number keeps so much.
    fn keeps(&self, core: u8, kept: &[Kept]);
}

/// An onlooker, and the number of the shard that it looks at.
pub(super) type Watched = Option<(u8, Arc<dyn Onlooker>)>;

/// Each kind of [`Timer`](quorate_dynamo::protocol::Timer): none runs twice.
const TIMERS_MAX: usize = 4;

impl Shard {
    /// A topology has come.
    pub(super) fn show_topology(&self, epoch: Epoch) {
        if let Some((core, onlooker)) = &self.around.watched {
            onlooker.acts(*core, epoch);
        }
    }

    /// What is remembered for others is within its bounds after each tick.
    pub(super) fn show_tick(&self) {
        if let Some((core, onlooker)) = &self.around.watched {
            onlooker.keeps(*core, &self.dynamo.kept(true));
        }
    }

    /// All else is after each turn; `more`: of the works that it has taken, some are left.
    pub(super) fn show_turn(&mut self, inbox: &Inbox, more: bool) {
        let Some((core, onlooker)) = &self.around.watched else {
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
        onlooker.keeps(*core, &kept);
    }
}
