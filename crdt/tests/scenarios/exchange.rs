//! Replicas for the scenarios, and an exchange between two of them.

use quorate_crdt::{Crdt, NodeId, Now, ReplicaId, Replicated};

pub(crate) fn id(node: u64) -> ReplicaId {
    ReplicaId::new(NodeId(node), 0)
}

pub(crate) fn pair<T: Crdt>() -> (Replicated<T>, Replicated<T>) {
    (Replicated::new(id(1)), Replicated::new(id(2)))
}

pub(crate) fn exchange<T: Crdt>(a: &mut Replicated<T>, b: &mut Replicated<T>) {
    b.merge(a.state()).expect("claims only what was issued");
    a.merge(b.state()).expect("claims only what was issued");
    assert!(a == b);
}

/// Drops what a mutator returns, where the test is about something else.
pub(crate) fn ignore<T>(_: T) {}

/// A reading of the clock, in milliseconds after a fixed moment.
pub(crate) fn at(unix_millis: u64) -> Now {
    Now {
        unix_millis: 1_800_000_000_000 + unix_millis,
        ..Now::default()
    }
}
