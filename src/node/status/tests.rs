use std::sync::Arc;

use quorate_control::topology::{
    ClusterId, Epoch, Partition, Phase, Placement, SplitPolicy, Timing, Transition,
};
use quorate_dynamo::protocol::ReplicaSummary;

use super::super::figures::Following;
use super::*;
use crate::doors::{AccessKind, LackReason, Load, WaitReason};

/// Nodes `a`, `b` and `c`, each in a datacenter of its own, with a replica each of one partition.
fn topology() -> Topology {
    let node = |name: &str| NodeInfo {
        name: name.into(),
        datacenter: format!("dc-{name}").into(),
        rack: "r".into(),
        quic: "127.0.0.1:1".into(),
        key: quorate_crdt::PublicKey([0; 32]),
        next_key: None,
        voter: true,
        witness: false,
    };
    let all = vec![NodeId(1), NodeId(2), NodeId(3)];
    let level: Arc<str> = "QUORUM".into();
    let keyspace = Keyspace {
        name: "default".into(),
        replication: Replication::Auto,
        read: level.clone(),
        write: level,
        split: SplitPolicy::default(),
        placement: vec![Placement::stable(Epoch(1), all.clone())],
    };
    Topology {
        cluster: ClusterId(7),
        epoch: Epoch(3),
        nodes: all.into_iter().zip(["a", "b", "c"].map(node)).collect(),
        keyspaces: [(KeyspaceId(0), keyspace)].into(),
        users: [].into(),
        timing: Timing::default(),
    }
}

/// What a node in term 4 says that follows `leader` and has one replica.
#[expect(
    clippy::unnecessary_wraps,
    reason = "a node that is silent says `None`"
)]
fn says(leader: u64, context: u128, digest: u128) -> Option<NodeFigures> {
    let replica = ReplicaSummary {
        keyspace: KeyspaceId(0),
        partition: Partition(0),
        rows: 5,
        bytes: 500,
        recent: 1,
        residuals: 0,
        context,
        digest,
        filling: false,
        quarantined: false,
    };
    Some(NodeFigures {
        version: "1.2.3".to_owned(),
        following: Following {
            term: 4,
            leader: Some(NodeId(leader)),
        },
        load: Load::default(),
        replicas: Some(vec![replica]),
    })
}

fn drawn_of(topology: &Topology, told: [Option<NodeFigures>; 3]) -> Findings {
    let answers = (1..).map(NodeId).zip(told).collect();
    let sights = Sights {
        voters: topology.voters().collect(),
        ..Sights::default()
    };
    draw(topology, &answers, &sights)
}

fn drawn(told: [Option<NodeFigures>; 3]) -> Findings {
    drawn_of(&topology(), told)
}

fn well() -> [Option<NodeFigures>; 3] {
    [says(2, 1, 1), says(2, 1, 1), says(2, 1, 1)]
}

#[test]
fn equal_replicas_are_converged_and_rows_count_once() {
    let Findings { status, mismatches } = drawn(well());
    let keyspace = &status.keyspaces[0];
    assert!(status.converged && status.ready, "{status}");
    assert_eq!((keyspace.rows, keyspace.recent, mismatches), (5, 3, 0));
    assert_eq!(status.leader.as_deref(), Some("b"));
    assert_eq!(keyspace.replication["dc-a"], 1);
    assert!(keyspace.lacking.is_empty() && keyspace.moving.is_none());
    assert_eq!(keyspace.defaults.copies, 2);
    assert_eq!(status.nodes[0].version.as_deref(), Some("1.2.3"));
}

#[test]
fn a_silent_node_is_down_and_nothing_is_claimed_of_it() {
    let Findings { status, .. } = drawn([says(2, 1, 1), says(2, 1, 1), None]);
    assert_eq!(status.nodes[2].state, NodeState::Down);
    assert_eq!(status.nodes[2].version, None);
    let keyspace = &status.keyspaces[0];
    assert!(!status.converged && !keyspace.contexts_equal);
    let [lacking] = &keyspace.lacking[..] else {
        panic!("{:?}", keyspace.lacking)
    };
    assert_eq!(
        (lacking.node.as_str(), lacking.partitions, lacking.reason),
        ("c", 1, LackReason::Silent)
    );
}

