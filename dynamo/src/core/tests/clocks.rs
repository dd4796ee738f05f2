use std::time::Duration;

use bytes::Bytes;
use quorate_control::store::{MemoryStore, Store};
use quorate_control::topology::{Epoch, KeyspaceId, Partition};
use quorate_crdt::{Dot, Hlc, Now, ReplicaId};

use super::net::{Net, START_UNIX_MILLIS, node, topology};
use crate::consistency::Consistency as C;
use crate::op::{Mutation, Op, Query, Reply, Request, RequestError, SetExpiry};
use crate::protocol::{Config, Effect, Input, Message, Place, Refusal, Ticket};
use crate::replica::{Delta, Part, Payload, Range, Row, RowKey, RowKind};
use crate::{Dynamo, Seat};

const HOUR: i64 = 3_600_000;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Three nodes that have compared their clocks.
fn three() -> Net {
    let mut net = Net::new(&[3]);
    net.run(secs(2));
    net
}

fn set_for(net: &Net, at: u64, seconds: u64) -> Mutation {
    let wall = net
        .clock()
        .unix_millis
        .saturating_add_signed(net.skew.get(&node(at)).copied().unwrap_or(0));
    Mutation::Set {
        value: "v".into(),
        expiry: SetExpiry::At(wall + seconds * 1000),
    }
}

fn add(element: &'static str) -> Mutation {
    Mutation::Add(vec![element.into()])
}

#[test]
fn r11_after_a_clock_jump_a_node_cannot_write() {
    for compared in [false, true] {
        let mut net = if compared { three() } else { Net::new(&[3]) };
        net.set(1, "a", "v", C::Quorum).expect("healthy");
        net.skew.insert(node(1), HOUR);
        assert!(net.set(1, "b", "v", C::Quorum).is_err());
        net.skew.clear();
        assert_eq!(
            net.set(1, "c", "v", C::Quorum),
            Ok(Reply::Done),
            "as soon as its clock was right again"
        );
        net.run(secs(5));
        net.assert_converged();
    }
}

/// G2-CLOCK-DRIFT: a node whose clock is off says so before it applies anything; everything else
/// continues.
#[test]
fn a_node_whose_clock_is_off_says_so_and_applies_nothing() {
    for offset in [2000, -2000, 24 * HOUR, -24 * HOUR] {
        let mut net = three();
        net.skew.insert(node(3), offset);
        for level in [C::One, C::Quorum, C::All] {
            let error = net
                .set(3, "k", "wrong", level)
                .expect_err("its clock is off");
            let RequestError::Clock { offset_ms } = error else {
                panic!("{error:?}")
            };
            assert!(
                (offset_ms - offset).abs() <= 2,
                "{offset_ms} is not {offset}"
            );
        }
        assert_eq!(net.cores[&node(3)].counters().drift_refused, 3);
        for (key, mutation) in [("c", Mutation::Increment(1)), ("s", add("x"))] {
            net.mutate(3, key, mutation, C::Quorum)
                .expect("not stamped");
        }
        for n in 0..20 {
            net.set(1 + n % 2, &format!("k{n}"), "v", C::All)
                .expect("through healthy nodes");
            assert_eq!(net.get(3, &format!("k{n}"), C::One), Ok(Some("v".into())));
        }
        net.skew.clear();
        assert_eq!(
            net.set(3, "k", "right", C::Quorum),
            Ok(Reply::Done),
            "mended at once"
        );
        net.run(secs(5));
        net.assert_converged();
        assert_eq!(net.get(1, "k", C::All), Ok(Some("right".into())));
    }
}

#[test]
fn a_node_that_is_behind_does_not_acknowledge_what_is_gone_at_once() {
    let mut net = three();
    net.skew.insert(node(2), -2 * HOUR);
    for n in 0..100 {
        let mutation = set_for(&net, 2, 3600);
        assert!(matches!(
            net.mutate(2, &format!("k{n}"), mutation, C::Quorum),
            Err(RequestError::Clock { .. })
        ));
    }
    assert_eq!(net.cores[&node(2)].counters().drift_refused, 100);
    // The same after a start under the wrong clock, before the node has compared clocks. A replica
    // that must first be filled hands the request on.
    net.boot(node(2), true);
    let mutation = set_for(&net, 2, 3600);
    let outcome = net.mutate(2, "k", mutation, C::Quorum);
    assert!(outcome.is_err(), "{outcome:?}");
}

