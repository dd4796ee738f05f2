//! Questions of peers that wait until those have taken what they were answered before.
//!
//! A question is short and its answer may be long: a peer that asks faster than the network carries
//! answers away would fill this node's memory with them. So the question waits instead of its
//! answer. Forwards and reads wait in one line for each peer, in the order in which they came;
//! whatever brings no long answer (acknowledgements, answers, repairs, streams) passes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use quorate_crdt::NodeId;
use quorate_dynamo::protocol::{Attempt, Message};
use tokio::time::Instant;

/// How long a read of another replica waits; whoever asks has asked again by then. Guess.
const READ_PATIENCE: Duration = Duration::from_secs(1);

/// The lines of one shard.
#[derive(Debug, Default)]
pub(super) struct Lines {
    by_peer: BTreeMap<NodeId, Line>,
}

/// What one peer has asked. Never empty.
#[derive(Debug, Default)]
struct Line {
    questions: VecDeque<(Instant, Message)>,
    bytes: usize,
}

impl Lines {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.by_peer.is_empty()
    }

    /// Whether questions of this peer wait.
    pub(super) fn has(&self, peer: NodeId) -> bool {
        self.by_peer.contains_key(&peer)
    }

    /// Bytes of the longest line, without its last question.
    pub(super) fn longest(&self) -> usize {
        let before_last = |line: &Line| {
            let last = line.questions.back();
            line.bytes - last.map_or(0, |(_, question)| question.weight())
        };
        self.by_peer.values().map(before_last).max().unwrap_or(0)
    }

    /// Puts a question in line. Gives it back if more than `bytes_max` wait there already.
    pub(super) fn push(
        &mut self,
        peer: NodeId,
        question: Message,
        bytes_max: usize,
    ) -> Option<Message> {
        let line = self.by_peer.entry(peer).or_default();
        if line.bytes > bytes_max {
            return Some(question);
        }
        line.bytes += question.weight();
        line.questions.push_back((Instant::now(), question));
        None
    }

    /// The next question of a peer for whom `may` holds. What has waited for too long is dropped:
    /// whoever asked has given up, or has asked again.
    pub(super) fn next(&mut self, may: impl Fn(NodeId) -> bool) -> Option<(NodeId, Message)> {
        loop {
            let (&peer, line) = self.by_peer.iter_mut().find(|(peer, _)| may(**peer))?;
            let next = line.questions.pop_front();
            if let Some((_, question)) = &next {
                line.bytes -= question.weight();
            }
            if line.questions.is_empty() {
                self.by_peer.remove(&peer);
            }
            if let Some((since, question)) = next
                && since.elapsed() < patience(&question)
            {
                return Some((peer, question));
            }
        }
    }
}

/// Whether the answer may be long, so that the question may have to wait.
pub(super) fn waits(message: &Message) -> bool {
    matches!(message, Message::Forward { .. } | Message::Read { .. })
}

/// Whether this is a read that was handed on before: its answer may be among what its sender has
/// not taken yet.
pub(super) fn is_asked_again(message: &Message) -> bool {
    matches!(
        message,
        Message::Forward { request, attempt: Attempt::Again { .. }, .. } if !request.op.writes()
    )
}

fn patience(question: &Message) -> Duration {
    match question {
        Message::Forward { request, .. } => request.timeout,
        _ => READ_PATIENCE,
    }
}
