//! Drills on locks and their like: a coordination group that decides at once.

use std::sync::Arc;

use bytes::Bytes;
use quorate_control::coordinate::{
    AcquireRefusal, Acquired, BarrierCommand, By, ClientId, Coordination, CoordinationAnswer,
    CoordinationCommand, CoordinationDeed, CoordinationEvent, CoordinationOutcome,
    CoordinationQuery, ElectionCommand, ElectionOutcome, HoldRef, Holder, LatchCommand,
    LatchOutcome, LockCommand, LockMode, LockOutcome, LockView, MetadataCommand, MetadataOutcome,
    Name, Patience, ProposalId, Resource, ResourceKind, Revision, SemaphoreCommand,
    SemaphoreOutcome, SessionCommand, SessionId, SessionOutcome, SessionSpec, Ttl,
};
use quorate_control::topology::{FencingToken, LogIndex};

use super::drill::{Drills, Verdict, holds};

pub(super) const DRILLS: Drills = &[
    (
        "lease-cut-short",
        "lease-lost-by-election",
        election_of_a_leader,
    ),
    ("tick-counts-a-pause", "lease-lost-by-pause", paused_leader),
    ("release-without-token", "next-holder-unlocked", late_unlock),
    (
        "resign-without-token",
        "successor-resigned",
        late_resignation,
    ),
    ("grant-to-the-dead", "dead-session-granted", dead_waiter),
    ("holds-left-behind", "lock-lost-for-ever", dead_holder),
    ("tokens-begin-again", "token-fell", restored_group),
    ("floor-too-high", "holder-below-the-floor", two_locks),
    (
        "shared-beside-exclusive",
        "reader-beside-writer",
        reader_and_writer,
    ),
    ("upgrade-beside-readers", "two-writers", two_upgrades),
    ("queue-skips", "writer-overtaken", overtaken_writer),
    ("deadlock-unseen", "circle-waited-in", three_in_a_circle),
    (
        "deadlock-behind-a-queue",
        "circle-waited-in",
        circle_through_a_queue,
    ),
    ("retry-repeated", "retry-carried-out", retried_lock),
    ("try-leaves-a-session", "session-left-open", failed_try),
    ("resize-ignored", "too-many-permits", smaller_semaphore),
    ("barrier-counts-the-dead", "dead-party-counted", dead_party),
    ("latch-set-again", "latch-moved", latch_set_twice),
    ("metadata-set-blindly", "update-lost", two_updates),
];

struct Group {
    state: Coordination,
    index: u64,
    term: u64,
    number: u64,
    events: Vec<CoordinationEvent>,
}

fn name(text: &str) -> Result<Name, String> {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    Name::try_from(bytes).map_err(|error| error.to_string())
}

fn spec(holder: &str, ttl_ms: u64) -> Result<SessionSpec, String> {
    Ok(SessionSpec {
        holder: Holder::try_from(Arc::from(holder)).map_err(|error| error.to_string())?,
        ttl: Ttl::try_from(ttl_ms).map_err(|error| error.to_string())?,
        delay_ms: 0,
    })
}

fn hold(kind: ResourceKind, key: &str, token: FencingToken) -> Result<HoldRef, String> {
    let resource = Resource {
        kind,
        name: name(key)?,
    };
    Ok(HoldRef {
        resource,
        token,
        session: None,
    })
}

impl Group {
    fn new() -> Self {
        let mut group = Self {
            state: Coordination::default(),
            index: 0,
            term: 1,
            number: 0,
            events: Vec::new(),
        };
        group.tick(0);
        group
    }

    fn apply(&mut self, command: CoordinationCommand) -> CoordinationOutcome {
        self.index += 1;
        self.events.clear();
        self.state
            .apply(LogIndex(self.index), command, &mut self.events)
    }

    fn tick(&mut self, elapsed_ms: u64) {
        self.index += 1;
        self.events.clear();
        let index = LogIndex(self.index);
        self.state
            .pass(index, self.term, elapsed_ms, &mut self.events);
    }

    fn ask(&mut self, deed: CoordinationDeed) -> CoordinationOutcome {
        self.number += 1;
        let id = ProposalId {
            client: ClientId(1),
            number: self.number,
            awaited: self.number,
        };
        self.apply(CoordinationCommand { id, deed })
    }