#[test]
fn a_clock_that_is_ahead_for_a_moment_removes_nothing() {
    let mut net = three();
    for n in 0..50 {
        let mutation = set_for(&net, 2, 3600);
        net.mutate(2, &format!("k{n}"), mutation, C::All)
            .expect("healthy");
    }
    net.skew.insert(node(1), 2 * HOUR);
    net.run(secs(20));
    for n in 0..50 {
        // A node whose clock is off executes what only counts or collects, but must not treat a key
        // as expired.
        assert!(matches!(
            net.mutate(1, &format!("k{n}"), add("x"), C::One),
            Err(RequestError::Clock { .. })
        ));
    }
    net.skew.clear();
    net.run(secs(5));
    for n in 0..50 {
        assert_eq!(
            net.get(1, &format!("k{n}"), C::Quorum),
            Ok(Some("v".into()))
        );
    }
    assert_eq!(
        net.cores
            .values()
            .map(|core| core.counters().expired)
            .sum::<u64>(),
        0
    );
    net.assert_converged();
}

/// A node starts under a wrong clock and meets nobody. It writes as soon as it does, before it has
/// compared clocks. The write fails and must not reappear above a later one.
#[test]
fn a_set_that_failed_under_a_wrong_clock_does_not_replace_a_later_one() {
    let mut net = three();
    net.skew.insert(node(1), HOUR);
    net.cut(&[1], &[2, 3]);
    net.boot(node(1), false);
    net.run(secs(4));
    net.heal();
    let error = net
        .set(1, "k", "bad", C::Quorum)
        .expect_err("the others refuse");
    let refusal = Refusal::Clock { offset_ms: HOUR };
    assert!(
        matches!(
            &error,
            RequestError::Refused { refused, .. }
                if refused.iter().all(|(_, why)| *why == refusal)
        ),
        "{error:?}"
    );
    assert_eq!(
        net.get(1, "k", C::One),
        Ok(Some("bad".into())),
        "it may be applied, and is"
    );
    assert_eq!(
        [2, 3].map(|at| net.cores[&node(at)].counters().drift_refused),
        [1; 2]
    );
    net.cut(&[1], &[2, 3]);
    net.set(2, "k", "good", C::Quorum).expect("2 and 3");
    net.heal();
    net.skew.clear();
    net.set(2, "j", "good", C::All).expect("all are back");
    net.run(secs(5));
    net.assert_converged();
    for at in 1..=3 {
        assert_eq!(
            net.get(at, "k", C::All),
            Ok(Some("good".into())),
            "written later, under a right clock"
        );
    }
    assert_eq!(net.cores[&node(1)].counters().stamps_withdrawn, 1);
}

/// A clock that is behind takes its own past for the future; that alone must not change a stamp.
#[test]
fn a_clock_that_is_behind_withdraws_no_stamps() {
    let mut net = three();
    net.set(1, "k", "v", C::All).expect("healthy");
    net.skew.insert(node(1), -2 * HOUR);
    net.run(secs(10));
    net.cut(&[1], &[2, 3]);
    net.run(secs(100));
    assert_eq!(net.cores[&node(1)].counters().stamps_withdrawn, 0);
}

