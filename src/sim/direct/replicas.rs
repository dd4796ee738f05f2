//! Drills on a single replica: what it does with deltas in whatever order they arrive.

use bytes::Bytes;
use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};
use quorate_dynamo::replica::{Delta, Payload, Range, Replaces, Replica, RowKey, RowKind};

use super::drill::{Drills, Verdict, holds};

pub(super) const DRILLS: Drills = &[
    (
        "adopt-at-the-end",
        "overwritten-rises-in-a-stream",
        older_comes_behind_a_piece,
    ),
    ("payload-decides", "concurrent-dropped", concurrent),
    ("recent-drops-lowest", "newest-forgotten", beyond_the_bound),
    (
        "told-under-everything",
        "told-with-much-besides",
        back_after_an_absence,
    ),
];

fn replica(node: u64) -> Replica {
    Replica::new(ReplicaId::new(NodeId(node), 1))
}

/// Writes a count to a row, replacing everything that the replica sees there.
fn put(replica: &mut Replica, key: &str, count: i128) -> Delta {
    let mut write = replica.write();
    write.put(
        RowKey::string(Bytes::copy_from_slice(key.as_bytes())),
        Payload::Count(count),
        Replaces::All,
    );
    write.finish().map(|(delta, _)| delta).unwrap_or_default()
}

/// The number of live entries of the row.
fn entries(replica: &Replica, key: &str) -> usize {
    let rows = replica.key(&Bytes::copy_from_slice(key.as_bytes()));
    rows.and_then(|rows| rows.get(RowKind::String, &Bytes::new()))
        .map_or(0, quorate_crdt::DotFun::len)
}

/// A value arrives after a piece of a stream that contained its successor.
fn older_comes_behind_a_piece() -> Verdict {
    let (mut from, mut to) = (replica(1), replica(2));
    let older = put(&mut from, "k", 1);
    put(&mut from, "k", 2);
    to.start_filling();
    to.join(&from.delta(Range::Key("k".into()).as_slice()));
    to.join(&older);
    holds(
        entries(&to, "k") == 1,
        format!("{} entries where one is live", entries(&to, "k")),
    )
}

/// Two values, neither of which has seen the other.
fn concurrent() -> Verdict {
    let (mut one, mut other) = (replica(1), replica(2));
    let (first, second) = (put(&mut one, "k", 1), put(&mut other, "k", 2));
    let mut third = replica(3);
    third.join(&first);
    third.join(&second);
    holds(
        entries(&third, "k") == 2,
        format!("{} entries where two are live", entries(&third, "k")),
    )
}

/// Three events are remembered where two are allowed.
fn beyond_the_bound() -> Verdict {
    let (mut high, mut low, mut holder) = (replica(9), replica(1), replica(5));
    for delta in [
        put(&mut high, "a", 1),
        put(&mut low, "b", 2),
        put(&mut high, "c", 3),
    ] {
        holder.join(&delta);
    }
    holder.forget_beyond(2, usize::MAX);
    let high = ReplicaId::new(NodeId(9), 1);
    let known: CausalContext = [Dot::new(high, 1), Dot::new(high, 2)].into_iter().collect();
    let missing = holder.missing_at(&known, usize::MAX, usize::MAX);
    holds(
        missing.behind.is_none() && !missing.deltas.is_empty(),
        "the second of three events was forgotten although the first was older",
    )
}

/// A replica comes back that has missed many events, and is told of them a few at a time.
fn back_after_an_absence() -> Verdict {
    const MISSED: i128 = 1_000;
    let (mut from, mut to) = (replica(1), replica(2));
    for count in 0..MISSED {
        put(&mut from, &format!("k{count}"), count);
    }
    let missing = from.missing_at(to.context(), 10_000, usize::MAX);
    for delta in &missing.deltas {
        to.join(delta);
        holds(
            to.residual_count() == 0,
            format!("{} rows with a context of their own", to.residual_count()),
        )?;
    }
    holds(
        missing.deltas.len() > 1 && to.digest() == from.digest(),
        "it was not told of everything, piece by piece",
    )
}
