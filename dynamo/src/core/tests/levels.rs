use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::{KeyspaceId, SplitPolicy};

use super::net::{Net, node, secs, topology};
use crate::consistency::Consistency as C;
use crate::op::{Mutation, Op, Query, Receipt, Reply, Request, RequestError};
use crate::protocol::{Input, Ticket};

#[test]
fn what_a_quorum_wrote_a_quorum_reads_anywhere() {
    let mut net = Net::new(&[1, 1, 1]);
    assert_eq!(net.set(1, "k", "v", C::Quorum), Ok(Reply::Done));
    for at in 1..=3 {
        assert_eq!(net.get(at, "k", C::Quorum), Ok(Some("v".into())));
    }
}

#[test]
fn one_is_answered_by_this_replica_alone() {
    let mut net = Net::new(&[1, 1, 1]);
    net.cut(&[1], &[2, 3]);
    assert_eq!(net.set(1, "k", "v", C::One), Ok(Reply::Done));
    assert_eq!(net.get(1, "k", C::One), Ok(Some("v".into())));
    assert_eq!(net.get(2, "k", C::One), Ok(None), "nothing crossed the cut");
}

#[test]
fn a_silent_replica_makes_all_time_out_and_names_it() {
    let mut net = Net::new(&[1, 1, 1]);
    net.cut(&[3], &[1, 2]);
    assert_eq!(net.set(1, "k", "v", C::Quorum), Ok(Reply::Done));
    let error = net.set(1, "k", "w", C::All).expect_err("n3 is silent");
    assert_eq!(
        error,
        RequestError::TimedOut {
            level: C::All,
            acked: 2,
            required: 3,
            missing: vec![node(3)],
            may_be_applied: true
        }
    );
    assert_eq!(
        net.get(2, "k", C::Quorum),
        Ok(Some("w".into())),
        "it said that the write may be applied, and it is"
    );
}

#[test]
fn a_replica_known_to_be_out_of_reach_fails_at_once_and_applies_nothing() {
    let mut net = Net::new(&[1, 1, 1]);
    net.input(
        node(1),
        Input::Reachable {
            node: node(3),
            up: false,
        },
    );
    let error = net
        .set(1, "k", "w", C::All)
        .expect_err("n3 is out of reach");
    assert_eq!(
        error,
        RequestError::Unavailable {
            level: C::All,
            required: 3,
            alive: 2,
            missing: vec![node(3)]
        }
    );
    assert_eq!(net.get(1, "k", C::One), Ok(None));
    assert_eq!(net.now, Duration::ZERO, "no time passed");
}

#[test]
fn local_levels_count_this_datacenter_only() {
    let mut net = Net::new(&[3, 3, 3]);
    net.cut(&[1, 2, 3], &[4, 5, 6, 7, 8, 9]);
    assert_eq!(net.set(1, "k", "v", C::LocalQuorum), Ok(Reply::Done));
    assert_eq!(net.get(2, "k", C::LocalQuorum), Ok(Some("v".into())));
    assert_eq!(
        net.set(4, "j", "w", C::Quorum),
        Ok(Reply::Done),
        "six of nine are a majority"
    );
    assert!(matches!(
        net.set(1, "j", "x", C::Quorum),
        Err(RequestError::TimedOut {
            acked: 3,
            required: 5,
            ..
        })
    ));
    assert!(matches!(
        net.set(4, "k", "x", C::EachQuorum),
        Err(RequestError::TimedOut {
            may_be_applied: true,
            ..
        })
    ));
}

#[test]
fn a_level_that_can_never_be_satisfied_is_refused() {
    let mut net = Net::new(&[1, 1]);
    assert_eq!(
        net.set(1, "k", "v", C::Three),
        Err(RequestError::Unsatisfiable {
            level: C::Three,
            required: 3,
            replicas: 2
        })
    );
    let numeric = C::Numeric { read: 5, write: 1 };
    assert_eq!(
        net.get(1, "k", numeric),
        Err(RequestError::Unsatisfiable {
            level: numeric,
            required: 5,
            replicas: 2
        })
    );
    assert_eq!(
        net.set(1, "k", "v", numeric),
        Ok(Reply::Done),
        "W=1 is met by this replica"
    );
}