/// G2-CLOCK-POISON: data with a stamp from the future is joined like any other, and any write that
/// sees it replaces it.
#[test]
fn a_stamp_from_the_future_spreads_and_is_not_immortal() {
    let mut net = three();
    let hlc = Hlc::from_parts(START_UNIX_MILLIS + 86_400_000, 0).expect("in range");
    let mut rows = Vec::new();
    let mut settled = Vec::new();
    for n in 1..=20_u64 {
        let dot = Dot::new(ReplicaId::new(node(9), 1), n);
        let mut row = Row::new();
        row.insert(
            dot,
            Payload::Register {
                hlc,
                value: "poison".into(),
                expires: None,
            },
        );
        rows.push((RowKey::string(Bytes::from(format!("k{n}"))), row));
        settled.push(dot);
    }
    let delta = Delta {
        parts: vec![Part {
            range: Range::ALL,
            rows,
            settled,
        }],
        ..Delta::default()
    };
    let place = Place {
        keyspace: KeyspaceId(0),
        partition: Partition(0),
        epoch: Epoch(1),
    };
    net.input(
        node(1),
        Input::Message {
            from: node(3),
            message: Message::Repair {
                place,
                delta,
                answers: None,
            },
        },
    );
    net.run(secs(5));
    net.assert_converged();
    for at in 1..=3 {
        assert_eq!(
            net.get(at, "k7", C::One),
            Ok(Some("poison".into())),
            "converged without waiting a day"
        );
    }
    net.set(2, "k7", "cure", C::Quorum).expect("healthy");
    net.run(secs(2));
    let Ok(Reply::Siblings { values, .. }) = net.query(3, "k7", Query::Siblings, C::All) else {
        panic!("siblings")
    };
    assert_eq!(
        values,
        vec![Bytes::from("cure")],
        "replaced by its event, not by its stamp"
    );
    net.set(1, "other", "v", C::All)
        .expect("nothing else is affected");
}

/// After a restart, too, the highest stamp of a wrong clock is let go.
#[test]
fn a_restart_does_not_bring_a_wrong_stamp_back() {
    let store = MemoryStore::new();
    let topology = std::sync::Arc::new(topology(&[1]));
    let wall = |hours: i64| Now {
        monotonic: secs(1),
        unix_millis: START_UNIX_MILLIS.saturating_add_signed(hours * HOUR),
    };
    let write = |key: &'static str| Request {
        keyspace: KeyspaceId(0),
        op: Op::Mutate(
            key.into(),
            Mutation::Set {
                value: "v".into(),
                expiry: SetExpiry::Clear,
            },
        ),
        consistency: Some(C::One),
        timeout: secs(1),
        datacenter: "dc1".into(),
        id: None,
        claim: None,
    };
    for (hours, key) in [(24_i64, "a"), (0, "b")] {
        let seat = Seat {
            me: node(1),
            incarnation: 1,
            life: hours.unsigned_abs(),
            core: 0,
            cores: 1,
            restarted: hours == 0,
        };
        let mut core = Dynamo::new(Config::default(), seat);
        core.restore(&store).expect("readable");
        let mut effects = Vec::new();
        core.handle(wall(hours), Input::Topology(topology.clone()), &mut effects);
        core.handle(
            wall(hours),
            Input::Request {
                ticket: Ticket(1),
                request: write(key),
            },
            &mut effects,
        );
        assert!(
            effects
                .iter()
                .any(|effect| matches!(effect, Effect::Reply { result: Ok(_), .. }))
        );
        store.apply(core.drain()).expect("memory");
    }
    let replicas = crate::replica::restore(&store, |_, _| true)
        .expect("readable")
        .0;
    let stamp = |key: &'static str| {
        let rows = replicas
            .values()
            .next()
            .and_then(|replica| replica.key(&key.into()))
            .expect("live");
        let row = rows.get(RowKind::String, &Bytes::new()).expect("live");
        row.iter()
            .filter_map(|(_, payload)| payload.stamp())
            .max()
            .expect("stamped")
            .hlc
            .unix_millis()
    };
    assert_eq!(
        (stamp("a"), stamp("b")),
        (wall(24).unix_millis, wall(0).unix_millis)
    );
}

