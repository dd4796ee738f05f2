//! What faces ask of the coordination group: proposals that are repeated until they are answered,
//! and waits that end in the group.
//!
//! A command that waits is answered at once with the wait. From then on the node looks: at its own
//! replica whenever that applies an event about the wait, and at the leader from time to time,
//! because events are lost when a leader changes and a node without a replica sees none. So the
//! death of a leader delays a grant and loses none.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use quorate_control::consensus::{Group, ProposeError, QueryError, ReadLevel, Role};
use quorate_control::coordinate::{
    AcquireRefusal, Acquired, ClientId, Coordination, CoordinationAnswer, CoordinationCommand,
    CoordinationDeed, CoordinationOutcome, CoordinationQuery, ElectionCommand, HoldRef,
    LockCommand, ProposalId, ResourceKind, SemaphoreCommand, SessionCommand,
};
use quorate_crdt::NodeId;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::meter::HoldFigures;
use crate::doors::waits::{
    Awaited, Waiting, acquired, awaited, ended, goes_on, is_fulfilled, refused, resources, waiting,
};
use crate::doors::{CoordinationError, Coordinator, Pending};

/// How long a command may take: enough for several elections.
const DECIDE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one try may take. A leader that died silently is given up after it, or as soon as
/// another one leads.
const TRY_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait after a try that may have succeeded.
const TRY_PAUSE: Duration = Duration::from_millis(20);
/// How often the leader is asked about a wait, by a node that sees events and by one that does not.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_WITHOUT_EVENTS_EVERY: Duration = Duration::from_millis(50);
/// How often the session of a party is renewed while it waits at a barrier. Its time to live is
/// three times as long.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(3);

/// The node's commands to the group.
pub(super) struct Coordinating {
    group: Group<Coordination>,
    client: ClientId,
    under_way: Mutex<UnderWay>,
    waiting: Mutex<BTreeMap<Awaited, Arc<Notify>>>,
    attending: Mutex<Option<AbortHandle>>,
    held: Mutex<HoldFigures>,
}

/// The numbers of commands that are not answered.
#[derive(Default)]
struct UnderWay {
    last: u64,
    open: BTreeSet<u64>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Coordinating {
    /// Begins to follow the group. `seed` differs at every start: a later life of the node is
    /// another client.
    pub(super) fn start(group: Group<Coordination>, seed: u64) -> Arc<Self> {
        let coordinating = Arc::new(Self {
            group,
            client: ClientId(seed.rotate_left(17)),
            under_way: Mutex::default(),
            waiting: Mutex::default(),
            attending: Mutex::default(),
            held: Mutex::default(),
        });
        let attending = tokio::spawn(attend(Arc::downgrade(&coordinating)));
        *locked(&coordinating.attending) = Some(attending.abort_handle());
        coordinating
    }

    /// What became of requests to hold something.
    pub(super) fn held(&self) -> HoldFigures {
        *locked(&self.held)
    }

    fn count(&self, outcome: &CoordinationOutcome, waited: Duration) {
        let mut held = locked(&self.held);
        if let Some(Acquired::Granted { .. }) = acquired(outcome) {
            held.granted += 1;
            held.waited += waited;
        } else if let Some(AcquireRefusal::WouldDeadlock { .. }) = refused(outcome) {
            held.deadlocks += 1;
        }
    }

    /// Has the group carry out a command, once, and returns what came of it.
    async fn propose(
        &self,
        deed: CoordinationDeed,
    ) -> Result<CoordinationOutcome, CoordinationError> {
        let number = {
            let mut under_way = locked(&self.under_way);
            under_way.last += 1;
            let number = under_way.last;
            under_way.open.insert(number);
            number
        };
        let outcome = self.repeat(number, deed).await;
        locked(&self.under_way).open.remove(&number);
        outcome
    }

    /// Proposes the command until it is answered. All tries have one number, so the group carries
    /// out one of them.
    async fn repeat(
        &self,
        number: u64,
        deed: CoordinationDeed,
    ) -> Result<CoordinationOutcome, CoordinationError> {
        let until = Instant::now() + DECIDE_TIMEOUT;
        let awaited = locked(&self.under_way).open.first().copied();
        let id = ProposalId {
            client: self.client,
            number,
            awaited: awaited.unwrap_or(number),
        };
        let command = CoordinationCommand { id, deed };
        let mut may_be_done = false;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let asked = self.group.leader();
            let tried = self.group.propose(&command, left.min(TRY_TIMEOUT));
            let tried = tokio::select! {
                // So that two runs of one seed are equal.
                biased;
                tried = tried => Some(tried),
                () = self.is_replaced(asked) => None,
            };
            match tried {
                Some(Ok(outcome)) => return Ok(outcome),
                Some(Err(
                    ProposeError::NoLeader
                    | ProposeError::TimedOut {
                        may_be_applied: false,
                    },
                )) => {}
                Some(Err(ProposeError::Malformed)) => return Err(CoordinationError::Malformed),
                Some(Err(_)) | None => may_be_done = true,
            }
            sleep(TRY_PAUSE).await;
        }
        Err(if may_be_done {
            CoordinationError::TimedOut
        } else {
            CoordinationError::NoQuorum
        })
    }

