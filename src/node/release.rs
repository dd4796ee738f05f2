//! What leaves a shard once it is durable.

use std::sync::Arc;

use bytes::Bytes;
use quorate_control::topology::{Epoch, KeyspaceId, Partition};
use quorate_crdt::NodeId;
use quorate_dynamo::op::{Answer, RequestError};
use quorate_dynamo::protocol::{Message, Purpose, Refusal};
use quorate_gossip::transport::{Class, Transport};
use quorate_gossip::wire::{self, WireError};
use tokio::sync::{mpsc, oneshot};

use super::meter::Meter;
use super::shard::Waiter;
use crate::planted::{
    OVERSIZE_FRAME_DROPPED, OVERSIZE_QUESTION_FORGOTTEN, OVERSIZE_REPLY_UNANSWERED,
};

/// Messages share a frame up to about this length. Guess: a stream shares its connection in turns
/// of this size.
const FRAME_BYTES: usize = 1024 * 1024;
/// A message of more than this travels alone, and is written straight into its frame.
pub(super) const ALONE_BYTES: usize = FRAME_BYTES / 2;
/// What one turn sends to one node for one purpose at most; the rest is dropped, as the network may
/// do. As much as an outbox takes, so nothing is dropped here that would have arrived. Only timers
/// bring so much about: they ask again for all that is late.
const BURST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Beyond it a planted bug drops frames.
const PLANTED_FRAME_BYTES: usize = 4 * 1024;

/// Partitions of a keyspace whose phase this node has done, with the epoch of each.
pub(super) type Report = (KeyspaceId, Vec<(Partition, Epoch)>);

/// The effects of one turn of a shard, sorted by who gets them.
#[derive(Default)]
pub(super) struct Release {
    frames: Vec<(NodeId, Purpose, Bytes)>,
    /// Bytes of the frames.
    bytes: usize,
    pub(super) replies: Vec<(Waiter, Result<Answer, RequestError>)>,
    pub(super) waited: Vec<(oneshot::Sender<u32>, u32)>,
    pub(super) reports: Vec<Report>,
    /// Questions that are too long to be sent, with whom they were for: what the core is told in
    /// place of an answer.
    pub(super) unsent: Vec<(NodeId, Message)>,
}

impl Release {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
            && self.replies.is_empty()
            && self.waited.is_empty()
            && self.reports.is_empty()
    }

    /// Bytes of its frames.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages of one turn for one peer and purpose share frames; a long one has its own. One
    /// frame is built at a time, never all that is to be sent. A single message travels however
    /// long it is; beyond `max`, which is what a node can take, whoever waits for it is told.
    /// Returns how many were left out because too much was sent at once.
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

    /// These messages become one frame.
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
        // Together they may be too long where each is not.
        if let [message] = messages {
            tracing::warn!(node = %to, bytes, "a message that is longer than a node can take was not sent");
            self.refuse(to, purpose, message, (bytes, max as u64));
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

    /// Tells whoever waits for a message that is too long: who asked for it, if it is an answer;
    /// this node's own core, if it is a question. What nobody waits for is small, or comes again in
    /// pieces.
    fn refuse(
        &mut self,
        to: NodeId,
        purpose: Purpose,
        message: &Message,
        (bytes, max): (u64, u64),
    ) {
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

/// How many of the messages, the first of which is one, go into a frame.
fn fitting(messages: &[Message]) -> usize {
    let mut bytes = 0;
    let fits = |message: &&Message| {
        bytes += message.weight();
        bytes <= FRAME_BYTES
    };
    messages.iter().take_while(fits).count().max(1)
}

/// What is sent in place of an answer that is longer than a message may be.
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

/// The ways out of a node. Cheap to clone; used from the committer's thread, so nothing here
/// blocks.
#[derive(Clone)]
pub(super) struct Outbox {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) reports: mpsc::UnboundedSender<Report>,
    pub(super) meter: Arc<Meter>,
}

impl Outbox {
    /// Lets everybody know. Frames that the transport does not take are lost, which the protocol
    /// repairs; a client that gave up is not missed.
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
