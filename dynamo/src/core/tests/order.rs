//! Commands of one pipeline, submitted together at one node, take effect in the order in which they
//! were sent.

use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::Partition;

use super::net::{Net, START_UNIX_MILLIS, node, secs};
use crate::consistency::Consistency as C;
use crate::op::{Mutation, Op, PartitionOp, Query, Reply, RequestError, SetExpiry};
use crate::protocol::{Input, Message, Timer};

fn on(key: &str, mutation: Mutation) -> Op {
    Op::Mutate(Bytes::copy_from_slice(key.as_bytes()), mutation)
}

fn set(value: &str) -> Op {
    on(
        "k",
        Mutation::Set {
            value: Bytes::copy_from_slice(value.as_bytes()),
            expiry: SetExpiry::Clear,
        },
    )
}

/// A command that looks at other replicas before it is executed.
fn keep(value: &str) -> Op {
    on(
        "k",
        Mutation::Set {
            value: Bytes::copy_from_slice(value.as_bytes()),
            expiry: SetExpiry::Keep,
        },
    )
}

fn get() -> Op {
    Op::Query("k".into(), Query::Get)
}

fn value(text: &str) -> Reply {
    Reply::Value(Bytes::copy_from_slice(text.as_bytes()))
}

/// Submits all commands at node `at` before anything is heard of the first.
fn pipeline(
    net: &mut Net,
    at: u64,
    level: C,
    ops: impl IntoIterator<Item = Op>,
) -> Vec<Result<Reply, RequestError>> {
    let tickets: Vec<u64> = ops
        .into_iter()
        .map(|op| net.submit(at, op, level))
        .collect();
    tickets
        .into_iter()
        .map(|ticket| net.answer(ticket))
        .collect()
}

/// Whether the node has nothing in flight, and no turn is awaited or remembered.
fn at_rest(net: &Net, at: u64) -> bool {
    let flights = &net.cores[&node(at)].flights;
    flights.len() == 0 && flights.turns.is_empty()
}

#[test]
fn commands_of_one_pipeline_take_effect_in_the_order_in_which_they_were_sent() {
    let mut net = Net::new(&[3]);
    net.run(secs(2));
    net.set(1, "k", "0", C::Quorum).expect("healthy");
    let Ok(Reply::Siblings { token, .. }) = net.query(1, "k", Query::Siblings, C::Quorum) else {
        panic!("siblings")
    };
    let clear = || Op::Partition(Partition(0), PartitionOp::Clear);
    let with = on(
        "k",
        Mutation::SetWith {
            value: "with".into(),
            token,
        },
    );
    let firsts = [
        with,
        keep("first"),
        on("k", Mutation::Delete),
        on("k", Mutation::Append("x".into())),
        on("k", Mutation::GetDelete),
        clear(),
    ];
    for first in firsts {
        let answers = pipeline(
            &mut net,
            1,
            C::Quorum,
            [first.clone(), set("second"), get()],
        );
        assert!(
            answers[..2].iter().all(Result::is_ok),
            "{first:?}: {answers:?}"
        );
        assert_eq!(answers[2], Ok(value("second")), "{first:?}");
        assert_eq!(
            net.get(2, "k", C::Quorum),
            Ok(Some("second".into())),
            "{first:?}"
        );
        assert!(at_rest(&net, 1), "{first:?}");
    }
    // Later commands wait for commands on all keys, including a removal of all keys.
    let answers = pipeline(
        &mut net,
        1,
        C::Quorum,
        [keep("first"), clear(), get(), keep("last")],
    );
    assert_eq!(
        (&answers[2], net.get(3, "k", C::Quorum)),
        (&Ok(Reply::Nil), Ok(Some("last".into()))),
        "{answers:?}"
    );
    // Commands on other keys do not wait.
    let slow = net.submit(1, keep("v"), C::All);
    let other = net.submit(1, on("other", Mutation::Increment(1)), C::One);
    assert!(net.replies.contains_key(&other) && !net.replies.contains_key(&slow));
    net.answer(slow).expect("healthy");
}

