//! One simulated machine: a disk that outlives the node's lives, and the current life.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use quorate_control::consensus::{ConsensusConfig, Pace};
use quorate_control::state::Command;
use quorate_control::topology::{Datacenter, Timing, Topology};
use quorate_crdt::{NodeId, PublicKey};
use quorate_dynamo::protocol::Config;
use quorate_gossip::membership;
use quorate_gossip::transport::Inbound;
use tokio::task::{AbortHandle, JoinHandle};

use super::clock::SimClock;
use super::disk::SimDisk;
use super::eye::Eye;
use super::network::Network;
use crate::doors::Data;
use crate::node::{
    Boot, DiskGauge, Plug, Queues, Settings, StartError, Started, World, keep_granted,
};

/// A machine and the node on it.
pub(super) struct Host {
    node: NodeId,
    key: PublicKey,
    pub(super) datacenter: Datacenter,
    /// Where the machine is; other nodes dial it there.
    address: Arc<str>,
    /// The topology it was admitted with, until its disk has it.
    granted: Option<Arc<Topology>>,
    pub(super) clock: SimClock,
    pub(super) disk: Shelf,
    woken: u32,
    life: Option<Life>,
    door: Door,
    eye: Eye,
}

/// Where clients find the node while it is up. Cheap to clone; outlives the node's lives.
#[derive(Clone, Default)]
pub(super) struct Door(Arc<Mutex<Option<Arc<dyn Data>>>>);

impl Door {
    /// The door, while the node is up.
    pub(super) fn get(&self) -> Option<Arc<dyn Data>> {
        locked(&self.0).clone()
    }

    fn set(&self, data: Option<Arc<dyn Data>>) {
        *locked(&self.0) = data;
    }
}

/// The disk currently in the machine. Cheap to clone.
#[derive(Clone)]
pub(super) struct Shelf(Arc<Mutex<SimDisk>>);

impl Shelf {
    fn new(disk: SimDisk) -> Self {
        Self(Arc::new(Mutex::new(disk)))
    }

    pub(super) fn get(&self) -> SimDisk {
        locked(&self.0).clone()
    }

    pub(super) fn set(&self, disk: SimDisk) {
        *locked(&self.0) = disk;
    }
}

/// A simulated node's settings, apart from its machine.
#[derive(Clone, Debug)]
pub(super) struct NodeSetting {
    pub(super) data: Config,
    pub(super) queues: Queues,
    pub(super) cores: u8,
    pub(super) heartbeat: Option<Duration>,
}

/// A node and all its tasks, from the moment its process starts.
struct Life {
    stage: Arc<Mutex<Stage>>,
    tasks: Tasks,
}

/// How far a process has come.
enum Stage {
    Starting,
    Up(Started),
    Failed(Arc<StartError>),
}

/// The tasks of one life. They make progress only while its gate is open, and are aborted together
/// when the process dies. Cheap to clone.
#[derive(Clone, Default)]
struct Tasks {
    gate: Gate,
    handles: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Tasks {
    /// Spawns a task that runs only while the gate is open.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let handle = tokio::spawn(self.gate.pass(task)).abort_handle();
        locked(&self.handles).push(handle);
    }

    fn abort(&self) {
        locked(&self.handles).iter().for_each(AbortHandle::abort);
    }
}

/// Reads the simulated disk as an operating system would show it.
struct SimGauge(SimDisk);

impl DiskGauge for SimGauge {
    fn free_bytes(&self) -> Option<u64> {
        // Too little for writes, enough to keep running.
        self.0.is_full().then_some(128 << 20)
    }

