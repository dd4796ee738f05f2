//! Bounds: on what results from a request, on what is kept for absent replicas, and on what a full
//! disk takes.

use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::Partition;
use quorate_crdt::{CausalContext, Dot, ReplicaId};

use super::net::{Net, PLACE, node, secs};
use crate::consistency::Consistency as C;
use crate::op::{
    KEY_BYTES_MAX, Mutation, OUTCOME_BYTES_MAX, Op, PartitionOp, Query, Reply, RequestError,
};
use crate::protocol::{Input, Seen};
use crate::replica::{Delta, Replica};

fn elements(count: usize) -> Vec<Bytes> {
    (0..count).map(|n| Bytes::from(n.to_string())).collect()
}

fn clear() -> Op {
    Op::Partition(Partition(0), PartitionOp::Clear)
}

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

#[test]
fn what_comes_of_a_request_is_bounded_before_anything_is_built() {
    let mut net = Net::new(&[3]);
    let long = Bytes::from(vec![b'k'; KEY_BYTES_MAX]);
    let many = || elements(4100);
    let fields = many()
        .into_iter()
        .map(|field| (field, Bytes::new()))
        .collect();
    for op in [
        Op::Mutate(long.clone(), Mutation::Add(many())),
        Op::Mutate(long.clone(), Mutation::SetFields(fields)),
        Op::Mutate(long.clone(), Mutation::Remove(many())),
        Op::Query(long.clone(), Query::Contains(many())),
        Op::Query(long.clone(), Query::Fields(many())),
    ] {
        let refused = net.ask(1, op, C::Quorum);
        assert!(
            matches!(
                refused,
                Err(RequestError::TooLarge { max, .. }) if max == OUTCOME_BYTES_MAX as u64
            ),
            "{refused:?}"
        );
    }
    assert_eq!(net.summary(1).rows, 0, "nothing was applied");
    assert_eq!(
        net.ask(1, Op::Mutate(long, Mutation::Add(elements(500))), C::All),
        Ok(Reply::Integer(500))
    );
    assert_eq!(
        net.mutate(1, "short", Mutation::Add(elements(50_000)), C::All),
        Ok(Reply::Integer(50_000))
    );
    net.run(secs(3));
    net.assert_converged();
}

#[test]
fn requests_in_flight_are_bounded_by_their_bytes() {
    let mut net = Net::new(&[3]);
    net.config.flight_bytes_max = 100_000;
    net.boot_all();
    net.cut(&[1], &[2, 3]);
    let value = Bytes::from(vec![b'v'; 40_000]);
    let set = |key: &'static str| {
        Op::Mutate(
            key.into(),
            Mutation::Set {
                value: value.clone(),
                expiry: crate::op::SetExpiry::Clear,
            },
        )
    };
    let tickets = ["a", "b", "c"].map(|key| net.submit(1, set(key), C::Quorum));
    assert_eq!(
        net.replies.get(&tickets[2]),
        Some(&Err(RequestError::Overloaded)),
        "a third does not fit"
    );
    assert!(!net.replies.contains_key(&tickets[0]) && !net.replies.contains_key(&tickets[1]));
    net.run(secs(1));
    net.heal();
    assert_eq!(
        net.ask(1, set("c"), C::Quorum),
        Ok(Reply::Done),
        "those before have been answered"
    );
}

/// A few bytes are enough to ask for each list.
#[test]
fn lists_that_wait_for_others_count_as_in_flight() {
    let mut net = Net::new(&[3]);
    net.config.flight_bytes_max = 100_000;
    net.boot_all();
    net.mutate(1, "s", Mutation::Add(elements(2_000)), C::All)
        .expect("healthy");
    net.cut(&[1], &[2, 3]);
    let members = || Op::Query("s".into(), Query::Members);
    let tickets = [(); 3].map(|()| net.submit(1, members(), C::Quorum));
    assert!(!net.replies.contains_key(&tickets[0]));
    for refused in &tickets[1..] {
        assert_eq!(
            net.replies.get(refused),
            Some(&Err(RequestError::Overloaded))
        );
    }
    net.run(secs(1));
    net.heal();
    let listed = net.ask(1, members(), C::Quorum);
    assert!(matches!(listed, Ok(Reply::List(all)) if all.len() == 2_000));
}

