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
}

impl Default for Queues {
    fn default() -> Self {
        let bytes = 64 * 1024 * 1024;
        Self {
            inbox_bytes_max: bytes,
            unsynced_bytes_max: bytes,
            message_bytes_max: wire::MESSAGE_BYTES_MAX,
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

    /// All else is after each turn.
    pub(super) fn show_turn(&mut self, inbox: &Inbox) {
        let Some((core, onlooker)) = &self.around.watched else {
            return;
        };
        let mut kept = self.dynamo.kept(false);
        let unread = if inbox.receiver.is_empty() {
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
                self.around.queues.unsynced_bytes_max,
            ),
        ]);
        onlooker.keeps(*core, &kept);
    }
}
