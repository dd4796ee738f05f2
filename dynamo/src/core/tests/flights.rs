use std::time::Duration;

use quorate_control::topology::{Phase, Placement};

use super::net::{Net, node, topology};
use crate::consistency::Consistency as C;
use crate::op::{Mutation, Op, Query, Reply, RequestError, SetExpiry};
use crate::protocol::{FlightId, Input, Message, Refusal, Timer};

fn set(value: &str) -> Op {
    Op::Mutate(
        "k".into(),
        Mutation::Set {
            value: value.to_owned().into(),
            expiry: SetExpiry::Clear,
        },
    )
}

fn of_five(replicas: usize) -> Net {
    let mut topology = topology(&[5]);
    topology
        .keyspaces
        .values_mut()
        .next()
        .expect("default")
        .placement[0]
        .replicas
        .truncate(replicas);
    Net::of(topology)
}

fn holders(net: &Net, nodes: &[u64]) -> usize {
    nodes.iter().filter(|at| net.summary(**at).rows > 0).count()
}

/// Takes the messages on their way to `to` out of the net.
fn held_back(net: &mut Net, to: u64) -> Vec<(quorate_crdt::NodeId, Message)> {
    let (held, rest) = std::mem::take(&mut net.queue)
        .into_iter()
        .partition::<Vec<_>, _>(|(_, at, _)| *at == node(to));
    net.queue = rest.into();
    held.into_iter()
        .map(|(from, _, message)| (from, message))
        .collect()
}

fn written_to(net: &Net, to: u64) -> FlightId {
    let id = |(_, at, message): &(_, quorate_crdt::NodeId, Message)| match message {
        Message::Write { id, .. } if *at == node(to) => Some(*id),
        _ => None,
    };
    net.queue.iter().find_map(id).expect("a write is under way")
}

#[test]
fn r02_rewrite_counts_a_node_that_has_nothing() {
    let mut net = Net::new(&[3]);
    net.input(
        node(1),
        Input::Reachable {
            node: node(2),
            up: false,
        },
    );
    net.cut(&[1], &[2, 3]);
    let ticket = net.submit(1, set("v"), C::Quorum);
    net.settle();
    net.input(
        node(1),
        Input::Reachable {
            node: node(2),
            up: true,
        },
    );
    net.settle();
    assert!(!net.replies.contains_key(&ticket));
    net.set_placement(|_| {});
    let reply = net.replies.get(&ticket).cloned();
    assert!(
        !matches!(reply, Some(Ok(_))),
        "QUORUM acknowledged, but {} replica has it",
        holders(&net, &[1, 2, 3])
    );
    net.heal();
    net.run(Duration::from_millis(400));
    assert!(
        matches!(net.replies.get(&ticket), Some(Ok(_))),
        "it is sent again under the new placement, also to whom it had not been sent"
    );
}

#[test]
fn r22_answered_writes_use_up_the_flights() {
    let mut net = Net::new(&[3]);
    net.config.flights_max = 1000;
    for n in 1..=3 {
        net.boot(node(n), false);
    }
    net.settle();
    net.cut(&[3], &[1, 2]);
    for n in 0..1000 {
        net.set(1, &format!("k{n}"), "v", C::Quorum)
            .expect("two of three");
    }
    assert_eq!(
        net.get(1, "k0", C::One),
        Ok(Some("v".into())),
        "all 1000 have been answered long ago"
    );
    assert_eq!(net.cores[&node(1)].flights(), 0);
}

#[test]
fn an_answer_to_a_former_life_acknowledges_nothing() {
    let mut net = Net::new(&[3]);
    net.settle();
    net.submit(1, set("old"), C::All);
    for peer in [2, 3] {
        for (from, message) in held_back(&mut net, peer) {
            net.input(node(peer), Input::Message { from, message });
        }
    }
    let late = held_back(&mut net, 1);
    assert!(
        late.iter()
            .any(|(_, message)| matches!(message, Message::Written { .. }))
    );
    net.boot(node(1), false);
    net.settle();
    net.cut(&[1], &[2, 3]);
    let ticket = net.submit(1, set("new"), C::Quorum);
    for (from, message) in late {
        net.input(node(1), Input::Message { from, message });
    }
    assert_eq!(net.replies.get(&ticket), None, "nobody else has it");
}

