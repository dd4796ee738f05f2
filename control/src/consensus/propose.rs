//! Proposing commands: what waits is written to the log at once, here or at the leader.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::ClientWriteError;
use quorate_crdt::NodeId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::apply::Raft;
use super::engine::Engine;
use super::error::ProposeError;
use super::link::LinkError;
use super::messages::{Ask, Reply};
use super::peer::CallError;
use super::types::Proposal;
use crate::topology::Topology;

/// The longest command in bytes. Guess: the longest are the reports of moves, some kilobytes.
pub(super) const COMMAND_BYTES_MAX: usize = 1024 * 1024;
/// How many proposals may wait.
const WAITING_MAX: usize = 4096;
/// How many commands are written, or handed on to the leader, at once. Guess.
const BATCH_MAX: usize = 512;
/// How many bytes they have together, up to one command more. Guess.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// How many batches are under way at once. While they are, more commands gather for the next.
/// Guess.
const FLIGHTS_MAX: usize = 4;
/// How often a leader tells a machine that waits for it how much time has passed.
const TICK: Duration = Duration::from_millis(100);
/// How often a node looks whether it has become the leader of a machine that waits for time.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What one try came to.
#[derive(Clone)]
enum Attempt {
    Done(Result<Bytes, ProposeError>),
    /// Certainly not applied, so it may be tried again; at once, if this node has learnt who leads.
    NotApplied {
        learnt: bool,
    },
}

/// A command that waits to be proposed.
struct Waiting {
    command: Bytes,
    until: Instant,
    /// Whether only this node may propose it: another one has handed it on.
    here: bool,
    answer: oneshot::Sender<Attempt>,
}

/// What a node has had a group decide since its start, as the leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitTimes {
    /// How many batches of entries were committed and applied.
    pub batches: u64,
    /// How many entries were in them.
    pub entries: u64,
    /// How long the batches took, all in all.
    pub took: Duration,
}

/// The same while it is counted.
#[derive(Debug, Default)]
struct Counted {
    batches: AtomicU64,
    entries: AtomicU64,
    nanos: AtomicU64,
}

