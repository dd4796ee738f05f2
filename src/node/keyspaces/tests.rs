use quorate_control::topology::{
    ClusterId, Epoch, Keyspace, NodeInfo, Partition, Phase, SplitPolicy, Timing, Transition,
};
use quorate_dynamo::protocol::ReplicaSummary;

use super::super::figures::{Following, NodeFigures};
use super::*;
use crate::doors::Load;

/// Nodes `a`, `b` and `c` of one datacenter, and a keyspace of these placements.
fn topology(placement: Vec<Placement>) -> Topology {
    let node = |name: &str| NodeInfo {
        name: name.into(),
        datacenter: "dc".into(),
        rack: "r".into(),
        quic: "127.0.0.1:1".into(),
        key: quorate_crdt::PublicKey([0; 32]),
        next_key: None,
        voter: true,
        witness: false,
    };
    let keyspace = Keyspace {
        name: "carts".into(),
        replication: Replication::Auto,
        read: "ONE".into(),
        write: "ONE".into(),
        split: SplitPolicy::default(),
        placement,
    };
    Topology {
        cluster: ClusterId(7),
        epoch: Epoch(3),
        nodes: (1..).map(NodeId).zip(["a", "b", "c"].map(node)).collect(),
        keyspaces: [(KeyspaceId(4), keyspace)].into(),
        users: [].into(),
        timing: Timing::default(),
    }
}

fn on(nodes: &[u64]) -> Placement {
    Placement::stable(Epoch(1), nodes.iter().copied().map(NodeId).collect())
}

fn to(nodes: &[u64], goal: &[u64]) -> Placement {
    Placement {
        transition: Some(Transition {
            to: goal.iter().copied().map(NodeId).collect(),
            phase: Phase::Copying,
            done: BTreeSet::new(),
        }),
        ..on(nodes)
    }
}

/// What a node says whose replicas of these partitions have these sizes.
fn says(sizes: &[(u16, u64)]) -> NodeFigures {
    let replica = |&(partition, bytes): &(u16, u64)| ReplicaSummary {
        keyspace: KeyspaceId(4),
        partition: Partition(partition),
        rows: 1,
        bytes,
        recent: 0,
        residuals: 0,
        context: 0,
        digest: 0,
        filling: false,
        quarantined: false,
    };
    NodeFigures {
        version: String::new(),
        following: Following::default(),
        load: Load::default(),
        replicas: Some(sizes.iter().map(replica).collect()),
    }
}

#[test]
fn a_plan_says_what_moves_where_and_how_much_it_is() {
    let before = topology(vec![on(&[1, 2]), on(&[1, 2]), on(&[2, 1])]);
    let after = topology(vec![
        on(&[1, 2]),
        to(&[1, 2], &[1, 3]),
        to(&[2, 1], &[2, 1, 3]),
    ]);
    // Node 2 lags behind, and node 3 does not answer.
    let answers = [
        (NodeId(1), Some(says(&[(0, 100), (1, 20), (2, 5)]))),
        (NodeId(2), Some(says(&[(0, 100), (1, 10), (2, 5)]))),
        (NodeId(3), None),
    ];
    let plan = plan(&before, &after, "carts", &answers.into());
    assert_eq!((plan.partitions, plan.moving, plan.bytes), (3, 2, 25));
    let lines = plan.nodes.iter().map(|line| {
        let counts = (line.partitions, line.partitions_then, line.receives);
        (line.node.as_str(), counts, line.bytes)
    });
    let expected = [
        ("a", (3, 3, 0), 0),
        ("b", (3, 2, 0), 0),
        ("c", (0, 2, 2), 25),
    ];
    assert_eq!(lines.collect::<Vec<_>>(), expected);
}

#[test]
fn what_moves_already_is_not_counted_again_and_a_new_keyspace_moves_nothing() {
    let before = topology(vec![to(&[1], &[1, 3])]);
    let same = plan(&before, &before, "carts", &Answers::new());
    assert_eq!((same.moving, same.bytes), (0, 0));
    let none = Topology {
        keyspaces: [].into(),
        ..before.clone()
    };
    let made = plan(&none, &before, "carts", &Answers::new());
    assert_eq!((made.partitions, made.moving), (1, 0));
    assert_eq!(made.nodes[0].partitions_then, 1);
}

/// A datacenter with nothing but a witness holds no replica, so none may be asked of it.
#[test]
fn no_replica_is_asked_of_a_witness() {
    let mut topology = topology(vec![on(&[1, 2])]);
    let witness = topology.nodes.get_mut(&NodeId(3)).unwrap();
    (witness.witness, witness.datacenter) = (true, "w".into());
    let replication = |places: &[(&str, u8)]| {
        let places = places.iter().map(|&(name, count)| (name.into(), count));
        Replication::Fixed(places.collect())
    };
    let create = |replication, write| {
        let spec = KeyspaceSpec {
            name: "k".into(),
            partitions: None,
            replication,
            read: None,
            write,
            split: None,
        };
        creation(&topology, &BTreeSet::new(), spec)
    };
    let refused = create(replication(&[("dc", 1), ("w", 1)]), None);
    let Err(AdminError::UnknownDatacenter { datacenter, known }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((&*datacenter, &*known), ("w", "dc"));
    assert!(create(replication(&[("dc", 2)]), None).is_ok());
    let never = create(Replication::Auto, Some(Consistency::Three));
    assert!(
        matches!(never, Err(AdminError::Unsatisfiable { replicas: 2, .. })),
        "{never:?}"
    );
}
