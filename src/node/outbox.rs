//! What leaves a shard once it is durable.

use std::sync::Arc;

use bytes::Bytes;
use quorate_control::topology::{Epoch, KeyspaceId, Partition};
use quorate_crdt::NodeId;
use quorate_dynamo::op::{Answer, RequestError};
use quorate_dynamo::protocol::{Message, Purpose, Refusal};
use quorate_gossip::transport::{Class, Transport};
use quorate_gossip::wire;
use tokio::sync::{mpsc, oneshot};

use super::inbox::Waiter;
use super::meter::Meter;
use crate::planted::{
    OVERSIZE_FRAME_DROPPED, OVERSIZE_QUESTION_FORGOTTEN, OVERSIZE_REPLY_UNANSWERED,
};

/// A frame longer than this is split, if it carries several messages. Guess: a stream shares its
/// connection in turns of this size.
const FRAME_BYTES: usize = 1024 * 1024;

/// Beyond it a planted bug drops frames.
const PLANTED_FRAME_BYTES: usize = 4 * 1024;

/// Partitions of a keyspace whose phase this node has done, with the epoch of each.
pub(super) type Report = (KeyspaceId, Vec<(Partition, Epoch)>);

/// The effects of one turn of a shard, sorted by who gets them.
#[derive(Default)]
pub(super) struct Release {
    pub(super) frames: Vec<(NodeId, Purpose, Bytes)>,
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
        self.frames.iter().map(|(_, _, frame)| frame.len()).sum()
    }

    /// All messages of one wake-up for one peer and purpose become one frame, unless that would be
    /// huge. A single message travels however long it is; beyond `max`, which is what a node can
    /// take, whoever waits for it is told.
    pub(super) fn add_frames(
        &mut self,
        to: NodeId,
        purpose: Purpose,
        messages: &[Message],
        max: usize,
    ) {
        let frame = wire::encode(messages);
        if frame.len() <= FRAME_BYTES || messages.len() == 1 {
            let bytes = frame.len();
            if bytes <= max {
                let lost = bytes > PLANTED_FRAME_BYTES && OVERSIZE_FRAME_DROPPED.is_planted();
                self.frames.extend((!lost).then_some((to, purpose, frame)));
            } else if let Some(message) = messages.last() {
                tracing::warn!(node = %to, bytes, "a message that is longer than a node can take was not sent");
                self.refuse(to, purpose, message, bytes as u64, max as u64);
            }
            return;
        }
        let (first, second) = messages.split_at(messages.len() / 2);
        self.add_frames(to, purpose, first, max);
        self.add_frames(to, purpose, second, max);
    }

    /// Tells whoever waits for a message that is too long: who asked for it, if it is an answer;
    /// this node's own core, if it is a question. What nobody waits for is small, or comes again in
    /// pieces.
    fn refuse(&mut self, to: NodeId, purpose: Purpose, message: &Message, bytes: u64, max: u64) {
        if let Some(refusal) = refusal(message, bytes, max) {
            self.frames
                .push((to, purpose, wire::encode(&vec![refusal])));
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
