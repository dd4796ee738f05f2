use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_control::topology::{ClusterId, Epoch, NodeInfo, Timing};
use quorate_dynamo::Consistency;

use super::*;

fn topology() -> Topology {
    let node = |name: &str, datacenter: &str| NodeInfo {
        name: Arc::from(name),
        datacenter: Arc::from(datacenter),
        rack: Arc::from("r1"),
        quic: "127.0.0.1:1".into(),
        key: quorate_crdt::PublicKey([0; 32]),
        next_key: None,
        voter: true,
        witness: false,
    };
    let nodes = BTreeMap::from([
        (NodeId(1), node("a", "east")),
        (NodeId(2), node("b", "west")),
    ]);
    Topology {
        cluster: ClusterId(1),
        epoch: Epoch(1),
        nodes,
        keyspaces: BTreeMap::new(),
        users: BTreeMap::new(),
        timing: Timing::default(),
    }
}

fn line(error: &RequestError, writes: bool) -> String {
    request_error(
        error,
        Extent {
            writes,
            keys: 1,
            applied: 0,
            unknown: 0,
        },
        &topology(),
    )
}

#[test]
fn an_unreachable_level_names_the_missing_and_says_that_nothing_was_applied() {
    let missing = vec![NodeId(2), NodeId(9)];
    let error = RequestError::Unavailable {
        level: Consistency::Quorum,
        required: 2,
        alive: 1,
        missing,
    };
    let text = "NOTQUORATE QUORUM needs 2 replicas, 1 can be reached; missing b@west, n9";
    assert_eq!(line(&error, true), format!("{text}; nothing was applied"));
    assert_eq!(line(&error, false), text);
    let error = RequestError::Unsatisfiable {
        level: Consistency::All,
        required: 3,
        replicas: 1,
    };
    assert_eq!(
        line(&error, true),
        "NOTQUORATE ALL needs 3 replicas, the keyspace has 1; nothing was applied"
    );
}

#[test]
fn a_timeout_says_what_is_now_true() {
    let timed_out = |may_be_applied| RequestError::TimedOut {
        level: Consistency::Two,
        acked: 1,
        required: 2,
        missing: vec![NodeId(2)],
        may_be_applied,
    };
    let text = "TIMEOUT TWO: 1 of 2 replicas answered in time; missing b@west";
    assert_eq!(
        line(&timed_out(true), true),
        format!("{text}; the write may have been applied")
    );
    assert_eq!(
        line(&timed_out(false), true),
        format!("{text}; nothing was applied")
    );
    assert_eq!(line(&timed_out(false), false), text);
}

#[test]
fn a_refusal_names_who_refused_and_why() {
    let error = RequestError::Refused {
        level: Consistency::All,
        acked: 1,
        required: 3,
        refused: vec![(NodeId(2), Refusal::DiskFull)],
        missing: vec![NodeId(1)],
        may_be_applied: true,
    };
    let text = "REFUSED ALL: 1 of 3 replicas did their part; b@west: its disk is full; missing a@east; the write may have been applied";
    assert_eq!(line(&error, true), text);
    let dropped = "ERR the keyspace was dropped meanwhile; the write may have been applied; it is erased with the keyspace";
    assert_eq!(line(&RequestError::KeyspaceDropped, true), dropped);
}

#[test]
fn an_error_of_one_key_of_several_does_not_speak_for_the_others() {
    let told = |applied, unknown| {
        let extent = Extent {
            writes: true,
            keys: 41,
            applied,
            unknown,
        };
        request_error(&RequestError::Overloaded, extent, &topology())
    };
    let text = "OVERLOADED the node has too much to do";
    assert_eq!(
        told(11, 29),
        format!("{text}; 11 of 41 keys were applied, 29 may have been applied, 1 was not")
    );
    assert_eq!(
        told(11, 30),
        format!("{text}; 11 of 41 keys were applied, 30 may have been applied")
    );
    assert_eq!(
        told(39, 0),
        format!("{text}; 39 of 41 keys were applied, 2 were not")
    );
    assert_eq!(
        told(0, 1),
        format!("{text}; 0 of 41 keys were applied, 1 may have been applied, 40 were not")
    );
    assert_eq!(told(0, 0), format!("{text}; nothing was applied"));
}

#[test]
fn redis_words() {
    assert_eq!(
        line(&RequestError::WrongKind, true),
        "WRONGTYPE Operation against a key holding the wrong kind of value"
    );
    assert_eq!(
        line(&RequestError::NotAnInteger, true),
        "ERR value is not an integer or out of range"
    );
    assert_eq!(
        line(&RequestError::Overflow, true),
        "ERR increment or decrement would overflow"
    );
    assert_eq!(
        line(&RequestError::DiskFull, true),
        "OOM the disk of the node is full; nothing was applied"
    );
    assert_eq!(
        line(&RequestError::Stopping, true),
        "STOPPING the node is stopping; the write may have been applied"
    );
    assert_eq!(
        Refused::NoAuth.to_string(),
        "NOAUTH Authentication required."
    );
}
