//! The topologies of drills: a few nodes in datacenters, and one partition.

use std::collections::BTreeMap;

use quorate_control::topology::{
    ClusterId, Epoch, Keyspace, KeyspaceId, NodeInfo, Placement, Replication, SplitPolicy, Timing,
    Topology,
};
use quorate_crdt::NodeId;

/// A topology with `datacenters[i]` nodes in datacenter `dc<i+1>`. The first `held_by` nodes hold
/// the only partition.
pub(super) fn topology(datacenters: &[u64], held_by: usize) -> Topology {
    let mut nodes = BTreeMap::new();
    for (index, count) in datacenters.iter().enumerate() {
        for _ in 0..*count {
            let id = nodes.len() as u64 + 1;
            let (name, datacenter) = (format!("n{id}").into(), format!("dc{}", index + 1).into());
            let quic = "127.0.0.1:1".into();
            nodes.insert(
                NodeId(id),
                NodeInfo {
                    name,
                    datacenter,
                    rack: "r1".into(),
                    quic,
                    key: quorate_crdt::PublicKey([0; 32]),
                    next_key: None,
                    voter: true,
                    witness: false,
                },
            );
        }
    }
    let placement = vec![Placement::stable(
        Epoch(1),
        nodes.keys().copied().take(held_by).collect(),
    )];
    let (read, write) = ("QUORUM".into(), "QUORUM".into());
    let keyspace = Keyspace {
        name: "default".into(),
        replication: Replication::Auto,
        read,
        write,
        split: SplitPolicy::default(),
        placement,
    };
    Topology {
        cluster: ClusterId(1),
        epoch: Epoch(1),
        nodes,
        keyspaces: BTreeMap::from([(KeyspaceId(0), keyspace)]),
        users: BTreeMap::new(),
        timing: Timing::default(),
    }
}
