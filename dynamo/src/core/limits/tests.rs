//! What each request, answer and message weighs, and which requests are too long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::{Epoch, KeyspaceId, Partition};
use quorate_crdt::{CausalContext, Dot, Hlc, NodeId, ReplicaId};

use super::{ROW_BYTES as ROW, STRING_BYTES as STRING, check};
use crate::fence::{LockId, Rank};
use crate::op::{
    Expiry, KEY_BYTES_MAX, Limits, Mutation, OUTCOME_BYTES_MAX, Op, PartitionOp, Query, Reply,
    Request, RequestError, SetExpiry, TOKEN_BYTES_MAX,
};
use crate::protocol::{Attempt, Effect, FlightId, Message, Piece, Place, Seen, StreamId, Ticket};
use crate::replica::{Delta, Fences, Part, Payload, Range, Row, RowKey};
use crate::saved::{SavedKey, SavedName, SavedRegister, SavedRow};
use crate::seen::Fencing;

fn bytes(len: usize) -> Bytes {
    vec![b'x'; len].into()
}

fn saved_row(field: usize, value: usize) -> SavedRow {
    SavedRow {
        name: SavedName::Field(bytes(field)),
        registers: vec![SavedRegister {
            hlc: Hlc::default(),
            value: bytes(value),
            expires: None,
        }],
        count: None,
    }
}

fn saved_key(key: usize, rows: &[(usize, usize)]) -> SavedKey {
    SavedKey {
        key: bytes(key),
        expiry: None,
        rows: rows
            .iter()
            .map(|(field, value)| saved_row(*field, *value))
            .collect(),
    }
}

fn set(value: usize) -> Mutation {
    Mutation::Set {
        value: bytes(value),
        expiry: SetExpiry::Clear,
    }
}

/// Operations on a key, with the rows that they name and the bytes that they bring beside it.
fn operations(key: &Bytes) -> Vec<(Op, usize, usize)> {
    let names = || vec![bytes(3), bytes(4)];
    let query = |query| Op::Query(key.clone(), query);
    let mutate = |mutation| Op::Mutate(key.clone(), mutation);
    let restore = |rows: &[(usize, usize)]| {
        mutate(Mutation::Restore {
            archive: 1,
            expiry: None,
            rows: saved_key(0, rows).rows,
        })
    };
    vec![
        (query(Query::Get), 1, 0),
        (query(Query::Contains(names())), 2, 7),
        (query(Query::Fields(names())), 2, 7),
        (mutate(set(5)), 1, 5),
        (mutate(Mutation::Append(bytes(5))), 1, 5),
        (
            mutate(Mutation::SetWith {
                value: bytes(5),
                token: bytes(6),
            }),
            1,
            11,
        ),
        (mutate(Mutation::Add(names())), 2, 7),
        (mutate(Mutation::Remove(names())), 2, 7),
        (mutate(Mutation::RemoveFields(names())), 2, 7),
        (
            mutate(Mutation::SetFields(vec![
                (bytes(2), bytes(3)),
                (bytes(4), bytes(5)),
            ])),
            2,
            14,
        ),
        (mutate(Mutation::IncrementField(bytes(9), 1)), 1, 9),
        (restore(&[(2, 3), (4, 5)]), 2, 14),
        (restore(&[]), 1, 0),
        (mutate(Mutation::Increment(1)), 1, 0),
        (mutate(Mutation::Delete), 1, 0),
        (mutate(Mutation::Persist), 1, 0),
    ]
}

#[test]
fn a_request_weighs_its_strings_and_its_rows() {
    let key = bytes(10);
    for (op, rows, brought) in operations(&key) {
        assert_eq!(op.weight(), 10 + brought + rows * ROW, "{op:?}");
    }
    assert_eq!(
        Op::Partition(Partition(0), PartitionOp::Count).weight(),
        ROW
    );
}

