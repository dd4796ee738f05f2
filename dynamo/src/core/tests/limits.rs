use std::time::Duration;

use bytes::Bytes;
use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};

use super::net::{Net, node};
use crate::consistency::Consistency as C;
use crate::op::{
    Mutation, Query, Reply, RequestError, SIBLINGS_MAX, TOKEN_BYTES_MAX, VALUE_BYTES_MAX,
};

fn add(net: &mut Net, key: &str, by: i64) -> Result<Reply, RequestError> {
    net.mutate(1, key, Mutation::Increment(by), C::Quorum)
}

#[test]
fn a_counter_is_refused_for_its_sum_and_not_for_a_share() {
    let mut net = Net::new(&[3]);
    net.set(1, "down", "10", C::Quorum).expect("healthy");
    assert_eq!(
        add(&mut net, "down", i64::MIN),
        Ok(Reply::Integer(i64::MIN + 10))
    );
    assert_eq!(add(&mut net, "down", -1), Ok(Reply::Integer(i64::MIN + 9)));
    assert_eq!(add(&mut net, "down", -10), Err(RequestError::Overflow));
    net.set(1, "up", &i64::MIN.to_string(), C::Quorum)
        .expect("healthy");
    assert_eq!(add(&mut net, "up", i64::MAX), Ok(Reply::Integer(-1)));
    assert_eq!(add(&mut net, "up", 1), Ok(Reply::Integer(0)));
    assert_eq!(add(&mut net, "up", i64::MAX), Ok(Reply::Integer(i64::MAX)));
    assert_eq!(add(&mut net, "up", 1), Err(RequestError::Overflow));
    assert_eq!(
        net.get(3, "down", C::Quorum),
        Ok(Some((i64::MIN + 9).to_string()))
    );
    net.run(Duration::from_secs(5));
    net.assert_converged();
}

#[test]
fn a_counter_that_a_split_pushed_out_of_range_comes_back() {
    let mut net = Net::new(&[2]);
    net.cut(&[1], &[2]);
    for at in 1..=2 {
        net.mutate(at, "c", Mutation::Increment(i64::MAX), C::One)
            .expect("local");
    }
    net.heal();
    net.run(Duration::from_secs(5));
    let both = i128::from(i64::MAX) * 2;
    assert_eq!(
        net.get(1, "c", C::All),
        Ok(Some(both.to_string())),
        "the exact number"
    );
    assert_eq!(
        net.mutate(1, "c", Mutation::Increment(1), C::All),
        Err(RequestError::Overflow)
    );
    assert_eq!(
        net.mutate(2, "c", Mutation::Increment(-1), C::All),
        Ok(Reply::Integer(i64::MAX)),
        "the end of the range it lies beyond"
    );
    assert_eq!(
        net.mutate(2, "c", Mutation::Increment(-i64::MAX), C::All),
        Ok(Reply::Integer(i64::MAX - 1))
    );
    assert_eq!(
        net.get(1, "c", C::All),
        Ok(Some((i64::MAX - 1).to_string()))
    );
}

/// G2-OVERSIZE-APPEND.
#[test]
fn append_ends_at_the_longest_value() {
    let mut net = Net::new(&[3]);
    let part = Bytes::from(vec![b'x'; 4_000_000]);
    for n in 1..=4 {
        assert_eq!(
            net.mutate(1, "big", Mutation::Append(part.clone()), C::Quorum),
            Ok(Reply::Integer(n * 4_000_000))
        );
    }
    let too_large = RequestError::TooLarge {
        bytes: 20_000_000,
        max: VALUE_BYTES_MAX as u64,
    };
    for at in 1..=3 {
        assert_eq!(
            net.mutate(at, "big", Mutation::Append(part.clone()), C::Quorum),
            Err(too_large.clone())
        );
        assert_eq!(
            net.query(at, "big", Query::Length, C::Quorum),
            Ok(Reply::Integer(16_000_000)),
            "nothing was applied"
        );
    }
    net.run(Duration::from_secs(3));
    net.assert_converged();
}