    fn lock(
        &mut self,
        by: By,
        keys: &[&str],
        mode: LockMode,
        wait_ms: u64,
    ) -> Result<Result<Acquired, AcquireRefusal>, String> {
        let names = keys.iter().map(|key| name(key));
        let deed = CoordinationDeed::Lock(LockCommand::Acquire {
            by,
            names: names.collect::<Result<_, _>>()?,
            mode,
            patience: Patience::new(wait_ms, 0).map_err(|error| error.to_string())?,
        });
        match self.ask(deed) {
            CoordinationOutcome::Lock(LockOutcome::Acquired(acquired)) => Ok(Ok(acquired)),
            CoordinationOutcome::Lock(LockOutcome::Refused(refusal)) => Ok(Err(refusal)),
            other => Err(format!("a lock was asked for: {other:?}")),
        }
    }

    /// Takes a lock that is free, under a session of its own that lives a second.
    fn take(&mut self, holder: &str, key: &str) -> Result<FencingToken, String> {
        let by = By::New(spec(holder, 1000)?);
        self.granted(by, key, LockMode::Exclusive)
    }

    fn granted(&mut self, by: By, key: &str, mode: LockMode) -> Result<FencingToken, String> {
        match self.lock(by, &[key], mode, 0)? {
            Ok(Acquired::Granted { token, .. }) => Ok(token),
            other => Err(format!("{key} is not granted: {other:?}")),
        }
    }

    fn unlock(&mut self, key: &str, token: FencingToken) -> Result<bool, String> {
        let hold = hold(ResourceKind::Lock, key, token)?;
        let outcome = self.ask(CoordinationDeed::Lock(LockCommand::Release(hold)));
        Ok(matches!(
            outcome,
            CoordinationOutcome::Lock(LockOutcome::Kept { .. })
        ))
    }

    fn open(&mut self, holder: &str, ttl_ms: u64) -> Result<By, String> {
        let open = SessionCommand::Open(spec(holder, ttl_ms)?);
        match self.ask(CoordinationDeed::Session(open)) {
            CoordinationOutcome::Session(SessionOutcome::Opened(session)) => {
                Ok(By::Session(session))
            }
            other => Err(format!("a session was opened: {other:?}")),
        }
    }

    fn locks(&self) -> Vec<LockView> {
        match self
            .state
            .answer(&CoordinationQuery::Locks { held_by: None })
        {
            CoordinationAnswer::Locks(locks) => locks,
            _ => Vec::new(),
        }
    }
}

fn election_of_a_leader() -> Verdict {
    let mut group = Group::new();
    let token = group.take("a", "k")?;
    group.tick(900);
    group.term += 1;
    group.tick(900);
    group.tick(900);
    let kept = group.unlock("k", token)?;
    holds(
        kept,
        "a session ended within its time to live of a new leader",
    )
}

fn paused_leader() -> Verdict {
    let mut group = Group::new();
    let by = By::New(spec("a", 1500)?);
    let token = group.granted(by, "k", LockMode::Exclusive)?;
    group.tick(60_000);
    let kept = group.unlock("k", token)?;
    holds(
        kept,
        "a pause of the leader ended a session that could not renew",
    )
}

fn late_unlock() -> Verdict {
    let mut group = Group::new();
    let first = group.take("a", "k")?;
    group.tick(1000);
    group.take("b", "k")?;
    let unlocked = group.unlock("k", first)?;
    holds(
        !unlocked,
        "an old token unlocked the lock of the next holder",
    )
}

fn late_resignation() -> Verdict {
    let mut group = Group::new();
    let mut tokens = Vec::new();
    for holder in ["a", "b"] {
        let outcome = group.ask(CoordinationDeed::Election(ElectionCommand::Campaign {
            by: By::New(spec(holder, 1000)?),
            name: name("e")?,
            value: Bytes::from_static(b"v"),
            patience: Patience::default(),
        }));
        let CoordinationOutcome::Election(ElectionOutcome::Acquired(Acquired::Granted {
            token,
            ..
        })) = outcome
        else {
            return Err(format!("{holder} does not lead: {outcome:?}"));
        };
        tokens.push(token);
        if holder == "a" {
            group.tick(1000);
        }
    }
    let resign = ElectionCommand::Resign(hold(ResourceKind::Election, "e", tokens[0])?);
    let resigned = group.ask(CoordinationDeed::Election(resign));
    holds(
        resigned == CoordinationOutcome::Election(ElectionOutcome::Kept(false)),
        "an old leader resigned for its successor",
    )
}

