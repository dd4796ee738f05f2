//! Where the other nodes are: what the topology says, and where each was last found.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use dashmap::DashMap;
use quorate_crdt::NodeId;

/// The addresses of `host`, which is `host:port`; none if there are none now. IPv4 comes first,
/// because a node listens on IPv4 unless it is told otherwise.
pub async fn look_up(host: &str) -> Vec<SocketAddr> {
    match tokio::net::lookup_host(host).await {
        Ok(found) => {
            let mut found: Vec<_> = found.collect();
            found.sort_by_key(SocketAddr::is_ipv6);
            found.dedup();
            found
        }
        Err(error) => {
            tracing::debug!(host, %error, "a host cannot be looked up");
            Vec::new()
        }
    }
}

/// The addresses at which nodes are looked for.
#[derive(Debug, Default)]
pub(super) struct Whereabouts {
    /// What the topology says.
    told: DashMap<NodeId, Arc<str>>,
    /// Where a node was when it last proved who it is. It may have moved since it told the
    /// topology.
    proven: DashMap<NodeId, SocketAddr>,
    /// Where another member has met a node, as that member says.
    heard: DashMap<NodeId, SocketAddr>,
}

impl Whereabouts {
    /// Replaces what the topology says. Nodes that it does not name are forgotten.
    pub(super) fn tell(&self, told: BTreeMap<NodeId, Arc<str>>) {
        self.told.retain(|node, _| told.contains_key(node));
        self.proven.retain(|node, _| told.contains_key(node));
        self.heard.retain(|node, _| told.contains_key(node));
        for (node, address) in told {
            self.told.insert(node, address);
        }
    }

    /// Notes that the node has proved who it is, at this address.
    pub(super) fn prove(&self, node: NodeId, address: SocketAddr) {
        // A socket for both families shows IPv4 addresses as IPv6 ones.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        self.proven.insert(node, address);
    }

    /// Where these nodes were when they last proved who they are.
    pub(super) fn proven(&self, nodes: &[NodeId]) -> BTreeMap<NodeId, Arc<str>> {
        let proven = |node: &NodeId| {
            let address = *self.proven.get(node)?;
            Some((*node, address.to_string().into()))
        };
        nodes.iter().filter_map(proven).collect()
    }

    /// Notes where another member has met nodes. Whoever answers there must still prove who it is.
    pub(super) fn hear(&self, met: BTreeMap<NodeId, Arc<str>>) {
        for (node, address) in met {
            if let (true, Ok(address)) = (self.told.contains_key(&node), address.parse()) {
                self.heard.insert(node, address);
            }
        }
    }

    /// Everywhere the node may be, each address once. Names are looked up anew.
    pub(super) async fn of(&self, node: NodeId) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for known in [&self.proven, &self.heard] {
            addresses.extend(known.get(&node).map(|address| *address));
        }
        let told = self.told.get(&node).map(|told| Arc::clone(&told));
        if let Some(told) = told {
            addresses.extend(look_up(&told).await);
        }
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}