#[test]
fn a_clock_that_is_off_is_said_once_by_everybody() {
    let mut net = three();
    assert_eq!(net.clock_news, vec![]);
    net.skew.insert(node(3), HOUR);
    net.run(secs(30));
    net.skew.clear();
    net.run(secs(30));
    for at in 1..=3 {
        let said: Vec<_> = net
            .clock_news
            .iter()
            .filter(|(by, ..)| *by == node(at))
            .map(|(_, of, off)| (*of, *off))
            .collect();
        assert_eq!(
            said,
            vec![(node(3), Some(HOUR)), (node(3), None)],
            "by n{at}"
        );
    }
    net.skew.insert(node(3), HOUR);
    net.run(secs(2));
    assert_eq!(
        net.cores[&node(1)].clock_offsets(net.clock())[&node(3)],
        HOUR
    );
    let own = net.cores[&node(3)].clock_offsets(Now {
        unix_millis: net.clock().unix_millis + HOUR as u64,
        ..net.clock()
    });
    assert_eq!((own[&node(1)], own[&node(3)]), (0, HOUR));
}

#[test]
fn of_two_clocks_the_one_that_jumped_is_wrong() {
    let mut net = Net::new(&[2]);
    net.run(secs(2));
    net.skew.insert(node(1), HOUR);
    assert!(matches!(
        net.set(1, "k", "v", C::One),
        Err(RequestError::Clock { offset_ms: HOUR })
    ));
    net.run(secs(5));
    assert_eq!(
        net.set(2, "k", "v", C::One),
        Ok(Reply::Done),
        "the other did not jump"
    );
    assert!(
        net.set(1, "k", "v", C::One).is_err(),
        "nobody confirmed it meanwhile"
    );
}

#[test]
fn a_jump_in_a_minority_is_not_believed() {
    let mut net = three();
    net.cut(&[1], &[2, 3]);
    net.run(secs(120));
    assert_eq!(
        net.set(1, "k", "v", C::One),
        Ok(Reply::Done),
        "cut off, but its clock went on as it was"
    );
    net.skew.insert(node(1), HOUR);
    net.run(secs(120));
    assert!(matches!(
        net.set(1, "k", "v", C::One),
        Err(RequestError::Clock { .. })
    ));
    net.heal();
    net.skew.clear();
    net.run(secs(2));
    net.set(1, "k", "v", C::Quorum).expect("right again");
}

/// The stamp is seconds old when it arrives, and no clock is off.
#[test]
fn a_write_that_is_long_under_way_is_not_taken_for_one_of_a_clock_that_is_behind() {
    let mut net = three();
    net.timeout = secs(30);
    net.cut(&[1], &[2, 3]);
    let written = net.submit(1, Op::Mutate("k".into(), set_for(&net, 1, 3600)), C::Quorum);
    net.run(secs(7));
    net.heal();
    assert_eq!(
        net.answer(written),
        Ok(Reply::Done),
        "sent again when the way was open"
    );
    // In a life whose clock nobody has compared, only the message itself tells: a clock that is
    // behind is refused as ever.
    net.boot(node(1), false);
    net.drop_all();
    net.skew.insert(node(1), -HOUR);
    assert!(
        net.mutate(1, "k", set_for(&net, 1, 7200), C::Quorum)
            .is_err()
    );
}

/// The node's clock jumps, and the only node that could say so is unreachable.
#[test]
fn after_a_jump_nothing_is_stamped_before_anybody_answers() {
    for compared in [true, false] {
        let mut net = if compared { three() } else { Net::new(&[3]) };
        net.cut(&[1], &[2, 3]);
        net.skew.insert(node(1), HOUR);
        let outcome = net.set(1, "k", "wrong", C::One);
        assert!(outcome.is_err(), "{outcome:?}");
        net.skew.clear();
        assert_eq!(net.get(1, "k", C::One), Ok(None));
    }
}

#[test]
fn a_node_that_starts_under_a_wrong_clock_stamps_nothing_before_others_have_told_theirs() {
    for lost in [false, true] {
        let mut net = three();
        net.skew.insert(node(1), HOUR);
        net.boot(node(1), false);
        if lost {
            net.drop_all();
        }
        let outcome = net.set(1, "k", "wrong", C::One);
        assert!(
            matches!(
                outcome,
                Err(RequestError::Clock { offset_ms }) if (offset_ms - HOUR).abs() <= 2
            ),
            "{outcome:?}"
        );
        assert_eq!(
            net.mutate(1, "c", Mutation::Increment(1), C::One),
            Ok(Reply::Integer(1)),
            "what needs no stamp goes on"
        );
        net.skew.clear();
        assert_eq!(net.set(1, "k", "right", C::One), Ok(Reply::Done));
    }
    let mut net = three();
    net.boot(node(1), false);
    net.drop_all();
    assert_eq!(
        net.set(1, "k", "v", C::One),
        Ok(Reply::Done),
        "the lost question is asked again before the deadline"
    );
}

