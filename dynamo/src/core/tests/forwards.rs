use std::sync::Arc;
use std::time::Duration;

use super::net::{Net, PLACE, node};
use crate::consistency::Consistency as C;
use crate::op::{Mutation, Op, Query, Reply, RequestError};
use crate::protocol::{Input, Message, Refusal};

/// Three nodes that hold the partition, and one that forwards its requests.
fn four() -> Net {
    let mut net = Net::three_of(4);
    net.run(Duration::from_secs(2));
    net
}

fn incr() -> Op {
    Op::Mutate("c".into(), Mutation::Increment(1))
}

fn append() -> Op {
    Op::Mutate("t".into(), Mutation::Append("x".into()))
}

fn is_forward(message: &Message) -> bool {
    matches!(message, Message::Forward { .. })
}

/// Takes the forward off the network.
fn intercept(net: &mut Net) -> (u64, Message) {
    let at = net
        .queue
        .iter()
        .position(|(_, _, message)| is_forward(message))
        .expect("it is handed on");
    let (_, to, message) = net.queue.remove(at).expect("it is there");
    (to.0, message)
}

fn deliver(net: &mut Net, to: u64, message: &Message) {
    net.input(
        node(to),
        Input::Message {
            from: node(4),
            message: message.clone(),
        },
    );
    net.settle();
}

#[test]
fn a_forward_that_is_delivered_twice_is_executed_once() {
    let mut net = four();
    for (op, key) in [(incr(), "c"), (append(), "t")] {
        let ticket = net.submit(4, op, C::Quorum);
        let (to, forward) = intercept(&mut net);
        for _ in 0..2 {
            net.input(
                node(to),
                Input::Message {
                    from: node(4),
                    message: forward.clone(),
                },
            );
        }
        assert_eq!(net.answer(ticket), Ok(Reply::Integer(1)));
        deliver(&mut net, to, &forward);
        assert_eq!(
            net.mutate(
                4,
                key,
                if key == "c" {
                    Mutation::Increment(1)
                } else {
                    Mutation::Append("x".into())
                },
                C::Quorum
            ),
            Ok(Reply::Integer(2))
        );
        net.run(Duration::from_secs(2));
        deliver(&mut net, to, &forward);
    }
    assert_eq!(net.get(1, "c", C::All), Ok(Some("2".into())));
    assert_eq!(net.get(1, "t", C::All), Ok(Some("xx".into())));
}

/// The sender forwards it to another primary; the first one must not take a late copy for a new
/// request.
#[test]
fn a_forward_that_was_refused_is_not_executed_when_it_comes_again() {
    let mut net = four();
    let ticket = net.submit(4, incr(), C::Quorum);
    let (to, mut forward) = intercept(&mut net);
    let Message::Forward { place, .. } = &mut forward else {
        panic!("{forward:?}")
    };
    let epoch = std::mem::take(&mut place.epoch);
    deliver(&mut net, to, &forward);
    assert_eq!(
        net.answer(ticket),
        Ok(Reply::Integer(1)),
        "by another primary"
    );
    let Message::Forward { place, .. } = &mut forward else {
        panic!("{forward:?}")
    };
    place.epoch = epoch;
    deliver(&mut net, to, &forward);
    assert_eq!(net.get(1, "c", C::All), Ok(Some("1".into())));
}

#[test]
fn a_lost_forward_is_sent_again_before_the_deadline() {
    let mut net = four();
    assert_eq!(
        net.mutate(4, "c", Mutation::Increment(1), C::Quorum),
        Ok(Reply::Integer(1))
    );
    for which in [is_forward, |message: &Message| {
        matches!(message, Message::Forwarded { .. })
    }] {
        let before = net
            .get(1, "c", C::All)
            .expect("healthy")
            .expect("counted")
            .parse::<i64>()
            .expect("a number");
        net.last_lost = None;
        net.lose(1, which);
        assert_eq!(
            net.mutate(4, "c", Mutation::Increment(1), C::Quorum),
            Ok(Reply::Integer(before + 1))
        );
        assert!(net.last_lost.is_some());
        assert_eq!(
            net.get(1, "c", C::All),
            Ok(Some((before + 1).to_string())),
            "and counted once"
        );
        net.lose(1, which);
        assert_eq!(
            net.get(4, "c", C::Quorum),
            Ok(Some((before + 1).to_string())),
            "a read as well"
        );
    }
}

/// The answer can be long, and the sender asks for it again and again.
#[test]
fn a_forwarded_read_is_answered_once_however_often_it_is_asked_for() {
    let mut net = four();
    net.set(1, "k", "v", C::All).expect("healthy");
    let ticket = net.submit(4, Op::Query("k".into(), Query::Get), C::Quorum);
    let (to, forward) = intercept(&mut net);
    let others: Vec<u64> = (1..=3).filter(|other| *other != to).collect();
    net.cut(&[to], &others);
    net.lose(2, |message| matches!(message, Message::Forwarded { .. }));
    for _ in 0..3 {
        deliver(&mut net, to, &forward);
    }
    net.heal();
    assert_eq!(net.answer(ticket), Ok(Reply::Value("v".into())));
    net.run(Duration::from_secs(1));
    assert!(net.last_lost.is_none(), "there was a second answer");
}

