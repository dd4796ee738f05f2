use std::collections::BTreeSet;

use quorate_control::topology::{
    ClusterId, Epoch, KeyspaceId, NodeInfo, Phase, Replication, SplitPolicy, Timing, Transition,
};

use super::*;

/// Nodes 1, 2 and 3 in dc1 and node 4 in dc2; a keyspace on these replicas with these levels.
fn topology(replicas: &[u64], read: &str, write: &str) -> Topology {
    let node = |id: u64| NodeInfo {
        name: format!("n{id}").into(),
        datacenter: if id < 4 { "dc1" } else { "dc2" }.into(),
        rack: "r1".into(),
        quic: "127.0.0.1:1".into(),
        key: quorate_crdt::PublicKey([0; 32]),
        next_key: None,
        voter: true,
        witness: false,
    };
    let keyspace = Keyspace {
        name: "carts".into(),
        replication: Replication::Auto,
        read: read.into(),
        write: write.into(),
        split: SplitPolicy::default(),
        placement: vec![Placement::stable(
            Epoch(1),
            replicas.iter().copied().map(NodeId).collect(),
        )],
    };
    Topology {
        cluster: ClusterId(1),
        epoch: Epoch(1),
        nodes: (1..=4).map(|id| (NodeId(id), node(id))).collect(),
        keyspaces: BTreeMap::from([(KeyspaceId(0), keyspace)]),
        users: BTreeMap::new(),
        timing: Timing::default(),
    }
}

fn found(topology: &Topology, me: u64, gone: &[u64]) -> Option<String> {
    let gone = gone.iter().map(|node| (NodeId(*node), 0)).collect();
    shortfall(topology, NodeId(me), &gone).map(|found| found.to_string())
}

#[test]
fn a_level_is_short_when_too_few_of_those_that_count_are_reached() {
    let local = topology(&[1, 2, 3, 4], "ONE", "LOCAL_QUORUM");
    assert_eq!(found(&local, 1, &[]), None);
    assert_eq!(found(&local, 1, &[2, 4]), None);
    assert_eq!(
        found(&local, 1, &[2, 3]).as_deref(),
        Some(
            "keyspace carts: writes at its default level LOCAL_QUORUM need 2 replicas, and 1 can be reached"
        )
    );
    assert_eq!(
        found(&local, 4, &[1, 2, 3]),
        None,
        "its datacenter is whole"
    );
    let each = topology(&[1, 2, 3, 4], "EACH_QUORUM", "ONE");
    assert_eq!(
        found(&each, 1, &[4]).as_deref(),
        Some(
            "keyspace carts: reads at its default level EACH_QUORUM need 1 replicas, and 0 can be reached"
        )
    );
}

#[test]
fn what_could_never_be_met_is_nobodys_shortfall() {
    let elsewhere = topology(&[1, 2, 3], "LOCAL_QUORUM", "LOCAL_QUORUM");
    assert_eq!(found(&elsewhere, 4, &[1, 2, 3]), None);
    let too_high = topology(&[1, 2], "THREE", "ONE");
    assert_eq!(found(&too_high, 1, &[2]), None);
}

#[test]
fn a_partition_that_moves_counts_old_and_new_replicas() {
    let mut moving = topology(&[1, 2, 3], "ONE", "QUORUM");
    for keyspace in moving.keyspaces.values_mut() {
        let placement: &mut Placement = &mut keyspace.placement[0];
        placement.transition = Some(Transition {
            to: vec![NodeId(1), NodeId(2), NodeId(4)],
            phase: Phase::Copying,
            done: BTreeSet::new(),
        });
    }
    assert_eq!(found(&moving, 1, &[3]), None);
    assert!(found(&moving, 1, &[2, 4]).is_some_and(|said| said.contains("need 2 replicas")));
}
