//! Random histories against a small model that knows nothing of how the machine works: it keeps
//! only what clients were told and how much time has passed.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const KEYS: [&str; 3] = ["a", "b", "c"];
const TTL_MS: u64 = 1000;

/// One step. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Lock {
        key: usize,
        shared: bool,
        wait_ms: u64,
    },
    Under {
        session: usize,
        key: usize,
        wait_ms: u64,
    },
    Open,
    Release(usize),
    Renew(usize),
    Close(usize),
    Cancel(usize),
    Pass(u64),
    Leader,
    Restore,
    Reread,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![Just(0_u64), Just(500), Just(5000)];
    let step = prop_oneof![
        6 => (0..3_usize, any::<bool>(), wait.clone())
            .prop_map(|(key, shared, wait_ms)| Step::Lock { key, shared, wait_ms }),
        3 => (0..8_usize, 0..3_usize, wait)
            .prop_map(|(session, key, wait_ms)| Step::Under { session, key, wait_ms }),
        1 => Just(Step::Open),
        5 => (0..16_usize).prop_map(Step::Release),
        3 => (0..16_usize).prop_map(Step::Renew),
        1 => (0..8_usize).prop_map(Step::Close),
        1 => (0..8_usize).prop_map(Step::Cancel),
        4 => (1..900_u64).prop_map(Step::Pass),
        1 => Just(Step::Leader),
        1 => Just(Step::Restore),
        1 => Just(Step::Reread),
    ];
    prop::collection::vec(step, 1..120)
}

/// What clients know.
#[derive(Default)]
struct Known {
    /// When each open session ends at the earliest.
    earliest: BTreeMap<SessionId, u64>,
    lasting: Vec<SessionId>,
    /// Every grant that was told: key, token, session.
    grants: Vec<(usize, FencingToken, SessionId)>,
    /// Requests that wait: the key and the session.
    waits: BTreeMap<WaitId, (usize, SessionId)>,
    /// The highest exclusive or first shared token of each key, and of all.
    highest: FencingToken,
    ended: BTreeSet<SessionId>,
    now_ms: u64,
}

struct History {
    group: Group,
    term: u64,
    known: Known,
}

impl History {
    fn new() -> Self {
        Self {
            group: Group::new(),
            term: 1,
            known: Known::default(),
        }
    }

    fn play(&mut self, step: &Step) {
        match *step {
            Step::Lock {
                key,
                shared,
                wait_ms,
            } => self.lock(None, key, shared, wait_ms),
            Step::Under {
                session,
                key,
                wait_ms,
            } => {
                let count = self.known.lasting.len();
                if count > 0 {
                    let session = self.known.lasting[session % count];
                    self.lock(Some(session), key, false, wait_ms);
                }
            }
            Step::Open => {
                let open = CoordinationDeed::Session(SessionCommand::Open(spec()));
                if let CoordinationOutcome::Session(SessionOutcome::Opened(id)) =
                    self.group.ask(open)
                {
                    self.known.earliest.insert(id, self.known.now_ms + TTL_MS);
                    self.known.lasting.push(id);
                }
            }
            Step::Release(at) => self.on_grant(at, false),
            Step::Renew(at) => self.on_grant(at, true),
            Step::Close(at) => {
                if let Some(&session) = pick(&self.known.lasting, at) {
                    self.known.earliest.remove(&session);
                    let close = SessionCommand::Close(session);
                    self.group.ask(CoordinationDeed::Session(close));
                }
            }
            Step::Cancel(at) => {
                let waits: Vec<_> = self.known.waits.keys().copied().collect();
                if let Some(&wait) = pick(&waits, at) {
                    self.group.ask(CoordinationDeed::Cancel(wait));
                }
            }
            Step::Pass(ms) => {
                self.known.now_ms += ms;
                self.pass(ms);
            }
            Step::Leader => {
                self.term += 1;
                self.everybody_lives_anew();
                self.pass(900);
            }
            Step::Restore => {
                self.group.state = std::mem::take(&mut self.group.state).restored();
                self.group.index = 0;
                self.group.events.clear();
                self.everybody_lives_anew();
                self.pass(900);
            }
            Step::Reread => {
                let bytes = self.group.state.encode();
                self.group.state = Coordination::decode(&bytes).unwrap();
                self.group.events.clear();
            }
        }
        self.learn();
        self.check();
    }

    fn pass(&mut self, ms: u64) {
        self.group.index += 1;
        self.group.events.clear();
        let index = LogIndex(self.group.index);
        let events = &mut self.group.events;
        self.group.state.pass(index, self.term, ms, events);
    }

    fn everybody_lives_anew(&mut self) {
        for earliest in self.known.earliest.values_mut() {
            *earliest = (*earliest).max(self.known.now_ms + TTL_MS);
        }
    }

    fn lock(&mut self, session: Option<SessionId>, key: usize, shared: bool, wait_ms: u64) {
        let deed = CoordinationDeed::Lock(LockCommand::Acquire {
            by: session.map_or_else(|| By::New(spec()), By::Session),
            names: vec![name(KEYS[key])],
            mode: if shared {
                LockMode::Shared
            } else {
                LockMode::Exclusive
            },
            patience: Patience::new(wait_ms, 0).unwrap(),
        });
        match self.group.ask(deed) {
            CoordinationOutcome::Lock(LockOutcome::Acquired(Acquired::Granted {
                token,
                session,
                ..
            })) => self.granted(key, token, session),
            CoordinationOutcome::Lock(LockOutcome::Acquired(Acquired::Waiting {
                wait,
                session,
                ..
            })) => {
                self.known.waits.insert(wait, (key, session));
                let earliest = self.known.earliest.entry(session);
                earliest.or_insert(self.known.now_ms + TTL_MS + wait_ms);
            }
            _ => {}
        }
    }