#[test]
fn a_removal_sees_what_a_quorum_acknowledged_elsewhere() {
    let mut net = Net::new(&[1, 1, 1]);
    net.cut(&[3], &[1, 2]);
    let add = |element: &str| Mutation::Add(vec![Bytes::copy_from_slice(element.as_bytes())]);
    assert_eq!(
        net.mutate(1, "s", add("x"), C::Quorum),
        Ok(Reply::Integer(1))
    );
    net.heal();
    // n3 has not seen x. A removal there that looked only at n3 would remove nothing.
    assert_eq!(
        net.mutate(3, "s", Mutation::Remove(vec!["x".into()]), C::Quorum),
        Ok(Reply::Integer(1))
    );
    assert_eq!(
        net.query(1, "s", Query::Members, C::Quorum),
        Ok(Reply::List(vec![]))
    );
    assert_eq!(net.set(1, "k", "v", C::Quorum), Ok(Reply::Done));
    assert_eq!(
        net.mutate(3, "k", Mutation::Delete, C::Quorum),
        Ok(Reply::Integer(1))
    );
    net.run(Duration::from_secs(5));
    assert_eq!(net.get(1, "k", C::Quorum), Ok(None));
    net.assert_converged();
}

#[test]
fn concurrent_increments_add_up() {
    let mut net = Net::new(&[1, 1, 1]);
    net.cut(&[1], &[2, 3]);
    net.cut(&[2], &[3]);
    for at in 1..=3 {
        for _ in 0..10 {
            net.mutate(at, "c", Mutation::Increment(1), C::One)
                .expect("ONE is local");
        }
    }
    net.heal();
    net.run(Duration::from_secs(5));
    net.assert_converged();
    assert_eq!(net.get(2, "c", C::One), Ok(Some("30".into())));
}

#[test]
fn wait_counts_the_replicas_that_know() {
    let mut net = Net::new(&[1, 1, 1]);
    net.cut(&[3], &[1, 2]);
    let ticket = net.submit(1, Op::Mutate("k".into(), Mutation::Increment(1)), C::One);
    let receipt: Receipt = net.replies[&ticket]
        .clone()
        .expect("done")
        .receipt
        .expect("a write");
    net.run(Duration::from_millis(500));
    net.input(
        node(1),
        Input::Wait {
            ticket: Ticket(1001),
            receipts: vec![receipt],
            replicas: 1,
            timeout: Duration::from_secs(1),
        },
    );
    assert_eq!(net.waited.get(&1001), Some(&1), "n2 knows, at once");
    net.input(
        node(1),
        Input::Wait {
            ticket: Ticket(1002),
            receipts: vec![receipt],
            replicas: 2,
            timeout: Duration::from_secs(1),
        },
    );
    net.run(Duration::from_millis(500));
    assert_eq!(net.waited.get(&1002), None, "n3 does not know");
    net.run(Duration::from_millis(600));
    assert_eq!(net.waited.get(&1002), Some(&1));
}

/// A replica is down, and a hundred clients wait for it.
#[test]
fn whoever_waits_for_a_dead_replica_slows_nobody_down() {
    let mut net = Net::new(&[1, 1, 1]);
    net.cut(&[3], &[1, 2]);
    for client in 0..100 {
        let increment = Op::Mutate(format!("k{client}").into(), Mutation::Increment(1));
        let ticket = net.submit(1, increment, C::One);
        let answer = net.replies[&ticket].clone().expect("done");
        let wait = Input::Wait {
            ticket: Ticket(1000 + client),
            receipts: answer.receipt.into_iter().collect(),
            replicas: 2,
            timeout: Duration::from_secs(30),
        };
        net.input(node(1), wait);
    }
    net.settle();
    let looked = |net: &Net| net.cores[&node(1)].counters().waits_looked_at;
    let before = looked(&net);
    assert!(before >= 100, "each of them, once at least");
    net.set(1, "other", "v", C::Quorum).expect("two of three");
    assert_eq!(looked(&net), before, "nobody waits for that");
    assert!(net.waited.is_empty());
    net.heal();
    net.run(Duration::from_secs(10));
    assert_eq!(net.waited.len(), 100);
    assert!(net.waited.values().all(|replicas| *replicas == 2));
}