#[test]
fn a_level_is_met_where_enough_replicas_answer() {
    let Findings { status, .. } = drawn([says(2, 1, 1), says(2, 1, 1), None]);
    assert!(status.ready, "QUORUM needs two of three");
    let [from_a, _from_b] = &status.keyspaces[0].levels[..] else {
        panic!("no client is in the datacenter of a node that is down")
    };
    assert_eq!(from_a.datacenter, "dc-a");
    assert_eq!(
        from_a.write,
        ["ONE", "TWO", "QUORUM", "LOCAL_ONE", "LOCAL_QUORUM"]
    );
    let all = |access| {
        let of = |unmet: &&crate::doors::Unmet| unmet.level == "ALL" && unmet.access == access;
        from_a.unmet.iter().find(of).unwrap()
    };
    for unmet in [all(AccessKind::Read), all(AccessKind::Write)] {
        assert_eq!((unmet.required, unmet.answering), (3, 2));
        assert_eq!(unmet.missing, ["c"]);
    }
    let Findings { status, .. } = drawn([says(2, 1, 1), None, None]);
    assert!(!status.ready);
    let text = status.to_string();
    assert!(
        text.contains("unmet      default: reads from dc-a at its default level, QUORUM, need 2 replicas, and 1 can answer: without b, c\n"),
        "{text}"
    );
}

/// Its clients name a level, so a cluster with one is ready all the same.
#[test]
fn nothing_is_missing_where_there_is_only_a_witness() {
    let mut topology = topology();
    topology.nodes.get_mut(&NodeId(3)).unwrap().witness = true;
    let keyspace = topology.keyspaces.get_mut(&KeyspaceId(0)).unwrap();
    let level: Arc<str> = "LOCAL_QUORUM".into();
    (keyspace.read, keyspace.write) = (level.clone(), level);
    keyspace.placement = vec![Placement::stable(Epoch(1), vec![NodeId(1), NodeId(2)])];
    let mut told = well();
    told[2].as_mut().unwrap().replicas = Some(Vec::new());
    let status = drawn_of(&topology, told).status;
    assert!(status.ready, "{status}");
    let from = status.keyspaces[0].levels.iter();
    let from: Vec<_> = from.map(|levels| &*levels.datacenter).collect();
    assert_eq!(from, ["dc-a", "dc-b"]);
}

#[test]
fn a_replica_that_is_being_filled_takes_writes_and_answers_no_reads() {
    let mut told = well();
    for figures in told.iter_mut().skip(1).flatten() {
        figures.replicas.as_mut().unwrap()[0].filling = true;
    }
    let status = drawn(told).status;
    let levels = &status.keyspaces[0].levels[0];
    assert_eq!(levels.read, ["ONE", "LOCAL_ONE", "LOCAL_QUORUM"]);
    assert!(levels.write.iter().any(|level| level == "ALL"));
    assert!(!status.converged && !status.ready);
}

#[test]
fn the_leader_is_whom_a_majority_of_the_voters_follows() {
    // It was cut off and does not know yet that the others have elected another one.
    let mut cut_off = says(1, 1, 1);
    cut_off.as_mut().unwrap().following.term = 3;
    let status = drawn([cut_off.clone(), says(2, 1, 1), says(2, 1, 1)]).status;
    assert_eq!(status.leader.as_deref(), Some("b"));
    assert_eq!((status.control.term, status.control.following), (4, 2));
    let status = drawn([cut_off, None, None]).status;
    assert_eq!(
        (
            status.leader,
            status.control.answering,
            status.control.voters
        ),
        (None, 1, 3)
    );
    assert!(!status.ready);
}

