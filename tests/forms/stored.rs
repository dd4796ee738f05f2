//! What a replica writes to disk.

use bytes::Bytes;
use quorate_control::store::{Batch, MemoryStore, Space, Store as _};
use quorate_control::topology::{KeyspaceId, Partition};
use quorate_crdt::{NodeId, ReplicaId};
use quorate_dynamo::replica::{Range, Replaces, Replica, RowKey, RowKind, restore};

use crate::Forms;
use crate::messages::rows;

const AT: (KeyspaceId, Partition) = (KeyspaceId(300), Partition(5));

fn name(of: Space) -> &'static str {
    match of {
        Space::Meta => "meta",
        Space::Control => "control",
        Space::Rows => "rows",
        Space::Recent => "recent",
        Space::Causal => "causal",
        Space::Hints => "hints",
    }
}

/// A replica with a row of every kind, a long name, a residual, and remains of a removal.
fn replica() -> Replica {
    let mut replica = Replica::new(ReplicaId::new(NodeId(3), 70_000));
    replica.persist_as(AT.0, AT.1);
    for (name, row) in rows() {
        let mut write = replica.write();
        for (_, payload) in row.iter() {
            write.put(name.clone(), payload.clone(), Replaces::All);
        }
        write.finish();
    }
    let long = RowKey {
        key: "long".into(),
        kind: RowKind::Set,
        field: Bytes::from(vec![b'x'; 65_000]),
    };
    let mut write = replica.write();
    write.put(
        long,
        quorate_dynamo::replica::Payload::Member,
        Replaces::All,
    );
    write.finish();
    let mut other = Replica::new(ReplicaId::new(NodeId(4), 5));
    let mut write = other.write();
    write.put(
        RowKey::string("other".into()),
        quorate_dynamo::replica::Payload::Count(7),
        Replaces::All,
    );
    write.put(
        RowKey::string("key".into()),
        quorate_dynamo::replica::Payload::Count(8),
        Replaces::All,
    );
    write.finish();
    replica.join(&other.delta(Range::Key("other".into()).as_slice()));
    replica.remove_at_once(1);
    let mut write = replica.write();
    write.wipe(Range::Key("key".into()));
    write.finish();
    replica
}

#[test]
fn what_lies_on_disk_changes_only_with_its_version() {
    let mut replica = replica();
    let mut batch = Batch::default();
    replica.drain_into(&mut batch);
    let store = MemoryStore::new();
    store.apply(batch).expect("memory does not fail");
    let mut forms = Forms::default();
    for space in Space::ALL {
        let mut number = 0;
        let mut add = |key: &[u8], value: &[u8]| {
            number += 1;
            // A value of 65,000 letters tells no more than its end.
            let shown = &value[value.len().saturating_sub(400)..];
            let lengths = format!("{}/{number}:{}+{}", name(space), key.len(), value.len());
            forms.add(&lengths, &[key, shown].concat());
            std::ops::ControlFlow::Continue(())
        };
        store
            .scan(space, &[], None, &mut add)
            .expect("memory does not fail");
    }
    forms.check("store");
    let (replicas, _) = restore(&store, |_, _| true).expect("what was written is read");
    let read = &replicas[&AT];
    assert_eq!(
        (read.context(), read.digest()),
        (replica.context(), replica.digest())
    );
    assert_eq!(read.residual_count(), replica.residual_count());
}
