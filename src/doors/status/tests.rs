use super::*;

fn status() -> Status {
    Status {
        cluster: "00ff".to_owned(),
        epoch: 7,
        leader: Some("a".to_owned()),
        volatile_voters: Vec::new(),
        nodes: vec![
            NodeStatus {
                name: "a".into(),
                number: 1,
                datacenter: "berlin".into(),
                rack: "r1".into(),
                state: NodeState::Alive,
                clock_offset_ms: None,
            },
            NodeStatus {
                name: "long-name".into(),
                number: 12,
                datacenter: "oslo".into(),
                rack: "r2".into(),
                state: NodeState::Down,
                clock_offset_ms: None,
            },
        ],
        keyspaces: vec![KeyspaceStatus {
            name: "default".into(),
            partitions: 64,
            replication: BTreeMap::from([("berlin".into(), 1), ("oslo".into(), 1)]),
            rows: 12,
            recent: 3,
            residuals: 0,
            contexts_equal: true,
            digests_equal: true,
        }],
        converged: false,
    }
}

#[test]
fn json_has_exactly_the_published_fields() {
    let text = serde_json::to_string(&status().concluded()).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"cluster":"00ff","epoch":7,"leader":"a","nodes":[{"name":"a","number":1,"datacenter":"berlin","rack":"r1","state":"alive"},"#,
            r#"{"name":"long-name","number":12,"datacenter":"oslo","rack":"r2","state":"down"}],"keyspaces":[{"name":"default","partitions":64,"#,
            r#""replication":{"berlin":1,"oslo":1},"rows":12,"recent":3,"residuals":0,"contexts_equal":true,"digests_equal":true}],"#,
            r#""converged":true}"#
        )
    );
    assert_eq!(
        serde_json::from_str::<Status>(&text).unwrap(),
        status().concluded()
    );
}

#[test]
fn one_keyspace_that_differs_is_not_converged() {
    for (contexts_equal, digests_equal) in [(false, true), (true, false), (false, false)] {
        let mut status = status();
        let other = KeyspaceStatus {
            contexts_equal,
            digests_equal,
            ..status.keyspaces[0].clone()
        };
        status.keyspaces.push(other);
        assert!(!status.concluded().converged);
    }
}

#[test]
fn a_clock_that_is_off_is_named() {
    let mut status = status();
    status.nodes[0].clock_offset_ms = Some(-500);
    status.nodes[1].clock_offset_ms = Some(3_600_004);
    let text = status.to_string();
    assert_eq!(
        text.matches("clock  ").count(),
        1,
        "the other is within the bound"
    );
    assert!(
        text.contains("clock      long-name is 3600.004 s ahead"),
        "{text}"
    );
    let json = serde_json::to_string(&status).unwrap();
    assert!(
        json.contains(r#""state":"down","clock_offset_ms":3600004}"#),
        "{json}"
    );
}

#[test]
fn the_table_lines_up() {
    let text = status().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[3], "nodes      1 of 2 alive");
    assert_eq!(lines[4], "converged  no");
    assert_eq!(lines[6], "NODE       NUMBER  DATACENTER  RACK  STATE");
    assert_eq!(lines[7], "a          1       berlin      r1    alive");
    assert_eq!(lines[8], "long-name  12      oslo        r2    down");
    assert_eq!(
        lines[10],
        "KEYSPACE  PARTITIONS  REPLICATION      ROWS  RECENT  RESIDUALS  CONTEXTS  DIGESTS"
    );
    assert_eq!(
        lines[11],
        "default   64          berlin=1,oslo=1  12    3       0          equal     equal"
    );
}

#[test]
fn voters_that_may_forget_their_votes_are_named() {
    assert!(!status().to_string().contains("votes  "), "nothing to say");
    let status = Status {
        volatile_voters: vec!["a".to_owned(), "b".to_owned()],
        ..status()
    };
    assert!(
        status
            .to_string()
            .contains("votes      may be forgotten by a, b: "),
        "{status}"
    );
}
