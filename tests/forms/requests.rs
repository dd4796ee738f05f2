//! One of each thing that a client can ask and be answered, as it travels in a forwarded request.

use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::{Epoch, KeyspaceId, Partition};
use quorate_crdt::{Dot, Hlc, NodeId, ReplicaId};
use quorate_dynamo::Consistency;
use quorate_dynamo::fence::Claim;
use quorate_dynamo::op::{
    Answer, Expiry, Kind, Mutation, Op, PartitionOp, Query, Receipt, Reply, Request, RequestError,
    SetExpiry,
};
use quorate_dynamo::protocol::{Refusal, RequestId};
use quorate_dynamo::saved::{PageEnd, SavedExpiry, SavedKey, SavedName, SavedRegister, SavedRow};

use crate::Forms;

const KEY: Bytes = Bytes::from_static(b"key");
const VALUE: Bytes = Bytes::from_static(b"value");

pub(crate) fn request(op: Op) -> Request {
    Request {
        keyspace: KeyspaceId(300),
        op,
        consistency: Some(Consistency::LocalQuorum),
        timeout: Duration::from_millis(1_500),
        datacenter: "berlin".into(),
        id: RequestId::new(Bytes::from_static(b"name")),
        claim: Some(Claim::new(b"lock", 70_000).numbered(3, 2)),
    }
}

pub(crate) fn dot() -> Dot {
    Dot::new(ReplicaId::new(NodeId(3), 70_000), 9)
}

fn hlc() -> Hlc {
    Hlc::from_parts(1_800_000_000_000, 3).expect("a stamp")
}

fn saved() -> SavedKey {
    let register = SavedRegister {
        hlc: hlc(),
        value: VALUE,
        expires: Some(1_900_000_000_000),
    };
    let row = |name| SavedRow {
        name,
        registers: vec![register.clone()],
        count: Some(-7),
    };
    SavedKey {
        key: KEY,
        expiry: Some(SavedExpiry {
            hlc: hlc(),
            at: None,
        }),
        rows: [
            SavedName::String,
            SavedName::Field(KEY),
            SavedName::Member(KEY),
        ]
        .map(row)
        .into(),
    }
}

/// The query after this one, until all were there. A new one finds its place here, because the
/// compiler asks for it.
fn query_after(query: Option<&Query>) -> Option<Query> {
    let names = || vec![KEY, VALUE];
    Some(match query {
        None => Query::Get,
        Some(Query::Get) => Query::Length,
        Some(Query::Length) => Query::Exists,
        Some(Query::Exists) => Query::Kind,
        Some(Query::Kind) => Query::Expiry,
        Some(Query::Expiry) => Query::Members,
        Some(Query::Members) => Query::Cardinality,
        Some(Query::Cardinality) => Query::Contains(names()),
        Some(Query::Contains(_)) => Query::Fields(names()),
        Some(Query::Fields(_)) => Query::Entries,
        Some(Query::Entries) => Query::FieldCount,
        Some(Query::FieldCount) => Query::Siblings,
        Some(Query::Siblings) => return None,
    })
}

fn mutation_after(mutation: Option<&Mutation>) -> Option<Mutation> {
    let names = || vec![KEY, VALUE];
    Some(match mutation {
        None => Mutation::Set {
            value: VALUE,
            expiry: SetExpiry::At(1_900_000_000_000),
        },
        Some(Mutation::Set { .. }) => Mutation::SetWith {
            value: VALUE,
            token: KEY,
        },
        Some(Mutation::SetWith { .. }) => Mutation::Append(VALUE),
        Some(Mutation::Append(_)) => Mutation::Increment(-5),
        Some(Mutation::Increment(_)) => Mutation::Delete,
        Some(Mutation::Delete) => Mutation::GetDelete,
        Some(Mutation::GetDelete) => Mutation::ExpireAt(1_900_000_000_000),
        Some(Mutation::ExpireAt(_)) => Mutation::Persist,
        Some(Mutation::Persist) => Mutation::Lapse { margin: 1_000 },
        Some(Mutation::Lapse { .. }) => Mutation::Add(names()),
        Some(Mutation::Add(_)) => Mutation::Remove(names()),
        Some(Mutation::Remove(_)) => Mutation::SetFields(vec![(KEY, VALUE)]),
        Some(Mutation::SetFields(_)) => Mutation::RemoveFields(names()),
        Some(Mutation::RemoveFields(_)) => Mutation::IncrementField(KEY, 5),
        Some(Mutation::IncrementField(..)) => Mutation::Restore {
            archive: 1 << 100,
            expiry: saved().expiry,
            rows: saved().rows,
        },
        Some(Mutation::Restore { .. }) => return None,
    })
}

