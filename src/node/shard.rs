//! The driver of one core: takes the work that waits, lets the core handle it, commits the changes,
//! and only then releases the effects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quorate_control::store::{Commit, Store, StoreError};
use quorate_crdt::NodeId;
use quorate_crdt::Now;
use quorate_dynamo::Dynamo;
use quorate_dynamo::op::{Answer, RequestError};
use quorate_dynamo::protocol::{Effect, Input, Message, Purpose, Timer};
use quorate_gossip::transport::Class;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::adopted::Adopted;
use super::clock::Clock;
use super::commits::Commits;
use super::disk_guard::{Failure, report};
use super::inbox::{Figures, Inbox, Waiter, Work};
use super::lines::{Lines, is_asked_again, waits};
use super::outbox::{ALONE_BYTES, Outbox, Release};
use super::slots::Slots;
use super::world::{Queues, Watched};
use crate::doors::name_of;
use crate::planted::{ACK_BEFORE_COMMIT, ANSWERS_PILE_UP, PANIC_UNNOTICED, TURN_WITHOUT_BOUND};
use crate::store::Lives;

mod shown;

/// The most works that are taken in one wake-up. Guess: large enough that one commit serves many,
/// small enough that none waits long.
const BATCH_MAX: usize = 512;
/// A turn ends after the work with which it has handled more bytes than this.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The lists of a turn keep memory for this many entries until the next turn. Guess: a few for each
/// work of a batch.
const KEPT_MAX: usize = 2 * 1024;
/// How often a shard looks whether nodes whose questions wait have taken what they were sent.
/// Guess: in this time a fast network carries less than may wait for one node.
const LINES_EVERY: Duration = Duration::from_millis(2);
/// How long requests under way may take when the node stops.
const GRACE: Duration = Duration::from_secs(2);
/// If the disk has kept a batch for this long, a request that timed out was waiting for the disk.
/// Guess: longer than a sync on a busy disk.
const DISK_SLOW: Duration = Duration::from_millis(100);

/// What a shard shares with the rest of its node.
pub(super) struct Surroundings {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Arc<dyn Store>,
    pub(super) commit: Arc<dyn Commit>,
    pub(super) lives: Arc<Lives>,
    pub(super) outbox: Outbox,
    /// The reason why the node must stop, once there is one.
    pub(super) failure: Failure,
    pub(super) queues: Queues,
    pub(super) watched: Option<Watched>,
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
    /// Messages of the turn by receiver and purpose. Empty between turns; the lists keep their
    /// memory, as `effects` does.
    sends: BTreeMap<(NodeId, Purpose), Vec<Message>>,
    /// Inputs from the driver itself, for the next turn.
    owed: Vec<Input>,
    /// Questions of nodes for which too much waits to be sent already.
    pub(super) lines: Lines,
    pub(super) pace: Pace,
    /// The topology that it acts on, for the names of nodes.
    topology: Option<Adopted>,
    /// Set when the shard is to end: the deadline, and the sender to tell.
    stopping: Option<(Instant, oneshot::Sender<()>)>,
}

/// What a turn has done so far.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Roughly the bytes of all effects of its works.
    made: usize,
    /// The same, before the last of its works.
    pub(super) made_before_last: usize,
    /// Questions that it answered although too much waited for the node that asked.
    pub(super) overfed: usize,
    /// The messages of a frame that are left, if the last turn ended in the middle of it.
    unread: Option<(NodeId, std::vec::IntoIter<Message>)>,
}

