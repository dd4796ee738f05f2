use std::time::Duration;

use quorate_crdt::NodeId;

use super::net::{Net, START_UNIX_MILLIS, node};
use crate::consistency::Consistency as C;
use crate::op::{Mutation, Op, Reply, RequestError, SetExpiry};
use crate::protocol::{Input, Message};

#[test]
fn a_quorum_read_repairs_before_it_returns() {
    let mut net = Net::new(&[1, 1, 1]);
    net.cut(&[1], &[2, 3]);
    net.set(1, "k", "v", C::One).expect("local");
    net.drop_all();
    net.heal();
    // Only n1 has it. A read at QUORUM must leave it on two nodes.
    assert_eq!(net.get(1, "k", C::Quorum), Ok(Some("v".into())));
    let holders = (1..=3)
        .filter(|at| net.cores[&node(*at)].summaries()[0].rows == 1)
        .count();
    assert!(
        holders >= 2,
        "the value was returned but only {holders} replica has it"
    );
}

#[test]
fn what_was_lost_on_the_way_arrives_by_anti_entropy() {
    let mut net = Net::new(&[1, 1, 1]);
    net.cut(&[3], &[1, 2]);
    for n in 0..100 {
        net.set(1, &format!("k{n}"), "v", C::Quorum)
            .expect("two of three");
        net.mutate(2, &format!("k{n}"), Mutation::Delete, C::Quorum)
            .expect("two of three");
        net.set(2, &format!("j{n}"), "w", C::Quorum)
            .expect("two of three");
    }
    assert_eq!(net.summary(3).rows, 0);
    net.heal();
    net.run(Duration::from_secs(5));
    net.assert_converged();
    assert_eq!(net.summary(3).rows, 100);
    assert_eq!(net.get(3, "k5", C::One), Ok(None));
}

/// n5 has missed a hundred values of 1,000 bytes.
fn one_was_absent() -> Net {
    let mut net = Net::new(&[5]);
    net.run(Duration::from_secs(3));
    net.cut(&[5], &[1, 2, 3, 4]);
    for n in 0..100 {
        net.set(1 + n % 4, &format!("k{n}"), &"v".repeat(1_000), C::Quorum)
            .expect("four of five");
    }
    net.run(Duration::from_secs(3));
    net.heal();
    net.repair_bytes = 0;
    net
}

#[test]
fn what_an_absent_replica_has_missed_is_sent_once() {
    let mut net = one_was_absent();
    net.run(Duration::from_secs(5));
    net.assert_converged();
    assert_eq!(net.summary(5).rows, 100);
    assert!(
        (100_000..130_000).contains(&net.repair_bytes),
        "{} bytes were sent for 100,000",
        net.repair_bytes
    );
}

/// Sets how long messages take, and tells the nodes.
fn far_away(net: &mut Net, latency: fn(NodeId, NodeId) -> Duration) {
    net.latency = latency;
    net.timeout = Duration::from_secs(5);
    for (at, other) in (1..=5)
        .flat_map(|at| (1..=5).map(move |other| (node(at), node(other))))
        .filter(|(at, other)| at != other)
    {
        net.input(
            at,
            Input::RoundTrip {
                node: other,
                rtt: latency(at, other) * 2,
            },
        );
    }
}

fn submit(net: &mut Net, at: u64, key: String) {
    let set = Mutation::Set {
        value: "w".repeat(1_000).into(),
        expiry: SetExpiry::Clear,
    };
    net.submit(at, Op::Mutate(key.into(), set), C::Quorum);
}

