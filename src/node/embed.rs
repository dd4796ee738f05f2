//! The steps from parts to a running node, which a real node and a simulated one share.

use std::sync::Arc;

use quorate_control::consensus::{ConsensusConfig, ControlStatus, FoundError, ProposeError};
use quorate_control::state::{Command, Response};
use quorate_control::store::StoreError;
use quorate_control::topology::Topology;
use quorate_crdt::NodeId;
use quorate_dynamo::protocol::ReplicaSummary;
use quorate_gossip::membership;
use quorate_gossip::transport::{Inbound, Transport};

use super::assembly::{Assembly, Connected, NodeParts, ShardRun};
use super::control::{Control, ControlParts, Door};
use super::doors::Doors;
use super::guard::Guarded;
use super::running::{DiskGauge, Running, Tasks};
use super::start::StartError;

/// How a node is set, beside what it is made of.
pub(crate) struct Setting {
    /// Elections.
    pub(crate) consensus: ConsensusConfig,
    /// Failure detection.
    pub(crate) gossip: membership::Config,
    /// How the disk is looked at.
    pub(crate) gauge: Arc<dyn DiskGauge>,
    /// Partitions of a keyspace that names no number.
    pub(crate) partitions: u16,
}

/// A node whose data is loaded and whose control group runs; its shards do not yet.
pub(crate) struct Begun {
    connected: Connected,
    control: Arc<Control>,
    setting: Setting,
}

/// A node at work. Dropping it ends its background tasks; its shards and its control group are
/// ended by whoever runs them.
pub(crate) struct Started {
    pub(super) running: Arc<Running>,
    /// Held for its drop.
    pub(super) tasks: Tasks,
    pub(super) doors: Arc<Doors>,
}

impl Begun {
    /// Loads the data, plugs the node into the network that `plug` gives, and opens the control
    /// group.
    pub(crate) async fn new(
        parts: NodeParts,
        setting: Setting,
        plug: impl FnOnce(Arc<dyn Inbound>) -> Result<Arc<dyn Transport>, StartError>,
    ) -> Result<Self, StartError> {
        let assembly = Assembly::load(parts)?;
        let transport = plug(assembly.inbound())?;
        let connected = assembly.connect(transport);
        let parts = ControlParts {
            store: Guarded::new(Arc::clone(&connected.parts.store), &connected.failure),
            commit: Arc::clone(&connected.parts.commit),
            transport: Arc::clone(&connected.transport),
            clock: Arc::clone(&connected.parts.clock),
        };
        let control = Control::open(setting.consensus.clone(), parts).await?;
        connected
            .hub
            .open_control(Arc::new(Door(Arc::downgrade(&control))));
        Ok(Self {
            connected,
            control,
            setting,
        })
    }

    /// Founds the cluster.
    pub(crate) async fn found(&mut self, command: Command) -> Result<Response, FoundError> {
        self.control.group().found(command).await
    }

    /// The shards, for the caller to run; nothing else does.
    pub(crate) fn take_shards(&mut self) -> Vec<ShardRun> {
        std::mem::take(&mut self.connected.shards)
    }

    /// Starts the background tasks on the current runtime and waits until the node acts on a
    /// topology that it is in.
    ///
    /// # Errors
    /// [`StartError::Failed`]: the disk failed meanwhile.
    pub(crate) async fn run(self) -> Result<Started, StartError> {
        let Self {
            connected,
            control,
            setting,
        } = self;
        let (running, tasks) = Running::start(connected, control, setting.gauge, setting.gossip);
        tokio::select! {
            biased;
            error = running.failed() => return Err(StartError::Failed(error)),
            () = running.in_topology() => {}
        }
        let runtime = tokio::runtime::Handle::current();
        let doors = Arc::new(Doors {
            running: Arc::clone(&running),
            runtime,
            partitions: setting.partitions,
        });
        Ok(Started {
            running,
            tasks,
            doors,
        })
    }
}

impl Started {
    /// The doors to the node.
    pub(crate) fn doors(&self) -> Arc<Doors> {
        Arc::clone(&self.doors)
    }

    /// Why the node must stop, if its disk has failed.
    pub(crate) fn failure(&self) -> Option<Arc<StoreError>> {
        self.running.failure.borrow().clone()
    }

    /// Proposes a command, as an operator does. Whether it was taken.
    pub(crate) fn propose(
        &self,
        command: Command,
    ) -> impl Future<Output = Result<Response, ProposeError>> + Send + use<> {
        let control = Arc::clone(&self.running.control);
        async move { control.propose(command).await }
    }

    /// The figures of all replicas of the node.
    pub(crate) fn summaries(&self) -> impl Future<Output = Vec<ReplicaSummary>> + Send + use<> {
        let hub = Arc::clone(&self.running.hub);
        async move { hub.summaries().await }
    }

    /// The newest topology that this node's control group has applied; the node need not act on it
    /// yet.
    pub(crate) fn decided(&self) -> Arc<Topology> {
        self.running
            .control
            .group()
            .read(|state| Arc::clone(state.topology()))
    }

    /// Whom the failure detector holds for unreachable.
    pub(crate) fn unreachable(&self) -> Vec<NodeId> {
        self.running
            .hub
            .unreachable
            .load()
            .keys()
            .copied()
            .collect()
    }

    /// What this node does in the control group.
    pub(crate) fn control(&self) -> ControlStatus {
        self.running.control.group().status()
    }

    /// Ends the control group's tasks, as a process takes them with it.
    pub(crate) async fn end_control(&self) {
        self.running.control.group().shutdown().await;
    }
}
