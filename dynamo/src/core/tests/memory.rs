//! What a replica remembers, and what the others remember about it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::store::{Batch, MemoryStore, Space, Store};

use super::net::{Net, node, secs};
use crate::consistency::Consistency as C;
use crate::op::{Op, Query, Reply};
use crate::protocol::{Input, Message, Timer};
use crate::{Dynamo, Seat};

/// Tells `nodes` that another node is gone, or back.
fn sees(net: &mut Net, nodes: &[u64], other: u64, up: bool) {
    for at in nodes {
        net.input(
            node(*at),
            Input::Reachable {
                node: node(other),
                up,
            },
        );
    }
}

/// The partition moves from n1, n2, n3 to n2, n3, n4. n1 and n2 have acknowledged a write that
/// nobody else has. Then n2 loses its disk and gets the write back from n1, which is gone now. All
/// that anybody hears from n2 is that it has been filled.
#[test]
fn what_a_replica_said_while_it_was_filled_is_not_its_memory() {
    let mut net = Net::three_of(4);
    net.set(1, "before", "v", C::All).expect("healthy");
    net.run(secs(2));
    net.cut(&[1], &[3, 4]);
    sees(&mut net, &[3, 4], 1, false);
    net.set(1, "w", "v", C::Quorum).expect("n1 and n2");
    net.drop_all();
    net.boot(node(2), true);
    net.begin_move(&[2, 3, 4]);
    net.settle();
    net.cut(&[2], &[3, 4]);
    net.lose(1, |message| match message {
        Message::Seen(all) => all
            .iter()
            .any(|seen| seen.replica.node == node(2) && !seen.filling),
        _ => false,
    });
    net.run_until_lost();
    assert_eq!((net.summary(2).filling, net.summary(2).rows), (false, 2));
    let (from, _, word) = net.last_lost.clone().expect("it says that it is filled");
    net.cut(&[1], &[2]);
    for at in [3, 4] {
        net.input(
            node(at),
            Input::Message {
                from,
                message: word.clone(),
            },
        );
        sees(&mut net, &[at], 2, false);
    }
    net.run(secs(5));
    assert_eq!(
        (net.summary(4).rows, net.summary(4).filling),
        (1, true),
        "only n2 has the write, and n4 knows that"
    );
    net.heal();
    sees(&mut net, &[3, 4], 2, true);
    net.run(secs(5));
    assert_eq!((net.summary(4).rows, net.summary(4).filling), (2, false));
}

/// Three nodes, with n3 cut off. `through` has written something at `QUORUM`, which n1 and n2
/// acknowledged; then n2 starts again on its disk from before that.
fn on_an_older_disk(through: u64) -> Net {
    on_an_older_disk_in(&[3], through)
}

fn on_an_older_disk_in(datacenters: &[u64], through: u64) -> Net {
    let mut net = Net::new(datacenters);
    net.config.persist = true;
    net.boot_all();
    net.set(2, "before", "v", C::All).expect("healthy");
    net.run(secs(2));
    let disk = MemoryStore::new();
    disk.apply(net.cores.get_mut(&node(2)).expect("a node").drain())
        .expect("in memory");
    net.cut(&[3], &[1, 2]);
    net.set(through, "w", "v", C::Quorum).expect("two of three");
    net.drop_all();
    let seat = Seat {
        me: node(2),
        incarnation: 7,
        core: 0,
        cores: 1,
        life: 700,
        restarted: true,
    };
    let mut core = Dynamo::new(net.config.clone(), seat);
    core.restore(&disk).expect("in memory");
    net.cores.insert(node(2), core);
    net.input(node(2), Input::Topology(Arc::new(net.topology.clone())));
    net
}

/// n1 has reported once and is gone; n2 and n3 are a majority.
fn without_the_only_one_that_has_it(net: &mut Net) {
    net.cut(&[1], &[2, 3]);
    net.drop_all();
    sees(net, &[2, 3], 1, false);
    net.heal_between(&[2], &[3]);
    net.run(secs(3));
    for at in [2, 3] {
        assert!(
            net.get(at, "w", C::Quorum).is_err(),
            "n{at} has answered for a majority of which none has the write"
        );
    }
    assert!(net.summary(2).filling);
    net.heal();
    sees(net, &[2, 3], 1, true);
    net.run(secs(5));
    net.assert_converged();
    assert_eq!(net.get(2, "w", C::One), Ok(Some("v".into())));
}

