use std::time::Duration;

use quorate_control::topology::{Phase, Placement};
use quorate_crdt::NodeId;

use super::net::{Net, node};
use crate::consistency::Consistency as C;
use crate::op::{Reply, RequestError};
use crate::protocol::{Input, Message};

#[test]
fn a_node_that_does_not_hold_the_key_forwards() {
    let mut net = Net::three_of(5);
    assert_eq!(net.set(5, "k", "v", C::Quorum), Ok(Reply::Done));
    assert_eq!(net.get(4, "k", C::Quorum), Ok(Some("v".into())));
    assert!(net.cores[&node(4)].summaries().is_empty());
}

#[test]
fn a_partition_moves_while_it_is_written() {
    let mut net = Net::three_of(5);
    for n in 0..20 {
        net.set(1, &format!("k{n}"), "old", C::Quorum)
            .expect("healthy");
    }
    net.begin_move(&[3, 4, 5]);
    net.set(1, "k0", "during", C::Quorum)
        .expect("a quorum in both sets");
    net.run(Duration::from_secs(3));
    for to in [3, 4, 5] {
        assert!(net.reports.contains(&node(to)), "n{to} has not reported");
    }
    net.set_placement(|placement| {
        placement.transition.as_mut().expect("moving").phase = Phase::Switching;
    });
    net.run(Duration::from_secs(1));
    assert_eq!(
        net.get(1, "k0", C::Quorum),
        Ok(Some("during".into())),
        "n1 forwards now"
    );
    net.set_placement(|placement| {
        *placement = Placement::stable(placement.epoch, vec![node(3), node(4), node(5)]);
    });
    net.run(Duration::from_secs(3));
    assert!(
        net.cores[&node(1)].summaries().is_empty(),
        "n1 has discarded its replica"
    );
    assert_eq!(net.get(1, "k0", C::Quorum), Ok(Some("during".into())));
    assert_eq!(net.get(5, "k19", C::One), Ok(Some("old".into())));
    assert_eq!(net.summary(4).digest, net.summary(5).digest);
}

#[test]
fn a_stale_coordinator_is_refused_and_tries_once_more() {
    let mut net = Net::three_of(5);
    net.set(1, "k", "v", C::All).expect("healthy");
    // Only n1 has not heard that the partition is moving.
    let held_back = net.cores.remove(&node(1)).expect("n1");
    net.begin_move(&[1, 2, 4]);
    net.cores.insert(node(1), held_back);
    let ticket = net.submit(
        1,
        crate::op::Op::Query("k".into(), crate::op::Query::Get),
        C::All,
    );
    net.settle();
    assert!(
        !net.replies.contains_key(&ticket),
        "it is parked until the topology comes"
    );
    net.input(
        node(1),
        Input::Topology(std::sync::Arc::new(net.topology.clone())),
    );
    net.settle();
    assert!(net.replies[&ticket].is_ok(), "{:?}", net.replies[&ticket]);
}

#[test]
fn writes_during_a_move_need_a_quorum_in_both_sets() {
    let mut net = Net::three_of(5);
    net.begin_move(&[1, 4, 5]);
    net.run(Duration::from_secs(2));
    net.cut(&[4, 5], &[1, 2, 3]);
    let outcome = net.set(1, "k", "v", C::Quorum);
    assert!(
        matches!(
            outcome,
            Err(RequestError::TimedOut {
                acked: 1,
                required: 2,
                may_be_applied: true,
                ..
            })
        ),
        "{outcome:?}"
    );
}

/// n3 hears of a write only from n1, which then leaves the partition; nobody remembers the write as
/// a single event.
#[test]
fn one_that_has_left_holds_up_nobody() {
    let mut net = Net::three_of(4);
    net.config.recent.bytes_max = 0;
    net.boot_all();
    net.run(Duration::from_secs(1));
    let apart = |net: &mut Net, up: bool| {
        for (at, other) in [1, 2, 4]
            .into_iter()
            .flat_map(|other| [(3, other), (other, 3)])
        {
            net.input(
                node(at),
                Input::Reachable {
                    node: node(other),
                    up,
                },
            );
        }
    };
    net.cut(&[3], &[1, 2, 4]);
    apart(&mut net, false);
    net.set(1, "k", "v", C::Quorum).expect("two of three");
    net.run(Duration::from_secs(1));
    net.begin_move(&[2, 3, 4]);
    net.run(Duration::from_secs(2));
    net.heal();
    apart(&mut net, true);
    let told = |(from, to, message): &(NodeId, NodeId, Message)| {
        (*from, *to) == (node(1), node(3)) && matches!(message, Message::Seen(_))
    };
    let seen = net
        .queue
        .iter()
        .find(|letter| told(letter))
        .cloned()
        .expect("n1 tells n3 what it has");
    net.drop_all();
    net.cut(&[3], &[1, 2, 4]);
    net.input(
        node(3),
        Input::Message {
            from: seen.0,
            message: seen.2,
        },
    );
    net.drop_all();
    apart(&mut net, false);
    net.set_placement(|placement| {
        placement.transition.as_mut().expect("moving").phase = Phase::Switching;
    });
    net.run(Duration::from_secs(2));
    net.set_placement(|placement| {
        *placement = Placement::stable(placement.epoch, vec![node(2), node(3), node(4)]);
    });
    net.run(Duration::from_secs(2));
    assert!(net.cores[&node(1)].summaries().is_empty(), "n1 has left");
    net.heal();
    apart(&mut net, true);
    net.run(Duration::from_secs(20));
    assert_eq!(net.summary(3).rows, 1);
}
