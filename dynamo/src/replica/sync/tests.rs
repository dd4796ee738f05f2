use bytes::Bytes;
use quorate_crdt::{CausalContext, NodeId, ReplicaId};

use super::super::range::{Cut, Range, Within};
use super::super::row::{Payload, RowKey, RowKind};
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

/// What a replica knows in part of a range only is told with all that lives there, if that fits.
#[test]
fn a_large_range_that_is_known_in_part_is_told_whole() {
    let (mut from, mut to) = (replica(1), replica(2));
    for number in 0..3_000 {
        put(&mut from, member("s", number));
    }
    let first = Range::Slice {
        after: None,
        through: Some(Cut {
            key: "s".into(),
            within: Within::Row(RowKind::Set, member("s", 1_000).field),
        }),
    };
    to.join(&from.delta(first));
    assert_eq!(to.residual_count(), 1, "known in part");
    let asked = [Range::Key("s".into())];
    let nothing = CausalContext::new();
    let told = to.difference(&asked, Some(&nothing)).expect("it fits");
    assert_eq!(told.parts.len(), 1);
    assert!(to.row_count() > 800, "more than is sent without a look");
    assert_eq!(told.parts[0].rows.len() as u64, to.row_count());
    assert_eq!(told.residuals.len(), 1, "and so is what is known about it");
}

/// A slice that comes twice needs no room the second time, although its events are not yet known to
/// the whole replica.
#[test]
fn only_what_is_new_here_needs_room() {
    let (mut from, mut to) = (replica(1), replica(2));
    for number in 0..3 {
        put(&mut from, member("s", number));
    }
    let through = |number| Range::Slice {
        after: None,
        through: Some(Cut {
            key: "s".into(),
            within: Within::Row(RowKind::Set, member("s", number).field),
        }),
    };
    let (two, three) = (from.delta(through(1)), from.delta(through(2)));
    assert!(to.grows_by(&two));
    to.join(&two);
    assert!(!to.grows_by(&two), "it has all of that");
    assert!(to.grows_by(&three), "the third is new");
}
