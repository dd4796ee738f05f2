//! Replicas with equal contexts and different rows: who is right, and what is not read until they
//! are mended.

use super::net::{Net, PLACE, node, secs};
use crate::consistency::Consistency as C;
use crate::op::{Mutation, Op, PartitionOp, Reply, RequestError};
use crate::protocol::{Input, Message, Refusal};
use crate::replica::{Replica, RowKey};

/// `nodes` nodes with ten keys each, at rest.
fn at_rest(nodes: u64) -> Net {
    let mut net = Net::new(&[nodes]);
    for n in 0..10 {
        net.set(1, &format!("k{n}"), "v", C::All).expect("healthy");
    }
    net.run(secs(3));
    net.assert_converged();
    net
}

/// A node's disk or memory loses a row.
fn rot(net: &mut Net, at: u64, key: &'static str) {
    replica(net, at).rot(&RowKey::string(key.into()));
}

fn replica(net: &mut Net, at: u64) -> &mut Replica {
    let core = net.cores.get_mut(&node(at)).expect("a node");
    core.replicas
        .get_mut(&(PLACE.keyspace, PLACE.partition))
        .expect("held")
}

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

/// Of three nodes, n2 is away, and n3 has lost `key`. n1 and n3 have found that out in new lives.
fn one_away_and_one_row_lost(key: &'static str) -> Net {
    let mut net = at_rest(3);
    net.cut(&[2], &[1, 3]);
    sees(&mut net, &[1, 3], 2, false);
    for at in [1, 3] {
        replica(&mut net, at).forget_comparisons();
    }
    rot(&mut net, 3, key);
    net.run(secs(3));
    assert_eq!(
        [1, 3].map(|at| net.summary(at).quarantined),
        [true; 2],
        "one against one"
    );
    net
}

fn all_are_back(net: &mut Net) {
    net.heal();
    sees(net, &[1, 3], 2, true);
    net.run(secs(8));
    net.assert_converged();
    assert_eq!([1, 2, 3].map(|at| net.summary(at).quarantined), [false; 3]);
}

fn is_quarantined<T>(result: &Result<T, RequestError>) -> bool {
    matches!(
        result,
        Err(RequestError::Refused { refused, may_be_applied: false, .. })
            if refused.iter().any(|(_, why)| *why == Refusal::Quarantined)
    )
}

#[test]
fn a_replica_that_lost_a_row_is_mended_by_the_majority() {
    let mut net = at_rest(3);
    rot(&mut net, 3, "k3");
    net.run(secs(5));
    net.assert_converged();
    assert_eq!(
        [1, 2, 3].map(|at| (net.summary(at).rows, net.summary(at).quarantined)),
        [(10, false); 3]
    );
    assert_eq!(net.get(3, "k3", C::One), Ok(Some("v".into())));
    let mended = net
        .cores
        .values()
        .map(|core| core.counters().mended)
        .sum::<u64>();
    assert_eq!(mended, 1, "the minority alone");
    assert!(net.cores[&node(3)].counters().digest_mismatches > 0);
}

#[test]
fn a_row_that_came_from_nowhere_goes() {
    let mut net = at_rest(3);
    for at in [1, 2] {
        rot(&mut net, at, "k3");
    }
    net.run(secs(5));
    net.assert_converged();
    assert_eq!(
        [1, 2, 3].map(|at| net.summary(at).rows),
        [9; 3],
        "two of three say that there is none"
    );
}

#[test]
fn two_replicas_that_differ_take_what_either_has() {
    let mut net = at_rest(2);
    rot(&mut net, 1, "k1");
    rot(&mut net, 2, "k2");
    net.run(secs(8));
    net.assert_converged();
    assert_eq!(
        [1, 2].map(|at| (net.summary(at).rows, net.summary(at).quarantined)),
        [(10, false); 2]
    );
}

#[test]
fn replicas_that_lost_different_rows_lose_neither() {
    for replicas in [3, 5] {
        let mut net = at_rest(replicas);
        for (at, key) in [(1, "k1"), (2, "k2")] {
            rot(&mut net, at, key);
        }
        net.run(secs(10));
        net.assert_converged();
        for at in 1..=replicas {
            assert_eq!(
                (net.summary(at).rows, net.summary(at).quarantined),
                (10, false),
                "n{at} of {replicas}"
            );
        }
    }
}

/// n3 has lost a row, and the last piece of the stream that mends it is lost on the way. Returns
/// the node that sent it.
fn mended_halfway() -> (Net, u64) {
    let mut net = at_rest(3);
    rot(&mut net, 3, "k3");
    net.lose(1, |message| matches!(message, Message::Chunk { .. }));
    net.run_until_lost();
    let (source, to, _) = net.last_lost.clone().expect("lost");
    assert_eq!(to, node(3));
    (net, source.0)
}