    fn commits_and_syncs(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// A pace that suits the network: the slowest that `heartbeat` and the longest round trip ask for;
/// without `heartbeat` the group agrees on one.
fn pace(round_trip: Duration, heartbeat: Option<Duration>) -> Pace {
    heartbeat.map_or(Pace::Agreed, |heartbeat| {
        Pace::Fixed(Timing::of(round_trip * 3 / 2).max(Timing::of(heartbeat / 2)))
    })
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("node", &self.node)
            .field("up", &self.is_up())
            .finish_non_exhaustive()
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared
        .lock()
        .expect("invariant: no code panics while it holds a machine")
}

impl Host {
    pub(super) fn new(
        node: NodeId,
        key: PublicKey,
        datacenter: Datacenter,
        address: Arc<str>,
        granted: Option<Arc<Topology>>,
        seed: u64,
        clock: SimClock,
    ) -> Self {
        Self {
            node,
            key,
            datacenter,
            address,
            granted,
            clock,
            disk: Shelf::new(SimDisk::new(seed)),
            woken: 0,
            life: None,
            door: Door::default(),
            eye: Eye::default(),
        }
    }

    /// Whether the node is serving.
    pub(super) fn is_up(&self) -> bool {
        self.life
            .as_ref()
            .is_some_and(|life| matches!(&*locked(&life.stage), Stage::Up(_)))
    }

    /// Whether there is a process, serving or not.
    pub(super) fn is_alive(&self) -> bool {
        self.life.is_some()
    }

    /// Why the process gave up, if it did: it could not start, or its disk failed.
    pub(super) fn failure(&self) -> Option<String> {
        match &*locked(&self.life.as_ref()?.stage) {
            Stage::Starting => None,
            Stage::Up(started) => started.failure().map(|error| error.to_string()),
            Stage::Failed(error) => Some(error.to_string()),
        }
    }

    pub(super) fn data(&self) -> Option<Arc<dyn Data>> {
        self.started(|started| started.doors() as Arc<dyn Data>)
    }

    pub(super) fn door(&self) -> Door {
        self.door.clone()
    }

    pub(super) fn eye(&self) -> Eye {
        self.eye.clone()
    }

    /// Applies `read` to the node, if it is serving.
    pub(super) fn started<T>(&self, read: impl FnOnce(&Started) -> T) -> Option<T> {
        match &*locked(&self.life.as_ref()?.stage) {
            Stage::Up(started) => Some(read(started)),
            Stage::Starting | Stage::Failed(_) => None,
        }
    }

    /// Starts a process on the machine's disk. The node is serving once the returned task ends with
    /// `Ok`.
    pub(super) fn wake(
        &mut self,
        network: &Network,
        setting: &NodeSetting,
        seed: u64,
        founding: Option<Command>,
    ) -> JoinHandle<Result<(), Arc<StartError>>> {
        let (tasks, disk) = (Tasks::default(), self.disk.get());
        let granted = self.granted.clone();
        tasks.spawn(disk.work());
        let world = World {
            clock: Arc::new(self.clock.clone()),
            store: Arc::new(disk.clone()),
            commit: Arc::new(disk.clone()),
            gauge: Arc::new(SimGauge(disk)),
            onlooker: Some(Arc::new(self.eye.clone())),
            seed,
        };
        let settings = Settings {
            node: self.node,
            restarted: self.woken > 0,
            cores: setting.cores,
            queues: setting.queues,
            data: setting.data.clone(),
            consensus: ConsensusConfig {
                pace: pace(network.round_trip_max(), setting.heartbeat),
                ..ConsensusConfig::new(self.node, seed)
            },
            gossip: Some(membership::Config::lan()),
        };
        self.woken += 1;
        let (plugged, node, key) = (network.clone(), self.node, self.key);
        let datacenter = Arc::clone(&self.datacenter);
        let address = Arc::clone(&self.address);
        let plug = move |inbound| {
            let transport = plugged.plug(node, key, datacenter, Arc::clone(&address), inbound);
            Ok(Plug::without_keys(transport, address))
        };
        let stage = Arc::new(Mutex::new(Stage::Starting));
        let live = live(settings, world, plug, granted, founding, tasks.clone());
        let (door, reached) = (self.door.clone(), Arc::clone(&stage));
        let task = tokio::spawn(async move {
            let (next, result) = match live.await {
                Ok(started) => {
                    door.set(Some(started.doors()));
                    (Stage::Up(started), Ok(()))
                }
                Err(error) => {
                    let error = Arc::new(error);
                    (Stage::Failed(Arc::clone(&error)), Err(error))
                }
            };
            *locked(&reached) = next;
            result
        });
        locked(&tasks.handles).push(task.abort_handle());
        self.life = Some(Life { stage, tasks });
        task
    }

    /// Moves the machine: at its next start the node is at another address.
    pub(super) fn readdress(&mut self) {
        self.address = format!("moved-{}", self.address).into();
    }

    /// Kills the process wherever it is.
    pub(super) fn crash(&mut self, network: &Network) {
        let Some(Life { stage, tasks }) = self.life.take() else {
            return;
        };
        network.unplug(self.node);
        self.door.set(None);
        self.disk.set(self.disk.get().crash());
        tasks.abort();
        let stage = std::mem::replace(&mut *locked(&stage), Stage::Starting);
        if let Stage::Up(started) = stage {
            // It can no longer send or store anything; this only cleans up its tasks.
            tokio::spawn(async move { started.end_control().await });
        }
    }

    /// Suspends the process: it gets no CPU time and sends nothing.
    pub(super) fn stop(&self, network: &Network) {
        if let Some(life) = &self.life {
            life.tasks.gate.close();
            network.stop(self.node);
        }
    }

    /// Resumes a suspended process.
    pub(super) fn go_on(&self, network: &Network) {
        if let Some(life) = &self.life {
            life.tasks.gate.open();
        }
        network.go_on(self.node);
    }
}

/// Runs a process from its start until it serves.
async fn live(
    settings: Settings,
    world: World,
    plug: impl FnOnce(Arc<dyn Inbound>) -> Result<Plug, StartError>,
    granted: Option<Arc<Topology>>,
    founding: Option<Command>,
    tasks: Tasks,
) -> Result<Started, StartError> {
    if let Some(granted) = granted {
        keep_granted(&*world.store, &granted)?;
    }
    let mut boot = Boot::new(settings, world, plug).await?;
    if let Some(command) = founding {
        boot.found(command).await?;
    }
    for shard in boot.take_shards() {
        tasks.spawn(shard);
    }
    boot.run().await
}

/// Lets futures run, or not: a suspended process makes no progress.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<GateState>>);

#[derive(Default)]
struct GateState {
    closed: bool,
    waiting: Vec<Waker>,
}

impl Gate {
    fn close(&self) {
        locked(&self.0).closed = true;
    }

    fn open(&self) {
        let waiting = {
            let mut state = locked(&self.0);
            state.closed = false;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Polls `inner` only while the gate is open.
    fn pass(
        &self,
        inner: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (gate, mut inner) = (self.clone(), Box::pin(inner));
        poll_fn(move |context| {
            {
                let mut state = locked(&gate.0);
                if state.closed {
                    state.waiting.push(context.waker().clone());
                    return Poll::Pending;
                }
            }
            inner.as_mut().poll(context)
        })
    }
}