#[test]
fn what_is_remembered_for_others_is_bounded_in_bytes() {
    let mut net = Net::new(&[3]);
    net.config.recent.bytes_max = 20_000;
    net.boot_all();
    net.run(secs(1));
    net.cut(&[3], &[1, 2]);
    for n in 0..500 {
        net.set(1, &format!("k{}", n % 50), "v", C::Quorum)
            .expect("two of three");
    }
    net.run(secs(1));
    for at in [1, 2] {
        let recent = net.summary(at).recent;
        assert!(
            (50..=20_000 / 160).contains(&recent),
            "n{at} remembers {recent} events"
        );
    }
    net.heal();
    net.run(secs(5));
    net.assert_converged();
}

/// Checks the bounds after each tick of each node.
#[test]
fn what_a_tick_itself_brings_is_within_the_bounds() {
    let mut net = Net::new(&[3]);
    net.config.recent.events_max = 1;
    net.boot_all();
    net.cut(&[1], &[2, 3]);
    for n in 0..3 {
        net.set(1, &format!("k{n}"), "v", C::One)
            .expect("ONE is local");
    }
    net.drop_all();
    net.heal();
    // What n1 alone had seen is lost with its disk, so the others declare it seen.
    net.set(1, "k0", "w", C::Quorum).expect("healthy");
    net.boot(node(1), true);
    net.run(secs(10));
    net.assert_converged();
}

#[test]
fn what_waits_for_a_tick_is_within_the_bounds() {
    let mut net = Net::new(&[3]);
    net.config.persist = true;
    net.config.recent.events_max = 0;
    net.boot_all();
    net.set(1, "k", "v", C::All).expect("healthy");
    net.run(secs(2));
    net.cut(&[1], &[2, 3]);
    net.restart(node(1));
    // The removal waits until n1 knows that its disk is up to date, and the clearing for the
    // removal.
    let removed = net.submit(1, Op::Mutate("k".into(), Mutation::Delete), C::Quorum);
    let cleared = net.submit(1, clear(), C::One);
    sees(&mut net, &[1], 2, false);
    sees(&mut net, &[1], 3, false);
    net.run(secs(1));
    assert!(net.replies[&removed].is_err() && net.replies[&cleared].is_ok());
}

#[test]
fn hints_of_short_values_take_no_more_than_their_bound() {
    let mut net = Net::three_of(4);
    net.config.hint_bytes_max = 2_000;
    net.boot_all();
    net.run(secs(1));
    net.cut(&[3], &[1, 2, 4]);
    sees(&mut net, &[1, 2, 4], 3, false);
    for n in 0..50 {
        net.set(1, &format!("k{n}"), "v", C::Quorum)
            .expect("two of three");
    }
    assert!(net.cores[&node(4)].hint_bytes() > 1_000, "they are kept");
    net.run(secs(1));
}

#[test]
fn a_hint_that_comes_late_is_handed_over() {
    let mut net = Net::three_of(4);
    net.run(secs(1));
    sees(&mut net, &[1], 3, false);
    net.cut(&[3], &[1, 2]);
    net.set(1, "k", "v", C::Quorum).expect("two of three");
    assert!(
        net.cores[&node(4)].hint_bytes() == 0 || net.summary(3).rows == 0,
        "n4 keeps it, and sees n3"
    );
    net.run(secs(1));
    assert_eq!(
        net.cores[&node(4)].hint_bytes(),
        0,
        "n4 sees n3, and keeps nothing for it"
    );
    assert_eq!(net.summary(3).rows, 1);
}

