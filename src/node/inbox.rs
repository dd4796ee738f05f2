//! What a shard is given to do, and the line in which it waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::{KeyspaceId, Partition};
use quorate_crdt::NodeId;
use quorate_dynamo::op::{Answer, Receipt, Request, RequestError};
use quorate_dynamo::protocol::{Input, Message, ReplicaSummary};
use quorate_dynamo::{Counters, KeyView};
use tokio::sync::{mpsc, oneshot};

use super::adopted::Adopted;
use super::meter::Sample;
use crate::doors::Room;

/// How many works may wait for a shard. Beyond it requests are refused and messages dropped.
pub(super) const INBOX_MAX: usize = 32 * 1024;

/// What a shard is given to do.
#[derive(Debug)]
pub(super) enum Work {
    /// A client's request.
    Request(Box<Request>, Waiter),
    /// A client waits for its writes to spread.
    Wait {
        receipts: Vec<Receipt>,
        replicas: u32,
        timeout: Duration,
        answer: oneshot::Sender<u32>,
    },
    /// Messages from another node, and the bytes that they took on the wire.
    Messages(NodeId, Vec<Message>, usize),
    /// The topology to act on from now on; it says what the core owns.
    Topology(Adopted),
    /// News of the world.
    Sight(Sight),
    /// Asks for the figures of all replicas.
    Summaries(oneshot::Sender<Figures>),
    /// Asks what the replica there holds of a key.
    Explain {
        at: (KeyspaceId, Partition),
        key: Bytes,
        answer: oneshot::Sender<Option<KeyView>>,
    },
    /// Refuse new requests, finish those under way, and end; the answer comes when everything is
    /// released.
    Stop(oneshot::Sender<()>),
}

impl Work {
    /// Bytes that it takes while it waits. Only what clients and other nodes send is counted.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Request(request, _) => request.op.weight(),
            Self::Messages(_, _, bytes) => *bytes,
            _ => 0,
        }
    }
}

/// News of the world for a shard. It never says what the shard owns: only a topology does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sight {
    /// Whether another node can be reached.
    Reachable { node: NodeId, up: bool },
    /// The round trip to another node.
    RoundTrip { node: NodeId, rtt: Duration },
    /// Whether the disk has no room for writes.
    DiskFull(bool),
    /// The oldest fencing token that may be held.
    Floor(u64),
}

impl From<Sight> for Input {
    fn from(sight: Sight) -> Self {
        match sight {
            Sight::Reachable { node, up } => Self::Reachable { node, up },
            Sight::RoundTrip { node, rtt } => Self::RoundTrip { node, rtt },
            Sight::DiskFull(full) => Self::DiskFull(full),
            Sight::Floor(floor) => Self::Floor(floor),
        }
    }
}

/// What a core says about itself.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) summaries: Vec<ReplicaSummary>,
    pub(super) counters: Counters,
    /// How many milliseconds the clock of each node is ahead; negative if it is behind.
    pub(super) clocks: BTreeMap<NodeId, i64>,
}

/// A client that waits for the reply to a request.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) reply: oneshot::Sender<Result<Answer, RequestError>>,
    pub(super) sample: Sample,
    /// Where the answer counts until the client's task takes it.
    pub(super) room: Option<Arc<Room>>,
    /// The request only reads: nothing is lost if its answer is not given.
    pub(super) reads: bool,
}

impl Waiter {
    /// What the client is told, once there is room for it. Without room a read is refused.
    pub(super) fn admit(
        &self,
        mut result: Result<Answer, RequestError>,
    ) -> Result<Answer, RequestError> {
        let Some(room) = &self.room else {
            return result;
        };
        if let Ok(answer) = &result {
            let bytes = answer.reply.weight();
            if !self.reads {
                room.add(bytes);
            } else if !room.try_add(bytes) {
                result = Err(RequestError::Overloaded);
            }
        }
        if self.reads && result == Err(RequestError::Overloaded) {
            room.refuse();
        }
        result
    }
}

/// The way into a shard. Cheap to use from any thread.
#[derive(Debug)]
pub(super) struct Lane {
    sender: mpsc::Sender<Work>,
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl Lane {
    /// A lane in which `bytes_max` bytes may wait, and the shard's end of it.
    pub(super) fn new(bytes_max: usize) -> (Self, Inbox) {
        let (sender, receiver) = mpsc::channel(INBOX_MAX);
        let bytes = Arc::new(AtomicUsize::new(0));
        (
            Self {
                sender,
                bytes: Arc::clone(&bytes),
                bytes_max,
            },
            Inbox { receiver, bytes },
        )
    }

    /// Puts `work` in line, or gives it back if the line is full or the shard is gone.
    pub(super) fn push(&self, work: Work) -> Result<(), mpsc::error::TrySendError<Work>> {
        let bytes = work.bytes();
        if bytes > 0 && self.bytes.fetch_add(bytes, Ordering::Relaxed) >= self.bytes_max {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(mpsc::error::TrySendError::Full(work));
        }
        self.sender.try_send(work).inspect_err(|_| {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        })
    }

    /// Puts `work` in line and waits for room if it must: for what may not be lost. Returns false
    /// if the shard is gone.
    pub(super) async fn push_surely(&self, work: Work) -> bool {
        self.sender.send(work).await.is_ok()
    }
}

/// The shard's end of a [`Lane`].
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) receiver: mpsc::Receiver<Work>,
    pub(super) bytes: Arc<AtomicUsize>,
}
