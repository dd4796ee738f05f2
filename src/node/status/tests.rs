use std::sync::Arc;

use quorate_control::topology::{ClusterId, Epoch};

use super::*;

fn topology() -> Topology {
    let node = |name: &str, datacenter: &str| NodeInfo {
        name: name.into(),
        datacenter: datacenter.into(),
        rack: "r".into(),
        quic: "127.0.0.1:1".into(),
        voter: true,
    };
    let placement = vec![Placement::stable(Epoch(1), vec![NodeId(1), NodeId(2)])];
    let level: Arc<str> = "ONE".into();
    let keyspace = Keyspace {
        name: "default".into(),
        replication: Replication::Auto,
        read: level.clone(),
        write: level,
        placement,
    };
    Topology {
        cluster: ClusterId(7),
        epoch: Epoch(3),
        nodes: [(NodeId(1), node("a", "x")), (NodeId(2), node("b", "y"))].into(),
        keyspaces: [(KeyspaceId(0), keyspace)].into(),
        users: [].into(),
    }
}

fn figures(context: u128, digest: u128) -> Vec<ReplicaSummary> {
    let summary = ReplicaSummary {
        keyspace: KeyspaceId(0),
        partition: Partition(0),
        rows: 5,
        recent: 1,
        residuals: 0,
        context,
        digest,
        filling: false,
        quarantined: false,
    };
    vec![summary]
}

fn drawn(first: Option<Vec<ReplicaSummary>>, second: Option<Vec<ReplicaSummary>>) -> Findings {
    draw(
        &topology(),
        Some(NodeId(2)),
        &[(NodeId(1), first), (NodeId(2), second)].into(),
        &BTreeMap::new(),
    )
}

#[test]
fn equal_replicas_are_converged_and_rows_count_once() {
    let findings = drawn(Some(figures(1, 1)), Some(figures(1, 1)));
    let keyspace = &findings.status.keyspaces[0];
    assert!(findings.status.converged);
    assert_eq!(
        (keyspace.rows, keyspace.recent, findings.mismatches),
        (5, 2, 0)
    );
    assert_eq!(findings.status.leader.as_deref(), Some("b"));
    assert_eq!(
        keyspace.replication,
        [("x".to_owned(), 1), ("y".to_owned(), 1)].into()
    );
}

#[test]
fn a_silent_node_is_down_and_nothing_is_claimed_of_it() {
    let findings = drawn(Some(figures(1, 1)), None);
    assert_eq!(findings.status.nodes[1].state, NodeState::Down);
    assert!(!findings.status.converged && !findings.status.keyspaces[0].contexts_equal);
}

#[test]
fn a_replica_behind_is_no_mismatch_but_rot_is() {
    let behind = drawn(Some(figures(1, 1)), Some(figures(2, 2)));
    assert!(!behind.status.converged);
    assert_eq!(behind.mismatches, 0);
    let rot = drawn(Some(figures(1, 1)), Some(figures(1, 2)));
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
        let mut changed = figures(1, 1);
        change(&mut changed[0]);
        drawn(Some(changed), Some(figures(1, 1))).status.converged
    };
    assert!(!change(|figures| figures.residuals = 1));
    assert!(!change(|figures| figures.filling = true));
}
