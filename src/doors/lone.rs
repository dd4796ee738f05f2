//! A coordination group of one process that forgets everything when it ends: for a face without a
//! cluster behind it, such as in a test.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quorate_control::consensus::ReadLevel;
use quorate_control::coordinate::{
    ClientId, Coordination, CoordinationAnswer, CoordinationCommand, CoordinationDeed,
    CoordinationOutcome, CoordinationQuery, ProposalId,
};
use quorate_control::topology::LogIndex;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::coordination::{CoordinationError, Coordinator};
use super::pending::Pending;
use super::waits::{ended, goes_on, waiting};

/// How often a wait is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Decides alone, by the same rules as a group. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct LoneCoordinator(Arc<Mutex<Decided>>);

#[derive(Debug)]
struct Decided {
    state: Coordination,
    index: u64,
    last: Instant,
}

impl Default for LoneCoordinator {
    fn default() -> Self {
        let decided = Decided {
            state: Coordination::default(),
            index: 0,
            last: Instant::now(),
        };
        Self(Arc::new(Mutex::new(decided)))
    }
}

impl LoneCoordinator {
    /// Lets time pass, then looks at or changes the state.
    fn with<T>(&self, act: impl FnOnce(&mut Coordination, LogIndex) -> T) -> T {
        let mut decided = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let passed = now.duration_since(decided.last).as_millis() as u64;
        decided.last += Duration::from_millis(passed);
        decided.index += 1;
        let index = LogIndex(decided.index);
        decided.state.pass(index, 1, passed, &mut Vec::new());
        act(&mut decided.state, index)
    }

    fn apply(&self, deed: CoordinationDeed) -> CoordinationOutcome {
        self.with(|state, index| {
            let id = ProposalId {
                client: ClientId(0),
                number: index.0,
                awaited: index.0,
            };
            state.apply(index, CoordinationCommand { id, deed }, &mut Vec::new())
        })
    }

    fn answer(&self, query: &CoordinationQuery) -> CoordinationAnswer {
        self.with(|state, _| state.answer(query))
    }

    async fn carry_out(&self, deed: CoordinationDeed, wait: Duration) -> CoordinationOutcome {
        let until = Instant::now() + wait;
        let outcome = self.apply(deed.clone());
        let Some(waiting) = waiting(&deed, &outcome) else {
            return outcome;
        };
        loop {
            let answer = self.answer(&waiting.query);
            if !goes_on(&answer) {
                return ended(outcome, &answer);
            }
            if Instant::now() >= until {
                break;
            }
            sleep(LOOK_EVERY).await;
        }
        match waiting.withdrawal {
            Some(withdrawal) => {
                self.apply(withdrawal);
                ended(outcome, &self.answer(&waiting.query))
            }
            None => outcome,
        }
    }
}

impl Coordinator for LoneCoordinator {
    fn decide(
        &self,
        deed: CoordinationDeed,
        wait: Duration,
    ) -> Pending<Result<CoordinationOutcome, CoordinationError>> {
        let (caller, pending) = oneshot::channel();
        let lone = self.clone();
        tokio::spawn(async move {
            // Whoever asked may have gone.
            drop(caller.send(Ok(lone.carry_out(deed, wait).await)));
        });
        pending
    }

    fn ask(
        &self,
        query: CoordinationQuery,
        _: ReadLevel,
    ) -> Pending<Result<CoordinationAnswer, CoordinationError>> {
        let (caller, pending) = oneshot::channel();
        drop(caller.send(Ok(self.answer(&query))));
        pending
    }
}
