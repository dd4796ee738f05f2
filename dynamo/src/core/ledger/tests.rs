//! What a ledger counts, and what it tells the client when that is not enough.

use quorate_control::quorum::{Group, Verdict};
use quorate_control::topology::Epoch;
use quorate_crdt::NodeId;

use super::{Blame, Ledger};
use crate::consistency::Consistency;
use crate::op::RequestError;
use crate::protocol::Refusal;

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const THREE: NodeId = NodeId(3);
const LATER: Refusal = Refusal::Epoch(Epoch(7));

/// Two of three must answer.
fn two_of_three() -> Ledger {
    let members = vec![ONE, TWO, THREE];
    Ledger::new(vec![Group { members, needed: 2 }]).expect("satisfiable")
}

fn failure(ledger: &Ledger, may_be_applied: bool) -> RequestError {
    ledger.failure(Consistency::Quorum, may_be_applied)
}

#[test]
fn a_client_is_told_who_refused_or_else_who_is_missing_or_else_that_it_cannot_be_done() {
    let mut ledger = two_of_three();
    assert!(matches!(
        failure(&ledger, false),
        RequestError::Unavailable {
            required: 2,
            alive: 0,
            ..
        }
    ));
    assert!(
        matches!(
            failure(&ledger, true),
            RequestError::TimedOut {
                may_be_applied: true,
                ..
            }
        ),
        "what may be applied is never called unavailable"
    );
    ledger.has(ONE);
    ledger.ask(THREE);
    ledger.ask(TWO);
    for may_be_applied in [false, true] {
        assert_eq!(
            failure(&ledger, may_be_applied),
            RequestError::TimedOut {
                level: Consistency::Quorum,
                acked: 1,
                required: 2,
                missing: vec![TWO, THREE],
                may_be_applied,
            }
        );
    }
    ledger.postponed(TWO, LATER);
    assert_eq!(
        failure(&ledger, true),
        RequestError::Refused {
            level: Consistency::Quorum,
            acked: 1,
            required: 2,
            refused: vec![(TWO, LATER)],
            missing: vec![THREE],
            may_be_applied: true,
        }
    );
}

#[test]
fn a_node_that_postpones_its_answer_has_not_failed() {
    let mut ledger = two_of_three();
    ledger.has(ONE);
    for node in [TWO, THREE] {
        ledger.ask(node);
        ledger.postponed(node, LATER);
    }
    assert_eq!(ledger.verdict(), Verdict::Pending);
    assert!(ledger.owing().is_empty(), "they know of it");
    ledger.postponed(ONE, LATER);
    assert!(ledger.has_answered(ONE), "what it has answered stands");
    ledger.lost(TWO);
    assert_eq!(
        (ledger.verdict(), ledger.owing()),
        (Verdict::Pending, vec![TWO])
    );
    assert!(ledger.answered(THREE));
    assert_eq!(ledger.verdict(), Verdict::Reached);
}

#[test]
fn too_many_refusals_decide_and_an_answer_after_all_counts() {
    let mut ledger = two_of_three();
    for node in [ONE, TWO, THREE] {
        ledger.ask(node);
    }
    let blame = |by| Blame {
        by,
        reason: Refusal::DiskFull,
    };
    assert!(ledger.refused(ONE, blame(ONE)));
    assert!(!ledger.refused(ONE, blame(ONE)), "once");
    assert_eq!(ledger.verdict(), Verdict::Pending);
    assert!(ledger.refused(TWO, blame(TWO)));
    assert_eq!(ledger.verdict(), Verdict::Impossible);
    assert!(ledger.answered(TWO) && ledger.answered(THREE));
    assert_eq!(ledger.verdict(), Verdict::Reached);
    assert!(!ledger.answered(NodeId(4)), "it was never asked");
}