#[test]
fn a_replica_counts_in_no_majority_before_the_others_have_told_it_what_it_had() {
    let mut net = on_an_older_disk(1);
    net.heal_between(&[2], &[3]);
    sees(&mut net, &[3], 1, false);
    let late = net.submit(2, Op::Query("w".into(), Query::Get), C::Quorum);
    assert!(
        net.get(3, "w", C::Quorum).is_err(),
        "n2 and n3 do not have it"
    );
    let answer = net.answer(late);
    assert!(answer != Ok(Reply::Nil), "{answer:?}");
    net.run(secs(3));
    assert_eq!(
        net.get(2, "w", C::Quorum),
        Ok(Some("v".into())),
        "n1 has given it back"
    );
}

#[test]
fn a_replica_alone_in_its_datacenter_asks_the_others_too() {
    let mut net = on_an_older_disk_in(&[1, 1, 1], 1);
    let answer = net.get(2, "w", C::LocalQuorum);
    assert!(answer != Ok(None), "LOCAL_QUORUM of one");
    net.heal();
    net.run(secs(3));
    assert_eq!(net.get(2, "w", C::LocalQuorum), Ok(Some("v".into())));
}

#[test]
fn a_waking_replica_asks_until_it_is_answered() {
    let mut net = on_an_older_disk(1);
    net.drop_all();
    net.cut(&[1], &[2]);
    net.lose(
        1,
        |message| matches!(message, Message::Seen(all) if all.iter().any(|seen| seen.waking)),
    );
    net.run(Duration::from_millis(250));
    let (from, ..) = net
        .last_lost
        .clone()
        .expect("its first question was lost, and it does not ask again");
    assert_eq!(from, node(2));
}

#[test]
fn a_node_that_starts_again_alone_or_beside_one_that_is_silent_serves_within_a_second() {
    for gone in [true, false] {
        let mut net = on_an_older_disk(1);
        net.heal_between(&[2], &[3]);
        net.cut(&[1], &[2]);
        if gone {
            sees(&mut net, &[2], 1, false);
        }
        assert_eq!(
            net.get(2, "before", C::One),
            Ok(Some("v".into())),
            "ONE waits for nobody"
        );
        net.run(if gone {
            Duration::from_millis(1)
        } else {
            secs(1)
        });
        assert_eq!(
            net.get(2, "before", C::Quorum),
            Ok(Some("v".into())),
            "n2 and n3 are a majority"
        );
    }
}

#[test]
fn a_replica_on_an_older_disk_is_told_what_it_had_acknowledged() {
    let mut net = on_an_older_disk(1);
    // Before anybody's next tick.
    net.run(Duration::from_millis(50));
    without_the_only_one_that_has_it(&mut net);
}

#[test]
fn a_replica_that_hears_of_its_own_former_writes_knows_that_its_disk_is_an_older_one() {
    let mut net = on_an_older_disk(2);
    // All that it hears from n1 is what n1 has seen, as from a node that knows nothing of its
    // former lives.
    net.cut(&[1], &[2]);
    net.lose(1, |message| match message {
        Message::Seen(all) => all.iter().any(|seen| seen.replica.node == node(1)),
        _ => false,
    });
    net.run_until_lost();
    let (from, _, message) = net.last_lost.clone().expect("n1 speaks");
    net.input(node(2), Input::Message { from, message });
    without_the_only_one_that_has_it(&mut net);
}

