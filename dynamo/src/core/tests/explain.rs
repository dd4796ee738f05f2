//! What a core says about one key, and about itself.

use bytes::Bytes;
use quorate_control::topology::Partition;
use quorate_crdt::{Dot, ReplicaId};

use super::net::{Net, PLACE, node, secs};
use crate::consistency::Consistency as C;
use crate::op::{Mutation, Op, Query, Receipt};
use crate::protocol::{Input, Ticket};
use crate::replica::{Payload, RowKind};

/// The length of every value that is shown, and of the whole of it.
fn shown(net: &Net, key: &'static str) -> Vec<(usize, u64)> {
    let core = &net.cores[&node(1)];
    let view = core.explain(PLACE.at(), &key.into()).expect("held");
    let entries = view.rows.iter().flat_map(|row| &row.entries);
    let length = |payload: &Payload| payload.value().map_or(0, Bytes::len);
    entries
        .map(|entry| (length(&entry.payload), entry.value_bytes))
        .collect()
}

#[test]
fn a_long_value_is_explained_by_its_beginning_and_its_length() {
    let mut net = Net::new(&[1]);
    net.run(secs(2));
    for (length, expected) in [(255, 255), (256, 256), (257, 256)] {
        net.set(1, "k", &"x".repeat(length), C::One)
            .expect("healthy");
        assert_eq!(shown(&net, "k"), [(expected, length as u64)]);
    }
    let expiry = net.clock().unix_millis + 60_000;
    net.mutate(1, "s", Mutation::Add(vec!["m".into()]), C::One)
        .expect("healthy");
    net.mutate(1, "s", Mutation::ExpireAt(expiry), C::One)
        .expect("healthy");
    let core = &net.cores[&node(1)];
    let view = core.explain(PLACE.at(), &"s".into()).expect("held");
    let kinds: Vec<RowKind> = view.rows.iter().map(|row| row.kind).collect();
    assert_eq!(kinds, [RowKind::Set, RowKind::Expiry]);
    assert_eq!((view.expires_at, view.row_count), (Some(expiry), 2));
    assert_eq!(shown(&net, "s"), [(0, 0); 2], "neither has a value");
    let elsewhere = (PLACE.keyspace, Partition(9));
    assert_eq!(core.explain(elsewhere, &"s".into()), None);
}

/// A node drains by these figures before it stops.
#[test]
fn a_core_counts_what_clients_wait_for() {
    let figures = |net: &Net, at: u64| {
        let core = &net.cores[&node(at)];
        (core.asked(), core.flights(), core.row_count())
    };
    let mut net = Net::new(&[3]);
    net.run(secs(2));
    for key in ["a", "b"] {
        net.set(1, key, "v", C::All).expect("healthy");
    }
    assert_eq!(figures(&net, 1), (0, 0, 2));
    for (asked, key) in [(1, "a"), (2, "b"), (3, "c")] {
        net.submit(1, Op::Query(key.into(), Query::Get), C::All);
        assert_eq!(figures(&net, 1), (asked, asked, 2));
    }
    let nobody_has = Receipt {
        keyspace: PLACE.keyspace,
        partition: PLACE.partition,
        dot: Dot::new(ReplicaId::new(node(1), 1), 1000),
    };
    let wait = Input::Wait {
        ticket: Ticket(1000),
        receipts: vec![nobody_has],
        replicas: 1,
        timeout: secs(1),
    };
    net.input(node(1), wait);
    assert_eq!(figures(&net, 1), (4, 3, 2), "one waits for others");
    net.settle();
    assert_eq!(figures(&net, 1), (1, 0, 2), "the reads are answered");
    net.run(secs(2));
    assert_eq!(figures(&net, 1), (0, 0, 2));
    assert_eq!(net.waited[&1000], 0);
}
