use bytes::Bytes;
use quorate_crdt::{NodeId, ReplicaId};

use super::super::range::Range;
use super::super::row::{Payload, RowKey};
use super::super::write::Replaces;
use super::Replica;

fn replica(node: u64) -> Replica {
    Replica::new(ReplicaId::new(NodeId(node), 1))
}

fn put(replica: &mut Replica, row: RowKey) {
    let mut write = replica.write();
    write.put(row, Payload::Count(1), Replaces::All);
    write.finish().expect("something was written");
}

fn member(set: &str, number: u32) -> RowKey {
    RowKey::member(
        Bytes::copy_from_slice(set.as_bytes()),
        number.to_be_bytes().to_vec().into(),
    )
}

#[test]
fn what_was_missed_is_told_without_a_residual_for_each_row() {
    let (mut from, mut to) = (replica(1), replica(2));
    for number in 0..3_000 {
        put(&mut from, member("s", number));
        put(&mut from, RowKey::string(format!("k{number}").into()));
    }
    // What concerns a whole key is told beside what concerns its rows.
    for number in 0..100 {
        put(&mut from, member("gone", number));
    }
    let mut removal = from.write();
    removal.wipe(Range::Key("gone".into()));
    removal.finish().expect("something was removed");
    put(&mut from, member("gone", 100));
    let events = from.context().clone();
    let (mut after, mut deltas) = (None, 0);
    loop {
        let missing = from.missing_of(&events, after.as_ref(), 20_000, 4);
        for delta in &missing.deltas {
            deltas += 1;
            to.join(delta);
            let residuals = to.residual_count();
            assert!(residuals <= 1, "{residuals} after {deltas} deltas");
        }
        // What all are known to have is forgotten while the rest is told.
        from.recent.forget_known(to.context().clone());
        after = missing.next;
        if after.is_none() {
            break;
        }
    }
    assert!(deltas > 10, "{deltas} deltas");
    to.strip();
    assert_eq!(to.residual_count(), 0, "all has been told");
    assert_eq!(to.context(), from.context());
    assert_eq!(to.digest(), from.digest());
}