#[test]
fn a_node_that_starts_and_meets_nobody_writes_at_one_after_a_moment() {
    for told in [false, true] {
        let mut net = three();
        net.timeout = secs(5);
        net.cut(&[1], &[2, 3]);
        net.boot(node(1), false);
        assert_eq!(
            net.mutate(1, "c", Mutation::Increment(1), C::One),
            Ok(Reply::Integer(1)),
            "at once"
        );
        let ticket = net.submit(1, Op::Mutate("k".into(), set_for(&net, 1, 3600)), C::One);
        if told {
            for other in [2, 3] {
                net.input(
                    node(1),
                    Input::Reachable {
                        node: node(other),
                        up: false,
                    },
                );
            }
        }
        net.run(Duration::from_millis(if told { 1100 } else { 3100 }));
        assert!(
            matches!(net.replies.get(&ticket), Some(Ok(_))),
            "{:?}",
            net.replies.get(&ticket)
        );
    }
    let mut net = Net::new(&[1]);
    assert_eq!(net.set(1, "k", "v", C::One), Ok(Reply::Done));
    assert_eq!(
        net.now,
        Duration::ZERO,
        "a node that is alone does not wait"
    );
}

/// It does not take a majority of clocks to know that a node started under a wrong one: one other
/// node that did not start is enough.
#[test]
fn a_clock_that_others_had_confirmed_outweighs_one_that_has_just_started() {
    for nodes in [2, 3] {
        let mut net = Net::new(&[nodes]);
        net.run(secs(2));
        net.cut(&[3], &[1, 2]);
        net.skew.insert(node(1), HOUR);
        net.boot(node(1), false);
        for _ in 0..3 {
            let outcome = net.set(1, "k", "wrong", C::One);
            assert!(
                matches!(outcome, Err(RequestError::Clock { offset_ms: HOUR })),
                "{outcome:?}"
            );
            net.run(secs(30));
        }
        assert_eq!(
            net.set(2, "k", "right", C::Quorum),
            Ok(Reply::Done),
            "it goes on, and the other acknowledges"
        );
        net.skew.clear();
        assert_eq!(net.set(1, "k", "mended", C::Quorum), Ok(Reply::Done));
    }
}

#[test]
fn of_clocks_that_start_together_the_majority_is_right() {
    let mut net = Net::new(&[3]);
    net.skew.insert(node(1), -HOUR);
    for at in 1..=3 {
        net.boot(node(at), false);
    }
    assert!(matches!(
        net.set(1, "k", "wrong", C::One),
        Err(RequestError::Clock { .. })
    ));
    assert_eq!(
        net.set(2, "k", "right", C::All),
        Ok(Reply::Done),
        "in the first round trip"
    );
    assert_eq!(net.now, Duration::ZERO);
}

/// What it says about other clocks is worth as little as its own word for the time.
#[test]
fn a_node_that_has_just_started_refuses_nobody_for_the_clock() {
    let mut net = three();
    net.skew.insert(node(1), -2 * HOUR);
    net.boot(node(1), false);
    net.drop_all();
    assert_eq!(net.set(2, "k", "v", C::All), Ok(Reply::Done));
}