    /// Waits until another node leads than the one that was asked: a leader that was killed answers
    /// no more, and does not say so. The next one is asked the same under the same number.
    async fn is_replaced(&self, asked: Option<NodeId>) {
        let replaced = || {
            self.group
                .leader()
                .is_some_and(|leads| asked != Some(leads))
        };
        while asked.is_none() || !replaced() {
            sleep(TRY_PAUSE).await;
        }
    }

    async fn query(
        &self,
        query: &CoordinationQuery,
        level: ReadLevel,
    ) -> Result<CoordinationAnswer, CoordinationError> {
        let asked = self.group.query(query, level, DECIDE_TIMEOUT);
        asked.await.map_err(|error| match error {
            QueryError::Malformed => CoordinationError::Malformed,
            QueryError::TooStale { within, known } => CoordinationError::TooStale { within, known },
            _ => CoordinationError::NoQuorum,
        })
    }

    /// Carries out a command and waits for what it waits for.
    async fn carry_out(
        &self,
        deed: CoordinationDeed,
        wait: Duration,
        caller: &mut oneshot::Sender<Result<CoordinationOutcome, CoordinationError>>,
    ) -> Result<CoordinationOutcome, CoordinationError> {
        let until = Instant::now() + wait;
        let outcome = self.propose(deed.clone()).await?;
        let Some(waiting) = waiting(&deed, &outcome) else {
            return Ok(outcome);
        };
        let over = self.until_over(&waiting, until, caller).await;
        if let Some(answer) = over {
            return Ok(ended(outcome, &answer));
        }
        if let Some(withdrawal) = waiting.withdrawal {
            // The wait has begun: whatever is not heard of its end, it may have ended well.
            let unknown = |_| CoordinationError::TimedOut;
            self.propose(withdrawal).await.map_err(unknown)?;
            // What was granted in the last moment is held.
            let asked = self.query(&waiting.query, ReadLevel::Strong);
            let answer = asked.await.map_err(unknown)?;
            return Ok(ended(outcome, &answer));
        }
        Ok(outcome)
    }

    /// What the wait has come to; `None` if it goes on when its time is over or the caller is gone.
    async fn until_over(
        &self,
        waiting: &Waiting,
        until: Instant,
        caller: &mut oneshot::Sender<Result<CoordinationOutcome, CoordinationError>>,
    ) -> Option<CoordinationAnswer> {
        let registered = Registered::new(self, waiting.awaited.clone());
        let mut keep_alive = Instant::now() + KEEP_ALIVE_EVERY;
        let mut ask_leader = false;
        loop {
            // What happens while this node looks is not missed.
            let mut woken = pin!(registered.notify.notified());
            woken.as_mut().enable();
            if let Some(answer) = self.look(&waiting.query, ask_leader).await {
                return Some(answer);
            }
            let every = if self.sees_events() {
                LOOK_EVERY
            } else {
                LOOK_WITHOUT_EVENTS_EVERY
            };
            let next = (Instant::now() + every).min(keep_alive).min(until);
            ask_leader = tokio::select! {
                () = woken => false,
                () = sleep_until(next) => true,
                () = caller.closed() => return None,
            };
            let now = Instant::now();
            if now >= until {
                return None;
            }
            if now >= keep_alive {
                keep_alive = now + KEEP_ALIVE_EVERY;
                if let Some(session) = waiting.party {
                    let renew = SessionCommand::Renew(vec![session]);
                    let renewed = self.propose(CoordinationDeed::Session(renew));
                    // If it has not been renewed, the round shows it.
                    drop(timeout_at(until, renewed).await);
                }
            }
        }
    }

    /// Whether this node applies what the group decides.
    fn sees_events(&self) -> bool {
        self.group.status().role != Role::Absent
    }

