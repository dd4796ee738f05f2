//! Proposing commands: what waits goes into one entry of the log, here or at the leader.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
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
use super::types::{Outcomes, Proposal};
use crate::topology::Topology;

/// The longest command in bytes. Guess: the longest are the reports of moves, some kilobytes.
pub(super) const COMMAND_BYTES_MAX: usize = 1024 * 1024;
/// How many proposals may wait for an entry.
const WAITING_MAX: usize = 4096;
/// How many bytes of commands share an entry, up to one command more. Guess.
const ENTRY_BYTES_MAX: usize = 256 * 1024;
/// How many entries, or calls to the leader, are under way at once. While they are, more commands
/// gather for the next. Guess.
const FLIGHTS_MAX: usize = 4;
/// How often a leader tells a machine that waits for it how much time has passed.
const TICK: Duration = Duration::from_millis(100);
/// How often a node looks whether it has become the leader of a machine that waits for time.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What one try came to.
#[derive(Clone)]
enum Attempt {
    Done(Result<Vec<Bytes>, ProposeError>),
    /// Certainly not applied, so it may be tried again; at once, if this node has learnt who leads.
    NotApplied {
        learnt: bool,
    },
}

/// Commands that wait to be proposed together.
struct Waiting {
    commands: Vec<Bytes>,
    until: Instant,
    /// Whether only this node may propose them: another one has handed them on.
    here: bool,
    answer: oneshot::Sender<Attempt>,
}

/// The way to the task that proposes.
pub(super) struct Proposer {
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
        let work = Work {
            engine: Arc::clone(&engine),
            topology,
            flights: JoinSet::new(),
            stamp: None,
        };
        (Self { engine, queue }, work.run(waiting))
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
            match self.attempt(vec![command.clone()], until, false).await {
                Attempt::Done(outcomes) => {
                    return outcomes?.pop().ok_or(ProposeError::Malformed);
                }
                // Once: two nodes that are wrong about each other must not keep each other busy.
                Attempt::NotApplied { learnt } if learnt && may_hurry => may_hurry = false,
                Attempt::NotApplied { .. } => {
                    may_hurry = true;
                    let pause = self.engine.config.heartbeat;
                    if Instant::now() + pause >= until {
                        return Err(ProposeError::NoLeader);
                    }
                    sleep(pause).await;
                }
            }
        }
    }

    /// The leader's side of proposals that another node hands on: one try, because only the node
    /// that first took a proposal may repeat it. `None` if this node does not lead.
    pub(super) async fn propose_once(
        &self,
        commands: Vec<Bytes>,
        timeout: Duration,
    ) -> Option<Result<Vec<Bytes>, ProposeError>> {
        match self.attempt(commands, Instant::now() + timeout, true).await {
            Attempt::Done(outcomes) => Some(outcomes),
            Attempt::NotApplied { .. } => None,
        }
    }

    async fn attempt(&self, commands: Vec<Bytes>, until: Instant, here: bool) -> Attempt {
        let timed_out =
            |may_be_applied| Attempt::Done(Err(ProposeError::TimedOut { may_be_applied }));
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            commands,
            until,
            here,
            answer,
        };
        match timeout_at(until, self.queue.send(waiting)).await {
            Ok(Ok(())) => {}
            Ok(Err(_ended)) => return Attempt::NotApplied { learnt: false },
            Err(_elapsed) => return timed_out(false),
        }
        match timeout_at(until, answered).await {
            Ok(Ok(attempt)) => attempt,
            Ok(Err(_ended)) => Attempt::Done(Err(ProposeError::Stopping)),
            Err(_elapsed) => timed_out(true),
        }
    }
}

/// The task that proposes what waits.
struct Work {
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
                    Some(first) => {
                        let most = self.engine.parts.host.commands_per_entry();
                        self.send(gather(first, &mut queue, most)).await;
                    }
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

    /// Writes one entry with all these commands. It is in line before this returns, so that entries
    /// follow each other in the order of their time.
    async fn write(&mut self, raft: &Raft, term: u64, waiting: Vec<Waiting>) {
        let elapsed_ms = self.elapsed_ms(term);
        let commands = waiting
            .iter()
            .flat_map(|waiting| waiting.commands.iter().cloned())
            .collect();
        let proposal = Proposal {
            elapsed_ms,
            commands,
        };
        match raft.client_write_many([proposal]).await {
            Ok(mut results) => drop(self.flights.spawn(async move {
                let next = poll_fn(|context| results.as_mut().poll_next(context));
                let attempt = match next.await {
                    Some(Ok(Ok(written))) => return split(waiting, written.response),
                    Some(Ok(Err(ClientWriteError::LogEntryDiscarded(_)))) => {
                        Attempt::Done(Err(ProposeError::LeaderChanged))
                    }
                    Some(Ok(Err(_))) => Attempt::NotApplied { learnt: false },
                    Some(Err(_)) | None => Attempt::Done(Err(ProposeError::Stopping)),
                };
                answer(waiting, &attempt);
            })),
            Err(_fatal) => answer(waiting, &Attempt::Done(Err(ProposeError::Stopping))),
        }
    }
}

/// What waits besides `first`, as much as goes into one entry of at most so many commands.
fn gather(first: Waiting, queue: &mut mpsc::Receiver<Waiting>, most: usize) -> Vec<Waiting> {
    let bytes_of = |waiting: &Waiting| waiting.commands.iter().map(Bytes::len).sum::<usize>();
    let (mut commands, mut bytes) = (first.commands.len(), bytes_of(&first));
    let mut all = vec![first];
    while commands < most
        && bytes < ENTRY_BYTES_MAX
        && let Ok(next) = queue.try_recv()
    {
        commands += next.commands.len();
        bytes += bytes_of(&next);
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
        .flat_map(|waiting| waiting.commands.iter().cloned())
        .collect();
    let until = waiting.iter().map(|waiting| waiting.until).max();
    let timeout = until.map_or(Duration::ZERO, |until| {
        until.saturating_duration_since(Instant::now())
    });
    let ask = Ask::Propose { commands, timeout };
    let attempt = match engine.peer(leader).ask(ask, timeout).await {
        Ok(Reply::Proposed(Ok(outcomes))) => {
            engine.hint.send_replace(Some(leader));
            return split(waiting, Outcomes(outcomes));
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
        Ok(Reply::Proposed(Err(error))) => Attempt::Done(Err(error)),
        Ok(_) | Err(_) => {
            engine.hint.send_replace(None);
            Attempt::Done(Err(ProposeError::TimedOut {
                may_be_applied: true,
            }))
        }
    };
    answer(waiting, &attempt);
}

/// Gives everybody the outcomes of their own commands.
fn split(waiting: Vec<Waiting>, Outcomes(outcomes): Outcomes) {
    let mut outcomes = outcomes.into_iter();
    for Waiting {
        commands, answer, ..
    } in waiting
    {
        let own: Vec<Bytes> = outcomes.by_ref().take(commands.len()).collect();
        // Whoever proposed may have given up.
        drop(answer.send(Attempt::Done(Ok(own))));
    }
}

fn answer(waiting: Vec<Waiting>, attempt: &Attempt) {
    for Waiting { answer, .. } in waiting {
        drop(answer.send(attempt.clone()));
    }
}
