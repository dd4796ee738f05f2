//! Removals of what is already gone on the executing node, and answers about large keys.

use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::Partition;

use super::net::{Net, START_UNIX_MILLIS, node, secs};
use crate::consistency::Consistency as C;
use crate::op::{Expiry, Mutation, Op, PartitionOp, Query, Reply, RequestError, SetExpiry};
use crate::protocol::Input;

/// Three nodes that know each other's time.
fn three() -> Net {
    let mut net = Net::new(&[3]);
    net.run(secs(2));
    net
}

/// A request whose write reaches no other node: it may be applied.
fn applied_here_alone(net: &mut Net, at: u64, op: Op, id: Option<&str>) {
    let ticket = match id {
        Some(id) => net.submit_once(at, op, C::Quorum, id),
        None => net.submit(at, op, C::Quorum),
    };
    net.cut_off_before_writes(at);
    assert!(
        net.answer(ticket)
            .is_err_and(|error| RequestError::may_be_applied(&error))
    );
    net.drop_all();
    net.heal();
}

fn remove(names: &[&'static str]) -> Mutation {
    Mutation::Remove(names.iter().map(|name| Bytes::from(*name)).collect())
}

#[test]
fn what_is_gone_here_is_removed_at_the_level_of_who_asks_again() {
    let delete = || Op::Mutate("k".into(), Mutation::Delete);
    let clear = Op::Partition(Partition(0), PartitionOp::Clear);
    let again: [(Op, Option<&str>); 4] = [
        (delete(), None),
        (delete(), Some("n")),
        (Op::Mutate("k".into(), Mutation::GetDelete), None),
        (clear, None),
    ];
    for (op, id) in again {
        let mut net = three();
        net.set(1, "k", "v", C::All).expect("healthy");
        net.run(secs(2));
        applied_here_alone(&mut net, 1, delete(), None);
        let answer = match id {
            Some(id) => net.ask_once(1, op.clone(), C::Quorum, id),
            None => net.ask(1, op.clone(), C::Quorum),
        };
        assert!(answer.is_ok(), "{answer:?}");
        net.cut(&[1], &[2, 3]);
        assert_eq!(
            net.get(2, "k", C::Quorum),
            Ok(None),
            "{op:?} was acknowledged"
        );
    }
    let mut net = three();
    net.mutate(
        1,
        "s",
        Mutation::Add(["a", "b", "c"].map(Bytes::from).to_vec()),
        C::All,
    )
    .expect("healthy");
    net.run(secs(2));
    applied_here_alone(&mut net, 1, Op::Mutate("s".into(), remove(&["a"])), None);
    net.mutate(1, "s", remove(&["a", "b"]), C::Quorum)
        .expect("healthy");
    net.cut(&[1], &[2, 3]);
    assert_eq!(
        net.query(2, "s", Query::Members, C::Quorum),
        Ok(Reply::List(vec!["c".into()]))
    );
}

#[test]
fn a_removal_acknowledged_when_asked_again_is_seen_by_a_read_of_a_large_set() {
    let mut net = three();
    let elements: Vec<Bytes> = (0..3000)
        .map(|n| Bytes::from(format!("element-{n:06}")))
        .collect();
    net.mutate(1, "s", Mutation::Add(elements.clone()), C::All)
        .expect("healthy");
    net.run(secs(2));
    let removal = || Op::Mutate("s".into(), Mutation::Remove(vec![elements[7].clone()]));
    applied_here_alone(&mut net, 3, removal(), Some("n"));
    // n2 is the nearest, and n1 hears nothing of it.
    net.input(
        node(3),
        Input::RoundTrip {
            node: node(2),
            rtt: Duration::from_millis(1),
        },
    );
    net.cut(&[3], &[1]);
    net.ask_once(3, removal(), C::Quorum, "n")
        .expect("n3 and n2");
    net.cut(&[3], &[2]);
    let Ok(Reply::List(members)) = net.query(1, "s", Query::Members, C::Quorum) else {
        panic!("a set")
    };
    assert!(
        !members.contains(&elements[7]),
        "n2 has it from the second try, as what is known of one row"
    );
}

#[test]
fn what_keeps_an_expiry_sees_one_that_this_replica_has_missed() {
    for keeps in [true, false] {
        let mut net = three();
        net.set(1, "k", "v", C::All).expect("healthy");
        net.run(secs(1));
        net.cut(&[1], &[2, 3]);
        net.mutate(
            2,
            "k",
            Mutation::ExpireAt(START_UNIX_MILLIS + 3_600_000),
            C::Quorum,
        )
        .expect("n2 and n3");
        let Ok(Reply::Siblings { token, .. }) = net.query(2, "k", Query::Siblings, C::Quorum)
        else {
            panic!("siblings")
        };
        net.drop_all();
        net.heal();
        let keep = Mutation::Set {
            value: "w".into(),
            expiry: SetExpiry::Keep,
        };
        let mutation = if keeps {
            keep
        } else {
            Mutation::SetWith {
                value: "w".into(),
                token,
            }
        };
        net.mutate(1, "k", mutation, C::Quorum).expect("healthy");
        net.run(secs(2));
        let expiry = net.query(3, "k", Query::Expiry, C::All);
        assert_eq!(
            expiry,
            Ok(Reply::Expiry(Expiry::At(START_UNIX_MILLIS + 3_600_000))),
            "KEEPTTL {keeps}"
        );
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn each_planted_bug_of_known_here_is_noticed() {
    use crate::planted;
    super::noticed(&[
        (
            &planted::GONE_HERE_IS_GONE,
            what_is_gone_here_is_removed_at_the_level_of_who_asks_again,
        ),
        (
            &planted::RESIDUALS_UNSAID,
            a_removal_acknowledged_when_asked_again_is_seen_by_a_read_of_a_large_set,
        ),
        (
            &planted::KEPT_UNSEEN,
            what_keeps_an_expiry_sees_one_that_this_replica_has_missed,
        ),
    ]);
}
