//! One core's driver: takes what waits, lets the core handle it, makes it durable, and only then
//! lets anybody know.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quorate_control::store::{Commit, Store, StoreError};
use quorate_crdt::NodeId;
use quorate_crdt::Now;
use quorate_dynamo::op::{Answer, Receipt, Request, RequestError};
use quorate_dynamo::protocol::{Effect, Input, Message, Purpose, ReplicaSummary, Timer};
use quorate_dynamo::{Counters, Dynamo};
use quorate_gossip::transport::Class;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::adopted::Adopted;
use super::clock::Clock;
use super::commits::Commits;
use super::guard::{Failure, report};
use super::hub::Sight;
use super::lines::{Lines, is_asked_again, waits};
use super::meter::Sample;
use super::release::{ALONE_BYTES, Outbox, Release};
use super::slots::Slots;
use super::watched::{Queues, Watched};
use crate::doors::Room;
use crate::planted::{ACK_BEFORE_COMMIT, ANSWERS_PILE_UP, PANIC_UNNOTICED, TURN_WITHOUT_BOUND};
use crate::store::Lives;

/// Works taken in one wake-up at most. Guess: large enough that one commit serves many, small
/// enough that none waits long.
const BATCH_MAX: usize = 512;
/// Bytes of works handled in one wake-up at most, but for one.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Entries for which the lists of a turn keep their memory until the next. Guess: a few for each
/// work of a batch.
const KEPT_MAX: usize = 2 * 1024;
/// How soon it is looked whether those for whom questions wait have taken what they were sent.
/// Guess: what a fast network carries meanwhile is less than may wait for one node.
const LINES_EVERY: Duration = Duration::from_millis(2);
/// How long requests under way may take to finish when the node stops.
const GRACE: Duration = Duration::from_secs(2);
/// A disk that has kept a batch for so long is what a request that timed out was waiting for.
/// Guess: longer than a sync that is only busy.
const DISK_SLOW: Duration = Duration::from_millis(100);
/// Works that may wait for a shard; beyond it requests are refused and messages dropped.
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
    /// What another node says, and how many bytes it was.
    Messages(NodeId, Vec<Message>, usize),
    /// What the core owns from now on.
    Topology(Adopted),
    /// What was seen of the world.
    Sight(Sight),
    /// Tell the figures of all replicas.
    Summaries(oneshot::Sender<Figures>),
    /// Refuse new requests, finish those under way, and end; say when all is released.
    Stop(oneshot::Sender<()>),
}

impl Work {
    /// Bytes of memory that it takes while it waits, if it is of those that others send.
    fn bytes(&self) -> usize {
        match self {
            Self::Request(request, _) => request.op.weight(),
            Self::Messages(_, _, bytes) => *bytes,
            _ => 0,
        }
    }
}

/// What a core tells of itself.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) summaries: Vec<ReplicaSummary>,
    pub(super) counters: Counters,
    /// By how many milliseconds the clock of each node is ahead.
    pub(super) clocks: BTreeMap<NodeId, i64>,
}

/// A client that waits for its reply.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) reply: oneshot::Sender<Result<Answer, RequestError>>,
    pub(super) sample: Sample,
    /// Where the answer counts until the client's task takes it.
    pub(super) room: Option<Arc<Room>>,
    /// Whether nothing is lost if the answer is not given.
    pub(super) reads: bool,
}

