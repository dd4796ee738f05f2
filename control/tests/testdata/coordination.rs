//! The coordination group, command by command. `a` is a holder, `k` a name.
//!
//! ```text
//! open a TTL                       a lasting session for a; what a asks later is asked under it
//! lock a k[,k…] [WORD …]           WORD: shared, wait=MS, priority=N, ttl=MS, delay=MS
//! renew a k | unlock a k           under the token that a was last granted for k, or token=N
//! downgrade a k | force k
//! permits a k SIZE [take=N] [WORD …] | return a k | keep a k | resize k SIZE
//! campaign a k VALUE [WORD …] | proclaim a k VALUE | resign a k
//! arrive a k PARTIES MS [double] | leave a k MS
//! latch k N | count k N | await k
//! put k VALUE [REVISION] | delete k [REVISION] | read k
//! cancel a | close a               the last wait of a; the session of a
//! again                            the last command arrives once more
//! tick MS | leader                 time passes; a new leader's first tick
//! restored                         the state goes into another group, whose log begins anew
//! list | why k | led k | wait a k | floor
//! ```
//!
//! A session without a lasting one is opened by the command, with a TTL of 1000. After the outcome
//! stand the events. After every command the state is checked: it survives being written and read,
//! and no lock has two holders unless it is shared.

use std::collections::BTreeMap;

use quorate_control::coordinate::{
    AcquireRefusal, Acquired, BarrierCommand, BarrierOutcome, By, ChainLink, ClientId,
    Coordination, CoordinationAnswer, CoordinationCommand, CoordinationDeed, CoordinationEvent,
    CoordinationOutcome, CoordinationQuery, ElectionCommand, ElectionOutcome, HoldRef, Holder,
    LatchCommand, LatchOutcome, LockCommand, LockMode, LockOutcome, LockView, MetadataCommand,
    MetadataEntry, MetadataOutcome, Name, Patience, ProposalId, Resource, ResourceKind, Revision,
    RoundEnd, SemaphoreCommand, SemaphoreOutcome, SessionCommand, SessionEnd, SessionId,
    SessionOutcome, SessionSpec, Ttl, WaitId,
};
use quorate_control::topology::{FencingToken, LogIndex};

/// What a script knows about what it was granted.
#[derive(Default)]
pub(crate) struct Group {
    state: Coordination,
    index: u64,
    term: u64,
    number: u64,
    last: Option<CoordinationCommand>,
    lasting: BTreeMap<String, SessionId>,
    tokens: BTreeMap<(String, String), FencingToken>,
    sessions: BTreeMap<(String, String), SessionId>,
    names: BTreeMap<SessionId, String>,
    waits: BTreeMap<String, (WaitId, SessionId)>,
}

/// The words behind a command.
struct Words {
    mode: LockMode,
    patience: Patience,
    ttl: u64,
    delay_ms: u32,
    take: u32,
    token: Option<u64>,
}

impl Words {
    fn of(words: &[&str]) -> Self {
        let mut read = Self {
            mode: LockMode::Exclusive,
            patience: Patience::default(),
            ttl: 1000,
            delay_ms: 0,
            take: 1,
            token: None,
        };
        let (mut wait_ms, mut priority) = (0, 0);
        for word in words {
            match word.split_once('=') {
                None if *word == "shared" => read.mode = LockMode::Shared,
                Some(("wait", ms)) => wait_ms = ms.parse().unwrap(),
                Some(("priority", n)) => priority = n.parse().unwrap(),
                Some(("ttl", ms)) => read.ttl = ms.parse().unwrap(),
                Some(("delay", ms)) => read.delay_ms = ms.parse().unwrap(),
                Some(("take", n)) => read.take = n.parse().unwrap(),
                Some(("token", n)) => read.token = Some(n.parse().unwrap()),
                _ => panic!("no such word: {word}"),
            }
        }
        read.patience = Patience::new(wait_ms, priority).unwrap();
        read
    }
}