#[test]
fn an_answer_weighs_its_strings_and_their_places() {
    let page = Reply::Page {
        keys: vec![saved_key(10, &[(1, 2), (3, 4)]), saved_key(20, &[(5, 6)])],
        next: None,
    };
    // The answer, the bytes of its strings, and what it takes beside them.
    let cases = [
        (Reply::Done, 0, 0),
        (Reply::Nil, 0, 0),
        (Reply::Integer(7), 0, 0),
        (Reply::Kind(None), 0, 0),
        (Reply::Expiry(Expiry::Never), 0, 0),
        (Reply::Value(bytes(5)), 5, 0),
        (Reply::Integers(vec![1, 2, 3]), 0, 24),
        (
            Reply::Values(vec![Some(bytes(5)), None, Some(bytes(6))]),
            11,
            3 * STRING,
        ),
        (Reply::List(vec![bytes(5), bytes(6)]), 11, 2 * STRING),
        (
            Reply::Keys {
                keys: vec![bytes(5), bytes(6)],
                next: None,
            },
            11,
            2 * STRING,
        ),
        (
            Reply::Siblings {
                token: bytes(9),
                values: vec![bytes(5), bytes(6)],
            },
            20,
            2 * STRING,
        ),
        (
            Reply::Pairs(vec![(bytes(1), bytes(2)), (bytes(3), bytes(4))]),
            10,
            4 * STRING,
        ),
        (page, 51, 5 * ROW),
    ];
    for (reply, strings, own) in cases {
        assert_eq!(reply.own_weight(), own, "{reply:?}");
        assert_eq!(reply.weight(), strings + own, "{reply:?}");
        let answered = Effect::Reply {
            ticket: Ticket(1),
            result: Ok(reply.clone().into()),
        };
        assert_eq!(answered.weight(), ROW + strings + own, "{reply:?}");
    }
}

fn delta() -> Delta {
    let name = RowKey::string(bytes(10));
    let mut row = Row::new();
    row.insert(
        Dot::new(ReplicaId::new(NodeId(1), 1), 1),
        Payload::Register {
            hlc: Hlc::default(),
            value: bytes(100),
            expires: None,
        },
    );
    Delta {
        parts: vec![Part {
            range: Range::Row(name.clone()),
            rows: vec![(name, row)],
            settled: Vec::new(),
        }],
        ..Delta::default()
    }
}

const ID: FlightId = FlightId {
    core: 0,
    life: 1,
    number: 1,
};
const PLACE: Place = Place {
    keyspace: KeyspaceId(0),
    partition: Partition(0),
    epoch: Epoch(1),
};

fn assert_carries(message: Message, carried: usize) {
    assert_eq!(message.weight(), ROW + carried, "{message:?}");
    let to = NodeId(2);
    assert_eq!(Effect::Send { to, message }.weight(), ROW + carried);
}

#[test]
fn a_message_with_a_delta_weighs_what_the_delta_does() {
    let delta = delta();
    let sent = delta.sent_bytes();
    assert!(sent > 110, "at least its strings: {sent}");
    let (id, place) = (ID, PLACE);
    let shared = Arc::new(delta.clone());
    let (stamped_at, adds, hides, claim) = (None, false, false, None);
    let write = Message::Write {
        id,
        place,
        delta: Arc::clone(&shared),
        stamped_at,
        adds,
        hides,
        claim,
    };
    assert_carries(write, sent);
    let hint = Message::Hint {
        owner: NodeId(2),
        place,
        delta: shared,
    };
    assert_carries(hint, sent);
    let different = Message::Different {
        id,
        delta: delta.clone(),
        digest: 0,
    };
    assert_carries(different, sent);
    let repair = Message::Repair {
        place,
        delta: delta.clone(),
        answers: None,
    };
    assert_carries(repair, sent);
    let piece = Piece {
        replica: ReplicaId::new(NodeId(1), 1),
        after: None,
        delta,
        next: None,
        settled: Vec::new(),
    };
    let chunk = Message::Chunk {
        place,
        stream: StreamId { life: 1, number: 1 },
        piece: Box::new(piece),
    };
    assert_carries(chunk, sent);
}