#[test]
fn a_full_disk_takes_removals_and_nothing_that_grows() {
    let mut net = Net::new(&[3]);
    for key in ["a", "b", "c"] {
        net.set(1, key, "old", C::All).expect("healthy");
    }
    net.run(secs(3));
    net.input(node(2), Input::DiskFull(true));
    for n in 0..10 {
        net.set(1, &format!("new{n}"), "v", C::Quorum)
            .expect("two others have room");
    }
    net.run(secs(5));
    assert_eq!(
        net.summary(2).rows,
        3,
        "refused at the door, and not let in behind"
    );
    assert_eq!(
        net.mutate(2, "a", Mutation::Delete, C::Quorum),
        Ok(Reply::Integer(1)),
        "through the full node"
    );
    assert_eq!(
        net.mutate(1, "b", Mutation::Delete, C::All),
        Ok(Reply::Integer(1)),
        "through another, which the full one joins"
    );
    assert!(net.summary(2).rows <= 1);
    assert_eq!(net.set(2, "a", "v", C::Quorum), Err(RequestError::DiskFull));
    assert_eq!(net.ask(2, clear(), C::One), Ok(Reply::Done));
    assert_eq!(net.summary(2).rows, 0);
    net.input(node(2), Input::DiskFull(false));
    net.run(secs(5));
    net.assert_converged();
    assert_eq!(
        net.get(2, "new3", C::One),
        Ok(Some("v".into())),
        "FLUSHDB at ONE removes what that node had seen"
    );
}

#[test]
fn a_clear_sees_what_its_level_has() {
    let mut net = Net::new(&[3]);
    net.cut(&[3], &[1, 2]);
    for n in 0..20 {
        net.set(1, &format!("k{n}"), "v", C::Quorum)
            .expect("two of three");
    }
    net.drop_all();
    net.heal();
    assert_eq!(net.summary(3).rows, 0);
    assert_eq!(net.ask(3, clear(), C::Quorum), Ok(Reply::Done));
    assert_eq!(
        net.get(1, "k7", C::Quorum),
        Ok(None),
        "it was acknowledged at QUORUM, and so was the removal"
    );
    net.run(secs(5));
    net.assert_converged();
    assert_eq!(net.summary(1).rows, 0);
}

#[test]
fn a_removed_node_is_not_awaited() {
    let mut net = Net::three_of(4);
    sees(&mut net, &[1, 2, 3], 4, false);
    assert!(!net.cores[&node(1)].routes.all_reachable());
    net.set_topology(|topology| drop(topology.nodes.remove(&node(4))));
    assert!(
        net.cores[&node(1)].routes.all_reachable(),
        "who is left can be reached"
    );
}

#[test]
fn a_timeout_without_end_is_taken() {
    let mut net = Net::new(&[3]);
    net.timeout = Duration::MAX;
    let ticket = net.submit(1, clear(), C::Quorum);
    net.settle();
    assert!(net.replies.contains_key(&ticket));
    net.input(
        node(1),
        Input::Wait {
            ticket: crate::protocol::Ticket(99),
            receipts: Vec::new(),
            replicas: 0,
            timeout: Duration::MAX,
        },
    );
    assert!(net.waited.contains_key(&99));
}

#[test]
fn a_key_of_the_nodes_own_is_refused() {
    let mut net = Net::new(&[3]);
    let incr = || Op::Mutate("c".into(), Mutation::Increment(1));
    assert_eq!(
        net.ask_once(1, incr(), C::Quorum, "a"),
        Ok(Reply::Integer(1))
    );
    let replica = net.cores[&node(1)]
        .replicas
        .values()
        .next()
        .expect("one partition");
    let own = replica
        .keys()
        .map(|(key, _)| key.clone())
        .find(|key| key.starts_with(b"\0request"))
        .expect("it remembers");
    for op in [
        Op::Mutate(own.clone(), Mutation::Increment(5)),
        Op::Mutate(own.clone(), Mutation::Delete),
        Op::Query(own, Query::Get),
    ] {
        assert_eq!(net.ask(2, op, C::Quorum), Err(RequestError::ReservedKey));
    }
    assert_eq!(
        net.ask_once(3, incr(), C::Quorum, "a"),
        Ok(Reply::Integer(1)),
        "still remembered"
    );
}