#[test]
fn an_acknowledgement_of_a_node_that_was_not_asked_counts_nothing() {
    let mut net = Net::new(&[3]);
    net.input(
        node(1),
        Input::Reachable {
            node: node(2),
            up: false,
        },
    );
    net.settle();
    let ticket = net.submit(1, set("v"), C::Quorum);
    let id = written_to(&net, 3);
    net.drop_all();
    let replica = quorate_crdt::ReplicaId::new(node(2), 1);
    net.input(
        node(1),
        Input::Message {
            from: node(2),
            message: Message::Written { id, replica },
        },
    );
    assert_eq!(net.replies.get(&ticket), None, "n2 has not been sent it");
}

#[test]
fn an_answer_to_an_earlier_question_of_the_flight_counts_nothing() {
    let mut net = Net::new(&[3]);
    net.settle();
    let ticket = net.submit(1, Op::Query("k".into(), Query::Get), C::Quorum);
    for (from, message) in held_back(&mut net, 2) {
        net.input(node(2), Input::Message { from, message });
    }
    let late = held_back(&mut net, 1);
    net.cut(&[1], &[2, 3]);
    net.set(1, "k", "v", C::One).expect("local");
    net.set_placement(|_| {});
    for (from, message) in late {
        net.input(node(1), Input::Message { from, message });
    }
    assert_eq!(
        net.replies.get(&ticket),
        None,
        "n2 said that it has nothing either, before n1 had something"
    );
}

#[test]
fn a_write_whose_keyspace_is_dropped_is_answered() {
    let mut net = Net::new(&[3]);
    net.cut(&[1], &[2, 3]);
    let ticket = net.submit(1, set("v"), C::Quorum);
    net.set_topology(|topology| topology.keyspaces.clear());
    net.run(Duration::from_secs(1));
    assert_eq!(
        net.replies.get(&ticket),
        Some(&Err(RequestError::KeyspaceDropped))
    );
}

#[test]
fn one_refusal_does_not_fail_what_others_can_satisfy() {
    let mut net = Net::new(&[3]);
    net.settle();
    net.input(node(2), Input::DiskFull(true));
    assert_eq!(
        net.set(1, "k", "v", C::Quorum),
        Ok(Reply::Done),
        "n1 and n3 have room"
    );
    let refused = vec![(node(2), Refusal::DiskFull)];
    let error = RequestError::Refused {
        level: C::All,
        acked: 1,
        required: 3,
        refused,
        missing: vec![node(3)],
        may_be_applied: true,
    };
    assert_eq!(
        net.set(1, "k", "w", C::All),
        Err(error),
        "it is told who refused and why, before n3 has answered"
    );
}

#[test]
fn a_timeout_names_who_was_asked_and_did_not_answer_and_nobody_else() {
    let mut net = Net::new(&[3]);
    net.input(
        node(1),
        Input::Reachable {
            node: node(3),
            up: false,
        },
    );
    net.cut(&[1], &[2]);
    let error = net
        .set(1, "k", "v", C::Quorum)
        .expect_err("n1 alone has it");
    assert_eq!(
        error,
        RequestError::TimedOut {
            level: C::Quorum,
            acked: 1,
            required: 2,
            missing: vec![node(2)],
            may_be_applied: true
        }
    );
    let error = net.get(1, "k", C::Quorum).expect_err("n1 alone answers");
    assert_eq!(
        error,
        RequestError::TimedOut {
            level: C::Quorum,
            acked: 1,
            required: 2,
            missing: vec![node(2)],
            may_be_applied: false
        }
    );
}

#[test]
fn a_replica_that_is_not_yet_at_the_epoch_says_so_and_is_asked_again() {
    let mut net = Net::new(&[3]);
    let held: Vec<_> = [2, 3]
        .map(|n| (node(n), net.cores.remove(&node(n)).expect("a core")))
        .into();
    net.set_placement(|_| {});
    net.cores.extend(held);
    let ticket = net.submit(1, set("v"), C::Quorum);
    net.settle();
    assert_eq!(net.replies.get(&ticket), None, "both refused it");
    net.input(
        node(2),
        Input::Topology(std::sync::Arc::new(net.topology.clone())),
    );
    net.run(Duration::from_millis(200));
    assert!(
        matches!(net.replies.get(&ticket), Some(Ok(_))),
        "{:?}",
        net.replies.get(&ticket)
    );
}