/// G2-SIBLINGS.
#[test]
fn siblings_are_bounded_and_a_set_cleans_up() {
    let mut net = Net::new(&[3]);
    net.set(1, "k", "first", C::Quorum).expect("healthy");
    let Ok(Reply::Siblings { token, .. }) = net.query(1, "k", Query::Siblings, C::Quorum) else {
        panic!("siblings")
    };
    let with = |token: &Bytes, value: String| Mutation::SetWith {
        value: value.into(),
        token: token.clone(),
    };
    for n in 0..SIBLINGS_MAX as u64 {
        net.mutate(1 + n % 3, "k", with(&token, n.to_string()), C::Quorum)
            .expect("within the bound");
    }
    for n in 0..500 {
        let refused = net.mutate(1 + n % 3, "k", with(&token, n.to_string()), C::Quorum);
        assert!(
            matches!(refused, Err(RequestError::Siblings { count: 101, .. })),
            "{refused:?}"
        );
    }
    let Ok(Reply::Siblings { token, values }) = net.query(2, "k", Query::Siblings, C::Quorum)
    else {
        panic!("siblings")
    };
    assert_eq!(values.len(), SIBLINGS_MAX);
    net.mutate(3, "k", with(&token, "resolved".into()), C::Quorum)
        .expect("it has seen them all");
    assert_eq!(net.get(1, "k", C::Quorum), Ok(Some("resolved".into())));
    let large = "y".repeat(4_000_000);
    let none = Bytes::new();
    let outcomes: Vec<_> = (0..20)
        .map(|_| {
            net.mutate(1, "large", with(&none, large.clone()), C::Quorum)
                .is_ok()
        })
        .collect();
    assert_eq!(
        outcomes.iter().filter(|done| **done).count(),
        4,
        "four of four million bytes"
    );
    net.set(2, "large", "done", C::Quorum)
        .expect("without a token");
    net.run(Duration::from_secs(3));
    net.assert_converged();
    assert_eq!(
        net.query(3, "large", Query::Length, C::One),
        Ok(Reply::Integer(4))
    );
    assert_eq!(net.cores[&node(1)].summaries()[0].rows, 2);
}

fn siblings(net: &mut Net, at: u64, level: C) -> (Bytes, Vec<Bytes>) {
    let Ok(Reply::Siblings { token, values }) = net.query(at, "k", Query::Siblings, level) else {
        panic!("siblings")
    };
    (token, values)
}

/// Nodes 1 and 2 have what the token covers; node 3 executes.
#[test]
fn what_a_token_covers_goes_through_whichever_node() {
    let mut net = Net::new(&[3]);
    net.cut(&[3], &[1, 2]);
    net.set(1, "k", "old", C::Quorum).expect("two of three");
    let (token, _) = siblings(&mut net, 1, C::Quorum);
    net.drop_all();
    net.heal();
    let with = |value: &'static str| Mutation::SetWith {
        value: value.into(),
        token: token.clone(),
    };
    assert_eq!(
        net.mutate(3, "k", with("at once"), C::One),
        Err(RequestError::Unseen),
        "n3 alone has not seen it"
    );
    assert_eq!(net.mutate(3, "k", with("new"), C::Quorum), Ok(Reply::Done));
    assert_eq!(siblings(&mut net, 2, C::Quorum).1, ["new"]);
    net.run(Duration::from_secs(5));
    net.assert_converged();
    assert_eq!(siblings(&mut net, 1, C::All).1, ["new"]);
}

/// Only node 1 has what the token covers.
#[test]
fn a_write_is_refused_while_its_level_has_not_seen_what_its_token_covers() {
    let mut net = Net::new(&[3]);
    net.set(1, "k", "first", C::All).expect("healthy");
    net.cut(&[1], &[2, 3]);
    net.set(1, "k", "second", C::One).expect("local");
    let (token, _) = siblings(&mut net, 1, C::One);
    let third = Mutation::SetWith {
        value: "third".into(),
        token,
    };
    assert_eq!(
        net.mutate(3, "k", third.clone(), C::Quorum),
        Err(RequestError::Unseen)
    );
    assert_eq!(
        siblings(&mut net, 2, C::Quorum).1,
        ["first"],
        "nothing was applied"
    );
    net.heal();
    net.run(Duration::from_secs(5));
    assert_eq!(net.mutate(3, "k", third, C::Quorum), Ok(Reply::Done));
    assert_eq!(siblings(&mut net, 1, C::All).1, ["third"]);
    let mut events = CausalContext::new();
    events.insert_run(ReplicaId::new(node(77), 1), 1, u64::MAX >> 1);
    let mut token = vec![1];
    token.extend(postcard::to_stdvec(&events).expect("a context"));
    let with = Mutation::SetWith {
        value: "fourth".into(),
        token: token.into(),
    };
    assert_eq!(
        net.mutate(2, "k", with, C::All),
        Err(RequestError::Unseen),
        "and no time is spent on the events that it names"
    );
}

