//! Holders of a lock while their partition moves from n1, n2 and n3 to n3, n4 and n5.

use std::time::Duration;

use quorate_control::topology::{Phase, Placement};

use super::super::net::{Net, node};
use super::{claim, fenced_by, get, set, touch, value};
use crate::op::{Reply, RequestError};
use crate::protocol::Message;

fn switch(net: &mut Net) {
    net.set_placement(|placement| {
        placement.transition.as_mut().expect("moving").phase = Phase::Switching;
    });
}

fn end(net: &mut Net) {
    net.set_placement(|placement| {
        *placement = Placement::stable(placement.epoch, vec![node(3), node(4), node(5)]);
    });
}

#[test]
fn a_replica_that_a_partition_moves_to_has_the_fences() {
    let mut net = Net::three_of(5);
    net.ask_under(1, set("v"), claim(1, 1, 1)).expect("healthy");
    net.run(Duration::from_secs(3));
    // n3 alone has not heard of B, and never will from n1 and n2.
    net.cut(&[3], &[1, 2]);
    assert_eq!(net.ask_under(1, touch(), claim(2, 1, 1)), Ok(Reply::Nil));
    net.begin_move(&[3, 4, 5]);
    net.run(Duration::from_secs(3));
    switch(&mut net);
    net.run(Duration::from_secs(1));
    end(&mut net);
    net.cut(&[1, 2], &[3, 4, 5]);
    for at in 3..=5 {
        let late = net.ask_under(at, set("w"), claim(1, 1 + at, 1));
        assert!(
            late.is_err(),
            "n4 and n5 were filled by n1 and n2: {late:?}"
        );
    }
    assert_eq!(net.ask_under(4, get(), claim(2, 2, 1)), Ok(value("v")));
}

#[test]
fn during_a_move_a_holder_needs_both_sets() {
    let mut net = Net::three_of(5);
    net.ask_under(1, set("v"), claim(1, 1, 1)).expect("healthy");
    net.run(Duration::from_secs(3));
    net.begin_move(&[3, 4, 5]);
    net.run(Duration::from_secs(3));
    net.cut(&[1, 2], &[3, 4, 5]);
    let late = net.ask_under(1, set("b"), claim(2, 1, 1));
    switch(&mut net);
    net.run(Duration::from_secs(1));
    end(&mut net);
    let earlier = net.ask_under(3, set("a"), claim(1, 2, 1));
    assert!(
        late.is_err() || fenced_by(&earlier, 2),
        "B was told {late:?}, and then A {earlier:?}"
    );
}

#[test]
fn a_replica_that_is_being_filled_takes_no_part_in_a_holder_s_write() {
    let mut net = Net::three_of(5);
    net.begin_move(&[3, 4, 5]);
    let write = net.submit_under(
        1,
        set("v"),
        crate::consistency::Consistency::Quorum,
        claim(1, 1, 1),
    );
    let streams = |message: &Message| matches!(message, Message::Chunk { .. });
    net.queue.retain(|(_, _, message)| !streams(message));
    let outcome = net.answer(write);
    // By the deadline n4 and n5 may have been filled; they had not when they were asked.
    assert!(
        outcome.is_ok() || matches!(outcome, Err(RequestError::Refused { .. })),
        "{outcome:?}"
    );
    net.run(Duration::from_secs(5));
    net.ask_under(1, set("w"), claim(1, 2, 1))
        .expect("n4 and n5 are filled");
}

#[test]
fn what_a_holder_writes_while_the_placement_changes_counts_only_there() {
    let mut net = Net::three_of(5);
    net.ask_under(1, set("v"), claim(1, 1, 1)).expect("healthy");
    let write = net.submit_under(
        1,
        set("w"),
        crate::consistency::Consistency::Quorum,
        claim(1, 2, 1),
    );
    net.drop_all();
    net.begin_move(&[3, 4, 5]);
    let outcome = net.answer(write);
    assert!(
        outcome.as_ref().is_err_and(RequestError::may_be_applied),
        "it is not counted under a placement under which it was not begun: {outcome:?}"
    );
}

#[cfg(feature = "planted-bugs")]
#[test]
fn each_broken_rule_of_moves_is_noticed() {
    use crate::planted::{JOINT_IGNORED, STREAM_LOSES_FENCE};
    super::super::noticed(&[
        (
            &STREAM_LOSES_FENCE,
            a_replica_that_a_partition_moves_to_has_the_fences,
        ),
        (&JOINT_IGNORED, during_a_move_a_holder_needs_both_sets),
    ]);
}