fn seen(locks: u8) -> Seen {
    let ranks: BTreeMap<LockId, Rank> = (0..locks)
        .map(|lock| (LockId::of(&[lock]), Rank::of(1, 0)))
        .collect();
    let fences = postcard::to_stdvec(&(0_u64, ranks)).expect("a postcard form");
    let fences: Fences = postcard::from_bytes(&fences).expect("a floor and ranks");
    Seen {
        place: PLACE,
        replica: ReplicaId::new(NodeId(1), 1),
        context: CausalContext::new(),
        beyond: CausalContext::new(),
        digest: 0,
        filling: false,
        partial: false,
        exact: true,
        waking: false,
        former: CausalContext::new(),
        to: None,
        fencing: Some(Box::new(Fencing {
            fences,
            lives: Vec::new(),
        })),
    }
}

#[test]
fn a_message_without_a_delta_weighs_what_it_asks_or_answers() {
    let (id, place) = (ID, PLACE);
    let request = Request {
        keyspace: KeyspaceId(0),
        op: Op::Mutate(bytes(10), set(5)),
        consistency: None,
        timeout: Duration::from_secs(1),
        datacenter: "dc1".into(),
        id: None,
        claim: None,
    };
    let forward = Message::Forward {
        id,
        place,
        request: Box::new(request),
        unix_millis: 0,
        attempt: Attempt::First,
    };
    assert_carries(forward, 15 + ROW);
    let result = Ok(Reply::Value(bytes(500)).into());
    assert_carries(Message::Forwarded { id, result }, 500);
    let read = Message::Read {
        id,
        place,
        ranges: vec![Range::ALL; 3],
        digest: 0,
        context: None,
        look: None,
    };
    assert_carries(read, 3 * ROW);
    assert_carries(Message::Seen(vec![seen(0), seen(3)]), 5 * ROW);
    let keys = vec![bytes(5), bytes(6)];
    assert_carries(Message::Lapsed { id, place, keys }, 11);
    assert_carries(Message::Clock { id }, 0);
    assert_eq!(Effect::NewLife.weight(), ROW);
}

#[test]
fn a_request_is_refused_from_the_first_byte_beyond_a_limit() {
    let limits = Limits {
        value_bytes: 100,
        ..Limits::default()
    };
    let too_large = |bytes: usize, max: usize| {
        Err(RequestError::TooLarge {
            bytes: bytes as u64,
            max: max as u64,
        })
    };
    let get = |key: usize| Op::Query(bytes(key), Query::Get);
    let with_token = |token: usize| {
        Op::Mutate(
            bytes(1),
            Mutation::SetWith {
                value: bytes(0),
                token: bytes(token),
            },
        )
    };
    // Each element is a row under the key's name.
    let key = bytes(65536 - ROW);
    let elements = |last: usize| {
        let mut elements = vec![Bytes::new(); OUTCOME_BYTES_MAX / 65536 - 1];
        elements.push(bytes(last));
        Op::Mutate(key.clone(), Mutation::Add(elements))
    };
    let roomy = Limits::default();
    let cases = [
        (get(KEY_BYTES_MAX), limits, Ok(())),
        (
            get(KEY_BYTES_MAX + 1),
            limits,
            too_large(KEY_BYTES_MAX + 1, KEY_BYTES_MAX),
        ),
        (with_token(TOKEN_BYTES_MAX), roomy, Ok(())),
        (
            with_token(TOKEN_BYTES_MAX + 1),
            roomy,
            Err(RequestError::BadToken),
        ),
        (Op::Mutate(bytes(1), set(100)), limits, Ok(())),
        (Op::Mutate(bytes(1), set(101)), limits, too_large(101, 100)),
        (elements(0), roomy, Ok(())),
        (
            elements(1),
            roomy,
            too_large(OUTCOME_BYTES_MAX + 1, OUTCOME_BYTES_MAX),
        ),
        (
            Op::Partition(Partition(0), PartitionOp::Count),
            limits,
            Ok(()),
        ),
    ];
    for (nth, (op, limits, expected)) in cases.into_iter().enumerate() {
        assert_eq!(check(&op, limits), expected, "case {nth}");
    }
}
