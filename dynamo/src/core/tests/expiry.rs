use std::time::Duration;

use bytes::Bytes;
use quorate_crdt::NodeId;

use super::net::{Net, START_UNIX_MILLIS, node};
use crate::consistency::Consistency as C;
use crate::op::{Expiry, Mutation, Op, Query, Reply, RequestError, SetExpiry};
use crate::protocol::{Input, Message, Timer};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn set_until(value: &'static str, at: u64) -> Mutation {
    Mutation::Set {
        value: value.into(),
        expiry: SetExpiry::At(START_UNIX_MILLIS + at),
    }
}

fn members(from: usize, to: usize) -> Vec<Bytes> {
    (from..to).map(|n| Bytes::from(format!("m{n}"))).collect()
}

#[test]
fn r05_set_after_set_ex_vanishes() {
    let mut net = Net::new(&[3]);
    net.cut(&[1], &[3]);
    net.mutate(1, "k", set_until("old", 2000), C::Quorum)
        .expect("1 and 2");
    net.set(3, "k", "new", C::Quorum).expect("3 and 2");
    net.heal();
    net.run(secs(1));
    assert_eq!(net.get(2, "k", C::All), Ok(Some("new".into())));
    net.run(secs(5));
    assert_eq!(
        net.get(2, "k", C::All),
        Ok(Some("new".into())),
        "the later SET took the expiry away"
    );
    net.run(secs(5));
    net.assert_converged();
}

#[test]
fn r09_reaper_removes_what_was_extended_at_quorum() {
    let mut net = Net::new(&[3]);
    net.mutate(1, "session", set_until("v", 2000), C::All)
        .expect("healthy");
    net.run(Duration::from_millis(1500));
    net.cut(&[1], &[2, 3]);
    net.mutate(
        2,
        "session",
        Mutation::ExpireAt(START_UNIX_MILLIS + 3_600_000),
        C::Quorum,
    )
    .expect("2 and 3");
    net.run(Duration::from_millis(3600));
    net.heal();
    net.run(secs(5));
    assert_eq!(
        net.get(2, "session", C::Quorum),
        Ok(Some("v".into())),
        "extended by an hour at QUORUM before it expired"
    );
}

#[test]
fn r10_reaper_with_a_clock_that_is_ahead() {
    let mut net = Net::new(&[3]);
    net.mutate(2, "k", set_until("v", 3_600_000), C::All)
        .expect("healthy");
    net.run(secs(3));
    net.skew.insert(node(1), 86_400_000);
    net.run(secs(3));
    net.skew.clear();
    net.run(secs(3));
    assert_eq!(
        net.get(2, "k", C::Quorum),
        Ok(Some("v".into())),
        "an hour before it expires"
    );
}

/// If the clocks of two nodes have disagreed from the start, nobody can say which is right. Then
/// nothing is removed because of time.
#[test]
fn of_two_clocks_that_disagree_neither_removes() {
    let mut net = Net::new(&[2]);
    net.skew.insert(node(1), 86_400_000);
    net.boot(node(1), false);
    net.boot(node(2), false);
    net.run(secs(2));
    net.mutate(2, "k", set_until("v", 3_600_000), C::One)
        .expect("local");
    net.run(secs(5));
    assert_eq!(net.summary(1).rows, 1);
    assert_eq!(net.get(2, "k", C::One), Ok(Some("v".into())));
}

/// A removal looks again at its level, whoever has agreed.
#[test]
fn an_extension_that_two_of_three_know_outlives_the_agreement_of_the_third() {
    let mut net = Net::new(&[3]);
    net.mutate(1, "k", set_until("v", 2000), C::All)
        .expect("healthy");
    net.run(Duration::from_millis(1900));
    net.cut(&[1], &[2, 3]);
    net.mutate(
        3,
        "k",
        Mutation::ExpireAt(START_UNIX_MILLIS + 3_600_000),
        C::Quorum,
    )
    .expect("2 and 3");
    net.heal();
    // n1 has not heard of the extension yet, and asks at QUORUM to remove what it takes for
    // expired.
    net.now += secs(5);
    let removed = net.mutate(1, "k", Mutation::Lapse { margin: 1000 }, C::Quorum);
    assert_eq!(removed, Ok(Reply::Integer(0)));
    assert_eq!(net.get(1, "k", C::Quorum), Ok(Some("v".into())));
}

