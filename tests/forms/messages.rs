//! What nodes say to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use quorate_control::topology::{
    ClusterId, Epoch, Keyspace, KeyspaceId, NodeInfo, Partition, PasswordHash, Phase, Placement,
    Replication, Role, SplitPolicy, Timing, Topology, Transition, User,
};
use quorate_crdt::{CausalContext, Hlc, NodeId, PublicKey, ReplicaId, Secret};
use quorate_dynamo::fence::{Claim, LockId, Rank, Stamp};
use quorate_dynamo::op::{Op, Query, Reply};
use quorate_dynamo::protocol::{
    Answers, Ask, Attempt, Fencing, FlightId, Look, Message, Piece, Place, Refusal, Seen, StreamId,
    Then,
};
use quorate_dynamo::replica::{
    Cut, Delta, Fact, Fences, Guarded, Part, Payload, Range, Residual, Row, RowKey, RowKind, Within,
};

use crate::Forms;
use crate::requests::{self, dot, request};

fn context() -> CausalContext {
    let mut context: CausalContext = [dot()].into_iter().collect();
    for counter in 1..=4 {
        context.insert(quorate_crdt::Dot::new(
            ReplicaId::new(NodeId(3), 70_000),
            counter,
        ));
    }
    context
}

fn key(kind: RowKind, field: &'static str) -> RowKey {
    RowKey {
        key: "key".into(),
        kind,
        field: field.into(),
    }
}

/// Rows of every kind, with payloads of every kind.
pub(crate) fn rows() -> Vec<(RowKey, Row)> {
    let hlc = Hlc::from_parts(1_800_000_000_000, 3).expect("a stamp");
    let row = |payload| {
        let mut row = Row::new();
        row.insert(dot(), payload);
        row
    };
    let register = |expires| Payload::Register {
        hlc,
        value: "value".into(),
        expires,
    };
    vec![
        (
            key(RowKind::String, ""),
            row(register(Some(1_900_000_000_000))),
        ),
        (key(RowKind::Hash, "f"), row(register(None))),
        (key(RowKind::Hash, "n"), row(Payload::Count(-(1 << 70)))),
        (
            key(RowKind::Hash, "o"),
            row(Payload::Counted {
                mark: 1 << 100,
                by: -3,
            }),
        ),
        (key(RowKind::Set, "m"), row(Payload::Member)),
        (
            key(RowKind::Expiry, ""),
            row(Payload::Expiry { hlc, at: None }),
        ),
        (
            key(RowKind::Set, "g"),
            row(Payload::Guarded(Box::new(Guarded {
                lock: LockId::of(b"lock"),
                stamp: Stamp {
                    rank: Rank::of(70_000, 3),
                    hlc,
                },
                fact: Fact::Collection {
                    expires: Some(1_900_000_000_000),
                    floor: Rank::of(69_000, 1),
                },
            }))),
        ),
        (
            key(RowKind::Request, ""),
            row(Payload::Executed {
                mark: 5,
                at: 1_800_000_000_000,
                answer: Some(9),
            }),
        ),
    ]
}

fn cut() -> Cut {
    Cut {
        key: "key".into(),
        within: Within::Row(RowKind::Set, "m".into()),
    }
}

fn delta() -> Delta {
    let slice = Range::Slice {
        after: Some(Cut::before("key".into())),
        through: Some(cut()),
    };
    Delta {
        replica: ReplicaId::new(NodeId(3), 70_000),
        context: context(),
        parts: vec![
            Part {
                range: Range::Key("key".into()),
                rows: rows(),
                settled: vec![dot()],
            },
            Part {
                range: slice.clone(),
                rows: Vec::new(),
                settled: Vec::new(),
            },
        ],
        residuals: vec![Residual {
            range: slice,
            context: context(),
        }],
    }
}

pub(crate) fn topology() -> Topology {
    let node = NodeInfo {
        name: "a".into(),
        datacenter: "berlin".into(),
        rack: "r1".into(),
        quic: "10.0.0.1:7381".into(),
        key: PublicKey([7; 32]),
        next_key: Some(PublicKey([8; 32])),
        voter: true,
        witness: false,
    };
    let moving = Placement {
        epoch: Epoch(9),
        replicas: vec![NodeId(1), NodeId(2)],
        transition: Some(Transition {
            to: vec![NodeId(3)],
            phase: Phase::Switching,
            done: BTreeSet::from([NodeId(1)]),
        }),
    };
    let keyspace = |replication| Keyspace {
        name: "carts".into(),
        replication,
        read: "ONE".into(),
        write: "QUORUM".into(),
        split: SplitPolicy::ReadOnlyInMinority,
        placement: vec![moving.clone()],
    };
    let user = User {
        since: Epoch(4),
        password: PasswordHash {
            memory_kib: 19_456,
            passes: 2,
            salt: Secret::new([1; 16]),
            digest: Secret::new([2; 32]),
        },
        everywhere: Some(Role::Read),
        keyspaces: BTreeMap::from([(KeyspaceId(0), Role::Admin)]),
    };
    let fixed = Replication::Fixed(BTreeMap::from([("berlin".into(), 3)]));
    Topology {
        cluster: ClusterId(1 << 100),
        epoch: Epoch(12),
        nodes: BTreeMap::from([(NodeId(1), node)]),
        keyspaces: BTreeMap::from([
            (KeyspaceId(0), keyspace(Replication::Auto)),
            (KeyspaceId(1), keyspace(fixed)),
        ]),
        users: BTreeMap::from([("ann".into(), user)]),
        timing: Timing::NEAR,
    }
}

