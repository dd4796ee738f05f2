use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn group(members: &[u64], needed: usize) -> Group {
    Group {
        members: members.iter().map(|&n| NodeId(n)).collect(),
        needed,
    }
}

fn nodes(members: &[u64]) -> Vec<NodeId> {
    members.iter().map(|&n| NodeId(n)).collect()
}

#[test]
fn a_majority_of_three_is_two() {
    let mut tally = Tally::new(&[group(&[1, 2, 3], majority(3))]).unwrap();
    assert_eq!(tally.ack(NodeId(1)), Verdict::Pending);
    assert_eq!((tally.acked(), tally.required()), (1, 2));
    assert_eq!(tally.missing(), nodes(&[2, 3]));
    assert_eq!(
        tally.ack(NodeId(1)),
        Verdict::Pending,
        "a second answer of one node counts once"
    );
    assert_eq!(
        tally.ack(NodeId(9)),
        Verdict::Pending,
        "a stranger's answer does not count"
    );
    assert_eq!(tally.fail(NodeId(2)), Verdict::Pending);
    assert_eq!(tally.silent().collect::<Vec<_>>(), nodes(&[3]));
    assert_eq!(tally.ack(NodeId(3)), Verdict::Reached);
}

#[test]
fn two_failures_of_three_leave_no_majority() {
    let mut tally = Tally::new(&[group(&[1, 2, 3], 2)]).unwrap();
    assert_eq!(tally.fail(NodeId(1)), Verdict::Pending);
    assert_eq!(tally.fail(NodeId(2)), Verdict::Impossible);
    assert_eq!(
        tally.ack(NodeId(1)),
        Verdict::Impossible,
        "the first answer of a node stands"
    );
}

#[test]
fn a_move_needs_both_sets() {
    let mut tally = Tally::new(&[group(&[1, 2, 3], 2), group(&[2, 3, 4], 2)]).unwrap();
    assert_eq!(tally.ack(NodeId(1)), Verdict::Pending);
    assert_eq!(
        tally.ack(NodeId(2)),
        Verdict::Pending,
        "the old set has two answers, the new one only one"
    );
    assert_eq!((tally.acked(), tally.required()), (1, 2));
    assert_eq!(tally.ack(NodeId(4)), Verdict::Reached);
    assert_eq!(tally.missing(), nodes(&[3]));
}

#[test]
fn more_than_there_are_is_refused() {
    assert_eq!(
        Tally::new(&[group(&[1, 2, 2], 3)]).unwrap_err(),
        Unsatisfiable {
            needed: 3,
            members: 2
        }
    );
    assert_eq!(
        Tally::new(&[group(&[], majority(0))]).unwrap_err(),
        Unsatisfiable {
            needed: 1,
            members: 0
        }
    );
}

#[test]
fn nothing_needed_is_reached_at_once() {
    assert_eq!(Tally::new(&[]).unwrap().verdict(), Verdict::Reached);
    assert_eq!(
        Tally::new(&[group(&[1], 0)]).unwrap().fail(NodeId(1)),
        Verdict::Reached
    );
}

fn groups() -> impl Strategy<Value = Vec<Group>> {
    let group = (prop::collection::btree_set(0u64..10, 1..8), 0usize..8);
    let group = group.prop_map(|(members, needed)| Group {
        needed: needed.min(members.len()),
        members: members.into_iter().map(NodeId).collect(),
    });
    prop::collection::vec(group, 0..4)
}

/// How many members of the group are in the set.
fn count(set: &BTreeSet<NodeId>, group: &Group) -> usize {
    group.members.iter().filter(|n| set.contains(n)).count()
}

/// The definition of a verdict.
fn counted(groups: &[Group], acked: &BTreeSet<NodeId>, failed: &BTreeSet<NodeId>) -> Verdict {
    let lost = |group: &Group| group.members.len() - count(failed, group) < group.needed;
    if groups.iter().any(lost) {
        Verdict::Impossible
    } else if groups.iter().all(|g| count(acked, g) >= g.needed) {
        Verdict::Reached
    } else {
        Verdict::Pending
    }
}

proptest! {
    /// The tally against its definition, recounted from scratch after each answer.
    #[test]
    fn agrees_with_counting_from_scratch(
        groups in groups(),
        answers in prop::collection::vec((0u64..12, any::<bool>()), 0..30),
    ) {
        let mut tally = Tally::new(&groups).unwrap();
        let (mut acked, mut failed) = (BTreeSet::new(), BTreeSet::new());
        for (node, ack) in answers {
            let node = NodeId(node);
            if !acked.contains(&node) && !failed.contains(&node) {
                if ack { acked.insert(node) } else { failed.insert(node) };
            }
            let verdict = if ack { tally.ack(node) } else { tally.fail(node) };
            prop_assert_eq!(verdict, counted(&groups, &acked, &failed));
        }
        let members = groups.iter().flat_map(|g| g.members.iter().copied());
        let missing: BTreeSet<_> = members.filter(|n| !acked.contains(n)).collect();
        let silent: Vec<_> = missing.difference(&failed).copied().collect();
        prop_assert_eq!(tally.missing(), missing.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(tally.silent().collect::<Vec<_>>(), silent);
    }
}
