use super::*;

fn node(name: &str, number: u64, state: NodeState) -> NodeStatus {
    NodeStatus {
        name: name.into(),
        number,
        datacenter: "oslo".into(),
        rack: "r1".into(),
        address: "10.0.0.1:7381".into(),
        version: None,
        state,
        down_since: None,
        voter: true,
        leaving: false,
        partitions: 64,
        rtt_us: None,
        load: None,
        clock_offset_ms: None,
    }
}

fn status() -> Status {
    let alive = NodeStatus {
        version: Some("0.1.0".into()),
        rtt_us: Some(1_250),
        load: Some(Load {
            store_bytes: 5 << 20,
            free_bytes: None,
            memory_bytes: Some(2000),
            requests_per_s: 7,
        }),
        ..node("a", 1, NodeState::Alive)
    };
    Status {
        cluster: "00ff".to_owned(),
        at_ms: 50_000,
        epoch: 7,
        leader: Some("a".to_owned()),
        volatile_voters: Vec::new(),
        control: ControlView {
            term: 3,
            voters: 2,
            answering: 1,
            following: 1,
        },
        nodes: vec![
            alive,
            NodeStatus {
                down_since: Some(38_500),
                leaving: true,
                ..node("long-name", 12, NodeState::Down)
            },
        ],
        keyspaces: vec![KeyspaceStatus {
            name: "default".into(),
            partitions: 64,
            replication: BTreeMap::from([("berlin".into(), 1), ("oslo".into(), 1)]),
            defaults: Defaults {
                read: "ONE".into(),
                write: "ALL".into(),
                copies: 2,
            },
            rows: 12,
            recent: 3,
            contexts_equal: true,
            digests_equal: true,
            levels: vec![Levels {
                datacenter: "oslo".into(),
                read: vec!["ONE".into(), "LOCAL_ONE".into()],
                write: Vec::new(),
                unmet: Vec::new(),
            }],
            ..KeyspaceStatus::default()
        }],
        ..Status::default()
    }
}

#[test]
fn json_has_exactly_the_published_fields() {
    let text = serde_json::to_string(&status().concluded()).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"cluster":"00ff","epoch":7,"at_ms":50000,"leader":"a","control":{"term":3,"voters":2,"answering":1,"following":1},"nodes":["#,
            r#"{"name":"a","number":1,"datacenter":"oslo","rack":"r1","address":"10.0.0.1:7381","version":"0.1.0","state":"alive","#,
            r#""down_since":null,"voter":true,"leaving":false,"partitions":64,"rtt_us":1250,"#,
            r#""load":{"store_bytes":5242880,"free_bytes":null,"memory_bytes":2000,"requests_per_s":7}},"#,
            r#"{"name":"long-name","number":12,"datacenter":"oslo","rack":"r1","address":"10.0.0.1:7381","version":null,"state":"down","#,
            r#""down_since":38500,"voter":true,"leaving":true,"partitions":64}],"#,
            r#""keyspaces":[{"name":"default","partitions":64,"replication":{"berlin":1,"oslo":1},"#,
            r#""defaults":{"read":"ONE","write":"ALL","copies":2},"rows":12,"recent":3,"residuals":0,"contexts_equal":true,"digests_equal":true,"#,
            r#""lacking":[],"levels":[{"datacenter":"oslo","read":["ONE","LOCAL_ONE"],"write":[],"unmet":[]}]}],"#,
            r#""ready":true,"converged":true}"#
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
fn without_a_leader_or_a_default_level_it_is_not_ready() {
    let leaderless = Status {
        leader: None,
        ..status()
    };
    assert!(!leaderless.concluded().ready);
    for (level, ready) in [("ALL", false), ("QUORUM", true)] {
        let mut status = status();
        status.keyspaces[0].levels[0].unmet = vec![Unmet {
            level: level.into(),
            access: AccessKind::Write,
            partitions: 64,
            required: 2,
            answering: 1,
            missing: vec!["long-name".into()],
        }];
        assert_eq!(status.concluded().ready, ready, "{level}");
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
    assert!(json.contains(r#","clock_offset_ms":3600004}"#), "{json}");
}

#[test]
fn the_table_lines_up() {
    let text = status().concluded().to_string();
    assert_eq!(
        text,
        "\
cluster    00ff
epoch      7
leader     a, in term 3: 1 of 2 voters follow it
nodes      1 of 2 alive
ready      yes
converged  yes
down       long-name has not answered for 11 s

NODE       NUMBER  DATACENTER  RACK  ADDRESS        VERSION  STATE          VOTES  RTT     STORE  FREE  MEMORY  REQUESTS/S
a          1       oslo        r1    10.0.0.1:7381  0.1.0    alive          yes    1.2 ms  5 MiB  -     1 KiB   7
long-name  12      oslo        r1    10.0.0.1:7381  -        down, leaving  yes    -       -      -     -       -

KEYSPACE  PARTITIONS  REPLICATION      ROWS  RECENT  RESIDUALS  CONTEXTS  DIGESTS
default   64          berlin=1,oslo=1  12    3       0          equal     equal

KEYSPACE  FROM  READS NOW       WRITES NOW
default   oslo  ONE* LOCAL_ONE  none
"
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