#[test]
fn a_replica_is_mended_by_another_when_the_first_is_gone() {
    let (mut net, source) = mended_halfway();
    let other = 3 - source;
    net.cut(&[source], &[other, 3]);
    sees(&mut net, &[other, 3], source, false);
    net.run(secs(6));
    assert_eq!(
        (net.summary(3).rows, net.summary(3).quarantined),
        (10, false)
    );
    assert_eq!(
        net.get(3, "k3", C::Quorum),
        Ok(Some("v".into())),
        "two of three are whole"
    );
}

#[test]
fn one_that_has_lost_its_disk_mends_nobody() {
    let (mut net, source) = mended_halfway();
    net.boot(node(source), true);
    net.run(secs(10));
    net.assert_converged();
    assert_eq!(
        [1, 2, 3].map(|at| (net.summary(at).rows, net.summary(at).quarantined)),
        [(10, false); 3]
    );
}

#[test]
fn nobody_reads_what_is_contradicted_and_not_decided() {
    let mut net = one_away_and_one_row_lost("k3");
    for at in [1, 3] {
        for level in [C::One, C::Quorum] {
            let answer = net.get(at, "k3", level);
            assert!(is_quarantined(&answer), "n{at}: {answer:?}");
        }
        let answer = net.mutate(at, "k3", Mutation::Delete, C::One);
        assert!(is_quarantined(&answer), "n{at}: {answer:?}");
        let answer = net.ask(
            at,
            Op::Partition(PLACE.partition, PartitionOp::Count),
            C::One,
        );
        assert!(is_quarantined(&answer), "n{at}: {answer:?}");
    }
    all_are_back(&mut net);
    assert_eq!(net.get(3, "k3", C::One), Ok(Some("v".into())));
}

#[test]
fn a_row_that_differs_while_one_replica_is_away_stops_nothing_else() {
    let mut net = one_away_and_one_row_lost("k3");
    for at in [1, 3] {
        for level in [C::One, C::Quorum] {
            assert_eq!(net.get(at, "k4", level), Ok(Some("v".into())), "n{at}");
            net.set(at, "k5", "w", level).expect("a majority has it");
        }
    }
    net.mutate(3, "k6", Mutation::Delete, C::Quorum)
        .expect("two of three have the same there");
    net.set(3, "k3", "w", C::Quorum).expect("whatever it was");
    all_are_back(&mut net);
    assert_eq!(net.get(2, "k3", C::One), Ok(Some("w".into())));
    assert_eq!(net.get(2, "k6", C::One), Ok(None));
}

#[test]
fn nobody_counts_on_from_what_is_contradicted() {
    let mut net = at_rest(3);
    let mut sum = 0;
    for _ in 0..5 {
        sum = match net.mutate(3, "c", Mutation::Increment(1), C::All) {
            Ok(Reply::Integer(sum)) => sum,
            other => panic!("{other:?}"),
        };
    }
    net.run(secs(3));
    net.cut(&[2], &[1, 3]);
    sees(&mut net, &[1, 3], 2, false);
    for at in [1, 3] {
        replica(&mut net, at).forget_comparisons();
    }
    rot(&mut net, 3, "c");
    net.run(secs(3));
    let answer = net.mutate(3, "c", Mutation::Increment(1), C::One);
    assert!(is_quarantined(&answer), "{answer:?}");
    all_are_back(&mut net);
    assert_eq!(net.get(3, "c", C::One), Ok(Some(sum.to_string())));
}

#[test]
fn a_read_does_not_spread_a_loss() {
    let mut net = at_rest(3);
    rot(&mut net, 3, "k3");
    let answer = net.get(1, "k3", C::All);
    assert!(is_quarantined(&answer), "{answer:?}");
    let answer = net.get(3, "k3", C::Quorum);
    assert!(is_quarantined(&answer), "{answer:?}");
    assert_eq!(
        net.get(1, "k3", C::Quorum),
        Ok(Some("v".into())),
        "n1 and n2"
    );
    net.run(secs(5));
    net.assert_converged();
    assert_eq!([1, 2, 3].map(|at| net.summary(at).rows), [10; 3]);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_of_the_quarantine_are_noticed() {
    use crate::planted;
    super::noticed(&[
        (
            &planted::MISMATCH_IGNORED,
            a_replica_that_lost_a_row_is_mended_by_the_majority,
        ),
        (
            &planted::ANY_DIFFERENCE_OUTVOTES,
            replicas_that_lost_different_rows_lose_neither,
        ),
        (
            &planted::MEND_SOURCE_FIXED,
            a_replica_is_mended_by_another_when_the_first_is_gone,
        ),
        (
            &planted::DOUBT_STOPS_WRITES,
            a_row_that_differs_while_one_replica_is_away_stops_nothing_else,
        ),
        (
            &planted::DOUBT_ASKS_NOBODY,
            nobody_reads_what_is_contradicted_and_not_decided,
        ),
    ]);
}
