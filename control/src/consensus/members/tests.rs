use std::sync::Arc;

use super::*;
use crate::topology::{ClusterId, Epoch, NodeInfo, Timing};

fn set(nodes: &[u64]) -> BTreeSet<NodeId> {
    nodes.iter().copied().map(NodeId).collect()
}

/// A topology of `nodes`, of which `voters` should vote.
fn topology(nodes: &[u64], voters: &[u64]) -> Topology {
    let name: Arc<str> = "n".into();
    let info = |node: u64| NodeInfo {
        name: Arc::clone(&name),
        datacenter: Arc::clone(&name),
        rack: Arc::clone(&name),
        quic: "127.0.0.1:1".into(),
        key: quorate_crdt::PublicKey([node as u8; 32]),
        next_key: None,
        voter: voters.contains(&node),
        witness: false,
    };
    Topology {
        cluster: ClusterId(1),
        epoch: Epoch(1),
        nodes: nodes
            .iter()
            .map(|&node| (NodeId(node), info(node)))
            .collect(),
        keyspaces: BTreeMap::new(),
        users: BTreeMap::new(),
        timing: Timing::default(),
    }
}

/// A leader's view of a group of `members`, all of whom answer and have caught up.
fn seen(members: &[u64], voters: &[u64]) -> Seen {
    Seen {
        leads: true,
        members: set(members),
        voters: set(voters),
        joint: false,
        answer: set(members),
        caught_up: set(members),
    }
}

fn without(from: &BTreeSet<NodeId>, node: u64) -> BTreeSet<NodeId> {
    from.iter()
        .copied()
        .filter(|&other| other.0 != node)
        .collect()
}

/// The next step in words.
fn step(seen: &Seen, topology: &Topology) -> String {
    in_words(next_change(seen, &Attendance::Everybody.wanted(topology)))
}

/// The next step in words, for a group of the voters alone.
fn step_of_voters(seen: &Seen, topology: &Topology) -> String {
    in_words(next_change(seen, &Attendance::Voters.wanted(topology)))
}

fn in_words(next: Next) -> String {
    match next {
        Next::Change(ChangeMembers::AddNodes(nodes)) => format!("add {}", list(nodes.keys())),
        Next::Change(ChangeMembers::RemoveNodes(nodes)) => format!("remove {}", list(&nodes)),
        Next::Change(ChangeMembers::ReplaceAllVoters(nodes)) => format!("vote {}", list(&nodes)),
        Next::Change(other) => panic!("{other}"),
        Next::Wait => "wait".to_owned(),
        Next::Settled => "settled".to_owned(),
    }
}

fn list<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> String {
    let words: Vec<_> = nodes.into_iter().map(|node| node.0.to_string()).collect();
    words.join(" ")
}

#[test]
fn a_newcomer_becomes_a_learner_and_then_a_voter() {
    let wanted = topology(&[1, 2, 3], &[1, 2, 3]);
    assert_eq!(step(&seen(&[1, 2], &[1]), &wanted), "add 3");
    assert_eq!(step(&seen(&[1, 2, 3], &[1]), &wanted), "vote 1 2 3");
    assert_eq!(step(&seen(&[1, 2, 3], &[1, 2, 3]), &wanted), "settled");
    let follower = Seen {
        leads: false,
        ..seen(&[1, 2], &[1])
    };
    assert_eq!(step(&follower, &wanted), "settled", "the leader does it");
}

#[test]
fn a_node_that_does_not_answer_or_lags_is_not_made_a_voter() {
    let wanted = topology(&[1, 2, 3, 4], &[1, 2, 4]);
    let all = seen(&[1, 2, 3, 4], &[1, 2, 3]);
    assert_eq!(step(&all, &wanted), "vote 1 2 4");
    let silent = Seen {
        answer: without(&all.answer, 4),
        ..seen(&[1, 2, 3, 4], &[1, 2, 3])
    };
    assert_eq!(step(&silent, &wanted), "wait", "3 is still a member");
    let lagging = Seen {
        caught_up: without(&all.caught_up, 4),
        ..seen(&[1, 2, 3, 4], &[1, 2, 3])
    };
    assert_eq!(step(&lagging, &wanted), "wait");
}

#[test]
fn a_node_that_has_left_loses_its_vote_although_a_newcomer_is_late() {
    let wanted = topology(&[1, 2, 4], &[1, 2, 4]);
    let late = |members: &[u64], voters: &[u64]| Seen {
        caught_up: without(&set(members), 4),
        ..seen(members, voters)
    };
    assert_eq!(step(&late(&[1, 2, 3, 4], &[1, 2, 3]), &wanted), "vote 1 2");
    assert_eq!(step(&late(&[1, 2, 3, 4], &[1, 2]), &wanted), "remove 3");
    assert_eq!(step(&late(&[1, 2, 4], &[1, 2]), &wanted), "wait");
    assert_eq!(step(&seen(&[1, 2, 4], &[1, 2]), &wanted), "vote 1 2 4");
}

#[test]
fn the_places_of_those_that_have_left_go_to_newcomers_that_are_ready() {
    let wanted = topology(&[1, 2, 4, 5, 6], &[1, 2, 4, 5, 6]);
    let members = [1, 2, 3, 4, 5, 6];
    let one_late = Seen {
        answer: without(&set(&members), 4),
        ..seen(&members, &[1, 2, 3])
    };
    assert_eq!(step(&one_late, &wanted), "vote 1 2 5");
}

#[test]
fn voters_do_not_change_while_a_majority_of_the_new_ones_is_silent() {
    // Of two nodes the older one is to vote alone, and it is dead.
    let wanted = topology(&[1, 2, 3], &[1]);
    let dead = Seen {
        answer: set(&[2, 3]),
        ..seen(&[1, 2, 3], &[1, 2, 3])
    };
    assert_eq!(step(&dead, &wanted), "wait");
    assert_eq!(step(&dead, &topology(&[2, 3], &[2])), "vote 2");
}

#[test]
fn a_change_that_was_begun_is_ended() {
    let joint = Seen {
        joint: true,
        answer: set(&[1, 2]),
        ..seen(&[1, 2, 3, 4], &[1, 2, 3, 4])
    };
    assert_eq!(
        step(&joint, &topology(&[1, 2, 4], &[1, 2, 4])),
        "vote 1 2 4"
    );
}

#[test]
fn a_group_of_voters_has_no_other_members() {
    let wanted = topology(&[1, 2, 3, 4], &[1, 2, 4]);
    let steps = [
        (seen(&[1], &[1]), "add 2 4"),
        (seen(&[1, 2, 4], &[1]), "vote 1 2 4"),
        (seen(&[1, 2, 4], &[1, 2, 4]), "settled"),
        // Node 3 voted before; it is still a node of the cluster.
        (seen(&[1, 2, 3, 4], &[1, 2, 3]), "vote 1 2 4"),
        (seen(&[1, 2, 3, 4], &[1, 2, 4]), "remove 3"),
    ];
    for (seen, expected) in steps {
        assert_eq!(step_of_voters(&seen, &wanted), expected);
    }
}