#[test]
fn a_late_delta_of_a_former_life_does_not_vouch_for_the_new_one() {
    let (old, new) = (ReplicaId::new(node(2), 1), ReplicaId::new(node(2), 2));
    let event = Dot::new(old, 1);
    let context: CausalContext = [event].into_iter().collect();
    let mut replica = Replica::new(ReplicaId::new(node(1), 1));
    let (digest, filling, partial, exact) = (0, false, false, true);
    let seen = Seen {
        place: PLACE,
        replica: new,
        context: CausalContext::new(),
        beyond: CausalContext::new(),
        digest,
        filling,
        partial,
        exact,
        waking: false,
        former: CausalContext::new(),
        to: Some(replica.id()),
        fencing: None,
    };
    replica.hear(node(2), &seen);
    replica.overheard(
        node(2),
        &Delta {
            replica: old,
            context: context.clone(),
            ..Delta::default()
        },
    );
    assert!(
        !replica.knows(node(2), event),
        "the new life has not said so"
    );
    replica.overheard(
        node(2),
        &Delta {
            replica: new,
            context,
            ..Delta::default()
        },
    );
    assert!(replica.knows(node(2), event));
}

#[test]
fn named_increments_of_former_lives_are_folded() {
    let mut net = Net::new(&[2]);
    for life in 0..6_i64 {
        for n in 0..40_i64 {
            let count = life * 40 + n + 1;
            assert_eq!(
                net.ask_once(
                    1,
                    Op::Mutate("c".into(), Mutation::Increment(1)),
                    C::Quorum,
                    &format!("{count}")
                ),
                Ok(Reply::Integer(count))
            );
        }
        net.run(secs(1));
        // Node 1 continues under another id, as after a restart.
        let spent = net
            .cores
            .get_mut(&node(1))
            .and_then(|core| core.replicas.values_mut().next())
            .expect("one partition");
        spent.reincarnate(ReplicaId::new(
            node(1),
            100 + u32::try_from(life).expect("small"),
        ));
    }
    let replica = net.cores[&node(2)]
        .replicas
        .values()
        .next()
        .expect("one partition");
    let entries: Vec<usize> = replica
        .keys()
        .flat_map(|(_, rows)| rows.iter().map(|(_, _, row)| row.len()))
        .collect();
    assert!(
        entries.iter().all(|entries| *entries <= 66 + 6),
        "{:?}",
        entries.iter().max()
    );
    net.run(secs(5));
    net.assert_converged();
    assert_eq!(net.get(2, "c", C::All), Ok(Some("240".into())));
}

#[cfg(feature = "planted-bugs")]
#[test]
fn each_planted_bug_of_bounds_is_noticed() {
    use crate::planted::*;
    super::noticed(&[
        (
            &OUTCOME_UNBOUNDED,
            what_comes_of_a_request_is_bounded_before_anything_is_built,
        ),
        (
            &FLIGHTS_UNWEIGHED,
            requests_in_flight_are_bounded_by_their_bytes,
        ),
        (
            &TICK_BEYOND_BOUND,
            what_waits_for_a_tick_is_within_the_bounds,
        ),
        (
            &RECENT_BOUNDED_BY_PARTITION,
            what_is_remembered_for_others_is_bounded_in_bytes,
        ),
        (
            &HINTS_WAIT_FOR_A_RETURN,
            a_hint_that_comes_late_is_handed_over,
        ),
        (
            &FULL_DISK_KEEPS_ALL,
            a_full_disk_takes_removals_and_nothing_that_grows,
        ),
        (
            &FULL_DISK_TAKES_REPAIRS,
            a_full_disk_takes_removals_and_nothing_that_grows,
        ),
        (&CLEAR_UNSEEN, a_clear_sees_what_its_level_has),
        (
            &REQUESTS_UNDER_CLIENT_KEYS,
            a_key_of_the_nodes_own_is_refused,
        ),
        (
            &FORMER_LIFE_VOUCHES,
            a_late_delta_of_a_former_life_does_not_vouch_for_the_new_one,
        ),
        (
            &FORMER_LIVES_STAY_APART,
            named_increments_of_former_lives_are_folded,
        ),
    ]);
}