/// Nothing was forwarded before, so the primary has never heard of the node that repeats the
/// forward.
#[test]
fn the_first_forward_of_all_may_be_lost() {
    let mut net = four();
    net.lose(1, is_forward);
    assert_eq!(
        net.mutate(4, "c", Mutation::Increment(1), C::Quorum),
        Ok(Reply::Integer(1))
    );
    assert!(net.last_lost.is_some());
    assert_eq!(
        net.get(1, "c", C::All),
        Ok(Some("1".into())),
        "and counted once"
    );
}

/// The primary executes the request and starts a new life before it has answered. It cannot know
/// that it has executed it.
#[test]
fn a_forward_sent_again_to_a_new_life_is_not_executed_again() {
    let mut net = four();
    let ticket = net.submit(4, append(), C::All);
    let (to, forward) = intercept(&mut net);
    net.lose(1, |message| matches!(message, Message::Forwarded { .. }));
    deliver(&mut net, to, &forward);
    assert!(net.last_lost.is_some());
    net.boot(node(to), true);
    let answer = net.answer(ticket);
    assert!(
        answer.as_ref().is_err_and(RequestError::may_be_applied),
        "{answer:?}"
    );
    net.run(Duration::from_secs(5));
    assert_eq!(net.get(1, "t", C::All), Ok(Some("x".into())));
}

/// The sender is removed, and what was remembered of it is forgotten.
#[test]
fn a_late_copy_of_what_a_removed_node_had_forwarded_is_not_executed() {
    let mut net = four();
    net.submit(4, append(), C::Quorum);
    let (to, forward) = intercept(&mut net);
    deliver(&mut net, to, &forward);
    net.set_topology(|topology| {
        topology.nodes.remove(&node(4));
    });
    deliver(&mut net, to, &forward);
    net.run(Duration::from_secs(2));
    assert_eq!(net.get(1, "t", C::All), Ok(Some("x".into())));
}

/// The broken rule of forwarded writes is noticed by a test above.
/// The node is told that another one is gone.
fn loses(net: &mut Net, at: u64, other: u64) {
    let gone = Input::Reachable {
        node: node(other),
        up: false,
    };
    net.input(node(at), gone);
}

fn get() -> Op {
    Op::Query("c".into(), Query::Get)
}

fn reply(net: &Net, ticket: u64) -> Option<Result<Reply, RequestError>> {
    let outcome = net.replies.get(&ticket)?;
    Some(outcome.clone().map(|answer| answer.reply))
}

/// One of the replicas other than `to`.
fn another(to: u64) -> u64 {
    to % 3 + 1
}

#[test]
fn a_forwarded_read_goes_to_another_replica_as_soon_as_the_first_is_gone() {
    let mut net = four();
    net.mutate(1, "c", Mutation::Increment(7), C::All)
        .expect("healthy");
    let ticket = net.submit(4, get(), C::One);
    let (first, _) = intercept(&mut net);
    loses(&mut net, 4, another(first));
    assert!(net.queue.is_empty(), "it waits for another one");
    loses(&mut net, 4, first);
    net.settle();
    assert_eq!(
        reply(&net, ticket),
        Some(Ok(Reply::Value("7".into()))),
        "by the third, at once"
    );
    // Once is enough: two replicas that go while they are asked are told to the client.
    let mut net = four();
    let ticket = net.submit(4, get(), C::One);
    let mut asked = Vec::new();
    for _ in 0..2 {
        asked.push(intercept(&mut net).0);
        loses(&mut net, 4, asked[asked.len() - 1]);
    }
    let Some(Err(RequestError::TimedOut {
        missing,
        may_be_applied,
        ..
    })) = reply(&net, ticket)
    else {
        panic!("{:?}", reply(&net, ticket))
    };
    assert_eq!((missing, may_be_applied), (vec![node(asked[1])], false));
}

#[test]
fn a_forwarded_write_is_not_handed_on_when_its_node_is_gone() {
    let mut net = four();
    let ticket = net.submit(4, incr(), C::One);
    let (to, forward) = intercept(&mut net);
    loses(&mut net, 4, another(to));
    assert_eq!(reply(&net, ticket), None, "another one is gone");
    net.lose(1, |message| matches!(message, Message::Forwarded { .. }));
    deliver(&mut net, to, &forward);
    loses(&mut net, 4, to);
    net.settle();
    let Some(Err(RequestError::TimedOut {
        missing,
        may_be_applied,
        ..
    })) = reply(&net, ticket)
    else {
        panic!("{:?}", reply(&net, ticket))
    };
    assert_eq!((missing, may_be_applied), (vec![node(to)], true), "at once");
    assert_eq!(net.get(1, "c", C::All), Ok(Some("1".into())));
}