/// n3 extends a key just before it expires, and its write reaches n2 late: after n1 and n2 have
/// agreed that the key has expired, and before the removal, which must see the write.
#[test]
fn an_extension_after_the_agreement_is_seen_by_the_removal() {
    let mut net = Net::new(&[3]);
    net.timeout = secs(5);
    net.mutate(1, "k", set_until("v", 2000), C::All)
        .expect("healthy");
    net.run(Duration::from_millis(1900));
    net.cut(&[1], &[2, 3]);
    let key = Bytes::from("k");
    let extension = net.submit(
        3,
        Op::Mutate(key, Mutation::ExpireAt(START_UNIX_MILLIS + 3_600_000)),
        C::Quorum,
    );
    let (mut late, mut answers) = (Vec::new(), Vec::new());
    // n3 asks n1, in vain, then n2. Then n1 asks both others whether the key has expired.
    for (millis, at, timer) in [(1960, 3, Timer::Sweep), (3050, 1, Timer::Reap)] {
        net.settle();
        net.now = Duration::from_millis(millis);
        net.input(node(at), Input::Timer(timer));
        if timer == Timer::Reap {
            net.heal();
        }
        while let Some((from, to, message)) = net.queue.pop_front() {
            match message {
                Message::Write { .. } if to == node(2) => late.push((from, to, message)),
                Message::LapsedToo { .. } => answers.push((from, to, message)),
                Message::Write { .. } => {}
                message if net.hears(from, to) => net.input(to, Input::Message { from, message }),
                _ => {}
            }
        }
    }
    assert!(!late.is_empty() && !answers.is_empty());
    for (from, to, message) in late.into_iter().chain(answers) {
        net.input(to, Input::Message { from, message });
        net.settle();
    }
    assert!(
        matches!(net.replies.get(&extension), Some(Ok(_))),
        "{:?}",
        net.replies.get(&extension)
    );
    net.heal();
    net.settle();
    net.run(secs(3));
    assert_eq!(
        net.get(1, "k", C::Quorum),
        Ok(Some("v".into())),
        "extended at QUORUM before it was removed"
    );
}

#[test]
fn expired_keys_go_without_the_help_of_a_minority() {
    let mut net = Net::new(&[3]);
    for n in 0..20 {
        net.mutate(1, &format!("k{n}"), set_until("v", 1000), C::All)
            .expect("healthy");
    }
    net.cut(&[3], &[1, 2]);
    net.run(secs(6));
    assert_eq!(
        (
            net.summary(1).rows,
            net.summary(2).rows,
            net.summary(3).rows
        ),
        (0, 0, 20)
    );
    net.heal();
    net.run(secs(5));
    net.assert_converged();
    assert_eq!(net.summary(3).rows, 0);
    assert_eq!(net.cores[&node(1)].counters().expired, 20);
}

#[test]
fn an_expiry_acknowledged_at_quorum_is_seen_by_a_query_about_one_row() {
    for many in [3, 100] {
        let mut net = Net::new(&[3]);
        net.mutate(1, "s", Mutation::Add(members(0, many)), C::All)
            .expect("healthy");
        let fields = members(0, many)
            .into_iter()
            .map(|name| (name, Bytes::from("v")))
            .collect();
        net.mutate(1, "h", Mutation::SetFields(fields), C::All)
            .expect("healthy");
        net.run(secs(2));
        net.cut(&[1], &[2, 3]);
        for key in ["s", "h"] {
            net.mutate(
                2,
                key,
                Mutation::ExpireAt(START_UNIX_MILLIS + 4000),
                C::Quorum,
            )
            .expect("2 and 3");
        }
        net.heal();
        net.now = secs(5);
        let one = vec![Bytes::from("m1")];
        assert_eq!(
            net.query(1, "s", Query::Contains(one.clone()), C::Quorum),
            Ok(Reply::Integers(vec![0])),
            "of {many}"
        );
        assert_eq!(
            net.query(1, "h", Query::Fields(one), C::Quorum),
            Ok(Reply::Values(vec![None])),
            "of {many}"
        );
    }
}

#[test]
fn a_kind_acknowledged_at_quorum_is_seen_by_a_query_about_one_row() {
    for many in [3, 100] {
        let mut net = Net::new(&[3]);
        net.mutate(1, "k", Mutation::Add(members(0, many)), C::All)
            .expect("healthy");
        net.run(secs(2));
        net.cut(&[1], &[2, 3]);
        net.set(2, "k", "a string now", C::Quorum).expect("2 and 3");
        net.heal();
        let asked = net.query(1, "k", Query::Contains(vec!["m1".into()]), C::Quorum);
        assert_eq!(asked, Err(RequestError::WrongKind), "of {many}");
    }
}