#[test]
fn a_node_that_was_left_alone_waits_again_when_it_meets_somebody() {
    let mut net = three();
    net.cut(&[1], &[2, 3]);
    net.skew.insert(node(1), HOUR);
    net.boot(node(1), false);
    assert_eq!(
        net.set(1, "k", "v", C::One),
        Err(RequestError::ClockUnconfirmed),
        "its client waits for half a second"
    );
    for other in [2, 3] {
        net.input(
            node(1),
            Input::Reachable {
                node: node(other),
                up: false,
            },
        );
    }
    net.run(secs(1));
    assert_eq!(net.set(1, "k", "alone", C::One), Ok(Reply::Done));
    net.heal();
    net.input(
        node(1),
        Input::Reachable {
            node: node(2),
            up: true,
        },
    );
    assert!(matches!(
        net.set(1, "k", "wrong", C::One),
        Err(RequestError::Clock { .. })
    ));
    net.set(2, "k", "right", C::Quorum)
        .expect("two clocks are right");
    net.skew.clear();
    net.input(
        node(1),
        Input::Reachable {
            node: node(3),
            up: true,
        },
    );
    net.run(secs(5));
    assert_eq!(
        net.get(1, "k", C::All),
        Ok(Some("right".into())),
        "what it wrote alone loses to what is concurrent"
    );
}

/// What a node stamped alone under a wrong clock is withdrawn even if the clock was corrected, and
/// stamped again, before anybody could be asked.
#[test]
fn what_was_stamped_alone_is_withdrawn_however_late_others_are_met() {
    for killed in [false, true] {
        let mut net = three();
        net.config.persist = true;
        net.cut(&[1], &[2, 3]);
        net.skew.insert(node(1), HOUR);
        net.boot(node(1), false);
        net.run(secs(4));
        net.set(1, "k", "wrong", C::One).expect("alone");
        net.skew.clear();
        if killed {
            net.restart(node(1));
            net.run(secs(4));
        }
        net.set(1, "j", "v", C::One)
            .expect("still alone, and right again");
        net.set(2, "k", "right", C::Quorum).expect("two of three");
        net.heal();
        net.run(secs(5));
        net.assert_converged();
        assert_eq!(
            net.get(1, "k", C::All),
            Ok(Some("right".into())),
            "killed: {killed}"
        );
    }
}

/// The node's clock is set while a request waits. A time in the request was computed before that.
#[test]
fn a_time_from_before_the_clock_was_set_is_not_written() {
    let mut net = three();
    net.cut(&[1], &[2, 3]);
    net.skew.insert(node(1), -HOUR);
    net.boot(node(1), false);
    let timed = net.submit(1, Op::Mutate("k".into(), set_for(&net, 1, 1800)), C::One);
    let plain = net.submit(
        1,
        Op::Mutate(
            "j".into(),
            Mutation::Set {
                value: "v".into(),
                expiry: SetExpiry::Clear,
            },
        ),
        C::One,
    );
    net.skew.clear();
    net.heal();
    net.run(Duration::from_millis(200));
    assert_eq!(
        net.replies[&timed].clone().map(|answer| answer.reply),
        Err(RequestError::ClockUnconfirmed)
    );
    assert_eq!(
        net.replies[&plain].clone().map(|answer| answer.reply),
        Ok(Reply::Done)
    );
}

#[cfg(feature = "planted-bugs")]
#[test]
fn each_planted_bug_of_clocks_is_noticed() {
    use crate::planted::*;
    super::noticed(&[
        (
            &LATE_IS_BEHIND,
            a_write_that_is_long_under_way_is_not_taken_for_one_of_a_clock_that_is_behind,
        ),
        (
            &CLOCK_NEVER_FALLS_BACK,
            a_restart_does_not_bring_a_wrong_stamp_back,
        ),
        (
            &DRIFT_BLOCKS_REPAIR,
            a_stamp_from_the_future_spreads_and_is_not_immortal,
        ),
        (
            &NO_CLOCK_CHECK,
            a_node_that_is_behind_does_not_acknowledge_what_is_gone_at_once,
        ),
        (
            &STAMPS_BEFORE_ASKING,
            a_node_that_starts_under_a_wrong_clock_stamps_nothing_before_others_have_told_theirs,
        ),
        (
            &EVERY_CLOCK_A_WITNESS,
            a_clock_that_others_had_confirmed_outweighs_one_that_has_just_started,
        ),
        (
            &STAMPS_NOT_WITHDRAWN,
            a_set_that_failed_under_a_wrong_clock_does_not_replace_a_later_one,
        ),
    ]);
}
