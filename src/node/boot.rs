//! The steps from a [`World`] to a node at work. A real node and a simulated one take the same.
//!
//! ```text
//! Boot::new      loads the data, plugs in the network, opens the control group
//! Boot::found    makes a new cluster, if there is none yet
//! take_shards    hands out the shards; the caller decides on which threads they live
//! Boot::run      starts the tasks and waits until the node has a place in its topology
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use quorate_control::consensus::{GroupStatus, ProposeError};
use quorate_control::coordinate::Coordination;
use quorate_control::state::{Command, CommandRefusal, Response};
use quorate_control::store::StoreError;
use quorate_control::topology::Topology;
use quorate_crdt::NodeId;
use quorate_dynamo::protocol::ReplicaSummary;
use quorate_dynamo::{Dynamo, Seat};
use quorate_gossip::transport::{Inbound, Transport};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::adopted::Keeper;
use super::control::{Control, Door};
use super::coordinating::Coordinating;
use super::disk_guard::{Failure, Guarded};
use super::doors::Doors;
use super::error::StartError;
use super::hub::{Hub, Switchboard};
use super::inbox::{Inbox, Lane};
use super::keys::Keys;
use super::meter::Meter;
use super::outbox::Outbox;
use super::shard::{Shard, Surroundings};
use super::shared::Shared;
use super::tasks::{self, Feeds, Tasks};
use super::world::{Settings, Watched, World};

/// A shard's whole life. The caller decides on which thread it is lived.
pub(crate) type ShardRun = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A node that has its data, its network and its part in the control group. Its shards and its
/// tasks do not run yet.
pub(crate) struct Boot {
    shared: Arc<Shared>,
    shards: Vec<ShardRun>,
    feeds: Feeds,
}

/// A node at work. Dropping it ends its tasks. Its shards end with their threads, its control group
/// with [`end_control`](Self::end_control).
pub(crate) struct Started {
    doors: Arc<Doors>,
    /// Held for its drop.
    _tasks: Tasks,
}

/// A node's place in its network.
pub(crate) struct Plug {
    /// The way to other nodes.
    pub(crate) transport: Arc<dyn Transport>,
    /// Where other nodes reach this one, `host:port`.
    pub(crate) address: Arc<str>,
    /// What it shows there; a simulated network asks for no keys.
    pub(super) keys: Option<Arc<Keys>>,
}

impl Plug {
    /// A place in a network that asks for no keys.
    pub(crate) fn without_keys(transport: Arc<dyn Transport>, address: Arc<str>) -> Self {
        Self {
            transport,
            address,
            keys: None,
        }
    }
}

impl Boot {
    /// Begins a life of the node: loads the topology and the partitions from the store, plugs the
    /// node into the network that `plug` gives, and opens the control group.
    ///
    /// # Errors
    /// [`StartError`]; the store has at most the number of one more life.
    pub(crate) async fn new(
        settings: Settings,
        mut world: World,
        plug: impl FnOnce(Arc<dyn Inbound>) -> Result<Plug, StartError>,
    ) -> Result<Self, StartError> {
        let failure = Failure::new(None);
        world.commit = Guarded::new(world.commit, &failure);
        let keeper = Keeper::open(Arc::clone(&world.store), Arc::clone(&world.commit))?;
        let (life, lives) = world.begin_life()?;
        let lives = Arc::new(lives);
        let begun = Instant::now();
        let Loaded { lanes, cores, rows } = load(&settings, &world, life.incarnation)?;
        if rows > 0 {
            let seconds = begun.elapsed().as_secs_f64();
            tracing::info!(rows, seconds, "the data of the node is loaded");
        }
        let (news_sender, news) = mpsc::unbounded_channel();
        let kept = keeper.kept();
        let meter = Meter::new(world.gauge.sync_seconds());
        let hub = Arc::new(Hub::new(
            settings.node,
            lanes,
            kept.as_ref(),
            meter,
            news_sender,
        ));
        let Plug {
            transport,
            address,
            keys,
        } = plug(Arc::new(Switchboard(Arc::clone(&hub))))?;
        let (report_sender, reports) = mpsc::unbounded_channel();
        let outbox = Outbox {
            transport: Arc::clone(&transport),
            reports: report_sender,
            meter: Arc::clone(&hub.meter),
        };
        let mut shards: Vec<ShardRun> = Vec::new();
        for (core, (dynamo, inbox)) in (0..).zip(cores) {
            let watched = world.onlooker.clone();
            let around = Surroundings {
                clock: Arc::clone(&world.clock),
                store: Arc::clone(&world.store),
                commit: Arc::clone(&world.commit),
                lives: Arc::clone(&lives),
                outbox: outbox.clone(),
                failure: failure.clone(),
                queues: settings.queues,
                watched: watched.map(|onlooker| Watched { core, onlooker }),
            };
            shards.push(Box::pin(Shard::new(dynamo, around).run(inbox)));
        }
        let control = Control::open(
            settings.consensus.clone(),
            Guarded::new(Arc::clone(&world.store), &failure),
            Arc::clone(&world.commit),
            Arc::clone(&transport),
            Arc::clone(&world.clock),
        )
        .await?;
        hub.open_control(Arc::new(Door(Arc::downgrade(&control))));
        let (acted, heard) = (watch::Sender::new(None), watch::Sender::new(hub.topology()));
        Ok(Self {
            shared: Arc::new(Shared {
                settings,
                world,
                hub,
                transport,
                address,
                keys,
                control,
                failure,
                acted,
                heard,
            }),
            shards,
            feeds: Feeds {
                keeper,
                reports,
                news,
                appearance: life.appearance,
            },
        })
    }

