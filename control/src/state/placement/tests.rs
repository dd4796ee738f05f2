use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

type Nodes = BTreeMap<NodeId, NodeInfo>;

fn info(datacenter: &str, rack: &str) -> NodeInfo {
    NodeInfo {
        name: "n".into(),
        datacenter: datacenter.into(),
        rack: rack.into(),
        quic: "127.0.0.1:1".into(),
        key: quorate_crdt::PublicKey([0; 32]),
        next_key: None,
        voter: false,
        witness: false,
    }
}

fn placed(nodes: &Nodes, replication: &Replication, partition: u16) -> Vec<NodeId> {
    place(
        nodes.iter().map(|(&n, i)| (n, i)),
        replication,
        KeyspaceId(0),
        Partition(partition),
    )
}

/// The share of each node, over 1024 partitions.
fn shares(nodes: &Nodes, replication: &Replication) -> BTreeMap<NodeId, u32> {
    let mut shares: BTreeMap<_, _> = nodes.keys().map(|&node| (node, 0)).collect();
    for node in (0..1024).flat_map(|p| placed(nodes, replication, p)) {
        *shares.get_mut(&node).unwrap() += 1;
    }
    shares
}

#[test]
fn nine_nodes_share_evenly() {
    let one: Nodes = (1..=9)
        .map(|n| (NodeId(n), info("a", &format!("r{}", n % 3))))
        .collect();
    let three: Nodes = (1..=9)
        .map(|n| (NodeId(n), info(&format!("dc{}", n % 3), "r")))
        .collect();
    let single = Replication::Fixed(
        (0..3)
            .map(|n| (Datacenter::from(format!("dc{n}")), 1))
            .collect(),
    );
    for (nodes, replication) in [(one, Replication::Auto), (three, single)] {
        let even = 1024.0 * 3.0 / 9.0;
        for (node, share) in shares(&nodes, &replication) {
            assert!(
                (f64::from(share) / even - 1.0).abs() < 0.2,
                "{node:?} holds {share} where {even:.0} would be even"
            );
        }
    }
}

#[test]
fn the_scores_are_part_of_the_format() {
    let nodes: Nodes = (1..=9)
        .map(|n| (NodeId(n), info(if n < 5 { "a" } else { "b" }, "r")))
        .collect();
    let lists: Vec<Vec<u64>> = (0..3)
        .map(|p| {
            placed(&nodes, &Replication::Auto, p)
                .into_iter()
                .map(|n| n.0)
                .collect()
        })
        .collect();
    assert_eq!(
        lists, EXPECTED,
        "a change here would move the data of every cluster"
    );
}

const EXPECTED: [[u64; 6]; 3] = [[8, 4, 7, 2, 1, 6], [3, 5, 2, 6, 4, 8], [7, 2, 5, 3, 8, 4]];

fn clusters() -> impl Strategy<Value = Nodes> {
    prop::collection::btree_map((1u64..200).prop_map(NodeId), (0u8..3, 0u8..4), 1..14).prop_map(
        |nodes| {
            nodes
                .into_iter()
                .map(|(node, (dc, rack))| (node, info(&format!("dc{dc}"), &format!("r{rack}"))))
                .collect()
        },
    )
}

fn replications() -> impl Strategy<Value = Replication> {
    let fixed = (0u8..6, 0u8..6, 0u8..6).prop_map(|(a, b, c)| {
        Replication::Fixed(
            [("dc0", a), ("dc1", b), ("dc2", c)]
                .map(|(dc, n)| (dc.into(), n))
                .into(),
        )
    });
    prop_oneof![Just(Replication::Auto), fixed]
}

fn set(nodes: Vec<NodeId>) -> BTreeSet<NodeId> {
    nodes.into_iter().collect()
}

proptest! {
    #[test]
    fn each_datacenter_gets_its_number_in_different_racks(
        nodes in clusters(),
        replication in replications(),
        partition in 0u16..1024,
    ) {
        let list = placed(&nodes, &replication, partition);
        prop_assert_eq!(set(list.clone()).len(), list.len(), "nobody twice");
        for datacenter in nodes.values().map(|info| &info.datacenter) {
            let here = |info: &&NodeInfo| &info.datacenter == datacenter;
            let members: Vec<_> = nodes.values().filter(here).collect();
            let racks: BTreeSet<_> = members.iter().map(|info| &info.rack).collect();
            let chosen: Vec<_> = list.iter().map(|node| &nodes[node]).filter(here).collect();
            let wanted = replication.replicas_in(datacenter, members.len());
            prop_assert_eq!(chosen.len(), wanted);
            let used: BTreeSet<_> = chosen.iter().map(|info| &info.rack).collect();
            prop_assert_eq!(used.len(), racks.len().min(chosen.len()));
        }
    }

    #[test]
    fn a_joining_node_moves_only_what_it_gains(
        nodes in clusters(),
        replication in replications(),
        newcomer in (200u64..300).prop_map(NodeId),
        datacenter in 0u8..3,
        rack in 0u8..5,
        partition in 0u16..1024,
    ) {
        let before = set(placed(&nodes, &replication, partition));
        let mut grown = nodes.clone();
        grown.insert(newcomer, info(&format!("dc{datacenter}"), &format!("r{rack}")));
        let after = set(placed(&grown, &replication, partition));
        prop_assert!(after.difference(&before).all(|&node| node == newcomer));
        prop_assert!(before.difference(&after).count() <= after.difference(&before).count());
        grown.remove(&newcomer);
        let back = set(placed(&grown, &replication, partition));
        prop_assert_eq!(back, before, "and back when it leaves");
    }
}
