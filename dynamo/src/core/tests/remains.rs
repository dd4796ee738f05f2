//! Removals of many rows at once: a single record on every disk, and the rows leave little by
//! little.

use std::time::Duration;

use bytes::Bytes;
use quorate_control::store::{MemoryStore, Space, Store};
use quorate_control::topology::Partition;

use super::net::{Net, START_UNIX_MILLIS, node, secs};
use crate::consistency::Consistency as C;
use crate::fixture::records;
use crate::op::{Mutation, Op, PartitionOp, Query, Reply, SetExpiry};
use crate::protocol::Input;

const MANY: usize = 5_000;

/// Three nodes with a set of many elements, or as many strings, on their disks.
fn filled(strings: bool) -> (Net, Vec<MemoryStore>) {
    let mut net = Net::new(&[3]);
    net.config.persist = true;
    net.boot_all();
    if strings {
        (0..MANY).for_each(|n| drop(net.set(1, &format!("k{n}"), "v", C::All).expect("healthy")));
    } else {
        let elements = (0..MANY).map(|n| Bytes::from(n.to_string())).collect();
        net.mutate(1, "s", Mutation::Add(elements), C::All)
            .expect("healthy");
    }
    net.run(secs(2));
    let disks: Vec<MemoryStore> = (0..3).map(|_| MemoryStore::new()).collect();
    save(&mut net, &disks);
    (net, disks)
}

/// Writes every node's changes to disk. Returns the largest number of changes of one node.
fn save(net: &mut Net, disks: &[MemoryStore]) -> usize {
    let mut most = 0;
    for (core, disk) in net.cores.values_mut().zip(disks) {
        let batch = core.drain();
        most = most.max(batch.changes.len());
        disk.apply(batch).expect("memory");
    }
    most
}

fn rows_on(disk: &MemoryStore) -> usize {
    records(disk, Space::Rows, b"")
}

#[test]
fn whatever_removes_many_rows_is_a_small_batch_on_every_disk() {
    let clear = Op::Partition(Partition(0), PartitionOp::Clear);
    let set = Mutation::Set {
        value: "v".into(),
        expiry: SetExpiry::Clear,
    };
    let past = Mutation::ExpireAt(START_UNIX_MILLIS - 1);
    let removals = [
        (false, Op::Mutate("s".into(), Mutation::Delete), 0),
        (false, Op::Mutate("s".into(), past), 0),
        (false, Op::Mutate("s".into(), set), 1),
        (false, clear.clone(), 0),
        (true, clear, 0),
    ];
    for (strings, op, left) in removals {
        let (mut net, disks) = filled(strings);
        net.ask(2, op.clone(), C::All).expect("healthy");
        let changes = save(&mut net, &disks);
        assert!(changes < 20, "{op:?}: {changes} changes at once");
        for _ in 0..10 {
            net.run(Duration::from_millis(10));
            let changes = save(&mut net, &disks);
            assert!(changes <= 1_100, "{op:?}: {changes} changes at once");
        }
        assert_eq!(
            disks.iter().map(rows_on).collect::<Vec<_>>(),
            [left; 3],
            "{op:?}"
        );
        net.run(secs(3));
        net.assert_converged();
    }
}

#[test]
fn a_key_that_has_lapsed_goes_in_pieces() {
    let (mut net, disks) = filled(false);
    net.mutate(
        1,
        "s",
        Mutation::ExpireAt(net.clock().unix_millis + 100),
        C::All,
    )
    .expect("healthy");
    save(&mut net, &disks);
    let mut most = 0;
    for _ in 0..1_000 {
        net.run(Duration::from_millis(10));
        most = most.max(save(&mut net, &disks));
    }
    assert!(most <= 1_100, "{most} changes at once");
    assert_eq!(disks.iter().map(rows_on).collect::<Vec<_>>(), [0; 3]);
}

/// A client fills and removes a set again and again, faster than rows leave the disk.
#[test]
fn what_waits_to_leave_the_disk_is_bounded() {
    let mut net = Net::new(&[3]);
    net.config.persist = true;
    net.config.removal.rows_at_once = 50;
    net.config.removal.waiting_max = 1_000;
    net.boot_all();
    let disks: Vec<MemoryStore> = (0..3).map(|_| MemoryStore::new()).collect();
    let kept = |net: &Net| {
        let all = net.cores.values().flat_map(|core| core.kept(false));
        let waiting: Vec<_> = all
            .filter(|kept| kept.what.starts_with("removed rows"))
            .collect();
        assert!(
            waiting
                .iter()
                .all(|kept| kept.held <= kept.max && kept.max <= 1_300),
            "{waiting:?}"
        );
        waiting
            .iter()
            .map(|kept| kept.held)
            .max()
            .expect("three cores")
    };
    let mut most = 0;
    for n in 0..20 {
        let elements = (0..300).map(|n| Bytes::from(n.to_string())).collect();
        net.mutate(n % 3 + 1, "s", Mutation::Add(elements), C::All)
            .expect("healthy");
        net.mutate(n % 3 + 1, "s", Mutation::Delete, C::All)
            .expect("healthy");
        most = most.max(kept(&net));
        assert!(save(&mut net, &disks) < 1_000, "no turn pays for others");
    }
    assert!(most > 1_000, "the bound was met");
    for disk in &disks {
        assert!(rows_on(disk) <= 1_300, "{} rows", rows_on(disk));
    }
    net.start_on(node(2), &disks[1]);
    net.run(secs(1));
    assert_eq!(kept(&net), 0);
    save(&mut net, &disks);
    assert_eq!(disks.iter().map(rows_on).collect::<Vec<_>>(), [0; 3]);
}