/// What is left of an expired key must not affect what is written now, so even an increment looks
/// first.
#[test]
fn what_follows_a_write_on_an_expired_key_waits_for_it() {
    let mut net = Net::new(&[3]);
    net.run(secs(2));
    let short = START_UNIX_MILLIS + net.now.as_millis() as u64 + 30;
    let expiring = |key: &str| {
        on(
            key,
            Mutation::Set {
                value: "5".into(),
                expiry: SetExpiry::At(short),
            },
        )
    };
    net.ask(1, expiring("k"), C::All).expect("healthy");
    net.now += Duration::from_millis(50);
    let answers = pipeline(
        &mut net,
        1,
        C::Quorum,
        [on("k", Mutation::Increment(1)), get(), set("100"), get()],
    );
    assert_eq!(
        answers,
        [
            Ok(Reply::Integer(1)),
            Ok(value("1")),
            Ok(Reply::Done),
            Ok(value("100"))
        ]
    );
}

#[test]
fn what_follows_a_write_that_waits_for_the_time_waits_too() {
    let mut net = Net::new(&[3]);
    net.boot(node(1), false);
    let answers = pipeline(
        &mut net,
        1,
        C::Quorum,
        [set("5"), on("k", Mutation::Increment(1)), get()],
    );
    assert_eq!(
        answers,
        [Ok(Reply::Done), Ok(Reply::Integer(6)), Ok(value("6"))]
    );
    // The same at a node that forwards both commands.
    let mut net = Net::three_of(4);
    net.boot(node(4), false);
    let later = on(
        "k",
        Mutation::Set {
            value: "5".into(),
            expiry: SetExpiry::At(START_UNIX_MILLIS + 60_000),
        },
    );
    let answers = pipeline(&mut net, 4, C::Quorum, [later, get()]);
    assert_eq!(answers, [Ok(Reply::Done), Ok(value("5"))]);
}

#[test]
fn what_follows_a_write_that_waits_for_a_waking_replica_waits_too() {
    let mut net = Net::new(&[3]);
    net.config.persist = true;
    net.boot_all();
    net.set(1, "k", "0", C::All).expect("healthy");
    net.run(secs(2));
    net.restart(node(1));
    net.drop_all();
    let first = net.submit(1, on("k", Mutation::Delete), C::Quorum);
    let second = net.submit(1, on("k", Mutation::Add(vec!["m".into()])), C::Quorum);
    let third = net.submit(1, Op::Query("k".into(), Query::Cardinality), C::One);
    assert!(
        !net.replies.contains_key(&third),
        "the first has not been executed"
    );
    net.run(secs(2));
    assert_eq!(
        [first, second, third].map(|ticket| net.answer(ticket)),
        [1, 1, 1].map(|n| Ok(Reply::Integer(n)))
    );
}

/// The first command that waits has to look itself when its turn comes; the ones behind it still
/// wait.
#[test]
fn order_is_kept_among_those_that_wait() {
    let mut net = Net::new(&[3]);
    net.run(secs(2));
    let ops = (0..20).flat_map(|n| {
        [
            keep(&format!("a{n}")),
            get(),
            set(&format!("b{n}")),
            get(),
            on("k", Mutation::Delete),
            get(),
        ]
    });
    let answers = pipeline(&mut net, 1, C::Quorum, ops);
    for (n, round) in answers.chunks(6).enumerate() {
        let reads = [&round[1], &round[3], &round[5]];
        assert_eq!(
            reads,
            [
                &Ok(value(&format!("a{n}"))),
                &Ok(value(&format!("b{n}"))),
                &Ok(Reply::Nil)
            ],
            "round {n}"
        );
    }
    assert!(at_rest(&net, 1));
}

/// A read shows the last write before it, whatever messages are lost or late, and whatever commands
/// are sent. The reads ask no other replica: a read that finds others with other data returns what
/// is here once both are joined, and that may have been written later.
#[test]
fn a_pipeline_reads_what_it_wrote_whatever_the_net_does() {
    for seed in 1..200_u64 {
        let mut state = seed;
        let mut draw = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut net = Net::new(&[3]);
        net.timeout = secs(20);
        let (mut sent, mut last) = (Vec::new(), String::new());
        for n in 0..60 {
            let wrote = match draw(5) {
                0 => (keep(&n.to_string()), Some(n.to_string())),
                1 => (set(&n.to_string()), Some(n.to_string())),
                2 => (
                    on("k", Mutation::Append("x".into())),
                    Some(format!("{last}x")),
                ),
                3 => (on("k", Mutation::Delete), Some(String::new())),
                _ => (get(), None),
            };
            let expected = if wrote.1.is_none() {
                Some(last.clone())
            } else {
                None
            };
            last = wrote.1.unwrap_or(last);
            let level = if expected.is_some() || draw(2) == 0 {
                C::One
            } else {
                C::Quorum
            };
            sent.push((net.submit(1, wrote.0, level), expected));
            for _ in 0..draw(4) {
                let at = draw(net.queue.len().max(1) as u64) as usize;
                if let Some((from, to, message)) = net.queue.remove(at).filter(|_| draw(8) > 0) {
                    net.input(to, Input::Message { from, message });
                }
            }
        }
        net.run(secs(5));
        for (ticket, expected) in sent {
            let answer = net.answer(ticket);
            assert!(answer.is_ok(), "seed {seed}: {answer:?}");
            let Some(expected) = expected else { continue };
            let right = if expected.is_empty() {
                Reply::Nil
            } else {
                value(&expected)
            };
            assert_eq!(answer, Ok(right), "seed {seed}");
        }
        assert!(at_rest(&net, 1), "seed {seed}");
    }
}