impl Waiter {
    /// What the client is told, once there is room for it.
    fn admit(&self, mut result: Result<Answer, RequestError>) -> Result<Answer, RequestError> {
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
    /// A lane in which so many bytes may wait, and the end that the shard takes.
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

    /// Puts `work` in line; gives it back when the line is too long or the shard is gone.
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

    /// Puts `work` in line, waiting for room: for what must not be lost. `false`: the shard is
    /// gone.
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

/// What a shard shares with the rest of its node.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Arc<dyn Store>,
    pub(super) commit: Arc<dyn Commit>,
    pub(super) lives: Arc<Lives>,
    pub(super) outbox: Outbox,
    /// Set once, to the reason why the node must stop.
    pub(super) failure: Failure,
    pub(super) queues: Queues,
    pub(super) watched: Watched,
}

/// The driver of one core.
pub(super) struct Shard {
    pub(super) dynamo: Dynamo,
    pub(super) around: Surroundings,
    pub(super) waiters: Slots<Waiting>,
    pub(super) timers: BTreeMap<(Instant, u64), Timer>,
    timers_armed: u64,
    pub(super) commits: Commits,
    effects: Vec<Effect>,
    /// Messages of the turn, by whom they are for. Empty between turns; its lists keep their
    /// memory, as `effects` does.
    sends: BTreeMap<(NodeId, Purpose), Vec<Message>>,
    /// Inputs that the driver itself owes the core.
    owed: Vec<Input>,
    /// Questions of peers that have too much to take already.
    pub(super) lines: Lines,
    pub(super) pace: Pace,
    /// Set when the shard is to end: at the latest when, and whom to tell.
    stopping: Option<(Instant, oneshot::Sender<()>)>,
}

/// How far the turn is.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Roughly the bytes of all that its works have brought about.
    made: usize,
    /// The same, before the last of its works.
    pub(super) made_before_last: usize,
    /// Questions that it has answered to a node that had too much to take.
    pub(super) overfed: usize,
    /// What is left of a frame in the middle of which the last turn has ended.
    unread: Option<(NodeId, std::vec::IntoIter<Message>)>,
}

/// Who gets the effect that names a ticket.
pub(super) enum Waiting {
    Request(Waiter),
    Wait(oneshot::Sender<u32>),
}

impl Shard {
    pub(super) fn new(dynamo: Dynamo, around: Surroundings) -> Self {
        let commits = Commits::new(around.queues.unsynced_bytes_max);
        Self {
            dynamo,
            around,
            waiters: Slots::default(),
            timers: BTreeMap::new(),
            timers_armed: 0,
            commits,
            effects: Vec::new(),
            sends: BTreeMap::new(),
            owed: Vec::new(),
            lines: Lines::default(),
            pace: Pace::default(),
            stopping: None,
        }
    }

    /// Works until the node drops the lane, or the disk fails. Without it nobody would answer for
    /// its partitions: if it panics, the node ends.
    pub(super) async fn run(mut self, mut inbox: Inbox) {
        let _watch = Watch(self.around.failure.clone());
        let mut works = Vec::with_capacity(BATCH_MAX);
        loop {
            if self.ended() {
                return;
            }
            let timer = self.timers.first_key_value().map(|(&(at, _), _)| at);
            let end = self.stopping.as_ref().map(|&(at, _)| at);
            let look = (!self.lines.is_empty()).then(|| Instant::now() + LINES_EVERY);
            let taken = match timer.into_iter().chain(end).chain(look).min() {
                Some(at) => tokio::select! {
                    biased;
                    taken = inbox.receiver.recv_many(&mut works, BATCH_MAX) => Some(taken),
                    () = tokio::time::sleep_until(at) => None,
                },
                None => Some(inbox.receiver.recv_many(&mut works, BATCH_MAX).await),
            };
            if taken == Some(0) {
                return;
            }
            let mut rest = works.drain(..);
            loop {
                let more = self.turn(&mut rest, &inbox.bytes);
                if let Err(error) = self.commit() {
                    self.around.fail(error);
                    return;
                }
                self.show_turn(&inbox, more);
                if !more && self.owed.is_empty() {
                    break;
                }
            }
        }
    }

    /// Whether a stop was asked for and nobody waits any more, or the grace is over. Then says so,
    /// behind every release before.
    fn ended(&mut self) -> bool {
        let Some((deadline, done)) = self.stopping.take() else {
            return false;
        };
        if self.waiters.len() > 0 && Instant::now() < deadline {
            self.stopping = Some((deadline, done));
            return false;
        }
        self.around.commit.commit(Box::new(move |_| {
            let _gone = done.send(());
        }));
        true
    }