impl Counted {
    fn add(&self, entries: u64, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.entries.fetch_add(entries, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// The way to the task that proposes.
pub(super) struct Proposer {
    counted: Arc<Counted>,
    engine: Arc<Engine>,
    queue: mpsc::Sender<Waiting>,
}

impl Proposer {
    /// A proposer, and the task that it needs.
    pub(super) fn new(
        engine: Arc<Engine>,
        topology: watch::Receiver<Arc<Topology>>,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let counted = Arc::<Counted>::default();
        let work = Work {
            counted: Arc::clone(&counted),
            engine: Arc::clone(&engine),
            topology,
            flights: JoinSet::new(),
            stamp: None,
        };
        let proposer = Self {
            counted,
            engine,
            queue,
        };
        (proposer, work.run(waiting))
    }

    pub(super) fn times(&self) -> CommitTimes {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CommitTimes {
            batches: count(&self.counted.batches),
            entries: count(&self.counted.entries),
            took: Duration::from_nanos(count(&self.counted.nanos)),
        }
    }

    /// Has the group decide on a command, and returns the outcome. A command that may have been
    /// taken is never sent again, so it is applied at most once.
    pub(super) async fn propose(
        &self,
        command: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, ProposeError> {
        if command.len() > COMMAND_BYTES_MAX {
            return Err(ProposeError::Malformed);
        }
        let until = Instant::now() + timeout;
        let mut may_hurry = true;
        loop {
            match self.attempt(command.clone(), until, false).await {
                Attempt::Done(outcome) => return outcome,
                // Once: two nodes that are wrong about each other must not keep each other busy.
                Attempt::NotApplied { learnt } if learnt && may_hurry => may_hurry = false,
                Attempt::NotApplied { .. } => {
                    may_hurry = true;
                    let pause = self.engine.timing().heartbeat();
                    if Instant::now() + pause >= until {
                        return Err(ProposeError::NoLeader);
                    }
                    sleep(pause).await;
                }
            }
        }
    }

    /// The leader's side of proposals that another node hands on: one try, because only the node
    /// that first took a proposal may repeat it. `None` for each one with which nothing was done,
    /// because this node does not lead.
    pub(super) async fn propose_once(
        &self,
        commands: Vec<Bytes>,
        timeout: Duration,
    ) -> Vec<Option<Result<Bytes, ProposeError>>> {
        let until = Instant::now() + timeout;
        let mut answers = Vec::with_capacity(commands.len());
        for command in commands {
            answers.push(self.enqueue(command, until, true).await);
        }
        let mut outcomes = Vec::with_capacity(answers.len());
        for answer in answers {
            outcomes.push(match await_answer(answer, until).await {
                Attempt::Done(outcome) => Some(outcome),
                Attempt::NotApplied { .. } => None,
            });
        }
        outcomes
    }

    async fn attempt(&self, command: Bytes, until: Instant, here: bool) -> Attempt {
        let answer = self.enqueue(command, until, here).await;
        await_answer(answer, until).await
    }

    /// Puts a command in line. What is not taken in time is not applied.
    async fn enqueue(&self, command: Bytes, until: Instant, here: bool) -> Answer {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            command,
            until,
            here,
            answer,
        };
        match timeout_at(until, self.queue.send(waiting)).await {
            Ok(Ok(())) => Ok(answered),
            Ok(Err(_ended)) => Err(Attempt::NotApplied { learnt: false }),
            Err(_elapsed) => Err(Attempt::Done(Err(ProposeError::TimedOut {
                may_be_applied: false,
            }))),
        }
    }
}

/// What comes of a command, later or at once.
type Answer = Result<oneshot::Receiver<Attempt>, Attempt>;

async fn await_answer(answer: Answer, until: Instant) -> Attempt {
    let answered = match answer {
        Ok(answered) => answered,
        Err(attempt) => return attempt,
    };
    match timeout_at(until, answered).await {
        Ok(Ok(attempt)) => attempt,
        Ok(Err(_ended)) => Attempt::Done(Err(ProposeError::Stopping)),
        Err(_elapsed) => Attempt::Done(Err(ProposeError::TimedOut {
            may_be_applied: true,
        })),
    }
}

/// The task that proposes what waits.
struct Work {
    counted: Arc<Counted>,
    engine: Arc<Engine>,
    topology: watch::Receiver<Arc<Topology>>,
    flights: JoinSet<()>,
    /// The term in which this node has led, and up to when its entries have let time pass.
    stamp: Option<(u64, Instant)>,
}

impl Work {
    async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) {
        let mut look = Instant::now() + LOOK_EVERY;
        loop {
            let full = self.flights.len() >= FLIGHTS_MAX;
            // Biased, so that two runs of one seed are equal.
            tokio::select! {
                biased;
                Some(_) = self.flights.join_next() => {}
                first = queue.recv(), if !full => match first {
                    Some(first) => self.send(gather(first, &mut queue)).await,
                    None => return,
                },
                () = sleep_until(look), if !full => {
                    self.tick().await;
                    look = Instant::now() + LOOK_EVERY;
                }
            }
            if self.engine.parts.host.awaits_time() {
                look = look.min(Instant::now() + TICK);
            }
        }
    }

    /// Lets time pass, if the machine waits for it and no entry has done so lately.
    async fn tick(&mut self) {
        let lately = |(_, last): (u64, Instant)| last.elapsed() < TICK;
        if self.engine.parts.host.awaits_time()
            && let Some((raft, term)) = self.leads()
            && !self
                .stamp
                .is_some_and(|stamp| stamp.0 == term && lately(stamp))
        {
            self.write(&raft, term, vec![]).await;
        }
    }

    /// The engine, if this node leads the group, and its term.
    fn leads(&self) -> Option<(Raft, u64)> {
        let raft = self.engine.raft()?;
        let term = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            let leads = metrics.current_leader == Some(self.engine.me());
            leads.then_some(metrics.current_term)
        };
        term.map(|term| (raft, term))
    }

    async fn send(&mut self, waiting: Vec<Waiting>) {
        if waiting.is_empty() {
            return;
        }
        if let Some((raft, term)) = self.leads() {
            return self.write(&raft, term, waiting).await;
        }
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|waiting| waiting.here);
        answer(here, &Attempt::NotApplied { learnt: false });
        if elsewhere.is_empty() {
            return;
        }
        match self.whom_to_ask() {
            Some(leader) => {
                let engine = Arc::clone(&self.engine);
                self.flights.spawn(hand_on(engine, leader, elsewhere));
            }
            None => answer(elsewhere, &Attempt::NotApplied { learnt: false }),
        }
    }

    /// The leader as far as this node knows. A node without a part in the group asks one of the
    /// voters, another one each time.
    fn whom_to_ask(&self) -> Option<NodeId> {
        if let Some(leader) = self.engine.leader() {
            return Some(leader).filter(|&leader| leader != self.engine.me());
        }
        if self.engine.raft().is_some() {
            return None;
        }
        self.engine.any_voter(&self.topology.borrow())
    }

    /// How many milliseconds have passed since the last entry in the term. What is less than one is
    /// left for the next.
    fn elapsed_ms(&mut self, term: u64) -> u64 {
        let now = Instant::now();
        let since = self.stamp.filter(|&(led, _)| led == term);
        let last = since.map_or(now, |(_, last)| last);
        let elapsed_ms = u64::try_from((now - last).as_millis()).unwrap_or(u64::MAX);
        self.stamp = Some((term, last + Duration::from_millis(elapsed_ms)));
        elapsed_ms
    }

