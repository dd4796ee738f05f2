use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_control::topology::{
    ClusterId, Epoch, Keyspace, KeyspaceId, Replication, SplitPolicy, Timing,
};
use quorate_dynamo::Consistency;
use quorate_dynamo::op::{Op, Query, Reply};

use super::*;

fn topology(names: &[&str]) -> Topology {
    let keyspace = |name: &str| Keyspace {
        name: name.into(),
        replication: Replication::Auto,
        read: "QUORUM".into(),
        write: "ONE".into(),
        split: SplitPolicy::default(),
        placement: Vec::new(),
    };
    Topology {
        cluster: ClusterId(1),
        epoch: Epoch(1),
        nodes: BTreeMap::new(),
        keyspaces: (0..)
            .map(KeyspaceId)
            .zip(names.iter().map(|name| keyspace(name)))
            .collect(),
        users: BTreeMap::new(),
        timing: Timing::default(),
    }
}

fn ask(meter: &Meter, keyspace: u32, consistency: Option<Consistency>) {
    let request = Request {
        keyspace: KeyspaceId(keyspace),
        op: Op::Query("k".into(), Query::Get),
        consistency,
        timeout: Duration::from_secs(1),
        datacenter: Arc::from("dc1"),
        id: None,
        claim: None,
    };
    let sample = meter.sample(&request);
    let answer = Answer {
        reply: Reply::Nil,
        receipt: None,
    };
    meter.replied(&sample, &Ok(answer));
}

fn line(keyspace: &str, level: &str, count: u64) -> String {
    format!(
        "quorate_requests_total{{keyspace=\"{keyspace}\",op=\"read\",level=\"{level}\",outcome=\"ok\"}} {count}\n"
    )
}

#[test]
fn requests_are_counted_under_the_level_that_they_had() {
    let meter = Meter::new(None);
    meter.adopt(&topology(&["default", "carts"]));
    ask(&meter, 0, None);
    ask(&meter, 0, Some(Consistency::Quorum));
    ask(&meter, 1, Some(Consistency::Numeric { read: 2, write: 2 }));
    ask(&meter, 9, None);
    let text = meter.text(&Readings::default(), HoldFigures::default());
    for line in [
        line("default", "QUORUM", 2),
        line("carts", "NUMERIC", 1),
        line("", "LOCAL_QUORUM", 1),
    ] {
        assert!(text.contains(&line), "{line}{text}");
    }
    assert_eq!(meter.answered(), 3, "only keyspaces that there are");
}

#[test]
fn what_was_counted_for_a_dropped_keyspace_goes_with_it() {
    let meter = Meter::new(None);
    meter.adopt(&topology(&["default", "carts"]));
    ask(&meter, 0, None);
    ask(&meter, 1, None);
    meter.adopt(&topology(&["default"]));
    ask(&meter, 0, None);
    let text = meter.text(&Readings::default(), HoldFigures::default());
    assert!(text.contains(&line("default", "QUORUM", 2)), "{text}");
    assert!(!text.contains("carts"), "{text}");
}
