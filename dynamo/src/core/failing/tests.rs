//! What a read that counts two sets of replicas says of them.

use quorate_control::quorum::{Group, Verdict};
use quorate_crdt::NodeId;

use super::{Beside, Ledger, Reading};
use crate::consistency::Consistency;
use crate::op::RequestError;

fn ledger(members: &[u64], needed: usize) -> Ledger {
    let members: Vec<NodeId> = members.iter().map(|node| NodeId(*node)).collect();
    let mut ledger = Ledger::new(vec![Group {
        members: members.clone(),
        needed,
    }])
    .expect("satisfiable");
    for node in members {
        ledger.ask(node);
    }
    ledger
}

#[test]
fn a_read_that_counts_two_sets_blames_the_one_that_is_not_reached() {
    let mut reading = Reading {
        ranges: Vec::new(),
        digest: 0,
        eager: None,
        ledger: ledger(&[1], 1),
        beside: Beside::Later(ledger(&[2, 3], 2)),
        told: Vec::new(),
    };
    let missing = |reading: &Reading| {
        let error = reading.failure(Consistency::Quorum, false);
        let RequestError::TimedOut { missing, .. } = error else {
            panic!("{error:?}")
        };
        missing
    };
    assert_eq!(missing(&reading), [NodeId(1)], "the set that is read");
    assert!(reading.ledger.answered(NodeId(1)));
    assert_eq!(missing(&reading), [NodeId(2), NodeId(3)]);
    assert_eq!(reading.verdict(), Verdict::Pending);
    for node in [2, 3] {
        let later = reading.beside.ledger_mut().expect("a later set");
        assert!(later.answered(NodeId(node)));
    }
    assert_eq!(reading.verdict(), Verdict::Reached);
}