#[test]
fn a_write_is_refused_only_by_what_its_level_sees() {
    let mut net = Net::new(&[3]);
    net.set(1, "k", "text", C::All).expect("healthy");
    net.mutate(1, "t", set_until("v", 9000), C::All)
        .expect("healthy");
    net.run(secs(1));
    net.cut(&[1], &[2, 3]);
    net.mutate(2, "k", Mutation::Delete, C::Quorum)
        .expect("2 and 3");
    net.mutate(2, "k", Mutation::Add(vec!["a".into()]), C::Quorum)
        .expect("2 and 3");
    net.mutate(
        2,
        "t",
        Mutation::ExpireAt(START_UNIX_MILLIS + 3_600_000),
        C::Quorum,
    )
    .expect("2 and 3");
    net.heal();
    net.now = secs(10);
    assert_eq!(
        net.mutate(1, "k", Mutation::Add(vec!["b".into()]), C::Quorum),
        Ok(Reply::Integer(1)),
        "n1 alone knows a string there"
    );
    assert_eq!(
        net.mutate(1, "t", Mutation::Append("w".into()), C::Quorum),
        Ok(Reply::Integer(2)),
        "n1 alone takes it for expired"
    );
    assert_eq!(
        net.mutate(
            1,
            "t",
            Mutation::SetWith {
                value: "x".into(),
                token: Bytes::new()
            },
            C::Quorum
        ),
        Ok(Reply::Done)
    );
    net.run(secs(5));
    let Ok(Reply::Siblings { values, .. }) = net.query(3, "t", Query::Siblings, C::Quorum) else {
        panic!("siblings")
    };
    assert_eq!(values, vec![Bytes::from("vw"), Bytes::from("x")]);
    net.assert_converged();
}

#[test]
fn persist_beats_an_expiry_that_it_has_seen_nowhere() {
    let mut net = Net::new(&[3]);
    net.mutate(1, "k", set_until("v", 60_000), C::All)
        .expect("healthy");
    net.run(secs(1));
    // An EXPIRE that failed: only n1 has it.
    net.cut(&[1], &[2, 3]);
    net.mutate(1, "k", Mutation::ExpireAt(START_UNIX_MILLIS + 5000), C::One)
        .expect("local");
    net.run(Duration::from_millis(10));
    net.mutate(2, "k", Mutation::Persist, C::Quorum)
        .expect("2 and 3");
    net.heal();
    net.run(secs(10));
    assert_eq!(
        net.query(1, "k", Query::Expiry, C::All),
        Ok(Reply::Expiry(Expiry::Never))
    );
    assert_eq!(net.get(1, "k", C::All), Ok(Some("v".into())));
    net.assert_converged();
}

#[test]
fn what_keeps_an_expiry_keeps_the_one_its_level_sees() {
    let mut net = Net::new(&[3]);
    net.mutate(1, "k", set_until("v", 60_000), C::All)
        .expect("healthy");
    net.run(secs(1));
    net.cut(&[1], &[2, 3]);
    net.mutate(
        2,
        "k",
        Mutation::ExpireAt(START_UNIX_MILLIS + 3_600_000),
        C::Quorum,
    )
    .expect("2 and 3");
    net.heal();
    net.mutate(
        1,
        "k",
        Mutation::Set {
            value: "w".into(),
            expiry: SetExpiry::Keep,
        },
        C::Quorum,
    )
    .expect("healthy");
    net.run(secs(2));
    assert_eq!(
        net.query(3, "k", Query::Expiry, C::All),
        Ok(Reply::Expiry(Expiry::At(START_UNIX_MILLIS + 3_600_000)))
    );
}

/// One writer removed the last element of a set while another gave it an expiry. The expiry alone
/// is no key, and is removed.
#[test]
fn an_expiry_without_a_key_is_removed_once_all_agree() {
    let mut net = Net::new(&[2]);
    net.mutate(1, "s", Mutation::Add(members(0, 1)), C::All)
        .expect("healthy");
    net.cut(&[1], &[2]);
    net.mutate(1, "s", Mutation::Delete, C::One).expect("local");
    net.mutate(
        2,
        "s",
        Mutation::ExpireAt(START_UNIX_MILLIS + 3_600_000),
        C::One,
    )
    .expect("local");
    net.heal();
    net.run(secs(8));
    net.assert_converged();
    assert_eq!(net.summary(1).rows, 0);
}

#[test]
fn what_is_added_to_a_key_that_its_level_has_seen_expire_is_not_lost() {
    let mut net = Net::new(&[3]);
    net.set(1, "k", "5", C::All).expect("healthy");
    net.mutate(1, "s", Mutation::Add(members(0, 1)), C::All)
        .expect("healthy");
    net.run(secs(1));
    net.cut(&[1], &[2, 3]);
    for key in ["k", "s"] {
        net.mutate(
            2,
            key,
            Mutation::ExpireAt(START_UNIX_MILLIS + 1500),
            C::Quorum,
        )
        .expect("2 and 3");
    }
    net.now = Duration::from_millis(1_700);
    assert_eq!(net.get(2, "k", C::Quorum), Ok(None), "expired");
    net.heal();
    assert_eq!(
        net.mutate(1, "k", Mutation::Increment(1), C::Quorum),
        Ok(Reply::Integer(1))
    );
    assert_eq!(
        net.mutate(1, "s", Mutation::Add(vec!["b".into()]), C::Quorum),
        Ok(Reply::Integer(1))
    );
    net.run(secs(10));
    let (number, members) = (
        net.get(3, "k", C::All),
        net.query(3, "s", Query::Members, C::All),
    );
    assert_eq!(
        (number, members),
        (Ok(Some("1".into())), Ok(Reply::List(vec!["b".into()])))
    );
}