/// Where the effect that names a ticket goes.
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
            topology: None,
            stopping: None,
        }
    }

    /// Runs until the node drops the lane or the disk fails. If it panics, the node ends, because
    /// nobody else answers for its partitions.
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

    /// Whether the shard is to stop and nobody waits any more, or the grace is over. If so, the
    /// sender is told after all earlier releases.
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

    /// Handles timers that are due, inputs from the driver, questions that have waited, and works,
    /// up to the bounds on the bytes that come in and on those that go out. Returns whether works
    /// are left.
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

    /// Lets the core handle an input from outside, and counts the bytes of its effects.
    fn handle(&mut self, now: Now, input: Input) {
        let before = self.effects.len();
        self.dynamo.handle(now, input, &mut self.effects);
        let brought = self.effects[before..].iter().map(Effect::weight);
        self.pace.made_before_last = self.pace.made;
        self.pace.made += brought.sum::<usize>();
    }

    /// Whether the effects of the turn must leave before it handles more.
    fn has_made_enough(&self) -> bool {
        self.pace.made > self.around.queues.turn_bytes_max && !TURN_WITHOUT_BOUND.is_planted()
    }

    /// Handles messages of another node until the turn has made enough effects; the next turn
    /// handles the rest.
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

    /// Handles a question, or puts it in line if too much waits for the node that asks.
    fn question(&mut self, now: Now, from: NodeId, message: Message) {
        let max = self.around.queues.peer_bytes_max;
        let backlog = self.around.outbox.transport.backlog(from, Class::Data);
        let (crowded, waiting) = (backlog > max, self.lines.has(from));
        let bounded = !ANSWERS_PILE_UP.is_planted();
        if bounded && is_asked_again(&message) && (waiting || backlog > ALONE_BYTES) {
            // The question or its answer may be waiting. If the answer is lost, the node will ask
            // again.
        } else if bounded && (crowded || waiting) {
            if let Some(message) = self.lines.push(from, message, max) {
                self.turn_away(from, message);
            }
        } else {
            self.pace.overfed += usize::from(crowded);
            self.handle(now, Input::Message { from, message });
        }
    }

    /// Drops a question, because its line is too long. A read is refused at once. A write must not
    /// be refused, because a copy of it may still be under way and be applied.
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

    /// Handles the questions of nodes that have taken what they were sent.
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
                drop(waiter.reply.send(Err(RequestError::Stopping)));
            }
            // While the disk is stuck, nothing is begun that would have to wait for it. Messages of
            // other nodes are dropped, as the network may do.
            Work::Request(_, waiter) if self.commits.too_much() => {
                drop(waiter.reply.send(Err(RequestError::Overloaded)));
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
                self.topology = Some(adopted.clone());
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
            Work::Explain { at, key, answer } => {
                drop(answer.send(self.dynamo.explain(at, &key)));
            }
            Work::Stop(done) => self.stopping = Some((Instant::now() + GRACE, done)),
        }
    }

    /// Applies the changes of the turn to the store, and releases its effects once they are
    /// durable. A turn that changed nothing is released at once, unless an earlier turn of this
    /// shard is not released yet: it may show the changes of that one.
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
            // After a failure the changes are visible in the store and never durable. So no later
            // turn is released either, until the node ends.
            if result.is_ok() {
                outbox.release(release);
                released.fetch_add(1, Ordering::AcqRel);
            }
        }));
        Ok(())
    }

    /// Blames this node's own disk for a request that got too few answers in time, if the disk has
    /// not taken the batch: then no other node was even asked.
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

    /// Sorts the effects of the turn by receiver. The second part holds refusals that tell nothing
    /// of any change and need not wait for the disk. Timers are armed at once, because nobody
    /// outside can see them.
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
                Effect::ClockOff { node, offset_ms } => self.say_clock(node, offset_ms),
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
        // While the disk is stuck, a repeated question would only wait beside the first one.
        let standing = self.commits.too_much();
        self.sends.retain(|&(to, purpose), messages| {
            // An empty list is of a node to which this turn and the last one sent nothing.
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

    /// Logs a change of a node's clock. Every node that notices logs it once.
    fn say_clock(&self, node: NodeId, offset_ms: Option<i64>) {
        let node = match &self.topology {
            Some(topology) => name_of(node, topology),
            None => node.to_string(),
        };
        if let Some(offset_ms) = offset_ms {
            tracing::warn!(
                node,
                offset_ms,
                "a clock is off from the others' (less than 0: behind); while it is, that node stamps nothing"
            );
        } else {
            tracing::info!(node, "the clock is right again");
        }
    }
}

/// Whether the error says only who answered, and nothing about what is stored.
fn tells_no_change(error: &RequestError) -> bool {
    matches!(
        error,
        RequestError::TimedOut { .. }
            | RequestError::DiskSlow { .. }
            | RequestError::Refused { .. }
            | RequestError::Unavailable { .. }
            | RequestError::NotClosed { .. }
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

/// Ends the node if the thread panics while it holds this.
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