    /// What a wait has come to, if it is over. This node's replica may lag behind: it is believed
    /// where it has seen the end that the caller hopes for.
    async fn look(
        &self,
        query: &CoordinationQuery,
        ask_leader: bool,
    ) -> Option<CoordinationAnswer> {
        let here = self.group.read(|state| state.answer(query));
        if is_fulfilled(&here) && self.sees_events() {
            return Some(here);
        }
        if goes_on(&here) && self.sees_events() && !ask_leader {
            return None;
        }
        let answer = self.query(query, ReadLevel::Strong).await.ok()?;
        (!goes_on(&answer)).then_some(answer)
    }

    /// Gives back what nobody has heard of.
    async fn give_back(&self, deed: &CoordinationDeed, outcome: &CoordinationOutcome) {
        let Some(Acquired::Granted { token, session, .. }) = acquired(outcome) else {
            return;
        };
        for resource in resources(deed) {
            let kind = resource.kind;
            let hold = HoldRef {
                resource,
                token: *token,
                session: Some(*session),
            };
            let release = match kind {
                ResourceKind::Lock => CoordinationDeed::Lock(LockCommand::Release(hold)),
                ResourceKind::Semaphore => {
                    CoordinationDeed::Semaphore(SemaphoreCommand::Release(hold))
                }
                ResourceKind::Election => CoordinationDeed::Election(ElectionCommand::Resign(hold)),
            };
            if let Err(error) = self.propose(release).await {
                tracing::debug!(%error, "a grant that nobody heard of ends with its session");
            }
        }
    }

    /// Wakes whoever waits for this.
    fn wake(&self, awaited: &Awaited) {
        if let Some(notify) = locked(&self.waiting).get(awaited) {
            notify.notify_waiters();
        }
    }

    fn wake_all(&self) {
        for notify in locked(&self.waiting).values() {
            notify.notify_waiters();
        }
    }
}

impl Drop for Coordinating {
    fn drop(&mut self) {
        if let Some(attending) = locked(&self.attending).take() {
            attending.abort();
        }
    }
}

impl Coordinator for Arc<Coordinating> {
    fn decide(
        &self,
        deed: CoordinationDeed,
        wait: Duration,
    ) -> Pending<Result<CoordinationOutcome, CoordinationError>> {
        let (mut caller, pending) = oneshot::channel();
        let coordinating = Self::clone(self);
        tokio::spawn(async move {
            let begun = Instant::now();
            let outcome = coordinating
                .carry_out(deed.clone(), wait, &mut caller)
                .await;
            if let Ok(outcome) = &outcome {
                coordinating.count(outcome, begun.elapsed());
            }
            if let Err(Ok(unheard)) = caller.send(outcome) {
                coordinating.give_back(&deed, &unheard).await;
            }
        });
        pending
    }

    fn ask(
        &self,
        query: CoordinationQuery,
        level: ReadLevel,
    ) -> Pending<Result<CoordinationAnswer, CoordinationError>> {
        let (caller, pending) = oneshot::channel();
        let coordinating = Self::clone(self);
        tokio::spawn(async move {
            // Whoever asked may have gone.
            drop(caller.send(coordinating.query(&query, level).await));
        });
        pending
    }
}

/// One that waits, until it is dropped.
struct Registered<'a> {
    coordinating: &'a Coordinating,
    awaited: Awaited,
    notify: Arc<Notify>,
}

impl<'a> Registered<'a> {
    fn new(coordinating: &'a Coordinating, awaited: Awaited) -> Self {
        let mut waiting = locked(&coordinating.waiting);
        let notify = Arc::clone(waiting.entry(awaited.clone()).or_default());
        drop(waiting);
        Self {
            coordinating,
            awaited,
            notify,
        }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut waiting = locked(&self.coordinating.waiting);
        // One is held here and one by the map: whoever else waits holds another.
        if Arc::strong_count(&self.notify) <= 2 {
            waiting.remove(&self.awaited);
        }
    }
}

/// Tells those who wait what this node's replica has applied.
async fn attend(coordinating: Weak<Coordinating>) {
    let Some(mut events) = coordinating.upgrade().map(|it| it.group.events()) else {
        return;
    };
    loop {
        let event = events.recv().await;
        let Some(coordinating) = coordinating.upgrade() else {
            return;
        };
        match event {
            Ok((_, event)) => {
                if let Some(awaited) = awaited(&event) {
                    coordinating.wake(&awaited);
                }
            }
            Err(RecvError::Lagged(_)) => coordinating.wake_all(),
            Err(RecvError::Closed) => return,
        }
    }
}