#[test]
fn the_more_rows_wait_the_more_go_at_a_time() {
    let (mut net, disks) = filled(false);
    net.mutate(1, "s", Mutation::Delete, C::Quorum)
        .expect("healthy");
    for core in net.cores.values_mut() {
        core.config.removal.rows_at_once = 10;
        core.config.removal.waiting_max = 4_000;
    }
    save(&mut net, &disks);
    net.run(Duration::from_millis(10));
    assert_eq!(rows_on(&disks[0]), MANY);
    save(&mut net, &disks);
    assert_eq!(
        rows_on(&disks[0]),
        MANY - 40,
        "a hundredth of what may wait"
    );
    net.run(secs(5));
    save(&mut net, &disks);
    assert_eq!(rows_on(&disks[0]), 0);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_of_what_waits_are_noticed() {
    super::noticed(&[(
        &crate::planted::REMAINS_WITHOUT_BOUND,
        what_waits_to_leave_the_disk_is_bounded,
    )]);
}

#[test]
fn a_start_goes_on_removing_what_is_gone() {
    let (mut net, disks) = filled(false);
    assert_eq!(
        net.mutate(1, "s", Mutation::Delete, C::Quorum),
        Ok(Reply::Integer(1))
    );
    net.run(Duration::from_millis(15));
    save(&mut net, &disks);
    assert!((1..MANY).contains(&rows_on(&disks[1])), "some have gone");
    net.start_on(node(2), &disks[1]);
    assert_eq!(net.summary(2).rows, 0, "nothing is back");
    for _ in 0..10 {
        net.run(Duration::from_millis(10));
        save(&mut net, &disks);
    }
    assert_eq!(rows_on(&disks[1]), 0);
    net.run(secs(3));
    net.assert_converged();
}

#[test]
fn a_full_disk_takes_a_large_removal() {
    let (mut net, disks) = filled(false);
    (1..=3).for_each(|at| net.input(node(at), Input::DiskFull(true)));
    assert_eq!(
        net.mutate(1, "s", Mutation::Delete, C::Quorum),
        Ok(Reply::Integer(1))
    );
    assert!(save(&mut net, &disks) < 20, "with hardly any room");
    for _ in 0..10 {
        net.run(Duration::from_millis(10));
        save(&mut net, &disks);
    }
    assert_eq!(
        disks.iter().map(rows_on).collect::<Vec<_>>(),
        [0; 3],
        "which makes room"
    );
}

/// n3 was away while a set was filled and removed, or joins long after the others have forgotten
/// the events.
#[test]
fn a_replica_that_was_away_learns_of_a_large_removal_in_small_batches() {
    for forgotten in [false, true] {
        let (mut net, disks) = filled(false);
        if forgotten {
            net.config.recent.events_max = 5;
            for at in [1, 2] {
                save(&mut net, &disks);
                net.start_on(node(at), &disks[at as usize - 1]);
            }
        }
        net.run(secs(2));
        net.cut(&[3], &[1, 2]);
        net.mutate(1, "s", Mutation::Delete, C::Quorum)
            .expect("two of three");
        for n in 0..50 {
            net.set(1, &format!("k{n}"), "v", C::Quorum)
                .expect("two of three");
        }
        net.drop_all();
        net.run(secs(2));
        save(&mut net, &disks);
        net.heal();
        let mut most = 0;
        for _ in 0..300 {
            net.run(Duration::from_millis(10));
            most = most.max(save(&mut net, &disks));
        }
        assert!(most <= 1_300, "{most} changes at once");
        net.assert_converged();
        assert_eq!(
            disks.iter().map(rows_on).collect::<Vec<_>>(),
            [50; 3],
            "forgotten: {forgotten}"
        );
        assert_eq!(
            net.query(3, "s", Query::Cardinality, C::One),
            Ok(Reply::Integer(0))
        );
    }
}