    /// Founds the cluster of `command`. Safe to repeat with the same cluster after a crash in
    /// between: then it finds that the cluster has been founded.
    ///
    /// # Errors
    /// [`StartError::Found`]: the founding is not known to be finished.
    /// [`StartError::FoundRefused`]: the store holds another cluster, or the command is not valid.
    pub(crate) async fn found(&mut self, command: Command) -> Result<(), StartError> {
        let wanted = match &command {
            Command::Found { cluster, .. } => Some(*cluster),
            _ => None,
        };
        match self.shared.control.consensus().found(command).await? {
            Response::Refused(CommandRefusal::AlreadyFounded)
                if wanted == Some(self.shared.control.decided().cluster) =>
            {
                Ok(())
            }
            Response::Refused(refusal) => Err(StartError::FoundRefused(refusal)),
            _ => Ok(()),
        }
    }

    /// Where other nodes reach this one.
    pub(super) fn address(&self) -> Arc<str> {
        Arc::clone(&self.shared.address)
    }

    /// The newest topology that the node's control group has applied.
    pub(super) fn decided(&self) -> Arc<Topology> {
        self.shared.control.decided()
    }

    /// The shards, for the caller to run. A second call gives none.
    pub(crate) fn take_shards(&mut self) -> Vec<ShardRun> {
        std::mem::take(&mut self.shards)
    }

    /// Starts the tasks on the current runtime and waits until the node acts on a topology that
    /// names it.
    ///
    /// # Errors
    /// [`StartError::Failed`]: the disk failed meanwhile.
    pub(crate) async fn run(self) -> Result<Started, StartError> {
        debug_assert!(self.shards.is_empty(), "the caller takes the shards first");
        let shared = self.shared;
        let tasks = tasks::spawn(&shared, self.feeds);
        tokio::select! {
            biased;
            error = shared.failed() => return Err(StartError::Failed(error)),
            () = shared.in_topology() => {}
        }
        let coordination = shared.control.coordination().clone();
        let doors = Arc::new(Doors {
            coordinating: Coordinating::start(coordination, shared.world.seed),
            shared,
            runtime: tokio::runtime::Handle::current(),
        });
        Ok(Started {
            doors,
            _tasks: tasks,
        })
    }
}

/// The cores of a node, and the way into each.
struct Loaded {
    lanes: Vec<Lane>,
    cores: Vec<(Dynamo, Inbox)>,
    /// Live rows of all replicas.
    rows: u64,
}

/// Makes the cores of a node and loads the partitions that the store has for them.
fn load(settings: &Settings, world: &World, incarnation: u32) -> Result<Loaded, StoreError> {
    let (mut lanes, mut cores, mut rows) = (Vec::new(), Vec::new(), 0);
    for core in 0..settings.cores {
        let seat = Seat {
            me: settings.node,
            incarnation,
            core,
            cores: settings.cores,
            life: world.life_name(),
            restarted: settings.restarted,
        };
        let mut dynamo = Dynamo::new(settings.data.clone(), seat);
        dynamo.restore(&*world.store)?;
        rows += dynamo.row_count();
        let (lane, inbox) = Lane::new(settings.queues.inbox_bytes_max);
        lanes.push(lane);
        cores.push((dynamo, inbox));
    }
    Ok(Loaded { lanes, cores, rows })
}

impl Started {
    /// What the tasks and the doors share.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.doors.shared
    }

    /// The doors to the node.
    pub(crate) fn doors(&self) -> Arc<Doors> {
        Arc::clone(&self.doors)
    }

    /// Why the node must stop, if its disk has failed.
    pub(crate) fn failure(&self) -> Option<Arc<StoreError>> {
        self.shared().failure.borrow().clone()
    }

    /// Proposes a command, as an operator does, and tells what came of it.
    pub(crate) fn propose(
        &self,
        command: Command,
    ) -> impl Future<Output = Result<Response, ProposeError>> + Send + use<> {
        let control = Arc::clone(&self.shared().control);
        async move { control.propose(command).await }
    }

    /// The figures of all replicas of the node.
    pub(crate) fn summaries(&self) -> impl Future<Output = Vec<ReplicaSummary>> + Send + use<> {
        let hub = Arc::clone(&self.shared().hub);
        async move { hub.summaries().await }
    }

    /// The newest topology that this node's control group has applied. The node may still act on an
    /// older one.
    pub(crate) fn decided(&self) -> Arc<Topology> {
        self.shared().control.decided()
    }

    /// The nodes that the failure detector considers unreachable.
    pub(crate) fn unreachable(&self) -> Vec<NodeId> {
        self.shared()
            .hub
            .unreachable
            .load()
            .keys()
            .copied()
            .collect()
    }

    /// How the control group looks from this node.
    pub(crate) fn control(&self) -> GroupStatus {
        self.shared().control.group().status()
    }

    /// How the coordination group looks from this node.
    pub(crate) fn coordination(&self) -> GroupStatus {
        self.shared().control.coordination().status()
    }

    /// Looks at what this node has applied in the coordination group.
    pub(crate) fn coordinated<R>(&self, read: impl FnOnce(&Coordination) -> R) -> R {
        self.shared().control.coordination().read(read)
    }

    /// Ends this node's part in the Raft groups.
    pub(crate) async fn end_control(&self) {
        self.shared().control.consensus().shutdown().await;
    }
}