#[test]
fn what_waits_for_its_turn_is_told_in_time_that_nothing_was_applied() {
    let mut net = Net::new(&[3]);
    net.run(secs(2));
    net.cut(&[1], &[2, 3]);
    net.timeout = secs(2);
    let first = net.submit(1, keep("first"), C::Quorum);
    net.timeout = Duration::from_millis(200);
    let impatient = [
        net.submit(1, set("second"), C::One),
        net.submit(1, get(), C::One),
    ];
    net.timeout = secs(3);
    let patient = net.submit(1, set("third"), C::One);
    net.run(Duration::from_millis(300));
    for ticket in impatient {
        let outcome = net.replies.get(&ticket).cloned();
        assert!(
            matches!(
                outcome,
                Some(Err(RequestError::TimedOut {
                    may_be_applied: false,
                    ..
                }))
            ),
            "{outcome:?}"
        );
    }
    assert!(!net.replies.contains_key(&patient));
    net.run(Duration::from_millis(1_800));
    assert!(
        net.answer(first)
            .is_err_and(|error| !error.may_be_applied())
    );
    assert_eq!(
        net.replies.get(&patient).map(Result::is_ok),
        Some(true),
        "the first has been given up"
    );
    assert_eq!(net.get(1, "k", C::One), Ok(Some("third".into())));
    assert!(at_rest(&net, 1));
}

/// However the first command ends, those behind it continue.
#[test]
fn nobody_waits_for_one_that_is_gone() {
    let ends: [fn(&mut Net); 5] = [
        |net| {
            net.input(
                node(1),
                Input::Reachable {
                    node: node(2),
                    up: false,
                },
            );
        },
        |net| net.set_placement(|_| {}),
        |net| net.set_placement(|placement| placement.replicas = vec![node(2), node(3), node(4)]),
        |net| net.set_topology(|topology| topology.keyspaces.clear()),
        |net| net.input(node(1), Input::DiskFull(true)),
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let mut net = Net::three_of(4);
        net.run(secs(2));
        let tickets = [
            keep("first"),
            get(),
            on("k", Mutation::Delete),
            set("second"),
            get(),
        ]
        .map(|op| net.submit(1, op, C::All));
        end(&mut net);
        net.run(secs(2));
        let answers = tickets.map(|ticket| net.replies.get(&ticket).cloned().expect("answered"));
        assert!(at_rest(&net, 1), "end {n}: {answers:?}");
        if n == 1 {
            assert_eq!(
                answers[4].clone().map(|answer| answer.reply),
                Ok(value("second")),
                "{answers:?}"
            );
        }
    }
}

/// A mutation that must look does so while it waits for its turn: many clients that remove from one
/// set wait for one round trip, not for each other's.
#[test]
fn those_that_wait_look_meanwhile() {
    let mut net = Net::new(&[3]);
    let members: Vec<Bytes> = (0..100).map(|n| Bytes::from(format!("m{n}"))).collect();
    net.mutate(1, "s", Mutation::Add(members.clone()), C::All)
        .expect("healthy");
    net.run(secs(2));
    net.latency = |_, _| Duration::from_millis(10);
    let tickets: Vec<u64> = members
        .into_iter()
        .take(50)
        .map(|member| net.submit(1, on("s", Mutation::Remove(vec![member])), C::Quorum))
        .collect();
    net.run(Duration::from_millis(45));
    assert!(
        tickets
            .iter()
            .all(|ticket| net.replies.contains_key(ticket)),
        "a look and a write"
    );
}