    /// Writes an entry for each command, or one with nothing but time. They are in line before this
    /// returns, so that entries follow each other in the order of their time.
    async fn write(&mut self, raft: &Raft, term: u64, waiting: Vec<Waiting>) {
        let mut elapsed_ms = self.elapsed_ms(term);
        let mut commands: Vec<_> = waiting
            .iter()
            .map(|waiting| Some(waiting.command.clone()))
            .collect();
        let entries = commands.len() as u64;
        if commands.is_empty() {
            commands.push(None);
        }
        let proposals = commands.into_iter().map(|command| Proposal {
            elapsed_ms: std::mem::take(&mut elapsed_ms),
            command,
        });
        let counted = Arc::clone(&self.counted);
        match raft.client_write_many(proposals).await {
            Ok(results) => drop(self.flights.spawn(async move {
                let begun = Instant::now();
                let mut results = Some(results);
                for waiting in waiting {
                    let attempt = match next(&mut results).await {
                        Some(Ok(Ok(written))) => Attempt::Done(Ok(written.response)),
                        Some(Ok(Err(ClientWriteError::LogEntryDiscarded(_)))) => {
                            Attempt::Done(Err(ProposeError::LeaderChanged))
                        }
                        Some(Ok(Err(_))) => Attempt::NotApplied { learnt: false },
                        Some(Err(_)) | None => Attempt::Done(Err(ProposeError::Stopping)),
                    };
                    // Whoever proposed may have given up.
                    drop(waiting.answer.send(attempt));
                }
                if entries > 0 {
                    counted.add(entries, begun.elapsed());
                }
            })),
            // The engine was stopped before it took them; it may be started again.
            Err(_fatal) => answer(waiting, &Attempt::NotApplied { learnt: false }),
        }
    }
}

/// The next result, if there is one. An engine that stops ends its results early, and must not be
/// asked for more.
async fn next<S: Stream + Unpin>(results: &mut Option<S>) -> Option<S::Item> {
    let under_way = results.as_mut()?;
    let next = poll_fn(|context| Pin::new(&mut *under_way).poll_next(context)).await;
    if next.is_none() {
        *results = None;
    }
    next
}

/// What waits besides `first`, as much as goes into one batch.
fn gather(first: Waiting, queue: &mut mpsc::Receiver<Waiting>) -> Vec<Waiting> {
    let mut bytes = first.command.len();
    let mut all = vec![first];
    while all.len() < BATCH_MAX
        && bytes < BATCH_BYTES_MAX
        && let Ok(next) = queue.try_recv()
    {
        bytes += next.command.len();
        all.push(next);
    }
    // Whoever has given up is not proposed for any more.
    all.retain(|waiting| !waiting.answer.is_closed());
    all
}

/// Hands proposals on to the leader, in one call.
async fn hand_on(engine: Arc<Engine>, leader: NodeId, waiting: Vec<Waiting>) {
    let commands = waiting
        .iter()
        .map(|waiting| waiting.command.clone())
        .collect();
    let until = waiting.iter().map(|waiting| waiting.until).max();
    let timeout = until.map_or(Duration::ZERO, |until| {
        until.saturating_duration_since(Instant::now())
    });
    let ask = Ask::Propose { commands, timeout };
    let attempt = match engine.peer(leader).ask(ask, timeout).await {
        Ok(Reply::Proposed(outcomes)) if outcomes.len() == waiting.len() => {
            engine.hint.send_replace(Some(leader));
            for (waiting, outcome) in waiting.into_iter().zip(outcomes) {
                let attempt = outcome.map_or(Attempt::NotApplied { learnt: false }, Attempt::Done);
                drop(waiting.answer.send(attempt));
            }
            return;
        }
        Ok(Reply::Elsewhere(other)) => {
            let learnt = other.is_some_and(|other| other != leader);
            engine.hint.send_replace(other.filter(|_| learnt));
            Attempt::NotApplied { learnt }
        }
        Err(CallError::Link(LinkError::Unreachable) | CallError::Served(_)) => {
            engine.hint.send_replace(None);
            Attempt::NotApplied { learnt: false }
        }
        Ok(_) | Err(_) => {
            engine.hint.send_replace(None);
            Attempt::Done(Err(ProposeError::TimedOut {
                may_be_applied: true,
            }))
        }
    };
    answer(waiting, &attempt);
}

fn answer(waiting: Vec<Waiting>, attempt: &Attempt) {
    for Waiting { answer, .. } in waiting {
        drop(answer.send(attempt.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use super::*;

    /// One result, and the end. As the engine's stream, it panics if it is asked for more.
    struct Results(u8);

    impl Stream for Results {
        type Item = u8;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u8>> {
            self.0 += 1;
            match self.0 {
                1 => Poll::Ready(Some(7)),
                2 => Poll::Ready(None),
                _ => panic!("asked for more after the end"),
            }
        }
    }

    #[tokio::test]
    async fn results_that_have_ended_are_not_asked_for_more() {
        let mut results = Some(Results(0));
        let mut seen = Vec::new();
        for _proposal in 0..4 {
            seen.push(next(&mut results).await);
        }
        assert_eq!(seen, [Some(7), None, None, None]);
    }
}