/// n1 has been told that n2 had an event, which was lost with n2's disk and is nowhere.
#[test]
fn what_is_nowhere_any_more_fills_a_replica_once() {
    let mut net = Net::new(&[3]);
    net.config.persist = true;
    net.boot_all();
    net.set(2, "before", "v", C::All).expect("healthy");
    net.run(secs(2));
    let disk = MemoryStore::new();
    disk.apply(net.cores.get_mut(&node(2)).expect("a node").drain())
        .expect("in memory");
    net.cut(&[2], &[1, 3]);
    net.set(2, "lost", "v", C::One).expect("n2 alone");
    net.lose(1, |message| {
        matches!(message, Message::Seen(all) if all.iter().any(|seen| seen.replica.node == node(2)))
    });
    net.run_until_lost();
    let (from, _, message) = net.last_lost.clone().expect("n2 reports");
    net.input(node(1), Input::Message { from, message });
    net.drop_all();
    net.cores.remove(&node(2));
    net.start_on(node(2), &disk);
    net.heal();
    net.run(secs(3));
    assert!(!net.summary(2).filling, "nobody has what it lacks");
    net.last_lost = None;
    net.lose(1, |message| matches!(message, Message::Former { .. }));
    for n in 0..10 {
        net.set(2, "k", &n.to_string(), C::All).expect("healthy");
        net.run(secs(1));
    }
    assert!(
        net.last_lost.is_none(),
        "it is told again and again, and filled each time"
    );
    net.assert_converged();
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_of_memories_are_noticed() {
    use crate::planted;
    super::noticed(&[
        (
            &planted::FIRST_KEPT_OVER_FILLING,
            what_a_replica_said_while_it_was_filled_is_not_its_memory,
        ),
        (
            &planted::LOST_MEMORY_AWAITED,
            what_is_nowhere_any_more_fills_a_replica_once,
        ),
        (
            &planted::FORMER_LIVES_FORGOTTEN,
            a_replica_on_an_older_disk_is_told_what_it_had_acknowledged,
        ),
        (
            &planted::WAKES_AT_ONCE,
            a_replica_counts_in_no_majority_before_the_others_have_told_it_what_it_had,
        ),
        (
            &planted::OLD_DISK_OVERLOOKED,
            a_replica_that_hears_of_its_own_former_writes_knows_that_its_disk_is_an_older_one,
        ),
    ]);
}

/// The other replicas remember what the node reported before, not only what it reports while it is
/// being filled again.
#[test]
fn an_older_disk_that_comes_back_twice_is_not_believed() {
    let mut net = Net::new(&[3]);
    net.config.persist = true;
    net.boot_all();
    net.set(2, "a", "1", C::All).expect("healthy");
    net.run(Duration::from_secs(2));
    let disk = MemoryStore::new();
    disk.apply(net.cores.get_mut(&node(1)).expect("n1").drain())
        .expect("in memory");
    net.cut(&[3], &[1, 2]);
    net.set(2, "k", "w", C::Quorum).expect("n1 and n2");
    net.run(Duration::from_secs(1));
    // What would fill it again is lost each time.
    let talk = |net: &mut Net| {
        while let Some((from, to, message)) = net.queue.pop_front() {
            if net.hears(from, to)
                && !matches!(message, Message::Chunk { .. } | Message::Repair { .. })
            {
                net.input(to, Input::Message { from, message });
            }
        }
    };
    for again in [false, true] {
        net.cores.remove(&node(1));
        if again {
            net.heal_between(&[1], &[3]);
        }
        net.start_on(node(1), &copy_of(&disk));
        talk(&mut net);
        assert!(
            net.summary(1).filling,
            "n2 has told it that it has forgotten something; again {again}"
        );
        for _ in 0..3 {
            net.now += Duration::from_millis(200);
            net.input(node(1), Input::Timer(Timer::AntiEntropy));
            talk(&mut net);
        }
    }
    net.heal();
    net.cut(&[2], &[1, 3]);
    assert_ne!(
        net.get(1, "k", C::Quorum),
        Ok(None),
        "n1 has acknowledged it"
    );
}

fn copy_of(from: &MemoryStore) -> MemoryStore {
    let to = MemoryStore::new();
    let mut batch = Batch::default();
    for space in Space::ALL {
        let mut take = |key: &[u8], value: &[u8]| {
            batch.put(
                space,
                Bytes::copy_from_slice(key),
                Bytes::copy_from_slice(value),
            );
            ControlFlow::Continue(())
        };
        from.scan(space, &[], None, &mut take).expect("in memory");
    }
    to.apply(batch).expect("in memory");
    to
}