/// n3 has missed a hash of 30 MB, and nothing has been streamed to it yet.
fn one_lacks_a_large_key() -> Net {
    let mut net = Net::new(&[3]);
    net.cut(&[3], &[1, 2]);
    let value = Bytes::from(vec![b'v'; 1 << 20]);
    for part in 0..30 {
        let fields = vec![(part.to_string().into(), value.clone())];
        net.mutate(1, "h", Mutation::SetFields(fields), C::Quorum)
            .expect("two of three");
    }
    net.drop_all();
    net.heal();
    net
}

#[test]
fn a_large_key_is_read_and_removed_where_a_replica_has_missed_it() {
    let entries = |answer: Result<Reply, RequestError>| match answer {
        Ok(Reply::Pairs(pairs)) => pairs.len(),
        other => panic!("{other:?}"),
    };
    let mut net = one_lacks_a_large_key();
    assert_eq!(
        entries(net.query(3, "h", Query::Entries, C::Quorum)),
        30,
        "through the one that lacks it"
    );
    let mut net = one_lacks_a_large_key();
    assert_eq!(
        entries(net.query(1, "h", Query::Entries, C::All)),
        30,
        "with the one that lacks it"
    );
    let mut net = one_lacks_a_large_key();
    assert_eq!(
        net.mutate(3, "h", Mutation::Delete, C::Quorum),
        Ok(Reply::Integer(1))
    );
    net.run(Duration::from_secs(5));
    assert_eq!([1, 2, 3].map(|at| net.summary(at).rows), [0; 3]);
}

/// A forged token of 16 MiB took a shard two seconds to read.
#[test]
fn a_token_that_no_read_gives_is_not_read() {
    let mut net = Net::new(&[1]);
    let seen: CausalContext = (1..)
        .step_by(2)
        .take(TOKEN_BYTES_MAX)
        .map(|counter| Dot::new(ReplicaId::new(NodeId(9), 1), counter))
        .collect();
    let mut token = vec![1];
    token.extend(postcard::to_stdvec(&seen).unwrap());
    let set_with = |token: Bytes| Mutation::SetWith {
        value: "v".into(),
        token,
    };
    let refused = net.mutate(1, "k", set_with(token.into()), C::One);
    assert_eq!(refused, Err(RequestError::BadToken));
    let (token, _) = siblings(&mut net, 1, C::One);
    assert!(net.mutate(1, "k", set_with(token), C::One).is_ok());
}

#[cfg(feature = "planted-bugs")]
#[test]
fn each_planted_bug_of_limits_is_noticed() {
    use crate::planted::*;
    super::noticed(&[
        (
            &RANGES_FIT_A_FRAME,
            a_large_key_is_read_and_removed_where_a_replica_has_missed_it,
        ),
        (
            &SHARE_OVERFLOW,
            a_counter_is_refused_for_its_sum_and_not_for_a_share,
        ),
        (&APPEND_UNBOUNDED, append_ends_at_the_longest_value),
        (&TOKEN_UNBOUNDED, a_token_that_no_read_gives_is_not_read),
        (
            &SIBLINGS_UNBOUNDED,
            siblings_are_bounded_and_a_set_cleans_up,
        ),
        (
            &TOKEN_UNSEEN,
            a_write_is_refused_while_its_level_has_not_seen_what_its_token_covers,
        ),
        (
            &TOKEN_UNSEEN,
            what_a_token_covers_goes_through_whichever_node,
        ),
    ]);
}
