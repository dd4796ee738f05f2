use std::time::Duration;

use bytes::Bytes;

use super::net::{Net, node};
use crate::consistency::Consistency as C;
use crate::op::{Mutation, Op, Query, Reply, RequestError};
use crate::protocol::{Input, RequestId};

fn incr() -> Op {
    Op::Mutate("c".into(), Mutation::Increment(1))
}

fn append() -> Op {
    Op::Mutate("t".into(), Mutation::Append("x".into()))
}

fn unknown(outcome: &Result<Reply, RequestError>) -> bool {
    outcome.as_ref().is_err_and(RequestError::may_be_applied)
}

/// Asks node `at` and cuts it off as soon as it has looked and executed, so that no other node gets
/// the change.
fn ask_and_cut_off(net: &mut Net, at: u64, op: Op, id: &str) -> Result<Reply, RequestError> {
    let ticket = net.submit_once(at, op, C::Quorum, id);
    net.cut_off_before_writes(at);
    net.answer(ticket)
}

#[test]
fn an_increment_asked_again_elsewhere_is_counted_once() {
    let mut net = Net::new(&[3]);
    let first = ask_and_cut_off(&mut net, 1, incr(), "a");
    assert!(unknown(&first), "{first:?}");
    assert_eq!(
        net.ask_once(2, incr(), C::Quorum, "a"),
        Ok(Reply::Integer(1)),
        "neither n2 nor n3 knows of the first try"
    );
    net.heal();
    net.run(Duration::from_secs(5));
    net.assert_converged();
    assert_eq!(net.get(3, "c", C::All), Ok(Some("1".into())));
    assert_eq!(
        net.ask_once(3, incr(), C::Quorum, "a"),
        Ok(Reply::Integer(1)),
        "and once more"
    );
    assert_eq!(
        net.ask_once(3, incr(), C::Quorum, "b"),
        Ok(Reply::Integer(2))
    );
    net.run(Duration::from_secs(5));
    assert_eq!(net.get(1, "c", C::All), Ok(Some("2".into())));
}

#[test]
fn a_retry_is_answered_with_what_was_answered_the_first_time() {
    let mut net = Net::new(&[3]);
    for (op, key) in [
        (incr(), "c"),
        (append(), "t"),
        (
            Op::Mutate("h".into(), Mutation::IncrementField("f".into(), 1)),
            "h",
        ),
    ] {
        assert_eq!(
            net.ask_once(1, op.clone(), C::Quorum, "a"),
            Ok(Reply::Integer(1))
        );
        assert_eq!(
            net.ask_once(2, op.clone(), C::Quorum, "b"),
            Ok(Reply::Integer(2))
        );
        assert_eq!(
            net.ask_once(3, op, C::Quorum, "a"),
            Ok(Reply::Integer(1)),
            "{key}: the number of that time"
        );
    }
    assert_eq!(net.get(1, "c", C::Quorum), Ok(Some("2".into())));
    assert_eq!(net.get(1, "t", C::Quorum), Ok(Some("xx".into())));
    assert_eq!(
        net.query(2, "h", Query::Fields(vec!["f".into()]), C::Quorum),
        Ok(Reply::Values(vec![Some("2".into())]))
    );
}

#[test]
fn a_retry_at_the_node_that_executed_it_counts_replicas_anew() {
    let mut net = Net::new(&[3]);
    assert!(unknown(&ask_and_cut_off(&mut net, 1, append(), "a")));
    let again = net.ask_once(1, append(), C::Quorum, "a");
    assert!(unknown(&again), "n1 alone has it: {again:?}");
    net.drop_all();
    net.heal();
    assert_eq!(
        net.ask_once(1, append(), C::Quorum, "a"),
        Ok(Reply::Integer(1))
    );
    net.cut(&[1], &[2, 3]);
    assert_eq!(
        net.get(2, "t", C::Quorum),
        Ok(Some("x".into())),
        "the retry has left it on a quorum"
    );
}