fn dead_waiter() -> Verdict {
    let mut group = Group::new();
    let by = By::New(spec("a", 5000)?);
    let token = group.granted(by, "k", LockMode::Exclusive)?;
    let dead = group.open("b", 500)?;
    group.lock(dead, &["k"], LockMode::Exclusive, 60_000)?.ok();
    group.tick(600);
    group.unlock("k", token)?;
    holds(
        group.locks().is_empty(),
        "a lock went to a session that had ended",
    )
}

fn dead_holder() -> Verdict {
    let mut group = Group::new();
    group.take("a", "k")?;
    group.tick(1000);
    holds(
        group.take("b", "k").is_ok(),
        "a lock stayed with a session that had ended",
    )
}

fn restored_group() -> Verdict {
    let mut group = Group::new();
    for _ in 0..10 {
        let token = group.take("a", "k")?;
        group.unlock("k", token)?;
    }
    let old = group.take("a", "l")?;
    group.state = std::mem::take(&mut group.state).restored();
    group.index = 0;
    let new = group.take("b", "k")?;
    holds(
        new > old,
        "a token after a restore is not above those before",
    )
}

/// Tokens below the floor are refused by all data.
fn two_locks() -> Verdict {
    let mut group = Group::new();
    let (old, _new) = (group.take("a", "k")?, group.take("b", "l")?);
    let floor = group.state.floor();
    holds(
        floor <= old,
        format!("{floor:?} is the floor while {old:?} is held"),
    )?;
    group.unlock("k", old)?;
    let floor = group.state.floor();
    holds(floor > old, "the floor does not follow what is held")
}

fn reader_and_writer() -> Verdict {
    let mut group = Group::new();
    group.take("a", "k")?;
    let by = By::New(spec("b", 1000)?);
    let acquired = group.lock(by, &["k"], LockMode::Shared, 0)?;
    holds(
        matches!(acquired, Ok(Acquired::Taken { .. })),
        "a lock was shared while somebody held it alone",
    )
}

fn two_upgrades() -> Verdict {
    let mut group = Group::new();
    let (a, b) = (group.open("a", 5000)?, group.open("b", 5000)?);
    group.granted(a.clone(), "k", LockMode::Shared)?;
    group.granted(b, "k", LockMode::Shared)?;
    let upgraded = group.lock(a, &["k"], LockMode::Exclusive, 0)?;
    holds(
        upgraded == Err(AcquireRefusal::NotTheOnlyReader { others: 1 }),
        "a reader became a writer beside another reader",
    )
}

fn overtaken_writer() -> Verdict {
    let mut group = Group::new();
    let by = By::New(spec("a", 5000)?);
    group.granted(by, "k", LockMode::Shared)?;
    let writer = By::New(spec("w", 5000)?);
    group.lock(writer, &["k"], LockMode::Exclusive, 5000)?.ok();
    let reader = By::New(spec("b", 5000)?);
    let acquired = group.lock(reader, &["k"], LockMode::Shared, 0)?;
    holds(
        matches!(acquired, Ok(Acquired::Taken { .. })),
        "a reader overtook a writer that waits",
    )
}

fn three_in_a_circle() -> Verdict {
    let mut group = Group::new();
    let mut parties = Vec::new();
    for (holder, key) in [("a", "k1"), ("b", "k2"), ("c", "k3")] {
        let by = group.open(holder, 60_000)?;
        group.granted(by.clone(), key, LockMode::Exclusive)?;
        parties.push(by);
    }
    let mut last = None;
    for (by, key) in parties.into_iter().zip(["k2", "k3", "k1"]) {
        last = Some(group.lock(by, &[key], LockMode::Exclusive, 5000)?);
    }
    let told = match last {
        Some(Err(AcquireRefusal::WouldDeadlock { cycle })) => cycle.len(),
        _ => 0,
    };
    holds(told == 3, "three parties wait for each other")
}

/// a waits behind w, whose other lock c holds: nobody holds what a waits for.
fn circle_through_a_queue() -> Verdict {
    let mut group = Group::new();
    let (a, c) = (group.open("a", 60_000)?, group.open("c", 60_000)?);
    let w = group.open("w", 60_000)?;
    group.granted(c.clone(), "k3", LockMode::Exclusive)?;
    group.granted(a.clone(), "k2", LockMode::Exclusive)?;
    group
        .lock(w, &["k1", "k3"], LockMode::Exclusive, 5000)?
        .ok();
    group.lock(a, &["k1"], LockMode::Exclusive, 5000)?.ok();
    let last = group.lock(c, &["k2"], LockMode::Exclusive, 5000)?;
    holds(
        matches!(last, Err(AcquireRefusal::WouldDeadlock { .. })),
        "a circle through a place in a queue is waited in",
    )
}