    /// Handles timers that are due, what the driver owes, questions that have waited, and works, up
    /// to the bounds in bytes of what comes in and of what goes out. Whether works are left.
    fn turn(&mut self, works: &mut impl Iterator<Item = Work>, queued: &AtomicUsize) -> bool {
        let now = self.around.clock.now();
        let instant = Instant::now();
        while let Some(entry) = self
            .timers
            .first_entry()
            .filter(|entry| entry.key().0 <= instant)
        {
            let timer = entry.remove();
            self.dynamo
                .handle(now, Input::Timer(timer), &mut self.effects);
            if timer == Timer::AntiEntropy {
                self.show_tick();
            }
        }
        for input in std::mem::take(&mut self.owed) {
            self.dynamo.handle(now, input, &mut self.effects);
        }
        let unread = std::mem::take(&mut self.pace).unread;
        self.go_on_with_lines(now);
        if let Some((from, messages)) = unread {
            self.messages(now, from, messages);
        }
        let mut bytes = 0;
        while !self.has_made_enough() {
            let Some(work) = works.next() else {
                return false;
            };
            let size = work.bytes();
            queued.fetch_sub(size, Ordering::Relaxed);
            bytes += size;
            self.work(now, work);
            if bytes > BATCH_BYTES_MAX {
                break;
            }
        }
        true
    }

    /// Lets the core handle what somebody outside has sent, and counts what that brings about.
    fn handle(&mut self, now: Now, input: Input) {
        let before = self.effects.len();
        self.dynamo.handle(now, input, &mut self.effects);
        let brought = self.effects[before..].iter().map(Effect::weight);
        self.pace.made_before_last = self.pace.made;
        self.pace.made += brought.sum::<usize>();
    }

    /// Whether what the turn has brought about must leave before more is.
    fn has_made_enough(&self) -> bool {
        self.pace.made > self.around.queues.turn_bytes_max && !TURN_WITHOUT_BOUND.is_planted()
    }

    /// Handles what a peer says, until the turn has brought about enough; the rest is read in the
    /// next.
    fn messages(&mut self, now: Now, from: NodeId, mut messages: std::vec::IntoIter<Message>) {
        let answers_only = self.commits.too_much();
        while !self.has_made_enough() {
            let Some(message) = messages.next() else {
                return;
            };
            if answers_only && !message.is_answer() {
                self.around.outbox.meter.shed();
            } else if waits(&message) {
                self.question(now, from, message);
            } else {
                self.handle(now, Input::Message { from, message });
            }
        }
        self.pace.unread = Some((from, messages));
    }

    /// Handles a question, or puts it in line if whoever asks has too much to take already.
    fn question(&mut self, now: Now, from: NodeId, message: Message) {
        let max = self.around.queues.peer_bytes_max;
        let backlog = self.around.outbox.transport.backlog(from, Class::Data);
        let (crowded, waiting) = (backlog > max, self.lines.has(from));
        let bounded = !ANSWERS_PILE_UP.is_planted();
        if bounded && is_asked_again(&message) && (waiting || backlog > ALONE_BYTES) {
            // It waits, or its answer may. If that is lost, it will be asked for once more.
        } else if bounded && (crowded || waiting) {
            if let Some(message) = self.lines.push(from, message, max) {
                self.turn_away(from, message);
            }
        } else {
            self.pace.overfed += usize::from(crowded);
            self.handle(now, Input::Message { from, message });
        }
    }

    /// The line is too long. A client that reads is told so, at once; what changes something may
    /// not be told that it did not, since a copy of it may still be under way.
    fn turn_away(&mut self, from: NodeId, message: Message) {
        self.around.outbox.meter.shed();
        if let Message::Forward { id, request, .. } = message
            && !request.op.writes()
        {
            self.effects.push(Effect::Send {
                to: from,
                message: Message::Forwarded {
                    id,
                    result: Err(RequestError::Overloaded),
                },
            });
        }
    }

