//! One simulated machine: a disk that outlives the node's lives, and the life it is in.

use std::sync::Arc;
use std::time::Duration;

use quorate_control::consensus::ConsensusConfig;
use quorate_control::state::Command;
use quorate_control::topology::{Datacenter, Topology};
use quorate_crdt::NodeId;
use quorate_dynamo::protocol::Config;
use quorate_gossip::membership;
use tokio::task::AbortHandle;

use super::{Network, SimClock, SimDisk};
use crate::data::Data;
use crate::node::{Begun, DiskGauge, NodeParts, Setting, StartError, Started, keep_granted};

/// Partitions of a keyspace that names no number.
const PARTITIONS: u16 = 16;

/// A machine and the node on it.
pub(super) struct Host {
    node: NodeId,
    pub(super) datacenter: Datacenter,
    /// With what it was admitted, until its disk has it.
    granted: Option<Arc<Topology>>,
    clock: SimClock,
    disk: SimDisk,
    woken: u32,
    life: Option<Life>,
}

/// A running node with all its tasks.
struct Life {
    started: Started,
    tasks: Vec<AbortHandle>,
}

/// A disk that is never full.
struct Boundless;

impl DiskGauge for Boundless {
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    fn commits_and_syncs(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// Times that suit the network: an append that is not answered within three quarters of a heartbeat is given up.
fn elections(node: NodeId, seed: u64, round_trip: Duration) -> ConsensusConfig {
    let near = ConsensusConfig::new(node, seed);
    let heartbeat = near.heartbeat.max(3 * round_trip);
    if heartbeat == near.heartbeat {
        return near;
    }
    ConsensusConfig { heartbeat, election_min: 3 * heartbeat, election_max: 6 * heartbeat, ..near }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("node", &self.node).field("up", &self.is_up()).finish_non_exhaustive()
    }
}

impl Host {
    pub(super) fn new(node: NodeId, datacenter: Datacenter, granted: Option<Arc<Topology>>, (seed, clock): (u64, SimClock)) -> Self {
        Self { node, datacenter, granted, clock, disk: SimDisk::new(seed), woken: 0, life: None }
    }

    pub(super) fn is_up(&self) -> bool {
        self.life.is_some()
    }

    pub(super) fn data(&self) -> Option<Arc<dyn Data>> {
        Some(self.life.as_ref()?.started.doors())
    }

    /// Starts the node on its disk.
    pub(super) async fn wake(
        &mut self,
        network: &Network,
        (config, cores): (Config, u8),
        seed: u64,
        founding: Option<Command>,
    ) -> Result<(), StartError> {
        let mut tasks = vec![self.disk.start().abort_handle()];
        if let Some(granted) = self.granted.take() {
            keep_granted(&self.disk, &granted)?;
        }
        let parts = NodeParts {
            node: self.node,
            datacenter: Arc::clone(&self.datacenter),
            restarted: self.woken > 0,
            cores,
            config,
            clock: Arc::new(self.clock),
            store: Arc::new(self.disk.clone()),
            commit: Arc::new(self.disk.clone()),
            seed,
        };
        self.woken += 1;
        let setting = Setting {
            consensus: elections(self.node, seed, network.round_trip_max()),
            gossip: membership::Config::lan(),
            gauge: Arc::new(Boundless),
            partitions: PARTITIONS,
        };
        let plug = |inbound| Ok(network.plug(self.node, Arc::clone(&self.datacenter), inbound) as _);
        let mut begun = Begun::new(parts, setting, plug).await?;
        if let Some(command) = founding {
            begun.found(command).await?;
        }
        tasks.extend(begun.take_shards().into_iter().map(|shard| tokio::spawn(shard).abort_handle()));
        self.life = Some(Life { started: begun.run().await, tasks });
        Ok(())
    }

    /// Ends the node's life where it stands.
    pub(super) fn crash(&mut self, network: &Network) {
        let Some(Life { started, tasks }) = self.life.take() else { return };
        network.unplug(self.node);
        self.disk = self.disk.crash();
        tasks.iter().for_each(AbortHandle::abort);
        // It can neither send nor store any more; this only takes its tasks away.
        tokio::spawn(async move { started.end_control().await });
    }
}
