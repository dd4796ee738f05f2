//! The effects of a shard's turn on their way out: gathered in a [`Release`], sent by the
//! [`Outbox`] once the turn is durable.

use std::sync::Arc;

use bytes::Bytes;
use quorate_control::topology::{Epoch, KeyspaceId, Partition};
use quorate_crdt::NodeId;
use quorate_dynamo::op::{Answer, RequestError};
use quorate_dynamo::protocol::{Message, Purpose, Refusal};
use quorate_gossip::transport::{Class, Transport};
use quorate_gossip::wire::{self, WireError};
use tokio::sync::{mpsc, oneshot};

use super::inbox::Waiter;
use super::meter::Meter;
use crate::planted::{
    OVERSIZE_FRAME_DROPPED, OVERSIZE_QUESTION_FORGOTTEN, OVERSIZE_REPLY_UNANSWERED,
};

/// Messages share a frame of up to about this length. Guess: streams take turns of this size on a
/// connection.
const FRAME_BYTES: usize = 1024 * 1024;
/// A longer message travels alone and is encoded straight into its frame.
pub(super) const ALONE_BYTES: usize = FRAME_BYTES / 2;
/// The most that one turn sends to one node for one purpose. The rest is dropped, as the network
/// may do. It is as much as an outbox takes, so nothing is dropped that would have arrived. Only
/// timers produce this much: they ask again for everything that is late.
const BURST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A planted bug drops longer frames.
const PLANTED_FRAME_BYTES: usize = 4 * 1024;

/// Partitions of a keyspace for which this node has finished the current phase of a move, each with
/// the epoch of that phase.
pub(super) type Report = (KeyspaceId, Vec<(Partition, Epoch)>);

/// The effects of one turn of a shard, sorted by receiver.
#[derive(Default)]
pub(super) struct Release {
    frames: Vec<(NodeId, Purpose, Bytes)>,
    /// Bytes of all frames.
    bytes: usize,
    pub(super) replies: Vec<(Waiter, Result<Answer, RequestError>)>,
    pub(super) waited: Vec<(oneshot::Sender<u32>, u32)>,
    pub(super) reports: Vec<Report>,
    /// What the core is told in place of an answer to a question that is too long to be sent, with
    /// the node that the question was for.
    pub(super) unsent: Vec<(NodeId, Message)>,
}

impl Release {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
            && self.replies.is_empty()
            && self.waited.is_empty()
            && self.reports.is_empty()
    }

    /// Bytes of all its frames.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the messages of one turn for one node and purpose. Short ones share frames and each
    /// long one has its own, so that one frame is built at a time, never all of them together. A
    /// message longer than `max`, which no node accepts, is not sent, and the one that waits for it
    /// is told. Returns how many messages were dropped because the turn sends too much.
    pub(super) fn add_frames(
        &mut self,
        to: NodeId,
        purpose: Purpose,
        messages: &[Message],
        max: usize,
    ) -> usize {
        let (mut rest, before) = (messages, self.bytes);
        while !rest.is_empty() && self.bytes - before < BURST_BYTES_MAX {
            let (together, later) = rest.split_at(fitting(rest));
            self.add_frame(to, purpose, together, max);
            rest = later;
        }
        rest.len()
    }

    /// Makes one frame of these messages.
    fn add_frame(&mut self, to: NodeId, purpose: Purpose, messages: &[Message], max: usize) {
        let frame = match messages {
            [long] if long.weight() > ALONE_BYTES => wire::encode_within(messages, max),
            _ => Ok(wire::encode(messages)),
        };
        let bytes = match frame {
            Ok(frame) if frame.len() <= max => {
                let lost = frame.len() > PLANTED_FRAME_BYTES && OVERSIZE_FRAME_DROPPED.is_planted();
                if !lost {
                    self.push(to, purpose, frame);
                }
                return;
            }
            Ok(frame) => frame.len() as u64,
            Err(WireError::TooLarge { bytes, .. }) => bytes,
            Err(_) => return,
        };
        // Messages may be too long together although none is by itself.
        if let [message] = messages {
            tracing::warn!(node = %to, bytes, "a message that is longer than a node can take was not sent");
            self.refuse(to, purpose, message, bytes, max as u64);
        } else {
            let (first, second) = messages.split_at(messages.len() / 2);
            self.add_frame(to, purpose, first, max);
            self.add_frame(to, purpose, second, max);
        }
    }

    fn push(&mut self, to: NodeId, purpose: Purpose, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push((to, purpose, frame));
    }

    /// Tells the one that waits for a message that is too long. For an answer that is the node that
    /// asked, for a question it is this node's own core. Messages that nobody waits for are short
    /// or are repeated in pieces.
    fn refuse(&mut self, to: NodeId, purpose: Purpose, message: &Message, bytes: u64, max: u64) {
        if let Some(refusal) = refusal(message, bytes, max) {
            self.push(to, purpose, wire::encode::<[Message]>(&[refusal]));
        } else if let Some(id) = message
            .question()
            .filter(|_| !OVERSIZE_QUESTION_FORGOTTEN.is_planted())
        {
            self.unsent.push((
                to,
                Message::Refused {
                    id,
                    reason: Refusal::TooLong { bytes },
                },
            ));
        }
    }
}

/// How many of the messages fit into one frame; at least one.
fn fitting(messages: &[Message]) -> usize {
    let mut bytes = 0;
    let fits = |message: &&Message| {
        bytes += message.weight();
        bytes <= FRAME_BYTES
    };
    messages.iter().take_while(fits).count().max(1)
}

/// The refusal that is sent in place of an answer that is too long.
fn refusal(message: &Message, bytes: u64, max: u64) -> Option<Message> {
    if OVERSIZE_REPLY_UNANSWERED.is_planted() {
        return None;
    }
    match message {
        Message::Forwarded { id, .. } => Some(Message::Forwarded {
            id: *id,
            result: Err(RequestError::TooLarge { bytes, max }),
        }),
        Message::Different { id, .. } => Some(Message::Refused {
            id: *id,
            reason: Refusal::NotServing,
        }),
        _ => None,
    }
}

/// The ways out of a node. It is cheap to clone. The committer's thread uses it, so nothing here
/// blocks.
#[derive(Clone)]
pub(super) struct Outbox {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) reports: mpsc::UnboundedSender<Report>,
    pub(super) meter: Arc<Meter>,
}

impl Outbox {
    /// Sends everything. A frame that the transport refuses is lost, which the protocol repairs; a
    /// reply to a client that has given up is dropped.
    pub(super) fn release(&self, release: Release) {
        for (to, purpose, frame) in release.frames {
            let bytes = frame.len();
            let class = if purpose == Purpose::Request {
                Class::Data
            } else {
                Class::Repair
            };
            let taken = self.transport.send(to, class, frame);
            self.meter.sent(purpose, bytes, taken);
        }
        for (waiter, result) in release.replies {
            self.meter.replied(&waiter.sample, &result);
            drop(waiter.reply.send(result));
        }
        for (answer, replicas) in release.waited {
            let _gone = answer.send(replicas);
        }
        for report in release.reports {
            drop(self.reports.send(report));
        }
    }
}