#[test]
fn a_forward_that_two_nodes_refuse_is_given_up() {
    let mut net = four();
    let ticket = net.submit(4, incr(), C::One);
    let mut last = 0;
    for _ in 0..2 {
        let (to, forward) = intercept(&mut net);
        assert_ne!(to, last, "another one is tried");
        last = to;
        let Message::Forward { id, .. } = forward else {
            panic!("{forward:?}")
        };
        let reason = Refusal::Filling;
        let message = Message::Refused { id, reason };
        let from = node(to);
        net.input(node(4), Input::Message { from, message });
    }
    assert_eq!(
        reply(&net, ticket),
        Some(Err(RequestError::Refused {
            level: C::One,
            acked: 0,
            required: 1,
            refused: vec![(node(last), Refusal::Filling)],
            missing: Vec::new(),
            may_be_applied: false,
        }))
    );
}

/// The partition is placed as before, under the next epoch, as far as these nodes know.
fn next_epoch(net: &mut Net, nodes: &[u64]) {
    net.topology.epoch.0 += 1;
    let placement = &mut net
        .topology
        .keyspaces
        .get_mut(&PLACE.keyspace)
        .expect("default")
        .placement[0];
    placement.epoch.0 += 1;
    for at in nodes {
        let topology = Input::Topology(Arc::new(net.topology.clone()));
        net.input(node(*at), topology);
    }
}

#[test]
fn a_forwarded_write_is_not_handed_on_when_the_topology_changes() {
    let mut net = four();
    let ticket = net.submit(4, incr(), C::One);
    let (to, forward) = intercept(&mut net);
    net.lose(1, |message| matches!(message, Message::Forwarded { .. }));
    deliver(&mut net, to, &forward);
    assert!(net.last_lost.is_some(), "executed, and the answer is lost");
    next_epoch(&mut net, &[1, 2, 3, 4]);
    assert_eq!(net.answer(ticket), Ok(Reply::Integer(1)));
    assert_eq!(net.get(1, "c", C::All), Ok(Some("1".into())));
}

#[test]
fn a_forwarded_read_is_handed_on_at_once_when_the_topology_changes() {
    let mut net = four();
    let ticket = net.submit(4, get(), C::One);
    intercept(&mut net);
    next_epoch(&mut net, &[1, 2, 3, 4]);
    net.settle();
    assert_eq!(reply(&net, ticket), Some(Ok(Reply::Nil)));
}

/// Whichever of the two nodes has learnt of the next topology first, the request is executed once.
#[test]
fn a_forward_between_two_epochs_is_executed_when_both_know_the_later_one() {
    for op in [get(), incr()] {
        // The executing node is ahead.
        let mut net = four();
        let ticket = net.submit(4, op.clone(), C::One);
        next_epoch(&mut net, &[1, 2, 3]);
        net.settle();
        assert_eq!(reply(&net, ticket), None, "{op:?} waits for the topology");
        let refused = [1, 2, 3, 4].map(|at| net.cores[&node(at)].counters().epoch_refused);
        assert_eq!(
            refused.iter().sum::<u64>(),
            2,
            "by one, and told to the other"
        );
        next_epoch(&mut net, &[4, 1, 2, 3]);
        assert!(net.answer(ticket).is_ok(), "{op:?}");

        // The same, and the sender learns of it before it is refused.
        let mut net = four();
        let ticket = net.submit(4, op.clone(), C::One);
        let (to, forward) = intercept(&mut net);
        next_epoch(&mut net, &[1, 2, 3, 4]);
        deliver(&mut net, to, &forward);
        assert!(matches!(reply(&net, ticket), Some(Ok(_))), "{op:?}");

        // The executing nodes are behind, and so is the next one.
        let mut net = four();
        next_epoch(&mut net, &[4]);
        let ticket = net.submit(4, op.clone(), C::One);
        net.settle();
        assert_eq!(
            reply(&net, ticket),
            Some(Err(RequestError::Moving)),
            "{op:?} is tried twice"
        );
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn the_planted_bug_of_forwards_is_noticed() {
    super::noticed(&[
        (
            &crate::planted::FORWARD_TWICE,
            a_forward_that_is_delivered_twice_is_executed_once,
        ),
        (
            &crate::planted::FORWARD_OF_A_STRANGER,
            a_late_copy_of_what_a_removed_node_had_forwarded_is_not_executed,
        ),
        (
            &crate::planted::LOST_FORWARD_IS_LOST,
            the_first_forward_of_all_may_be_lost,
        ),
        (
            &crate::planted::FORWARDED_READ_AGAIN,
            a_forwarded_read_is_answered_once_however_often_it_is_asked_for,
        ),
    ]);
}