#[test]
fn siblings_stay_until_a_token_covers_them() {
    let mut net = Net::new(&[1, 1]);
    net.cut(&[1], &[2]);
    net.set(1, "k", "a", C::One).expect("local");
    net.set(2, "k", "b", C::One).expect("local");
    net.heal();
    net.run(Duration::from_secs(5));
    let Ok(Reply::Siblings { token, values }) = net.query(1, "k", Query::Siblings, C::All) else {
        panic!("siblings")
    };
    assert_eq!(values.len(), 2);
    net.mutate(
        1,
        "k",
        Mutation::SetWith {
            value: "c".into(),
            token,
        },
        C::All,
    )
    .expect("both are there");
    let Ok(Reply::Siblings { values, .. }) = net.query(2, "k", Query::Siblings, C::All) else {
        panic!("siblings")
    };
    assert_eq!(values, vec![Bytes::from("c")]);
    assert_eq!(
        net.mutate(
            1,
            "k",
            Mutation::SetWith {
                value: "d".into(),
                token: "junk".into()
            },
            C::All
        ),
        Err(RequestError::BadToken)
    );
}

/// Tells a node whether it reaches others.
fn sees(net: &mut Net, at: u64, others: &[u64], up: bool) {
    for &other in others {
        let other = node(other);
        net.input(node(at), Input::Reachable { node: other, up });
    }
}

#[test]
fn a_keyspace_that_is_read_only_in_the_minority_takes_no_writes_there() {
    let mut topology = topology(&[2, 1]);
    let keyspace = topology.keyspaces.get_mut(&KeyspaceId(0)).unwrap();
    keyspace.split = SplitPolicy::ReadOnlyInMinority;
    let mut net = Net::of(topology);
    net.set(3, "k", "v", C::All).expect("healthy");
    net.cut(&[3], &[1, 2]);
    sees(&mut net, 3, &[1, 2], false);
    sees(&mut net, 1, &[3], false);
    let refused = RequestError::ReadOnly {
        reached: 1,
        voters: 3,
    };
    assert_eq!(net.set(3, "k", "w", C::One), Err(refused.clone()));
    assert_eq!(
        net.mutate(3, "c", Mutation::Increment(1), C::LocalOne),
        Err(refused.clone())
    );
    assert!(!refused.may_be_applied());
    assert_eq!(net.get(3, "k", C::One), Ok(Some("v".into())), "reads go on");
    assert_eq!(net.set(1, "k", "x", C::One), Ok(Reply::Done));
    net.heal();
    sees(&mut net, 3, &[1], true);
    sees(&mut net, 1, &[3], true);
    net.run(secs(5));
    assert_eq!(net.get(3, "k", C::One), Ok(Some("x".into())));
    assert_eq!(net.set(3, "k", "y", C::One), Ok(Reply::Done));
}

#[test]
fn by_default_both_sides_of_a_split_write() {
    let mut net = Net::new(&[2, 1]);
    net.cut(&[3], &[1, 2]);
    sees(&mut net, 3, &[1, 2], false);
    assert_eq!(net.set(3, "k", "w", C::One), Ok(Reply::Done));
}

/// A keyspace says at which level its requests are executed that name none.
#[test]
fn a_request_without_a_level_has_that_of_its_keyspace() {
    for (read, write) in [("ONE", "QUORUM"), ("QUORUM", "ONE")] {
        let mut net = Net::new(&[3]);
        net.set_topology(|topology| {
            let keyspace = topology.keyspaces.get_mut(&KeyspaceId(0)).expect("default");
            (keyspace.read, keyspace.write) = (read.into(), write.into());
        });
        net.run(Duration::from_secs(2));
        net.cut(&[1], &[2, 3]);
        let increment = Op::Mutate("k".into(), Mutation::Increment(1));
        let query = Op::Query("k".into(), Query::Get);
        for (ticket, op, level) in [(901, query, read), (902, increment, write)] {
            let request = Request {
                keyspace: KeyspaceId(0),
                op,
                consistency: None,
                timeout: net.timeout,
                datacenter: "dc1".into(),
                id: None,
                claim: None,
            };
            let ticket = Ticket(ticket);
            net.input(node(1), Input::Request { ticket, request });
            let outcome = net.answer(ticket.0);
            assert_eq!(outcome.is_ok(), level == "ONE", "{level}: {outcome:?}");
        }
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn each_planted_bug_of_levels_is_noticed() {
    use crate::planted::*;
    super::noticed(&[(
        &MINORITY_WRITES,
        a_keyspace_that_is_read_only_in_the_minority_takes_no_writes_there,
    )]);
}
