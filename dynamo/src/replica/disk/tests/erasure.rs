use quorate_control::store::{MemoryStore, Store};
use quorate_crdt::{CausalContext, Dot, Hlc, NodeId, ReplicaId};

use crate::fixture::records;
use crate::replica::disk::*;
use crate::replica::{Delta, Payload, Replaces, Residual, RowKey, restore};

const PLACE: (KeyspaceId, Partition) = (KeyspaceId(7), Partition(3));

fn counts(store: &MemoryStore) -> [usize; 6] {
    Space::ALL.map(|space| records(store, space, b""))
}

fn put(replica: &mut Replica, name: RowKey) {
    replica.write().put(
        name,
        Payload::Register {
            hlc: Hlc::default(),
            value: "v".into(),
            expires: None,
        },
        Replaces::All,
    );
}

/// A replica with some of everything on disk: rows, removed rows, a mark, recent events and a
/// residual.
fn full() -> (Replica, MemoryStore) {
    let store = MemoryStore::new();
    let mut replica = Replica::new(ReplicaId::new(NodeId(1), 1));
    replica.persist_as(PLACE.0, PLACE.1);
    replica.remove_at_once(10);
    (0..50).for_each(|n: u32| {
        put(
            &mut replica,
            RowKey::member("s".into(), n.to_string().into()),
        );
    });
    (0..20).for_each(|n: u32| put(&mut replica, RowKey::string(n.to_string().into())));
    let mut batch = Batch::default();
    replica.drain_into(&mut batch);
    replica.write().wipe(Range::Key("s".into()));
    put(&mut replica, RowKey::member("s".into(), "7".into()));
    let mut ahead = CausalContext::new();
    ahead.insert(Dot::new(ReplicaId::new(NodeId(2), 1), 5));
    let residual = Residual {
        range: Range::Key("t".into()),
        context: ahead,
    };
    replica.join(&Delta {
        residuals: vec![residual],
        ..Delta::default()
    });
    replica.drain_into(&mut batch);
    store.apply(batch).expect("memory");
    (replica, store)
}

#[test]
fn an_erasure_is_a_small_batch_and_the_rest_goes_in_pieces_also_after_a_start() {
    for started in [false, true] {
        let (mut replica, store) = full();
        let before = counts(&store);
        assert_eq!(
            (before[Space::Rows as usize], before[Space::Causal as usize]),
            (70, 3),
            "with context, mark and residual"
        );
        put(&mut replica, RowKey::string("late".into()));
        let mut batch = Batch::default();
        let mut erased = replica.erase(&mut batch).expect("all of that");
        assert!(batch.changes.len() <= 4, "{} changes", batch.changes.len());
        store.apply(batch).expect("memory");
        while !erased.is_empty() {
            let left = counts(&store).iter().sum::<usize>();
            let (held, known) = restore(&store, |_, _| true).expect("readable");
            assert!(held.is_empty(), "nothing is read as data");
            let found = known.erased.get(&PLACE).expect("more is left");
            assert_eq!(found.len(), left);
            // A row that lives again is also among the removed ones.
            assert!(
                (left..=left + 1).contains(&erased.len()),
                "{} of {left}",
                erased.len()
            );
            if started {
                erased = found.clone();
            } else {
                erased.free(3);
            }
            let mut batch = Batch::default();
            let due = erased.len().min(9);
            assert_eq!(
                (erased.clear(9, &mut batch), batch.changes.len()),
                (due, due)
            );
            store.apply(batch).expect("memory");
        }
        assert_eq!(counts(&store), [0; 6]);
        assert!(
            restore(&store, |_, _| true)
                .expect("readable")
                .1
                .erased
                .is_empty()
        );
    }
}

#[test]
fn a_start_looks_only_at_what_is_its_own() {
    let (replica, store) = full();
    let mut batch = Batch::default();
    replica.erase(&mut batch);
    store.apply(batch).expect("memory");
    assert!(
        restore(&store, |_, _| false)
            .expect("readable")
            .1
            .erased
            .is_empty()
    );
}

#[test]
fn a_replica_without_a_disk_leaves_nothing() {
    let mut replica = Replica::new(ReplicaId::new(NodeId(1), 1));
    put(&mut replica, RowKey::string("k".into()));
    let mut batch = Batch::default();
    assert!(replica.erase(&mut batch).is_none());
    assert!(batch.is_empty());
}