fn partition_op_after(op: Option<&PartitionOp>) -> Option<PartitionOp> {
    Some(match op {
        None => PartitionOp::Scan {
            from: 1 << 40,
            count: 10,
        },
        Some(PartitionOp::Scan { .. }) => PartitionOp::Count,
        Some(PartitionOp::Count) => PartitionOp::Clear,
        Some(PartitionOp::Clear) => PartitionOp::Expiring,
        Some(PartitionOp::Expiring) => PartitionOp::Save {
            after: Some(end()),
            bytes: 1 << 20,
        },
        Some(PartitionOp::Save { .. }) => return None,
    })
}

fn end() -> PageEnd {
    PageEnd {
        key: KEY,
        row: Some(SavedName::Member(VALUE)),
    }
}

fn reply_after(reply: Option<&Reply>) -> Option<Reply> {
    Some(match reply {
        None => Reply::Done,
        Some(Reply::Done) => Reply::Nil,
        Some(Reply::Nil) => Reply::Integer(-1),
        Some(Reply::Integer(_)) => Reply::Integers(vec![1, 0]),
        Some(Reply::Integers(_)) => Reply::Value(VALUE),
        Some(Reply::Value(_)) => Reply::Values(vec![Some(VALUE), None]),
        Some(Reply::Values(_)) => Reply::List(vec![VALUE]),
        Some(Reply::List(_)) => Reply::Pairs(vec![(KEY, VALUE)]),
        Some(Reply::Pairs(_)) => Reply::Kind(Some(Kind::Set)),
        Some(Reply::Kind(_)) => Reply::Expiry(Expiry::At(1_900_000_000_000)),
        Some(Reply::Expiry(_)) => Reply::Siblings {
            token: KEY,
            values: vec![VALUE],
        },
        Some(Reply::Siblings { .. }) => Reply::Keys {
            keys: vec![KEY],
            next: Some(77),
        },
        Some(Reply::Keys { .. }) => Reply::Page {
            keys: vec![saved()],
            next: Some(Box::new(end())),
        },
        Some(Reply::Page { .. }) => return None,
    })
}

/// Every error that has fields, and the first and the last of those without.
fn errors() -> Vec<RequestError> {
    let (level, missing) = (Consistency::EachQuorum, vec![NodeId(2)]);
    vec![
        RequestError::WrongKind,
        RequestError::TooLarge { bytes: 7, max: 5 },
        RequestError::Siblings {
            count: 101,
            bytes: 7,
        },
        RequestError::Unsatisfiable {
            level,
            required: 3,
            replicas: 2,
        },
        RequestError::Unavailable {
            level,
            required: 2,
            alive: 1,
            missing: missing.clone(),
        },
        RequestError::TimedOut {
            level,
            acked: 1,
            required: 2,
            missing: missing.clone(),
            may_be_applied: true,
        },
        RequestError::Refused {
            level,
            acked: 1,
            required: 2,
            refused: vec![(NodeId(2), Refusal::Epoch(Epoch(4)))],
            missing,
            may_be_applied: false,
        },
        RequestError::Clock { offset_ms: -900 },
        RequestError::DiskFull,
    ]
}

/// The name of a variant.
fn name(of: &impl std::fmt::Debug) -> String {
    let text = format!("{of:?}");
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}

pub(crate) fn add(forms: &mut Forms) {
    let mut last = None;
    while let Some(query) = query_after(last.as_ref()) {
        let request = request(Op::Query(KEY, query.clone()));
        forms.message(&format!("query/{}", name(&query)), &request);
        last = Some(query);
    }
    let mut last = None;
    while let Some(mutation) = mutation_after(last.as_ref()) {
        let request = request(Op::Mutate(KEY, mutation.clone()));
        forms.message(&format!("mutation/{}", name(&mutation)), &request);
        last = Some(mutation);
    }
    let mut last = None;
    while let Some(op) = partition_op_after(last.as_ref()) {
        let request = request(Op::Partition(Partition(5), op.clone()));
        forms.message(&format!("partition/{}", name(&op)), &request);
        last = Some(op);
    }
    let mut last = None;
    while let Some(reply) = reply_after(last.as_ref()) {
        let answer = Answer {
            reply: reply.clone(),
            receipt: Some(Receipt {
                keyspace: KeyspaceId(300),
                partition: Partition(5),
                dot: dot(),
            }),
        };
        forms.message(&format!("reply/{}", name(&reply)), &answer);
        last = Some(reply);
    }
    for error in errors() {
        let outcome: Result<Answer, RequestError> = Err(error.clone());
        forms.message(&format!("error/{}", name(&error)), &outcome);
    }
}
