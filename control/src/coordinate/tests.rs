//! What a flood of requests or of lost sessions costs.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::topology::{FencingToken, LogIndex};

mod histories;

struct Group {
    state: Coordination,
    index: u64,
    number: u64,
    events: Vec<CoordinationEvent>,
}

impl Group {
    fn new() -> Self {
        let mut group = Self {
            state: Coordination::default(),
            index: 0,
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
        self.state
            .pass(LogIndex(self.index), 1, elapsed_ms, &mut self.events);
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

    fn lock(&mut self, key: &str, wait_ms: u64) -> LockOutcome {
        let deed = CoordinationDeed::Lock(LockCommand::Acquire {
            by: By::New(SessionSpec {
                holder: Holder::try_from(Arc::from("h")).unwrap(),
                ttl: Ttl::try_from(1000).unwrap(),
                delay_ms: 0,
            }),
            names: vec![name(key)],
            mode: LockMode::Exclusive,
            patience: Patience::new(wait_ms, 0).unwrap(),
        });
        match self.ask(deed) {
            CoordinationOutcome::Lock(outcome) => outcome,
            other => panic!("a lock was asked for: {other:?}"),
        }
    }
}

fn name(key: &str) -> Name {
    Name::try_from(Bytes::copy_from_slice(key.as_bytes())).unwrap()
}

fn hold(key: &str, token: FencingToken) -> HoldRef {
    HoldRef {
        resource: Resource {
            kind: ResourceKind::Lock,
            name: name(key),
        },
        token,
        session: None,
    }
}

#[test]
fn a_hundred_thousand_wait_for_one_lock_and_are_served_in_order() {
    const WAITERS: u32 = 100_000;
    let mut group = Group::new();
    let LockOutcome::Acquired(Acquired::Granted { mut token, .. }) = group.lock("k", 0) else {
        panic!("a free lock is granted");
    };
    let mut first = None;
    for position in 1..=WAITERS {
        match group.lock("k", WAIT_MS_MAX) {
            LockOutcome::Acquired(Acquired::Waiting {
                wait, position: at, ..
            }) => {
                assert_eq!(at, position);
                first = first.or(Some(wait));
            }
            other => panic!("a held lock is waited for: {other:?}"),
        }
    }
    for _ in 0..1000 {
        group.ask(CoordinationDeed::Lock(LockCommand::Release(hold(
            "k", token,
        ))));
        let granted = group.events.iter().find_map(|event| match event {
            CoordinationEvent::Granted { token, wait, .. } => Some((*token, *wait)),
            _ => None,
        });
        let (next, wait) = granted.unwrap();
        assert!(next > token);
        assert!(first.is_none_or(|first| wait == first));
        (token, first) = (next, None);
    }
}

#[test]
fn a_hundred_thousand_sessions_end_in_one_tick() {
    const SESSIONS: usize = 100_000;
    let mut group = Group::new();
    for n in 0..SESSIONS {
        group.lock(&format!("k{n}"), 0);
    }
    let bytes = group.state.encode();
    assert!(bytes.len() < SESSIONS * 64, "{} bytes", bytes.len());
    group.tick(1000);
    let ended = |event: &&CoordinationEvent| matches!(event, CoordinationEvent::Session(_));
    assert_eq!(group.events.iter().filter(ended).count(), SESSIONS);
    let CoordinationAnswer::Locks(left) = group
        .state
        .answer(&CoordinationQuery::Locks { held_by: None })
    else {
        panic!("locks were asked for");
    };
    assert_eq!(left, []);
}

#[test]
fn sessions_and_waiters_are_bounded_by_refusals() {
    let mut group = Group::new();
    group.lock("k", 0);
    // A session and a waiter come together, and there is a session more than waiters.
    for _ in 1..SESSIONS_MAX {
        group.lock("k", WAIT_MS_MAX);
    }
    let limit = SESSIONS_MAX;
    assert_eq!(
        group.lock("k", WAIT_MS_MAX),
        LockOutcome::Refused(AcquireRefusal::TooManySessions { limit })
    );
    let CoordinationAnswer::Locks(locks) = group
        .state
        .answer(&CoordinationQuery::Locks { held_by: None })
    else {
        panic!("locks were asked for");
    };
    assert_eq!(locks[0].waiters.len(), LISTED_MAX);
}

/// Has the group restore a state, in parts.
fn restore(group: &mut Group, saved: &Bytes) -> RestoreOutcome {
    let mut send = |command| match group.ask(CoordinationDeed::Restore(command)) {
        CoordinationOutcome::Restore(outcome) => outcome,
        other => panic!("a state was restored: {other:?}"),
    };
    assert_eq!(send(RestoreCommand::Begin), RestoreOutcome::Taken(0));
    let mut at = 0;
    while at < saved.len() {
        let end = saved.len().min(at + 100);
        let part = RestoreCommand::Part {
            at: at as u64,
            bytes: saved.slice(at..end),
        };
        assert_eq!(send(part), RestoreOutcome::Taken(end as u64));
        at = end;
    }
    let sum = xxhash_rust::xxh3::xxh3_128(saved);
    send(RestoreCommand::Finish(sum))
}

#[test]
fn a_saved_state_comes_back_and_tokens_go_on_above_those_of_both() {
    let mut group = Group::new();
    let LockOutcome::Acquired(Acquired::Granted { token: kept, .. }) = group.lock("kept", 0) else {
        panic!("a free lock is granted");
    };
    let saved = group.state.encode();
    group.ask(CoordinationDeed::Lock(LockCommand::Release(hold(
        "kept", kept,
    ))));
    let LockOutcome::Acquired(Acquired::Granted { token: later, .. }) = group.lock("later", 0)
    else {
        panic!("a free lock is granted");
    };
    let RestoreOutcome::Restored { above } = restore(&mut group, &saved) else {
        panic!("what was saved is restored");
    };
    assert!(above > later.0);
    group.tick(0);
    // It is held as it was, for its whole time; what came later is gone, and its token is passed.
    group.tick(900);
    let renewed = group.ask(CoordinationDeed::Lock(LockCommand::Renew(hold(
        "kept", kept,
    ))));
    let holds = 1;
    assert_eq!(
        renewed,
        CoordinationOutcome::Lock(LockOutcome::Kept { holds })
    );
    let LockOutcome::Acquired(Acquired::Granted { token, .. }) = group.lock("later", 0) else {
        panic!("nobody holds it");
    };
    assert!(token.0 > above);
}

#[test]
fn parts_out_of_order_or_damaged_change_nothing() {
    let mut group = Group::new();
    group.lock("k", 0);
    let before = group.state.clone();
    let saved = Coordination::default().encode();
    let part = |at: usize, bytes: Bytes| RestoreCommand::Part {
        at: at as u64,
        bytes,
    };
    for commands in [
        vec![RestoreCommand::Begin, part(1, saved.clone())],
        vec![
            RestoreCommand::Begin,
            part(0, vec![0; RESTORE_PART_BYTES_MAX + 1].into()),
        ],
        vec![
            RestoreCommand::Begin,
            part(0, saved.clone()),
            RestoreCommand::Finish(7),
        ],
        vec![
            RestoreCommand::Begin,
            RestoreCommand::Finish(xxhash_rust::xxh3::xxh3_128(b"")),
        ],
    ] {
        let mut last = None;
        for command in commands {
            last = Some(group.ask(CoordinationDeed::Restore(command)));
        }
        let refused = CoordinationOutcome::Restore(RestoreOutcome::Refused);
        assert_eq!(last, Some(refused));
        let locks =
            |state: &Coordination| state.answer(&CoordinationQuery::Locks { held_by: None });
        assert_eq!(locks(&group.state), locks(&before));
        assert!(
            group.state.restoring.is_empty(),
            "what was sent is forgotten"
        );
    }
}