    /// Those who have taken what they were sent are answered what they have asked since.
    fn go_on_with_lines(&mut self, now: Now) {
        while !self.lines.is_empty() && !self.has_made_enough() && !self.commits.too_much() {
            let max = self.around.queues.peer_bytes_max;
            let transport = &self.around.outbox.transport;
            let may = |peer| transport.backlog(peer, Class::Data) <= max;
            let Some((from, message)) = self.lines.next(may) else {
                return;
            };
            self.handle(now, Input::Message { from, message });
        }
    }

    fn work(&mut self, now: Now, work: Work) {
        match work {
            Work::Request(_, waiter) if self.stopping.is_some() => {
                drop(waiter.reply.send(Err(RequestError::Stopping)))
            }
            // While the disk stands, what would have to wait for it is not begun: what others ask
            // is lost, as the network may do.
            Work::Request(_, waiter) if self.commits.too_much() => {
                drop(waiter.reply.send(Err(RequestError::Overloaded)))
            }
            Work::Request(request, waiter) => {
                let ticket = self.waiters.put(Waiting::Request(waiter));
                self.handle(
                    now,
                    Input::Request {
                        ticket,
                        request: *request,
                    },
                );
            }
            Work::Wait {
                receipts,
                replicas,
                timeout,
                answer,
            } => {
                let ticket = self.waiters.put(Waiting::Wait(answer));
                self.dynamo.handle(
                    now,
                    Input::Wait {
                        ticket,
                        receipts,
                        replicas,
                        timeout,
                    },
                    &mut self.effects,
                );
            }
            Work::Messages(from, messages, _) => {
                self.messages(now, from, messages.into_iter());
            }
            Work::Topology(adopted) => {
                self.show_topology(adopted.epoch);
                self.dynamo
                    .handle(now, Input::Topology(adopted.share()), &mut self.effects);
            }
            Work::Sight(sight) => self.dynamo.handle(now, sight.into(), &mut self.effects),
            Work::Summaries(answer) => {
                let (summaries, counters) = (self.dynamo.summaries(), self.dynamo.counters());
                drop(answer.send(Figures {
                    summaries,
                    counters,
                    clocks: self.dynamo.clock_offsets(now),
                }));
            }
            Work::Stop(done) => self.stopping = Some((Instant::now() + GRACE, done)),
        }
    }

    /// Makes what the turn changed visible, and releases the turn's effects once it is durable. A
    /// turn that changed nothing is released at once, unless an earlier one of this shard is not:
    /// it may have shown that one's changes.
    fn commit(&mut self) -> Result<(), StoreError> {
        let changes = self.dynamo.drain();
        let (release, failed) = self.sort_effects();
        if !failed.is_empty() {
            self.around.outbox.release(failed);
        }
        let durable = changes.is_empty();
        if !durable {
            self.around.store.apply(changes)?;
        } else if release.is_empty() {
            return Ok(());
        } else if self.commits.lag().is_none() {
            self.around.outbox.release(release);
            return Ok(());
        }
        let release = if ACK_BEFORE_COMMIT.is_planted() {
            self.around.outbox.release(release);
            Release::default()
        } else {
            release
        };
        let released = self.commits.hand_over(release.bytes());
        let outbox = self.around.outbox.clone();
        self.around.commit.commit(Box::new(move |result| {
            // What was shown and is not durable stays uncommitted for ever: until the node ends, no
            // later turn may tell of it either.
            if result.is_ok() {
                outbox.release(release);
                released.fetch_add(1, Ordering::AcqRel);
            }
        }));
        Ok(())
    }

