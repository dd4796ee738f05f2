//! The shape of a simulated cluster: datacenters, nodes, network and settings.

use std::sync::Arc;
use std::time::Duration;

use quorate_dynamo::protocol::Config;

use super::network::state::Conditions;
use crate::node::Queues;

/// The shape of a simulated cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Name and node count of each datacenter.
    pub datacenters: Vec<(Arc<str>, usize)>,
    /// Delays and losses of the network.
    pub conditions: Conditions,
    /// Shards per node.
    pub cores: u8,
    /// Each wall clock is off by at most this much, so two clocks differ by at most twice as much.
    pub skew: Duration,
    /// The data plane's settings that an operator can change.
    pub data: Config,
    /// Racks per datacenter. 0 gives every node its own rack.
    pub racks: usize,
    /// The time between two heartbeats of a leader, or the next longer one that there is. `None`
    /// lets the nodes measure and agree.
    pub heartbeat: Option<Duration>,
    /// Bounds on what may wait in the shards' drivers.
    pub queues: Queues,
}

impl Layout {
    /// Datacenters `dc1`, `dc2`, … with `nodes` nodes each, one shard per node, and clocks that are
    /// off by up to 100 ms.
    pub fn new(datacenters: usize, nodes: usize) -> Self {
        Self {
            datacenters: (1..=datacenters)
                .map(|number| (format!("dc{number}").into(), nodes))
                .collect(),
            conditions: Conditions::default(),
            cores: 1,
            skew: Duration::from_millis(100),
            data: Config::default(),
            racks: 0,
            heartbeat: None,
            queues: Queues::default(),
        }
    }
}