    fn granted(&mut self, key: usize, token: FencingToken, session: SessionId) {
        let known = &mut self.known;
        assert!(!known.ended.contains(&session), "granted to the dead");
        let is_known = known
            .grants
            .iter()
            .any(|grant| grant.1 == token && grant.0 == key);
        assert!(
            token > known.highest || is_known,
            "{token:?} is not new and was not granted"
        );
        known.highest = known.highest.max(token);
        known.grants.push((key, token, session));
        if !known.lasting.contains(&session) {
            known.earliest.insert(session, known.now_ms + TTL_MS);
        }
    }

    /// Releases or renews a grant of long ago, or of now.
    fn on_grant(&mut self, at: usize, renews: bool) {
        let Some(&(key, token, session)) = pick(&self.known.grants, at) else {
            return;
        };
        let held = HoldRef {
            session: Some(session),
            ..hold(KEYS[key], token)
        };
        let command = if renews {
            LockCommand::Renew(held)
        } else {
            LockCommand::Release(held)
        };
        let others = |view: &[LockView]| {
            let locks = view.iter().filter(|lock| lock.name != name(KEYS[key]));
            locks.cloned().collect::<Vec<_>>()
        };
        let before = self.locks();
        let outcome = self.group.ask(CoordinationDeed::Lock(command));
        let kept = matches!(outcome, CoordinationOutcome::Lock(LockOutcome::Kept { .. }));
        if kept && renews {
            let earliest = self.known.now_ms + TTL_MS;
            self.known.earliest.insert(session, earliest);
        } else if !kept {
            assert_eq!(self.locks(), before, "an old token changed something");
        } else {
            assert_eq!(others(&self.locks()), others(&before));
        }
    }

    /// Takes in the events of the last step.
    fn learn(&mut self) {
        let events = std::mem::take(&mut self.group.events);
        for event in events {
            match event {
                CoordinationEvent::Granted {
                    wait,
                    session,
                    token,
                    ..
                } => {
                    if let Some((key, of)) = self.known.waits.remove(&wait) {
                        assert_eq!(of, session);
                        let mut earlier = self.known.waits.range(..wait);
                        assert!(earlier.all(|(_, (other, _))| *other != key), "overtaken");
                        self.granted(key, token, session);
                    }
                }
                CoordinationEvent::Withdrawn { wait } => {
                    self.known.waits.remove(&wait);
                }
                CoordinationEvent::Session(ended) => {
                    if ended.end == SessionEnd::Expired {
                        let earliest = self.known.earliest.get(&ended.session);
                        let earliest = earliest.copied().unwrap_or(0);
                        assert!(earliest <= self.known.now_ms, "ended too early");
                    }
                    self.known.ended.insert(ended.session);
                    self.known.earliest.remove(&ended.session);
                    self.known.lasting.retain(|it| *it != ended.session);
                }
                _ => {}
            }
        }
    }

    fn locks(&self) -> Vec<LockView> {
        match self
            .group
            .state
            .answer(&CoordinationQuery::Locks { held_by: None })
        {
            CoordinationAnswer::Locks(locks) => locks
                .into_iter()
                .map(|mut lock| {
                    lock.holders.iter_mut().for_each(|it| it.ends_in_ms = 0);
                    lock
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    fn check(&self) {
        for lock in self.locks() {
            assert!(lock.mode == LockMode::Shared || lock.holders.len() == 1);
            assert!(
                lock.token <= self.known.highest,
                "nobody was told this token"
            );
            let mut holders = lock.holders.iter();
            assert!(holders.all(|holder| !self.known.ended.contains(&holder.session)));
        }
        let bytes = self.group.state.encode();
        assert_eq!(Coordination::decode(&bytes).as_ref(), Ok(&self.group.state));
    }
}

fn pick<T>(from: &[T], at: usize) -> Option<&T> {
    if from.is_empty() {
        None
    } else {
        from.get(at % from.len())
    }
}

fn spec() -> SessionSpec {
    SessionSpec {
        holder: Holder::default(),
        ttl: Ttl::try_from(TTL_MS).unwrap(),
        delay_ms: 0,
    }
}

proptest! {
    #[test]
    fn no_history_breaks_a_promise_of_locks(steps in steps()) {
        let mut history = History::new();
        for step in &steps {
            history.play(step);
        }
        // Without renewals everything ends, and who waits is served or gives up.
        for _ in 0..20 {
            history.known.now_ms += 1000;
            history.pass(1000);
            history.learn();
        }
        prop_assert_eq!(history.locks(), []);
        prop_assert!(history.known.waits.is_empty());
    }

    #[test]
    fn equal_histories_have_equal_hashes(steps in steps()) {
        let (mut one, mut two) = (History::new(), History::new());
        for step in &steps {
            one.play(step);
            two.play(step);
            prop_assert_eq!(one.group.state.hash(), two.group.state.hash());
        }
    }
}