#[test]
fn a_removed_counter_is_not_counted_again() {
    let mut net = Net::new(&[3]);
    net.ask_once(1, incr(), C::Quorum, "a").expect("healthy");
    net.mutate(2, "c", Mutation::Delete, C::Quorum)
        .expect("healthy");
    assert_eq!(
        net.ask_once(3, incr(), C::Quorum, "a"),
        Ok(Reply::Integer(1)),
        "as it was answered"
    );
    assert_eq!(net.get(1, "c", C::Quorum), Ok(None));
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut net = Net::new(&[1]);
    for n in 0..20_000_i64 {
        assert_eq!(
            net.ask_once(1, incr(), C::One, &format!("{n}")),
            Ok(Reply::Integer(n + 1))
        );
    }
    assert!(
        net.summary(1).rows <= 2048 + 1,
        "the rows that remember, and the counter"
    );
    let replica = &net.cores[&node(1)]
        .replicas
        .values()
        .next()
        .expect("one partition");
    let entries: Vec<usize> = replica
        .keys()
        .flat_map(|(_, rows)| rows.iter().map(|(_, _, row)| row.len()))
        .collect();
    assert!(
        entries.iter().all(|entries| *entries <= 66),
        "{:?}",
        entries.iter().max()
    );
    assert!(entries.iter().sum::<usize>() <= 2048 * 8 + 66);
    assert_eq!(
        net.ask_once(1, incr(), C::One, "19999"),
        Ok(Reply::Integer(20_000))
    );
    assert_eq!(
        net.query(1, "c", Query::Get, C::One),
        Ok(Reply::Value("20000".into()))
    );
    assert_eq!(
        net.ask(
            1,
            Op::Partition(
                quorate_control::topology::Partition(0),
                crate::op::PartitionOp::Count
            ),
            C::One
        ),
        Ok(Reply::Integer(1))
    );
}

/// What a node with a slow clock executed is not forgotten before what others executed long ago.
#[test]
fn what_is_forgotten_first_is_no_matter_of_clocks() {
    let mut net = Net::new(&[1]);
    let fill = |net: &mut Net, names: std::ops::Range<i64>| {
        for n in names {
            net.ask_once(1, incr(), C::One, &format!("{n}"))
                .expect("local");
        }
    };
    fill(&mut net, 0..20_000);
    net.skew.insert(node(1), -7_200_000);
    assert_eq!(
        net.ask_once(1, incr(), C::One, "behind"),
        Ok(Reply::Integer(20_001))
    );
    net.skew.clear();
    fill(&mut net, 20_000..26_000);
    assert_eq!(
        net.ask_once(1, incr(), C::One, "behind"),
        Ok(Reply::Integer(20_001)),
        "of 8 a row some three are younger"
    );
}

#[test]
fn what_a_replica_has_folded_still_adds_up() {
    let mut net = Net::new(&[2]);
    for n in 0..100_i64 {
        let at = 1 + n.unsigned_abs() % 2;
        net.ask_once(at, incr(), C::One, &format!("{n}"))
            .expect("local");
        net.mutate(at, "c", Mutation::Increment(10), C::One)
            .expect("local");
    }
    net.run(Duration::from_secs(5));
    net.assert_converged();
    assert_eq!(net.get(1, "c", C::All), Ok(Some("1100".into())));
}

#[test]
fn names_without_a_meaning_are_refused() {
    assert_eq!(RequestId::new(Bytes::new()), None);
    assert_eq!(RequestId::new(vec![0; 33].into()), None);
    let mut net = Net::new(&[1]);
    assert_eq!(
        net.ask_once(1, Op::Mutate("k".into(), Mutation::GetDelete), C::One, "a"),
        Err(RequestError::BadRequestId)
    );
    net.input(node(1), Input::DiskFull(true));
    assert_eq!(
        net.ask_once(1, incr(), C::One, "a"),
        Err(RequestError::DiskFull)
    );
    net.input(node(1), Input::DiskFull(false));
    assert_eq!(
        net.ask_once(1, incr(), C::One, "a"),
        Ok(Reply::Integer(1)),
        "what was not applied is not remembered"
    );
}

/// Each broken rule of named requests is noticed by a test above.
#[cfg(feature = "planted-bugs")]
#[test]
fn each_planted_bug_of_named_requests_is_noticed() {
    use crate::planted::*;
    super::noticed(&[
        (
            &REQUEST_ID_FORGOTTEN,
            a_retry_is_answered_with_what_was_answered_the_first_time,
        ),
        (
            &REMEMBERED_BY_WALL_CLOCK,
            what_is_forgotten_first_is_no_matter_of_clocks,
        ),
        (
            &TWINS_COUNT_TWICE,
            an_increment_asked_again_elsewhere_is_counted_once,
        ),
    ]);
}