fn retried_lock() -> Verdict {
    let mut group = Group::new();
    let by = group.open("a", 60_000)?;
    let deed = CoordinationDeed::Lock(LockCommand::Acquire {
        by,
        names: vec![name("k")?],
        mode: LockMode::Exclusive,
        patience: Patience::default(),
    });
    let id = ProposalId {
        client: ClientId(2),
        number: 1,
        awaited: 1,
    };
    let command = CoordinationCommand { id, deed };
    let first = group.apply(command.clone());
    let second = group.apply(command);
    holds(first == second, "a retry took the lock once more")
}

fn failed_try() -> Verdict {
    let mut group = Group::new();
    group.take("a", "k")?;
    let by = By::New(spec("b", 1000)?);
    group.lock(by, &["k"], LockMode::Exclusive, 0)?.ok();
    let session = SessionId(group.index);
    let renewed = group.ask(CoordinationDeed::Session(SessionCommand::Renew(vec![
        session,
    ])));
    let ended = vec![session];
    holds(
        renewed == CoordinationOutcome::Session(SessionOutcome::Renewed { ended }),
        "a try that failed left its session open",
    )
}

fn smaller_semaphore() -> Verdict {
    let mut group = Group::new();
    let take = |group: &mut Group, holder: &str, size: u32| -> Result<bool, String> {
        let outcome = group.ask(CoordinationDeed::Semaphore(SemaphoreCommand::Acquire {
            by: By::New(spec(holder, 1000)?),
            name: name("s")?,
            size,
            take: 1,
            patience: Patience::default(),
        }));
        Ok(matches!(
            outcome,
            CoordinationOutcome::Semaphore(SemaphoreOutcome::Acquired(Acquired::Granted { .. }))
        ))
    };
    take(&mut group, "a", 2)?;
    let resize = SemaphoreCommand::Resize {
        name: name("s")?,
        size: 1,
    };
    group.ask(CoordinationDeed::Semaphore(resize));
    let more = take(&mut group, "b", 1)? || take(&mut group, "b", 2)?;
    holds(!more, "a semaphore gave more permits than it has")
}

fn dead_party() -> Verdict {
    let mut group = Group::new();
    let arrive = |group: &mut Group| -> Result<CoordinationOutcome, String> {
        Ok(group.ask(CoordinationDeed::Barrier(BarrierCommand::Arrive {
            by: By::New(spec("p", 1000)?),
            name: name("b")?,
            parties: 2,
            wait_ms: 60_000,
            double: false,
        })))
    };
    arrive(&mut group)?;
    group.tick(1000);
    let broken = |event: &CoordinationEvent| matches!(event, CoordinationEvent::Barrier(_));
    holds(
        group.events.iter().any(broken),
        "the others wait for a party that died",
    )
}

fn latch_set_twice() -> Verdict {
    let mut group = Group::new();
    let set = |group: &mut Group, count: u32| -> Result<CoordinationOutcome, String> {
        let name = name("l")?;
        Ok(group.ask(CoordinationDeed::Latch(LatchCommand::Set { name, count })))
    };
    set(&mut group, 2)?;
    holds(
        set(&mut group, 5)? == CoordinationOutcome::Latch(LatchOutcome::Set(false)),
        "a latch that is counting was set to another number",
    )
}

/// Two clients have read the same and write on it: one of them is told.
fn two_updates() -> Verdict {
    let mut group = Group::new();
    let put = |group: &mut Group, expected| -> Result<CoordinationOutcome, String> {
        Ok(group.ask(CoordinationDeed::Metadata(MetadataCommand::Put {
            name: name("m")?,
            value: Bytes::from_static(b"v"),
            expected: Some(expected),
        })))
    };
    put(&mut group, Revision::NONE)?;
    let second = put(&mut group, Revision::NONE)?;
    holds(
        matches!(
            second,
            CoordinationOutcome::Metadata(MetadataOutcome::Differs(_))
        ),
        "a value was replaced by a client that had seen none",
    )
}