/// A key expires while a write on it waits for its turn, and another command has kept it in the
/// meantime.
#[test]
fn what_has_expired_meanwhile_is_looked_at_again() {
    let mut net = Net::new(&[3]);
    net.run(secs(2));
    let short = START_UNIX_MILLIS + net.now.as_millis() as u64 + 400;
    net.ask(
        1,
        on(
            "k",
            Mutation::Set {
                value: "v".into(),
                expiry: SetExpiry::At(short),
            },
        ),
        C::All,
    )
    .expect("healthy");
    net.cut(&[1], &[3]);
    let first = net.submit(1, keep("first"), C::All);
    net.timeout = secs(3);
    let second = net.submit(1, on("k", Mutation::Append("x".into())), C::Quorum);
    net.run(Duration::from_millis(200));
    net.cut(&[1], &[2]);
    let kept = net.submit(2, on("k", Mutation::Persist), C::Quorum);
    net.run(Duration::from_millis(100));
    assert_eq!(net.answer(kept), Ok(Reply::Integer(1)));
    net.drop_all();
    net.heal_between(&[1], &[2]);
    net.now += secs(1);
    net.input(node(1), Input::Timer(Timer::Sweep));
    assert!(
        net.replies
            .get(&first)
            .is_some_and(|answer| answer.as_ref().is_err_and(|error| !error.may_be_applied()))
    );
    assert_eq!(net.answer(second), Ok(Reply::Integer(2)));
    assert_eq!(net.get(1, "k", C::Quorum), Ok(Some("vx".into())));
    assert!(at_rest(&net, 1));
}

#[test]
fn those_that_wait_for_their_turn_count_as_in_flight() {
    let mut net = Net::new(&[3]);
    net.config.flights_max = 10;
    net.boot_all();
    let tickets: Vec<u64> = std::iter::once(keep("first"))
        .chain((0..20).map(|_| get()))
        .map(|op| net.submit(1, op, C::One))
        .collect();
    assert_eq!(tickets.len(), net.replies.len(), "nobody waits at ONE");
    let tickets: Vec<u64> = std::iter::once(keep("first"))
        .chain((0..20).map(|_| set("v")))
        .map(|op| net.submit(1, op, C::Quorum))
        .collect();
    let refused = tickets
        .iter()
        .filter(|ticket| net.replies.get(ticket) == Some(&Err(RequestError::Overloaded)))
        .count();
    assert_eq!(refused, 11);
}

/// Two commands that are forwarded to a primary keep their order there.
#[test]
fn forwarded_commands_of_one_key_keep_their_order() {
    let mut net = Net::three_of(4);
    net.run(secs(2));
    let answers = pipeline(
        &mut net,
        4,
        C::Quorum,
        [
            keep("first"),
            set("second"),
            get(),
            on("k", Mutation::Delete),
            get(),
        ],
    );
    assert_eq!(
        (&answers[2], &answers[4]),
        (&Ok(value("second")), &Ok(Reply::Nil)),
        "{answers:?}"
    );
    assert!(
        net.queue
            .iter()
            .all(|(_, _, message)| !matches!(message, Message::Forward { .. }))
    );
    for at in 1..=4 {
        assert!(at_rest(&net, at));
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_of_order_are_noticed() {
    use crate::planted::*;
    super::noticed(&[
        (
            &LATER_OVERTAKES,
            commands_of_one_pipeline_take_effect_in_the_order_in_which_they_were_sent,
        ),
        (
            &LATER_OVERTAKES,
            what_follows_a_write_on_an_expired_key_waits_for_it,
        ),
        (
            &LATER_OVERTAKES,
            what_follows_a_write_that_waits_for_the_time_waits_too,
        ),
        (
            &LATER_OVERTAKES,
            what_follows_a_write_that_waits_for_a_waking_replica_waits_too,
        ),
        (&LATER_OVERTAKES, order_is_kept_among_those_that_wait),
        (
            &LATER_OVERTAKES,
            a_pipeline_reads_what_it_wrote_whatever_the_net_does,
        ),
        (
            &LATER_OVERTAKES,
            what_waits_for_its_turn_is_told_in_time_that_nothing_was_applied,
        ),
        (
            &LATER_OVERTAKES,
            forwarded_commands_of_one_key_keep_their_order,
        ),
    ]);
}
