//! Questions of other nodes that wait until those nodes have taken their earlier answers.
//!
//! A question is short and its answer may be long. A node that asks faster than the network carries
//! the answers away would fill this node's memory with them. So the question waits instead of its
//! answer. The forwards and reads of a node wait in one line, in the order in which they came.
//! Messages that bring no long answer (acknowledgements, answers, repairs, streams) do not wait.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use quorate_crdt::NodeId;
use quorate_dynamo::protocol::{Attempt, Message};
use tokio::time::Instant;

/// How long a read from another replica waits. By then the node that asked has asked again. Guess.
const READ_PATIENCE: Duration = Duration::from_secs(1);

/// The lines of one shard.
#[derive(Debug, Default)]
pub(super) struct Lines {
    by_peer: BTreeMap<NodeId, Line>,
}

/// The questions of one node. Never empty.
#[derive(Debug, Default)]
struct Line {
    questions: VecDeque<(Instant, Message)>,
    bytes: usize,
}

impl Lines {
    /// Whether no question waits.
    pub(super) fn is_empty(&self) -> bool {
        self.by_peer.is_empty()
    }

    /// Whether questions of this node wait.
    pub(super) fn has(&self, peer: NodeId) -> bool {
        self.by_peer.contains_key(&peer)
    }

    /// Bytes of the longest line without its last question.
    pub(super) fn longest(&self) -> usize {
        let before_last = |line: &Line| {
            let last = line.questions.back();
            line.bytes - last.map_or(0, |(_, question)| question.weight())
        };
        self.by_peer.values().map(before_last).max().unwrap_or(0)
    }

    /// Puts a question in line, or gives it back if more than `bytes_max` bytes wait there already.
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

    /// The next question of a node for which `may` holds. A question that has waited too long is
    /// dropped: the node that asked has given up or has asked again.
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

/// Whether this is a read that was forwarded before: its answer may be among those that the node
/// has not taken yet.
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