/// The message after this one, until all were there. A new one finds its place here, because the
/// compiler asks for it.
#[expect(clippy::too_many_lines, reason = "one arm a message, nothing else")]
fn after(message: Option<&Message>) -> Option<Message> {
    let id = FlightId {
        core: 2,
        life: 70_000,
        number: 11,
    };
    let place = Place::new((KeyspaceId(300), Partition(5)), Epoch(9));
    let replica = ReplicaId::new(NodeId(3), 70_000);
    let claim = Claim::new(b"lock", 70_000).numbered(3, 2);
    let stream = StreamId {
        life: 70_000,
        number: 4,
    };
    Some(match message {
        None => Message::Write {
            id,
            place,
            delta: Arc::new(delta()),
            stamped_at: Some(1_800_000_000_000),
            adds: true,
            hides: false,
            claim: Some(claim),
        },
        Some(Message::Write { .. }) => Message::Written { id, replica },
        Some(Message::Written { .. }) => Message::Read {
            id,
            place,
            ranges: vec![
                Range::Row(key(RowKind::Hash, "f")),
                Range::Key("key".into()),
            ],
            digest: 1 << 100,
            context: Some(context()),
            look: Some(Look {
                claim,
                lives: vec![replica],
            }),
        },
        Some(Message::Read { .. }) => Message::Same { id },
        Some(Message::Same { .. }) => Message::Different {
            id,
            delta: delta(),
            digest: 3,
        },
        Some(Message::Different { .. }) => Message::Refused {
            id,
            reason: Refusal::Clock { offset_ms: -900 },
        },
        Some(Message::Refused { .. }) => Message::Forward {
            id,
            place,
            request: Box::new(request(Op::Query("key".into(), Query::Get))),
            unix_millis: 1_800_000_000_000,
            attempt: Attempt::Again { life: Some(7) },
        },
        Some(Message::Forward { .. }) => Message::Forwarded {
            id,
            result: Ok(Reply::Value(Bytes::from_static(b"value")).into()),
        },
        Some(Message::Forwarded { .. }) => Message::Seen(vec![Seen {
            place,
            replica,
            context: context(),
            beyond: CausalContext::new(),
            digest: 1 << 100,
            filling: true,
            partial: false,
            exact: true,
            waking: false,
            former: context(),
            to: Some(replica),
            fencing: Some(Box::new(Fencing {
                fences: Fences::default(),
                lives: vec![replica],
            })),
        }]),
        Some(Message::Seen(_)) => Message::Ask {
            place,
            ask: Box::new(Ask {
                name: stream,
                events: context(),
                after: Some(Range::ALL),
            }),
        },
        Some(Message::Ask { .. }) => Message::Repair {
            place,
            delta: delta(),
            answers: Some(Box::new(Answers {
                name: stream,
                then: Then::GoOn(Range::Key("key".into())),
            })),
        },
        Some(Message::Repair { .. }) => Message::Behind {
            place,
            range: Range::ALL,
            name: stream,
        },
        Some(Message::Behind { .. }) => Message::Pull {
            place,
            stream,
            range: Range::ALL,
            after: Some(cut()),
        },
        Some(Message::Pull { .. }) => Message::Chunk {
            place,
            stream,
            piece: Box::new(Piece {
                replica,
                after: None,
                delta: delta(),
                next: Some(cut()),
                settled: vec![dot()],
            }),
        },
        Some(Message::Chunk { .. }) => Message::Clock { id },
        Some(Message::Clock { .. }) => Message::Time {
            id,
            unix_millis: 1_800_000_000_000,
            life: 70_000,
            confirmed: true,
        },
        Some(Message::Time { .. }) => Message::Lapsed {
            id,
            place,
            keys: vec!["key".into()],
        },
        Some(Message::Lapsed { .. }) => Message::LapsedToo {
            id,
            lapsed: vec![true, false],
        },
        Some(Message::LapsedToo { .. }) => Message::Hint {
            owner: NodeId(2),
            place,
            delta: Arc::new(delta()),
        },
        Some(Message::Hint { .. }) => Message::Former {
            place,
            replica,
            events: context(),
        },
        Some(Message::Former { .. }) => return None,
    })
}

#[test]
fn what_nodes_say_changes_only_with_the_version_of_the_wire() {
    let mut forms = Forms::default();
    let mut last = None;
    while let Some(message) = after(last.as_ref()) {
        let text = format!("{message:?}");
        let end = text.find(|letter: char| !letter.is_ascii_alphanumeric());
        forms.message(
            &format!("message/{}", &text[..end.unwrap_or(text.len())]),
            &message,
        );
        last = Some(message);
    }
    requests::add(&mut forms);
    forms.message("topology", &topology());
    forms.check("messages");
}