    /// What a client is told of a request that got too few answers in time, while this node's own
    /// disk has not taken what it was given: then nobody else was even asked, and none of them is
    /// to blame.
    fn blame(&mut self, result: Result<Answer, RequestError>) -> Result<Answer, RequestError> {
        let lag = self.commits.lag().filter(|lag| *lag >= DISK_SLOW);
        match (result, lag) {
            (
                Err(error @ (RequestError::TimedOut { .. } | RequestError::ClockUnconfirmed)),
                Some(lag),
            ) => Err(RequestError::DiskSlow {
                millis: lag.as_millis() as u64,
                may_be_applied: error.may_be_applied(),
            }),
            (result, _) => result,
        }
    }

    /// Sorts the turn's effects by who gets them; apart, failures that tell nothing of any change
    /// and need not wait for the disk. Timers are armed here: nobody outside can see them.
    fn sort_effects(&mut self) -> (Release, Release) {
        let (mut release, mut failed) = (Release::default(), Release::default());
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, message } => {
                    self.sends
                        .entry((to, message.purpose()))
                        .or_default()
                        .push(message);
                }
                Effect::Reply { ticket, result } => {
                    if let Some(Waiting::Request(waiter)) = self.waiters.take(ticket) {
                        let result = waiter.admit(self.blame(result));
                        let to = if result.as_ref().is_err_and(tells_no_change) {
                            &mut failed
                        } else {
                            &mut release
                        };
                        to.replies.push((waiter, result));
                    }
                }
                Effect::Waited { ticket, replicas } => {
                    if let Some(Waiting::Wait(answer)) = self.waiters.take(ticket) {
                        release.waited.push((answer, replicas));
                    }
                }
                Effect::Arm { after, timer } => {
                    self.timers_armed += 1;
                    self.timers
                        .insert((Instant::now() + after, self.timers_armed), timer);
                }
                Effect::ClockOff { node, offset_ms } => say_clock(node, offset_ms),
                Effect::Report {
                    keyspace,
                    partitions,
                } => release.reports.push((keyspace, partitions)),
                Effect::NewLife => match self.around.lives.next() {
                    Ok(incarnation) => self.owed.push(Input::Incarnation(incarnation)),
                    Err(error) => self.around.fail(error),
                },
            }
        }
        effects.shrink_to(KEPT_MAX);
        self.effects = effects;
        // What is asked again while the disk stands would only wait beside what was asked before.
        let standing = self.commits.too_much();
        self.sends.retain(|&(to, purpose), messages| {
            // A list that was empty is of somebody who has not been spoken to for a turn.
            let spoken = !messages.is_empty();
            if spoken && !standing {
                let max = self.around.queues.message_bytes_max;
                for _ in 0..release.add_frames(to, purpose, messages, max) {
                    self.around.outbox.meter.shed();
                }
            }
            messages.clear();
            messages.shrink_to(KEPT_MAX);
            spoken
        });
        self.owed.extend(
            release
                .unsent
                .drain(..)
                .map(|(from, message)| Input::Message { from, message }),
        );
        (release, failed)
    }
}

/// Once for each change, on every node that notices.
fn say_clock(node: NodeId, offset_ms: Option<i64>) {
    if let Some(offset_ms) = offset_ms {
        tracing::warn!(%node, offset_ms, "a clock is off from the others' (less than 0: behind); while it is, that node stamps nothing");
    } else {
        tracing::warn!(%node, "the clock is right again");
    }
}

/// Whether the error follows from who answered, not from what is stored.
fn tells_no_change(error: &RequestError) -> bool {
    matches!(
        error,
        RequestError::TimedOut { .. }
            | RequestError::DiskSlow { .. }
            | RequestError::Refused { .. }
            | RequestError::Unavailable { .. }
            | RequestError::ClockUnconfirmed
            | RequestError::Overloaded
    )
}

impl Surroundings {
    /// Stops the node.
    fn fail(&self, error: StoreError) {
        report(&self.failure, &Arc::new(error));
    }
}

/// Ends the node if what holds it panics.
struct Watch(Failure);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() && !PANIC_UNNOTICED.is_planted() {
            report(&self.0, &Arc::new(StoreError::Panicked));
        }
    }
}

#[cfg(test)]
mod tests;