#[test]
fn what_was_executed_once_is_not_called_unapplied_when_the_second_try_fails() {
    let mut net = Net::new(&[3]);
    net.set(1, "k", "5", C::All).expect("healthy");
    net.cut(&[1], &[2, 3]);
    let expires = Mutation::ExpireAt(START_UNIX_MILLIS + 1_500);
    net.mutate(2, "k", expires, C::Quorum).expect("2 and 3");
    net.drop_all();
    net.now = Duration::from_millis(1_700);
    net.heal();
    let counts = Op::Mutate("k".into(), Mutation::Increment(1));
    let ticket = net.submit(1, counts, C::Quorum);
    // n1 counts at once, hears that the key has expired, and looks at it.
    let looks =
        |(_, _, message): &(NodeId, NodeId, Message)| matches!(message, Message::Read { .. });
    while !net.queue.iter().any(looks) {
        let (from, to, message) = net.queue.pop_front().expect("it looks at the key");
        net.input(to, Input::Message { from, message });
    }
    net.drop_all();
    net.cut(&[1], &[2, 3]);
    let outcome = net.answer(ticket);
    assert!(
        outcome.as_ref().is_err_and(RequestError::may_be_applied),
        "{outcome:?}"
    );
}

#[test]
fn expired_keys_go_although_the_clock_of_the_first_holder_is_wrong() {
    let mut net = Net::new(&[3]);
    net.run(secs(2));
    for n in 0..20 {
        net.mutate(2, &format!("k{n}"), set_until("v", 10_000), C::All)
            .expect("healthy");
    }
    net.skew.insert(node(1), -3_600_000);
    net.run(secs(60));
    assert_eq!([1, 2, 3].map(|at| net.summary(at).rows), [0; 3]);
}

#[test]
fn a_node_that_starts_alone_under_a_clock_ahead_removes_nothing_for_a_minute() {
    let mut net = Net::new(&[1]);
    net.config.persist = true;
    net.boot_all();
    net.run(secs(1));
    net.mutate(1, "k", set_until("v", 3_600_000), C::One)
        .expect("alone");
    net.skew.insert(node(1), 7_200_000);
    net.restart(node(1));
    net.run(secs(50));
    assert_eq!(
        net.get(1, "k", C::One),
        Ok(None),
        "by that clock it has expired"
    );
    net.skew.clear();
    net.run(secs(5));
    assert_eq!(
        net.get(1, "k", C::One),
        Ok(Some("v".into())),
        "it was hidden, and not removed"
    );
}

/// Each broken rule of expiry is noticed by a test above.
/// Expired keys go even if every answer takes longer than the reaper waits between its looks.
#[test]
fn expired_keys_are_removed_however_often_the_reaper_looks() {
    let mut net = Net::new(&[3]);
    net.config.reap_every = Duration::from_millis(100);
    net.boot_all();
    net.run(secs(2));
    net.set(1, "k", "v", C::All).expect("healthy");
    let soon = net.clock().unix_millis + 100;
    net.mutate(1, "k", Mutation::ExpireAt(soon), C::All)
        .expect("healthy");
    net.latency = |_, _| Duration::from_millis(100);
    net.run(secs(10));
    assert_eq!([1, 2, 3].map(|at| net.summary(at).rows), [0; 3]);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn each_planted_bug_of_expiry_is_noticed() {
    use crate::planted::*;
    super::noticed(&[
        (&EXPIRY_OUTLIVES_SET, r05_set_after_set_ex_vanishes),
        (
            &EXPIRY_NOT_ASKED,
            an_expiry_acknowledged_at_quorum_is_seen_by_a_query_about_one_row,
        ),
        (
            &EXECUTION_DENIED,
            what_was_executed_once_is_not_called_unapplied_when_the_second_try_fails,
        ),
        (
            &REFUSES_UNSEEN,
            a_write_is_refused_only_by_what_its_level_sees,
        ),
        (
            &REAP_BY_OWN_CLOCK,
            of_two_clocks_that_disagree_neither_removes,
        ),
        (
            &REAP_AT_ONE,
            an_extension_after_the_agreement_is_seen_by_the_removal,
        ),
        (
            &REAP_WITHOUT_A_LOOK,
            an_extension_that_two_of_three_know_outlives_the_agreement_of_the_third,
        ),
    ]);
}
