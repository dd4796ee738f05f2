use super::*;
use crate::doors::{
    ControlView, Defaults, LackReason, Lacking, Levels, Load, NodeStatus, Unmet, VoterView,
};

fn node(name: &str, voter: bool, state: NodeState) -> NodeStatus {
    NodeStatus {
        name: name.to_owned(),
        number: 1,
        datacenter: "berlin".to_owned(),
        rack: "r1".to_owned(),
        address: String::new(),
        version: Some("0.1.0".to_owned()),
        state,
        down_since: None,
        voter,
        leaving: false,
        partitions: 4,
        rtt_us: None,
        load: None,
        clock_offset_ms: None,
    }
}

/// Three voters, of which `down` do not answer, and a node that does not vote.
fn status(down: usize) -> Status {
    let names = ["a", "b", "c"].into_iter().enumerate();
    let voters = names.map(|(at, name)| {
        let state = if at < down {
            NodeState::Down
        } else {
            NodeState::Alive
        };
        node(name, true, state)
    });
    let unmet = Unmet {
        level: "QUORUM".to_owned(),
        access: AccessKind::Write,
        partitions: 4,
        required: 2,
        answering: 1,
        missing: vec!["a".to_owned(), "b".to_owned()],
    };
    let (met, unmet) = if down < 2 {
        (vec!["ONE".to_owned(), "QUORUM".to_owned()], vec![])
    } else {
        (vec!["ONE".to_owned()], vec![unmet])
    };
    Status {
        leader: (down < 2).then(|| "c".to_owned()),
        control: ControlView {
            term: 7,
            ..ControlView::default()
        },
        nodes: voters.chain([node("d", false, NodeState::Alive)]).collect(),
        keyspaces: vec![KeyspaceStatus {
            name: "default".to_owned(),
            replication: [("berlin".to_owned(), 3)].into(),
            defaults: Defaults {
                read: "ONE".to_owned(),
                write: "QUORUM".to_owned(),
                copies: 2,
            },
            levels: vec![Levels {
                datacenter: "berlin".to_owned(),
                read: met.clone(),
                write: met,
                unmet,
            }],
            ..KeyspaceStatus::default()
        }],
        ..Status::default()
    }
}

/// The topology group, in which c follows itself, and the others a.
fn group() -> QuorumView {
    let voter = |node: &str, follows: &str, applied| VoterView {
        node: node.to_owned(),
        term: 7,
        follows: Some(follows.to_owned()),
        last_log: 5000,
        applied,
        distrusted: node == "b",
        differs: (node == "a").then_some(1000),
    };
    let said = vec![
        voter("a", "a", 5000),
        voter("b", "a", 5000),
        voter("c", "c", 3000),
    ];
    let voters = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
    QuorumView {
        leader: Some("a".to_owned()),
        ..QuorumView::new("topology".to_owned(), voters, said)
    }
}

#[test]
fn what_is_amiss_with_a_node_in_a_group_is_named() {
    let what = |name| {
        let findings = findings_in(&group(), name);
        findings.iter().map(|it| it.what).collect::<Vec<_>>()
    };
    assert_eq!(what("a"), ["differs"]);
    assert_eq!(what("b"), ["votes"]);
    assert_eq!(what("c"), ["follows", "behind"]);
    assert_eq!(what("d"), ["silent"]);
    assert_eq!(what("e"), [""; 0], "it has no part in the group");
}

#[test]
fn a_level_is_met_from_where_the_status_says_so() {
    let judge = |down, access, level: Option<&str>| {
        let level = level.map(|level| level.parse().unwrap());
        let places = places(&status(down), "default", access, level).unwrap();
        let met: Vec<bool> = places.iter().map(|place| place.met).collect();
        (met, places[0].to_string())
    };
    assert_eq!(judge(1, AccessKind::Write, None).0, [true]);
    let (met, text) = judge(2, AccessKind::Write, None);
    assert_eq!(met, [false]);
    assert!(
        text.contains("needs 2 replicas, 1 answer, and it waits for a, b"),
        "{text}"
    );
    assert_eq!(judge(2, AccessKind::Read, None).0, [true], "at ONE");
    let (met, text) = judge(0, AccessKind::Read, Some("EACH_QUORUM"));
    assert_eq!(met, [false]);
    assert!(text.contains("can never be read"), "{text}");
    let refused = |keyspace: &str, level: &str| {
        let level = Some(level.parse().unwrap());
        places(&status(0), keyspace, AccessKind::Read, level).is_err()
    };
    assert!(refused("default", "R=2") && refused("none", "ONE"));
    assert!(!keyspaces(&status(2), None).unwrap()[0].met);
    assert!(keyspaces(&status(1), Some("default")).unwrap()[0].met);
}

#[test]
fn levels_that_need_not_meet_are_said_to_give_something_up() {
    let remarks = |read: &str, write: &str, copies| {
        let mut status = status(0);
        status.keyspaces[0].defaults = Defaults {
            read: read.to_owned(),
            write: write.to_owned(),
            copies,
        };
        given_up(&status, "default").join("\n")
    };
    assert!(remarks("ONE", "QUORUM", 2).contains("ask 1 and 2 of 3 replicas"));
    assert_eq!(remarks("QUORUM", "QUORUM", 2), "");
    assert_eq!(remarks("R=1", "W=3", 3), "");
    assert!(remarks("LOCAL_QUORUM", "LOCAL_QUORUM", 2).contains("within a datacenter"));
    assert!(remarks("ALL", "ONE", 1).contains("one node only"));
}

#[test]
fn a_diagnosis_names_what_is_amiss_with_the_node_and_nothing_else() {
    let mut status = status(1);
    assert_eq!(findings(&status, "c").unwrap(), []);
    assert_eq!(findings(&status, "a").unwrap()[0].what, "down");
    assert!(findings(&status, "x").is_err());
    let node = &mut status.nodes[2];
    node.clock_offset_ms = Some(-3000);
    node.version = Some("0.2.0".to_owned());
    node.load = Some(Load {
        free_bytes: Some(1 << 20),
        ..Load::default()
    });
    status.volatile_voters = vec!["c".to_owned()];
    status.keyspaces[0].lacking = vec![Lacking {
        node: "c".to_owned(),
        partitions: 3,
        reason: LackReason::Behind,
    }];
    let found = findings(&status, "c").unwrap();
    let words: Vec<&str> = found.iter().map(|finding| finding.what).collect();
    assert_eq!(words, ["clock", "disk", "votes", "version", "lacking"]);
}