/// The topology wants three voters. Two have joined and have never answered, so they do not vote,
/// and the founder decides alone.
#[test]
fn only_who_votes_counts_as_a_voter() {
    let answers = (1..).map(NodeId).zip([says(1, 1, 1), None, None]).collect();
    let sights = Sights {
        voters: [NodeId(1)].into(),
        ..Sights::default()
    };
    let Findings { status, .. } = draw(&topology(), &answers, &sights);
    assert_eq!(status.leader.as_deref(), Some("a"));
    assert_eq!((status.control.voters, status.control.following), (1, 1));
    let votes: Vec<bool> = status.nodes.iter().map(|node| node.voter).collect();
    assert_eq!(votes, [true, false, false]);
}

#[test]
fn a_replica_behind_is_named_and_is_no_mismatch_but_rot_is() {
    let behind = drawn([says(2, 1, 1), says(2, 1, 1), says(2, 2, 2)]);
    assert!(!behind.status.converged);
    assert_eq!(behind.mismatches, 0);
    let [lacking] = &behind.status.keyspaces[0].lacking[..] else {
        panic!("only c is behind")
    };
    assert_eq!(
        (lacking.node.as_str(), lacking.reason),
        ("c", LackReason::Behind)
    );
    let rot = drawn([says(2, 1, 1), says(2, 1, 1), says(2, 1, 2)]);
    assert!(
        rot.status.keyspaces[0].contexts_equal
            && !rot.status.keyspaces[0].digests_equal
            && !rot.status.converged
    );
    assert_eq!(rot.mismatches, 1);
}

#[test]
fn neither_residuals_nor_filling_nor_a_move_is_converged() {
    let change = |change: fn(&mut ReplicaSummary)| {
        let mut told = well();
        let figures = told[0].as_mut().unwrap();
        change(&mut figures.replicas.as_mut().unwrap()[0]);
        drawn(told).status.converged
    };
    assert!(!change(|replica| replica.residuals = 1));
    assert!(!change(|replica| replica.filling = true));
}

#[test]
fn a_node_that_is_too_busy_to_tell_of_its_replicas_is_not_down_and_not_converged() {
    let mut told = well();
    told[1].as_mut().unwrap().replicas = None;
    let status = drawn(told).status;
    assert_eq!(status.nodes[1].state, NodeState::Alive);
    assert!(!status.converged);
}

#[test]
fn a_move_says_whom_it_waits_for_and_why() {
    let mut topology = topology();
    let keyspace = topology.keyspaces.get_mut(&KeyspaceId(0)).unwrap();
    keyspace.placement[0] = Placement {
        epoch: Epoch(2),
        replicas: vec![NodeId(1)],
        transition: Some(Transition {
            to: vec![NodeId(2), NodeId(3)],
            phase: Phase::Copying,
            done: BTreeSet::new(),
        }),
    };
    let mut filling = says(2, 0, 0);
    let figures = filling.as_mut().unwrap();
    figures.replicas.as_mut().unwrap()[0].filling = true;
    let status = drawn_of(&topology, [says(2, 1, 1), filling, None]).status;
    let moving = status.keyspaces[0].moving.as_ref().unwrap();
    assert_eq!((moving.partitions, moving.copying), (1, 1));
    let waits: Vec<_> = moving
        .waiting_for
        .iter()
        .map(|waiting| (waiting.node.as_str(), waiting.reason))
        .collect();
    assert_eq!(
        waits,
        [("b", WaitReason::Filling), ("c", WaitReason::Silent)]
    );
    assert!(!status.converged);
}

#[test]
fn a_default_level_that_means_one_copy_is_said() {
    let mut topology = topology();
    topology.keyspaces.get_mut(&KeyspaceId(0)).unwrap().write = "LOCAL_QUORUM".into();
    let status = drawn_of(&topology, well()).status;
    assert_eq!(status.keyspaces[0].defaults.copies, 1);
    assert!(
        status.to_string().contains(
            "one copy   default: a write at its default level, LOCAL_QUORUM, may be on one node only\n"
        ),
        "{status}"
    );
}