#[test]
fn writes_are_not_sent_twice_over_a_wide_area() {
    let mut net = Net::new(&[1, 1, 1]);
    for (at, rtt) in [(2, 80), (3, 160)] {
        net.input(
            node(1),
            Input::RoundTrip {
                node: node(at),
                rtt: Duration::from_millis(rtt),
            },
        );
    }
    net.settle();
    let sent = |net: &Net| {
        net.queue
            .iter()
            .filter(|(_, _, message)| matches!(message, Message::Write { .. }))
            .count()
    };
    net.submit(1, set("v"), C::Quorum);
    assert_eq!(sent(&net), 2);
    for millis in 1..32 {
        net.now = Duration::from_millis(millis * 10);
        net.input(node(1), Input::Timer(Timer::Sweep));
    }
    assert_eq!(
        sent(&net),
        2,
        "within two round trips nothing is sent again"
    );
    net.now = Duration::from_millis(330);
    net.input(node(1), Input::Timer(Timer::Sweep));
    assert_eq!(sent(&net), 4, "but then it is");
}

#[test]
fn a_read_during_a_move_cannot_be_followed_by_one_that_sees_less() {
    let mut net = of_five(3);
    net.set(1, "a", "v", C::Quorum).expect("healthy");
    net.begin_move(&[3, 4, 5]);
    net.run(Duration::from_secs(5));
    net.cut(&[1, 2], &[3, 4, 5]);
    assert!(matches!(
        net.set(1, "k", "v", C::Quorum),
        Err(RequestError::TimedOut {
            may_be_applied: true,
            ..
        })
    ));
    net.drop_all();
    net.heal();
    assert_eq!(
        net.get(1, "k", C::Quorum),
        Ok(Some("v".into())),
        "n1 and n2 have it"
    );
    net.drop_all();
    net.set_placement(|placement| {
        placement.transition.as_mut().expect("moving").phase = Phase::Switching;
    });
    net.set_placement(|placement| {
        *placement = Placement::stable(placement.epoch, vec![node(3), node(4), node(5)]);
    });
    net.drop_all();
    for at in [3, 4, 5] {
        assert_eq!(
            net.get(at, "k", C::Quorum),
            Ok(Some("v".into())),
            "through n{at}, after the switch"
        );
    }
}

#[test]
fn a_read_at_one_during_a_move_asks_nobody() {
    let mut net = of_five(3);
    net.set(1, "k", "v", C::All).expect("healthy");
    net.begin_move(&[3, 4, 5]);
    net.cut(&[1], &[2, 3, 4, 5]);
    assert_eq!(net.get(1, "k", C::One), Ok(Some("v".into())));
}

#[test]
fn a_forwarded_read_goes_to_another_primary_when_the_first_refuses() {
    let mut net = of_five(3);
    net.set(1, "k", "v", C::All).expect("healthy");
    net.boot(node(1), true);
    net.drop_all();
    net.cut(&[1], &[2, 3]);
    assert_eq!(
        net.get(5, "k", C::Quorum),
        Ok(Some("v".into())),
        "n1 is being filled and says so"
    );
}

/// Each broken rule of flights is noticed by a test above.
#[cfg(feature = "planted-bugs")]
#[test]
fn each_planted_bug_of_flights_is_noticed() {
    use crate::planted::*;
    super::noticed(&[
        (
            &FLIGHT_ID_WITHOUT_LIFE,
            an_answer_to_a_former_life_acknowledges_nothing,
        ),
        (
            &ACK_OF_ANYONE,
            an_acknowledgement_of_a_node_that_was_not_asked_counts_nothing,
        ),
        (
            &REWRITE_COUNTS_UNSENT,
            r02_rewrite_counts_a_node_that_has_nothing,
        ),
        (
            &ANSWER_LOST_WHEN_KEYSPACE_GONE,
            a_write_whose_keyspace_is_dropped_is_answered,
        ),
        (
            &REFUSED_IS_FAILED,
            one_refusal_does_not_fail_what_others_can_satisfy,
        ),
        (
            &ANSWERED_WRITES_HOLD_FLIGHTS,
            r22_answered_writes_use_up_the_flights,
        ),
        (
            &REPAIR_COUNTS_ONE_SET,
            a_read_during_a_move_cannot_be_followed_by_one_that_sees_less,
        ),
        (
            &SAME_OF_AN_EARLIER_ROUND,
            an_answer_to_an_earlier_question_of_the_flight_counts_nothing,
        ),
        (
            &HEDGE_IGNORES_DISTANCE,
            writes_are_not_sent_twice_over_a_wide_area,
        ),
        (
            &READ_QUORUM_OF_ONE,
            a_read_during_a_move_cannot_be_followed_by_one_that_sees_less,
        ),
    ]);
}
