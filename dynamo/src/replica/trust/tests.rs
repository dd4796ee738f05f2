//! What a replica takes from the one that mends it.

use bytes::Bytes;
use quorate_crdt::{Dot, Hlc, NodeId, ReplicaId};

use crate::replica::{Delta, Mend, Part, Payload, Range, Replica, Row, RowKey};

/// A replica that has seen one event, which put this value.
fn with(node: u64, value: &'static str) -> Replica {
    let event = Dot::new(ReplicaId::new(NodeId(9), 1), 1);
    let mut row = Row::new();
    row.insert(
        event,
        Payload::Register {
            hlc: Hlc::default(),
            value: value.into(),
            expires: None,
        },
    );
    let name = RowKey::string("k".into());
    let mut replica = Replica::new(ReplicaId::new(NodeId(node), 1));
    replica.join(&Delta {
        parts: vec![Part {
            range: Range::Row(name.clone()),
            rows: vec![(name, row)],
            settled: vec![event],
        }],
        ..Delta::default()
    });
    replica
}

fn value(replica: &Replica) -> Bytes {
    let rows = replica.key(&"k".into()).expect("it is there");
    let (_, _, row) = rows.iter().next().expect("a row");
    let (_, payload) = row.iter().next().expect("an entry");
    payload.value().expect("a value").clone()
}

/// Whichever of the two is asked first, both end with the same one of the two payloads.
#[test]
fn two_payloads_of_one_event_become_the_same_one() {
    for (mine, theirs) in [("a", "b"), ("b", "a"), ("a", "a")] {
        let (mut one, mut other) = (with(1, mine), with(2, theirs));
        assert_eq!(one.context(), other.context());
        let (told, answered) = (other.delta(Range::ALL), one.delta(Range::ALL));
        one.take_mending(&told, Mend::TakeBack);
        other.take_mending(&answered, Mend::TakeBack);
        assert_eq!(
            [value(&one), value(&other)],
            ["a", "a"],
            "{mine} and {theirs}"
        );
        assert_eq!(one.digest(), other.digest());
    }
}

#[test]
fn what_a_majority_has_replaces_another_payload() {
    for (mine, theirs) in [("a", "b"), ("b", "a")] {
        let (mut one, other) = (with(1, mine), with(2, theirs));
        one.take_mending(&other.delta(Range::ALL), Mend::Replace);
        assert_eq!(value(&one), theirs);
    }
}