fn name(text: &str) -> Name {
    Name::try_from(bytes::Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

fn revision(words: &[&str]) -> Option<Revision> {
    let number = words.first()?.parse().unwrap();
    Some(Revision(number))
}

fn resource(kind: ResourceKind, text: &str) -> Resource {
    Resource {
        kind,
        name: name(text),
    }
}

impl Group {
    pub(crate) fn command(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let printed = match words[..] {
            ["tick", ms] => {
                self.term = self.term.max(1);
                self.tick(ms.parse().unwrap())
            }
            ["leader"] => {
                self.term += 1;
                self.tick(0)
            }
            ["again"] => {
                let command = self.last.clone().unwrap();
                self.apply(command, ("", ""))
            }
            ["restored"] => {
                self.state = std::mem::take(&mut self.state).restored();
                self.index = 0;
                "restored".to_owned()
            }
            ["list"] => self.ask(&CoordinationQuery::Locks { held_by: None }),
            ["why", k] => self.ask(&CoordinationQuery::Why(name(k))),
            ["led", k] => self.ask(&CoordinationQuery::Leader(name(k))),
            ["read", k] => self.ask(&CoordinationQuery::Metadata(name(k))),
            ["floor"] => self.ask(&CoordinationQuery::Floor),
            ["wait", a, k] => {
                let (wait, session) = self.waits[a];
                self.ask(&CoordinationQuery::Wait {
                    wait,
                    session,
                    resource: resource(ResourceKind::Lock, k),
                })
            }
            _ => {
                let about = (
                    words.get(1).copied().unwrap_or(""),
                    words.get(2).copied().unwrap_or(""),
                );
                let deed = self.deed(&words);
                self.number += 1;
                let id = ProposalId {
                    client: ClientId(1),
                    number: self.number,
                    awaited: self.number.saturating_sub(8),
                };
                self.apply(CoordinationCommand { id, deed }, about)
            }
        };
        self.check();
        printed
    }

    fn deed(&self, words: &[&str]) -> CoordinationDeed {
        let hold = |kind, a: &str, k: &str, rest: &[&str]| {
            let known = self.tokens.get(&(a.to_owned(), k.to_owned()));
            let token = Words::of(rest).token.map(FencingToken);
            HoldRef {
                resource: resource(kind, k),
                token: token.or(known.copied()).unwrap_or(FencingToken(0)),
                session: self.sessions.get(&(a.to_owned(), k.to_owned())).copied(),
            }
        };
        match *words {
            ["open", a, ttl] => CoordinationDeed::Session(SessionCommand::Open(SessionSpec {
                holder: holder(a),
                ttl: Ttl::try_from(ttl.parse::<u64>().unwrap()).unwrap(),
                delay_ms: 0,
            })),
            ["close", a] => CoordinationDeed::Session(SessionCommand::Close(self.session(a))),
            ["keep-alive", a] => {
                CoordinationDeed::Session(SessionCommand::Renew(vec![self.session(a)]))
            }
            ["cancel", a] => CoordinationDeed::Cancel(self.waits[a].0),
            ["lock", a, names, ref rest @ ..] => {
                let read = Words::of(rest);
                CoordinationDeed::Lock(LockCommand::Acquire {
                    by: self.by(a, &read),
                    names: names.split(',').map(name).collect(),
                    mode: read.mode,
                    patience: read.patience,
                })
            }
            ["renew", a, k, ref rest @ ..] => {
                CoordinationDeed::Lock(LockCommand::Renew(hold(ResourceKind::Lock, a, k, rest)))
            }
            ["unlock", a, k, ref rest @ ..] => {
                CoordinationDeed::Lock(LockCommand::Release(hold(ResourceKind::Lock, a, k, rest)))
            }
            ["downgrade", a, k] => {
                CoordinationDeed::Lock(LockCommand::Downgrade(hold(ResourceKind::Lock, a, k, &[])))
            }
            ["force", k] => CoordinationDeed::Lock(LockCommand::Force {
                name: name(k),
                token: None,
            }),
            _ => self.other_deed(words, hold),
        }
    }

    fn other_deed(
        &self,
        words: &[&str],
        hold: impl Fn(ResourceKind, &str, &str, &[&str]) -> HoldRef,
    ) -> CoordinationDeed {
        match *words {
            ["permits", a, k, size, ref rest @ ..] => {
                let read = Words::of(rest);
                CoordinationDeed::Semaphore(SemaphoreCommand::Acquire {
                    by: self.by(a, &read),
                    name: name(k),
                    size: size.parse().unwrap(),
                    take: read.take,
                    patience: read.patience,
                })
            }
            ["return", a, k] => CoordinationDeed::Semaphore(SemaphoreCommand::Release(hold(
                ResourceKind::Semaphore,
                a,
                k,
                &[],
            ))),
            ["resize", k, size] => CoordinationDeed::Semaphore(SemaphoreCommand::Resize {
                name: name(k),
                size: size.parse().unwrap(),
            }),
            ["campaign", a, k, value, ref rest @ ..] => {
                let read = Words::of(rest);
                CoordinationDeed::Election(ElectionCommand::Campaign {
                    by: self.by(a, &read),
                    name: name(k),
                    value: value.to_owned().into(),
                    patience: read.patience,
                })
            }
            ["proclaim", a, k, value] => CoordinationDeed::Election(ElectionCommand::Proclaim {
                hold: hold(ResourceKind::Election, a, k, &[]),
                value: value.to_owned().into(),
            }),
            ["resign", a, k, ref rest @ ..] => CoordinationDeed::Election(ElectionCommand::Resign(
                hold(ResourceKind::Election, a, k, rest),
            )),
            ["arrive", a, k, parties, ms, ref rest @ ..] => {
                CoordinationDeed::Barrier(BarrierCommand::Arrive {
                    by: self.by(a, &Words::of(&[])),
                    name: name(k),
                    parties: parties.parse().unwrap(),
                    wait_ms: ms.parse().unwrap(),
                    double: rest == ["double"],
                })
            }
            ["leave", a, k, ms] => CoordinationDeed::Barrier(BarrierCommand::Leave {
                session: self.session(a),
                name: name(k),
                wait_ms: ms.parse().unwrap(),
            }),
            ["latch", k, n] => CoordinationDeed::Latch(LatchCommand::Set {
                name: name(k),
                count: n.parse().unwrap(),
            }),
            ["count", k, n] => CoordinationDeed::Latch(LatchCommand::CountDown {
                name: name(k),
                by: n.parse().unwrap(),
            }),
            ["put", k, value, ref rest @ ..] => CoordinationDeed::Metadata(MetadataCommand::Put {
                name: name(k),
                value: value.to_owned().into(),
                expected: revision(rest),
            }),
            ["delete", k, ref rest @ ..] => CoordinationDeed::Metadata(MetadataCommand::Delete {
                name: name(k),
                expected: revision(rest),
            }),
            ["await", k] => CoordinationDeed::Latch(LatchCommand::Await { name: name(k) }),
            _ => panic!("no such command: {words:?}"),
        }
    }

    fn session(&self, a: &str) -> SessionId {
        let mut known = self.names.iter().rev();
        let newest = known.find(|(_, holder)| *holder == a).map(|(id, _)| *id);
        self.lasting.get(a).copied().or(newest).unwrap()
    }

    fn by(&self, a: &str, read: &Words) -> By {
        match self.lasting.get(a) {
            Some(session) => By::Session(*session),
            None => By::New(SessionSpec {
                holder: holder(a),
                ttl: Ttl::try_from(read.ttl).unwrap(),
                delay_ms: read.delay_ms,
            }),
        }
    }

    fn tick(&mut self, elapsed_ms: u64) -> String {
        let term = self.term;
        self.index += 1;
        let mut events = Vec::new();
        self.state
            .pass(LogIndex(self.index), term, elapsed_ms, &mut events);
        let told = self.told(&events);
        if told.is_empty() {
            "-".to_owned()
        } else {
            told
        }
    }

    fn apply(&mut self, command: CoordinationCommand, about: (&str, &str)) -> String {
        self.index += 1;
        let mut events = Vec::new();
        self.last = Some(command.clone());
        let outcome = self.state.apply(LogIndex(self.index), command, &mut events);
        let outcome = self.outcome(outcome, about);
        let told = self.told(&events);
        if told.is_empty() {
            outcome
        } else {
            format!("{outcome}\n{told}")
        }
    }

    fn learn(&mut self, session: SessionId, a: &str) {
        self.names.insert(session, a.to_owned());
    }

    fn outcome(&mut self, outcome: CoordinationOutcome, about: (&str, &str)) -> String {
        use CoordinationOutcome as Of;
        match outcome {
            Of::Session(SessionOutcome::Opened(session)) => {
                self.lasting.insert(about.0.to_owned(), session);
                self.learn(session, about.0);
                format!("session {}", session.0)
            }
            Of::Session(SessionOutcome::Renewed { ended }) if ended.is_empty() => "kept".to_owned(),
            Of::Session(SessionOutcome::Renewed { .. }) => "it has ended".to_owned(),
            Of::Session(SessionOutcome::Closed(true)) => "closed".to_owned(),
            Of::Session(SessionOutcome::Closed(false)) => "it had ended".to_owned(),
            Of::Lock(LockOutcome::Acquired(got))
            | Of::Semaphore(SemaphoreOutcome::Acquired(got))
            | Of::Election(ElectionOutcome::Acquired(got)) => self.acquired(&got, about),
            Of::Lock(LockOutcome::Kept { holds }) => format!("done, held {holds} times"),
            Of::Lock(LockOutcome::Forced { sessions }) => format!("taken from {sessions}"),
            Of::Lock(LockOutcome::NotHeld(not)) => format!("not held: {not}"),
            Of::Semaphore(SemaphoreOutcome::Kept(kept))
            | Of::Election(ElectionOutcome::Kept(kept)) => {
                if kept { "done" } else { "not held" }.to_owned()
            }
            Of::Semaphore(SemaphoreOutcome::Resized(before)) => format!("it had {before:?}"),
            Of::Barrier(BarrierOutcome::Waiting {
                round,
                session,
                arrived,
            }) => {
                self.learn(session, about.0);
                format!("round {round} waits, {arrived} have come")
            }
            Of::Barrier(BarrierOutcome::Passed { round, session }) => {
                self.learn(session, about.0);
                format!("round {round} passed")
            }
            Of::Barrier(BarrierOutcome::Broken { round }) => format!("round {round} is broken"),
            Of::Barrier(BarrierOutcome::Refused(refusal)) => format!("refused: {refusal}"),
            Of::Latch(LatchOutcome::Set(true)) => "set".to_owned(),
            Of::Latch(LatchOutcome::Set(false)) => "it counts already".to_owned(),
            Of::Latch(LatchOutcome::Counted(left)) => format!("{left} left"),
            Of::Latch(LatchOutcome::Open) => "open".to_owned(),
            Of::Latch(LatchOutcome::Waiting { left, .. }) => format!("closed, {left} left"),
            Of::Metadata(MetadataOutcome::Put(revision)) => format!("revision {revision}"),
            Of::Metadata(MetadataOutcome::Deleted(true)) => "deleted".to_owned(),
            Of::Metadata(MetadataOutcome::Deleted(false)) => "there was none".to_owned(),
            Of::Metadata(MetadataOutcome::Differs(Revision::NONE)) => "there is none".to_owned(),
            Of::Metadata(MetadataOutcome::Differs(there)) => format!("it is at revision {there}"),
            Of::Metadata(MetadataOutcome::Refused(refusal)) => format!("refused: {refusal}"),
            Of::Restore(outcome) => format!("{outcome:?}"),
            Of::Cancelled(was) => if was { "cancelled" } else { "it did not wait" }.to_owned(),
            Of::Refused(refusal) => format!("refused: {refusal}"),
            Of::Session(SessionOutcome::Refused(refusal))
            | Of::Lock(LockOutcome::Refused(refusal))
            | Of::Semaphore(SemaphoreOutcome::Refused(refusal))
            | Of::Election(ElectionOutcome::Refused(refusal)) => refused(&refusal),
            Of::Latch(LatchOutcome::TooMany) => "refused".to_owned(),
        }
    }

    fn acquired(&mut self, acquired: &Acquired, about: (&str, &str)) -> String {
        match acquired {
            Acquired::Granted {
                token,
                session,
                holds,
            } => {
                for k in about.1.split(',') {
                    self.hold(*session, about.0, k, *token);
                }
                let times = if *holds > 1 {
                    format!(", {holds} times")
                } else {
                    String::new()
                };
                format!("token {}{times}", token.0)
            }
            Acquired::Waiting {
                wait,
                session,
                position,
            } => {
                self.learn(*session, about.0);
                self.waits.insert(about.0.to_owned(), (*wait, *session));
                format!("waits as {position}")
            }
            Acquired::Taken { by, position } => match by {
                Some(by) => format!(
                    "taken by {} under {}, would be {position}",
                    by.holder.as_str(),
                    by.token.0
                ),
                None => format!("taken by nobody, would be {position}"),
            },
        }
    }

    fn hold(&mut self, session: SessionId, a: &str, k: &str, token: FencingToken) {
        self.learn(session, a);
        let key = (a.to_owned(), k.to_owned());
        self.tokens.insert(key.clone(), token);
        self.sessions.insert(key, session);
    }

    fn told(&mut self, events: &[CoordinationEvent]) -> String {
        let mut lines = Vec::new();
        for event in events {
            lines.push(match event {
                CoordinationEvent::Granted {
                    session,
                    token,
                    resources,
                    wait,
                } => {
                    let waited = self.waits.values().any(|(known, _)| known == wait);
                    if !waited {
                        continue;
                    }
                    let a = self.names[session].clone();
                    for granted in resources {
                        let k = granted.name.to_string();
                        self.hold(*session, &a, &k, *token);
                    }
                    format!("{a} gets token {}", token.0)
                }
                CoordinationEvent::Withdrawn { wait } => {
                    let mut waits = self.waits.iter();
                    let who = waits.find(|(_, (known, _))| known == wait);
                    format!("{} waits no longer", who.map_or("?", |(a, _)| a))
                }
                CoordinationEvent::Freed(freed) => format!("{} is free", freed.name),
                CoordinationEvent::Session(ended) => {
                    let who = self.names.get(&ended.session);
                    let Some(who) = who else { continue };
                    match ended.end {
                        SessionEnd::Closed => format!("the session of {who} is closed"),
                        SessionEnd::Expired => format!("the session of {who} has expired"),
                    }
                }
                CoordinationEvent::Barrier(ended) => match ended.end {
                    RoundEnd::Passed => format!("round {} has passed", ended.round),
                    RoundEnd::Broken => format!("round {} is broken", ended.round),
                },
                CoordinationEvent::Latch(opened) => format!("{} opens", opened.name),
            });
        }
        lines.join("\n")
    }

    fn ask(&self, query: &CoordinationQuery) -> String {
        match self.state.answer(query) {
            CoordinationAnswer::Locks(locks) if locks.is_empty() => "none".to_owned(),
            CoordinationAnswer::Locks(locks) => {
                let lines: Vec<_> = locks.iter().map(lock_line).collect();
                format!("\n{}", lines.join("\n"))
            }
            CoordinationAnswer::Why(chain) if chain.is_empty() => "it is free".to_owned(),
            CoordinationAnswer::Why(chain) => {
                let lines: Vec<_> = chain.iter().map(link_line).collect();
                format!("\n{}", lines.join("\n"))
            }
            CoordinationAnswer::Leader(None) => "nobody".to_owned(),
            CoordinationAnswer::Leader(Some(led)) => {
                format!("{} under {}", led.value.escape_ascii(), led.token.0)
            }
            CoordinationAnswer::Metadata(None) => "none".to_owned(),
            CoordinationAnswer::Metadata(Some(MetadataEntry { value, revision })) => {
                format!("{} at revision {revision}", value.escape_ascii())
            }
            CoordinationAnswer::Wait(standing) => format!("{standing:?}"),
            CoordinationAnswer::Floor(floor) => floor.0.to_string(),
            other => format!("{other:?}"),
        }
    }

    /// What holds after every command.
    fn check(&self) {
        let bytes = self.state.encode();
        assert_eq!(Coordination::decode(&bytes).as_ref(), Ok(&self.state));
        let CoordinationAnswer::Locks(locks) = self
            .state
            .answer(&CoordinationQuery::Locks { held_by: None })
        else {
            panic!("a list of locks was asked for");
        };
        for lock in locks {
            assert!(lock.mode == LockMode::Shared || lock.holders.len() == 1);
        }
    }
}

fn holder(a: &str) -> Holder {
    Holder::try_from(std::sync::Arc::from(a)).unwrap()
}

fn refused(refusal: &AcquireRefusal) -> String {
    let AcquireRefusal::WouldDeadlock { cycle } = refusal else {
        return format!("refused: {refusal}");
    };
    let waits = cycle.iter().map(|party| {
        format!(
            "{} waits for {}",
            party.holder.as_str(),
            party.waits_for.name
        )
    });
    format!(
        "refused: {refusal}: {}",
        waits.collect::<Vec<_>>().join(", ")
    )
}

fn lock_line(lock: &LockView) -> String {
    let holders = lock.holders.iter();
    let holders = holders.map(|it| format!("{} for {} ms", it.holder.as_str(), it.ends_in_ms));
    let waiters: Vec<_> = lock.waiters.iter().map(|it| it.holder.as_str()).collect();
    format!(
        "{} {:?} {}: {}; waiting: {}",
        lock.name,
        lock.mode,
        lock.token.0,
        holders.collect::<Vec<_>>().join(", "),
        if waiters.is_empty() {
            "-".to_owned()
        } else {
            waiters.join(" ")
        }
    )
}

fn link_line(link: &ChainLink) -> String {
    let next = link.waits_for.as_ref();
    format!(
        "{} is held by {} under {}{}",
        link.resource.name,
        link.holder.as_str(),
        link.token.0,
        next.map_or(String::new(), |next| format!(
            ", which waits for {}",
            next.name
        ))
    )
}
