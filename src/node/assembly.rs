//! Puts a node's data plane together from parts that production and the simulator choose
//! differently.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use quorate_control::store::{Commit, Store, StoreError};
use quorate_control::topology::Datacenter;
use quorate_crdt::NodeId;
use quorate_dynamo::protocol::Config;
use quorate_dynamo::{Dynamo, Seat};
use quorate_gossip::transport::{Inbound, Transport};
use tokio::sync::mpsc;

use super::adopted::Keeper;
use super::clock::Clock;
use super::guard::{Failure, Guarded};
use super::hub::{Hub, News, Switchboard};
use super::release::{Outbox, Report};
use super::shard::{Inbox, Lane, Shard, Surroundings};
use super::watched::{Onlooker, Queues};
use crate::store::{Life, Lives};

/// A shard's whole life. Whoever assembles a node decides on which thread it is lived.
pub type ShardRun = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a node needs of the world. All that touches time, disk and chance is here; the network
/// comes later.
#[derive(Clone)]
pub struct NodeParts {
    /// Its number.
    pub node: NodeId,
    /// Its datacenter.
    pub datacenter: Datacenter,
    /// Whether it comes back to a cluster that knows it.
    pub restarted: bool,
    /// How many shards it runs; at least 1.
    pub cores: u8,
    /// What an operator may turn in the data plane.
    pub config: Config,
    /// Its clocks.
    pub clock: Arc<dyn Clock>,
    /// Its disk.
    pub store: Arc<dyn Store>,
    /// What makes `store` durable.
    pub commit: Arc<dyn Commit>,
    /// How much may wait in it.
    pub queues: Queues,
    /// Who looks over the shoulders of its shards, if anybody does.
    pub onlooker: Option<Arc<dyn Onlooker>>,
    /// What all its random choices follow from, what tells this life from all others among them:
    /// another at every start.
    pub seed: u64,
}

impl fmt::Debug for NodeParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeParts")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// A node that has loaded its data and is not yet connected.
pub(super) struct Assembly {
    parts: NodeParts,
    hub: Arc<Hub>,
    cores: Vec<(Dynamo, Inbox)>,
    news: mpsc::UnboundedReceiver<News>,
    keeper: Keeper,
    life: Life,
    lives: Arc<Lives>,
    failure: Failure,
}

/// What a connected node leaves to drive.
pub(super) struct Connected {
    pub(super) hub: Arc<Hub>,
    pub(super) parts: NodeParts,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) shards: Vec<ShardRun>,
    pub(super) news: mpsc::UnboundedReceiver<News>,
    pub(super) keeper: Keeper,
    pub(super) life: Life,
    pub(super) reports: mpsc::UnboundedReceiver<Report>,
    pub(super) failure: Failure,
}

impl Assembly {
    /// Begins a life, and loads every core's partitions and the topology that the node acted on
    /// last from the store.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has been changed.
    pub(super) fn load(mut parts: NodeParts) -> Result<Self, StoreError> {
        let failure = Failure::new(None);
        parts.commit = Guarded::new(parts.commit, &failure);
        let keeper = Keeper::open(Arc::clone(&parts.store), Arc::clone(&parts.commit))?;
        let (life, lives) = Lives::begin(
            Arc::clone(&parts.store),
            parts.seed.rotate_left(29),
            parts.clock.now().unix_millis,
        )?;
        let (mut lanes, mut cores) = (Vec::new(), Vec::new());
        for core in 0..parts.cores {
            let seat = Seat {
                me: parts.node,
                incarnation: life.incarnation,
                core,
                cores: parts.cores,
                life: parts.seed.rotate_left(41),
                restarted: parts.restarted,
            };
            let mut dynamo = Dynamo::new(parts.config.clone(), seat);
            dynamo.restore(&*parts.store)?;
            let (lane, inbox) = Lane::new(parts.queues.inbox_bytes_max);
            lanes.push(lane);
            cores.push((dynamo, inbox));
        }
        let (news_sender, news) = mpsc::unbounded_channel();
        let hub = Arc::new(Hub::new(
            parts.node,
            lanes,
            keeper.kept().as_ref(),
            news_sender,
        ));
        Ok(Self {
            parts,
            hub,
            cores,
            news,
            keeper,
            life,
            lives: Arc::new(lives),
            failure,
        })
    }

    /// What the network is to deliver to.
    pub(super) fn inbound(&self) -> Arc<dyn Inbound> {
        Arc::new(Switchboard(Arc::clone(&self.hub)))
    }

    /// Gives the node its network. Nothing runs before the caller spawns the shards.
    pub(super) fn connect(self, transport: Arc<dyn Transport>) -> Connected {
        let (report_sender, reports) = mpsc::unbounded_channel();
        let outbox = Outbox {
            transport: Arc::clone(&transport),
            reports: report_sender,
            meter: Arc::clone(&self.hub.meter),
        };
        let mut shards: Vec<ShardRun> = Vec::new();
        for (core, (dynamo, inbox)) in (0..).zip(self.cores) {
            let around = Surroundings {
                clock: Arc::clone(&self.parts.clock),
                store: Arc::clone(&self.parts.store),
                commit: Arc::clone(&self.parts.commit),
                lives: Arc::clone(&self.lives),
                outbox: outbox.clone(),
                failure: self.failure.clone(),
                queues: self.parts.queues,
                watched: self.parts.onlooker.clone().map(|onlooker| (core, onlooker)),
            };
            shards.push(Box::pin(Shard::new(dynamo, around).run(inbox)));
        }
        Connected {
            hub: self.hub,
            parts: self.parts,
            transport,
            shards,
            news: self.news,
            keeper: self.keeper,
            life: self.life,
            reports,
            failure: self.failure,
        }
    }
}
