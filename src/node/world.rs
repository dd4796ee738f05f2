//! What a node is given before it starts: the [`World`] it stands on, and its [`Settings`].
//!
//! A real node stands on the operating system and a data directory, a simulated one on virtual time
//! and a simulated disk. Everything above this file is the same for both. Only the network comes
//! later, because it can listen only when there is something to deliver to.

use std::fmt;
use std::sync::Arc;

use prometheus_client::metrics::histogram::Histogram;
use quorate_control::consensus::ConsensusConfig;
use quorate_control::store::{Commit, Store, StoreError};
use quorate_control::topology::Epoch;
use quorate_crdt::NodeId;
use quorate_dynamo::Kept;
use quorate_dynamo::protocol::Config;
use quorate_gossip::membership;
use quorate_gossip::wire;
use serde::{Deserialize, Serialize};

use super::clock::Clock;
use crate::process::ProcessFigures;
use crate::store::{Life, Lives};

/// Time, disk and chance: everything that the simulator replaces, but for the network.
#[derive(Clone)]
pub(crate) struct World {
    /// The monotonic clock and the wall clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// Where the node keeps its data.
    pub(crate) store: Arc<dyn Store>,
    /// Makes durable what `store` has been given.
    pub(crate) commit: Arc<dyn Commit>,
    /// Free space and failures of the disk under `store`.
    pub(crate) gauge: Arc<dyn DiskGauge>,
    /// Sees what the shards keep; real nodes have none.
    pub(crate) onlooker: Option<Arc<dyn Onlooker>>,
    /// Every random choice of the node follows from it. It must differ at every start: it also
    /// tells this life of the node from all others.
    pub(crate) seed: u64,
}

impl World {
    /// Begins a life on the store. One call per start, before anybody is told anything.
    ///
    /// # Errors
    /// [`StoreError`]; then the node must not serve.
    pub(super) fn begin_life(&self) -> Result<(Life, Lives), StoreError> {
        Lives::begin(
            Arc::clone(&self.store),
            self.seed.rotate_left(29),
            self.clock.now().unix_millis,
        )
    }

    /// What this life calls itself in the questions of its cores.
    pub(super) fn life_name(&self) -> u64 {
        self.seed.rotate_left(41)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// How a node is set.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Its number in the cluster.
    pub(crate) node: NodeId,
    /// Whether the cluster knows it from an earlier life. A node that comes back confirms its clock
    /// and its data with the others before it relies on them.
    pub(crate) restarted: bool,
    /// Number of shards; at least 1.
    pub(crate) cores: u8,
    /// Bounds of what waits in the driver of a shard.
    pub(crate) queues: Queues,
    /// The data plane.
    pub(crate) data: Config,
    /// Elections of the control group.
    pub(crate) consensus: ConsensusConfig,
    /// Failure detection. `None` means as the measured round trips ask for.
    pub(crate) gossip: Option<membership::Config>,
}

/// Bounds of what waits in the driver of a shard, in bytes. Real nodes take the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queues {
    /// Once this much waits for a shard, further messages are dropped, as the network may do, and
    /// further requests are refused. The bound counts what already waits, so a message longer than
    /// the bound still gets in when there is room.
    pub inbox_bytes_max: usize,
    /// Once this much of a shard waits for the disk, the shard begins nothing new. Default: what a
    /// busy network sends in some seconds (guess).
    pub unsynced_bytes_max: usize,
    /// The longest message that is sent to another node.
    pub message_bytes_max: usize,
    /// Once a turn of a shard has produced this much to send, it ends: what leaves is built before
    /// the next turn begins. Default 4 MiB (guess: as much as a turn takes in).
    pub turn_bytes_max: usize,
    /// Once this much waits to be sent to a node, the questions of that node wait. Default 16 MiB
    /// (guess: a quarter of an outbox, so that short messages still find room, and tens of
    /// milliseconds of a fast network).
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

/// The node's disk as seen from outside the store, and its process.
pub(crate) trait DiskGauge: Send + Sync + 'static {
    /// Bytes that can still be written; `None` if that is unknown or unbounded.
    fn free_bytes(&self) -> Option<u64>;

    /// Commits requested and synchronisations made since the start.
    fn commits_and_syncs(&self) -> (u64, u64);

    /// The failure after which nothing may be acknowledged, even if nobody has asked for a commit
    /// since.
    fn failure(&self) -> Option<Arc<StoreError>> {
        None
    }

    /// How long each synchronisation took.
    fn sync_seconds(&self) -> Option<Histogram> {
        None
    }

    /// What the process uses. A simulated node has no process of its own.
    fn process(&self) -> Option<ProcessFigures> {
        None
    }
}

/// Is shown what the shards of a node keep. Nothing in the node depends on it; the simulator checks
/// bounds with it.
pub(crate) trait Onlooker: Send + Sync + 'static {
    /// Shard `core` acts on the topology of `epoch` from now on.
    fn acts(&self, core: u8, epoch: Epoch);

    /// Shard `core` keeps this much now.
    fn keeps(&self, core: u8, kept: &[Kept]);
}

/// An onlooker and the number of the shard that it looks at.
pub(super) struct Watched {
    pub(super) core: u8,
    pub(super) onlooker: Arc<dyn Onlooker>,
}