#[test]
fn what_was_missed_is_sent_once_however_long_a_round_trip_takes() {
    let mut net = Net::new(&[5]);
    net.config.chunk_bytes = 8 * 1024;
    net.boot_all();
    net.run(Duration::from_secs(3));
    net.cut(&[5], &[1, 2, 3, 4]);
    for n in 0..500 {
        net.set(
            1 + n % 4,
            &format!("k{}", n % 400),
            &"v".repeat(1_000),
            C::Quorum,
        )
        .expect("four of five");
    }
    net.run(Duration::from_secs(3));
    // A round trip takes five ticks, and one part of an answer is a fraction of what is missing.
    far_away(&mut net, |_, _| Duration::from_millis(500));
    net.heal();
    net.repair_bytes = 0;
    // Writes continue; what is on its way is not asked for.
    for n in 0..150 {
        submit(&mut net, 1 + n % 4, format!("new{n}"));
        net.run(Duration::from_millis(100));
    }
    net.run(Duration::from_secs(5));
    net.assert_converged();
    assert_eq!(net.summary(5).rows, 550);
    assert!(
        (400_000..520_000).contains(&net.repair_bytes),
        "{} bytes were sent for 400,000",
        net.repair_bytes
    );
    assert_eq!(net.cores[&node(5)].counters().streams, 0);
}

#[test]
fn what_is_under_way_is_not_repaired() {
    let mut net = Net::new(&[5]);
    net.run(Duration::from_secs(3));
    // n5 hears of n1's writes long before they arrive.
    far_away(&mut net, |a, b| {
        if a.0 + b.0 == 6 {
            Duration::from_millis(500)
        } else {
            Duration::from_millis(20)
        }
    });
    for n in 0..100 {
        submit(&mut net, 1 + n % 5, format!("k{n}"));
        net.run(Duration::from_millis(70));
    }
    net.run(Duration::from_secs(5));
    net.assert_converged();
    assert_eq!(net.repair_bytes, 0, "nothing was lost");
}

#[test]
fn a_lost_question_or_answer_about_what_was_missed_is_made_good() {
    for lost in [
        |message: &Message| matches!(message, Message::Ask { .. }),
        |message: &Message| matches!(message, Message::Repair { .. }),
    ] {
        for nth in [1, 2, 7, 9] {
            let mut net = Net::new(&[3]);
            net.config.chunk_bytes = 1_500;
            net.boot_all();
            net.cut(&[3], &[1, 2]);
            for n in 0..100 {
                net.set(1, &format!("k{n}"), &"v".repeat(1_000), C::Quorum)
                    .expect("two of three");
            }
            net.heal();
            net.repair_bytes = 0;
            net.lose(nth, lost);
            net.run(Duration::from_secs(10));
            assert!(net.last_lost.is_some(), "there was no such message");
            net.assert_converged();
            assert!(
                net.repair_bytes < 130_000,
                "{} bytes were sent for 100,000",
                net.repair_bytes
            );
        }
    }
}

#[test]
fn nothing_is_streamed_that_somebody_remembers_event_by_event() {
    let mut net = Net::new(&[3]);
    net.run(Duration::from_secs(1));
    net.config.recent.events_max = 5;
    net.boot(node(1), false);
    net.run(Duration::from_secs(1));
    net.cut(&[3], &[1, 2]);
    (1..=2).for_each(|other| {
        net.input(
            node(other),
            Input::Reachable {
                node: node(3),
                up: false,
            },
        );
    });
    for n in 0..50 {
        net.set(2, &format!("k{n}"), "v", C::Quorum)
            .expect("two of three");
    }
    net.run(Duration::from_secs(2));
    net.heal();
    (1..=2).for_each(|other| {
        net.input(
            node(other),
            Input::Reachable {
                node: node(3),
                up: true,
            },
        );
    });
    net.run(Duration::from_secs(8));
    net.assert_converged();
    assert_eq!(
        (net.summary(3).rows, net.cores[&node(3)].counters().streams),
        (50, 0),
        "n1 has forgotten, n2 has not"
    );
}

#[test]
fn another_is_asked_when_one_does_not_help() {
    for helps in 1..=4 {
        let mut net = one_was_absent();
        for other in (1..=4).filter(|other| *other != helps) {
            net.helps_nobody(other);
        }
        net.run(Duration::from_secs(8));
        assert_eq!(net.summary(5).rows, 100, "only n{helps} helps");
    }
}

#[test]
fn deleted_everywhere_leaves_nothing() {
    let mut net = Net::new(&[1, 1, 1]);
    for n in 0..200 {
        net.set(1 + n % 3, &format!("k{n}"), "v", C::Quorum)
            .expect("healthy");
    }
    for n in 0..200 {
        net.mutate(
            1 + (n + 1) % 3,
            &format!("k{n}"),
            Mutation::Delete,
            C::Quorum,
        )
        .expect("healthy");
    }
    net.run(Duration::from_secs(5));
    net.assert_converged();
    assert_eq!(net.summary(1).rows, 0);
}

#[test]
fn a_node_that_lost_its_disk_is_filled_and_reissues_nothing() {
    let mut net = Net::new(&[1, 1, 1]);
    for n in 0..50 {
        net.set(3, &format!("k{n}"), "v", C::All).expect("healthy");
    }
    net.run(Duration::from_secs(5));
    net.boot(node(3), true);
    net.run(Duration::from_secs(5));
    net.assert_converged();
    assert_eq!(net.summary(3).rows, 50);
    net.set(3, "new", "v", C::All).expect("healthy");
    net.run(Duration::from_secs(5));
    net.assert_converged();
    assert_eq!(net.summary(1).rows, 51);
}

#[test]
fn a_node_whose_events_others_know_better_starts_a_new_life() {
    let mut net = Net::new(&[1, 1, 1]);
    for n in 0..5 {
        net.set(3, &format!("k{n}"), "v", C::All).expect("healthy");
    }
    // A restored backup: the same life, with nothing in it.
    net.boot(node(3), false);
    net.run(Duration::from_secs(3));
    net.set(3, "k0", "w", C::All).expect("healthy");
    net.run(Duration::from_secs(5));
    net.assert_converged();
    assert_eq!(net.get(1, "k0", C::One), Ok(Some("w".into())));
    assert_eq!(net.summary(1).rows, 5);
}

#[test]
fn an_expired_key_is_gone_for_readers_at_once_and_from_disk_soon() {
    let mut net = Net::new(&[1, 1, 1]);
    let expiry = SetExpiry::At(START_UNIX_MILLIS + 1000);
    net.mutate(
        1,
        "k",
        Mutation::Set {
            value: "v".into(),
            expiry,
        },
        C::All,
    )
    .expect("healthy");
    assert_eq!(net.get(2, "k", C::Quorum), Ok(Some("v".into())));
    net.run(Duration::from_secs(1));
    assert_eq!(net.get(2, "k", C::Quorum), Ok(None));
    net.run(Duration::from_secs(8));
    net.assert_converged();
    assert_eq!(net.summary(3).rows, 0);
}

#[test]
fn a_full_disk_refuses_writes_and_still_reads() {
    let mut net = Net::new(&[1, 1, 1]);
    net.set(1, "k", "v", C::All).expect("healthy");
    net.input(node(1), Input::DiskFull(true));
    assert_eq!(net.set(1, "k", "w", C::One), Err(RequestError::DiskFull));
    assert_eq!(net.get(1, "k", C::Quorum), Ok(Some("v".into())));
    assert_eq!(
        net.set(2, "k", "w", C::Quorum),
        Ok(Reply::Done),
        "two others have room"
    );
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_of_help_are_noticed() {
    use crate::planted;
    super::noticed(&[
        (
            &planted::EVERYBODY_HELPS,
            what_an_absent_replica_has_missed_is_sent_once,
        ),
        (
            &planted::ASKED_AGAIN_EACH_TICK,
            what_was_missed_is_sent_once_however_long_a_round_trip_takes,
        ),
        (
            &planted::ASKED_BEFORE_OVERDUE,
            what_is_under_way_is_not_repaired,
        ),
        (
            &planted::STREAMED_AT_ONCE,
            nothing_is_streamed_that_somebody_remembers_event_by_event,
        ),
        (
            &planted::ONE_HELPER_FOR_EVER,
            another_is_asked_when_one_does_not_help,
        ),
    ]);
}
