//! Whole clusters in virtual time: every behaviour can be replayed from its seed.
//!
//! The nodes are those of [`crate::node`]; network, disk and clocks are simulated, and all of it
//! runs on one thread whose clock moves only when everybody waits. Two runs of one seed have the
//! same [`Trace`].
//!
//! ```
//! use quorate::sim::{self, Layout};
//! use quorate_dynamo::Consistency;
//! use quorate_dynamo::op::{Mutation, Query, Reply};
//!
//! let (members, _trace) = sim::run(7, Layout::new(3, 1), async |cluster| {
//!     cluster.split("dc1");
//!     let minority = cluster.client(cluster.nodes_in("dc1")[0], Some(Consistency::LocalQuorum));
//!     minority.mutate("colours", Mutation::Add(vec!["red".into()])).await.expect("its own datacenter is all there");
//!     cluster.heal();
//!     cluster.settled().await.expect("all replicas become equal");
//!     let majority = cluster.client(cluster.nodes_in("dc2")[0], Some(Consistency::LocalOne));
//!     majority.query("colours", Query::Members).await.expect("nothing is down")
//! })
//! .expect("the cluster starts");
//! assert_eq!(members, Reply::List(vec!["red".into()]));
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quorate_control::state::{Command, NewToken, NodeSpec, TokenId};
use quorate_control::topology::{ClusterId, Topology};
use quorate_crdt::{NodeId, Secret};
use quorate_dynamo::Consistency;
use quorate_dynamo::protocol::Config;
use quorate_gossip::token::TokenSecret;
use quorate_gossip::transport::{JoinRefusal, JoinRequest};
use quorate_gossip::wire;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::{Builder, RngSeed};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

mod ask;
pub mod campaign;
mod client;
mod clock;
mod direct;
mod disk;
mod eye;
mod history;
mod host;
mod join;
mod network;
mod oracle;
mod panics;
mod plan;
pub mod planted;
mod play;
mod promise;
pub mod report;
mod rest;
pub mod scenario;
mod scripted;
mod shrink;
mod trace;

pub use client::{Broken, Client, Ledger, may_be_applied};
pub use clock::{START_UNIX_MILLIS, SimClock};
pub use disk::SimDisk;
pub use history::{Fate, Need, Told};
pub use network::{Conditions, Network, Port};
pub use oracle::Violation;
pub use panics::PANIC;
pub use plan::{Action, Ask, Deed, Focus, Incident, Key, Kind, Knobs, Plan, Shape, Step};
pub use play::{Outcome, play};
pub use trace::Trace;

use crate::doors::Data;
use crate::doors::Status;
use crate::node::{Queues, StartError};
use host::{Host, NodeSetting};

/// How long a cluster may take to come together, or to settle. Virtual time costs nothing; beyond
/// this it never will.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The join token of every simulated cluster.
const TOKEN: (u64, [u8; 16]) = (1, [7; 16]);

/// The founder's instance number; those of the others follow it.
const INSTANCE_OF_FIRST: u128 = 1;

/// What a simulated cluster looks like.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Name and number of nodes of each datacenter.
    pub datacenters: Vec<(Arc<str>, usize)>,
    /// The network.
    pub conditions: Conditions,
    /// Shards of each node.
    pub cores: u8,
    /// The wall clocks of two nodes differ by up to twice this much.
    pub skew: Duration,
    /// What an operator may turn in the data plane.
    pub data: Config,
    /// Partitions of a keyspace that names no number.
    pub partitions: u16,
    /// Racks of each datacenter; 0: as many as it has nodes.
    pub racks: usize,
    /// How often the leader of the control group is heard from, at least; `None`: as on a local
    /// network.
    pub heartbeat: Option<Duration>,
    /// How much may wait in the drivers of shards.
    pub queues: Queues,
}

impl Layout {
    /// Datacenters `dc1`, `dc2`, … of so many nodes each, one shard per node, clocks up to 100 ms
    /// wrong.
    pub fn new(datacenters: usize, nodes: usize) -> Self {
        Self {
            datacenters: (1..=datacenters)
                .map(|number| (format!("dc{number}").into(), nodes))
                .collect(),
            conditions: Conditions::default(),
            cores: 1,
            skew: Duration::from_millis(100),
            data: Config::default(),
            partitions: 16,
            racks: 0,
            heartbeat: None,
            queues: Queues::default(),
        }
    }
}

/// A simulation that could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The runtime could not be made.
    #[error("no runtime")]
    Runtime(#[from] std::io::Error),
    /// A node did not start.
    #[error(transparent)]
    Start(Arc<StartError>),
    /// A node was not admitted.
    #[error("a node was not admitted")]
    Join(#[from] JoinRefusal),
    /// The cluster was not at rest after two minutes of virtual time.
    #[error("node {node} does not see the cluster at rest; it sees:\n{seen}")]
    Unsettled {
        /// The first node that sees it so.
        node: NodeId,
        /// What it sees; `None` when it is dead.
        seen: Seen,
    },
}

/// What a node sees of its cluster, for an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen(pub Option<Box<Status>>);

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(status) => status.fmt(f),
            None => f.write_str("nothing, it is dead"),
        }
    }
}

/// A running cluster in virtual time.
#[derive(Debug)]
pub struct Simulation {
    seed: u64,
    start: Instant,
    layout: Layout,
    network: Network,
    hosts: BTreeMap<NodeId, Host>,
    chance: StdRng,
    /// Nodes that asked to be let in while time went on.
    invited: Vec<JoinHandle<Option<join::Admitted>>>,
    /// How many have asked so far: each has a name of its own.
    newcomers: usize,
}

/// Runs `scenario` on a fresh cluster of `layout`. All that happens follows from `seed`, `layout`
/// and `scenario`.
///
/// # Errors
/// [`SimError`] when the cluster does not come together.
pub fn run<T>(
    seed: u64,
    layout: Layout,
    scenario: impl AsyncFnOnce(&mut Simulation) -> T,
) -> Result<(T, Trace), SimError> {
    let random = RngSeed::from_bytes(&seed.to_le_bytes());
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(random)
        .build()?;
    runtime.block_on(async {
        let mut simulation = Simulation::start(seed, layout).await?;
        let result = scenario(&mut simulation).await;
        Ok((result, simulation.network.trace()))
    })
}

impl Simulation {
    async fn start(seed: u64, layout: Layout) -> Result<Self, SimError> {
        let mut chance = StdRng::seed_from_u64(seed);
        let network = Network::new(chance.random(), layout.conditions);
        network.start();
        let (hosts, invited) = (BTreeMap::new(), Vec::new());
        let mut simulation = Self {
            seed,
            start: Instant::now(),
            layout,
            network,
            hosts,
            chance,
            invited,
            newcomers: 0,
        };
        let datacenters = simulation.layout.datacenters.clone();
        // Round robin, so that the first voters stand in different datacenters.
        let most = datacenters
            .iter()
            .map(|(_, nodes)| *nodes)
            .max()
            .unwrap_or(0);
        for number in 0..most {
            for (datacenter, _) in datacenters.iter().filter(|(_, nodes)| number < *nodes) {
                simulation.add(datacenter, number + 1).await?;
            }
        }
        simulation.settled().await?;
        Ok(simulation)
    }

    /// Starts one more node: the first founds the cluster, the others join at the first.
    async fn add(&mut self, datacenter: &Arc<str>, number: usize) -> Result<NodeId, SimError> {
        let name: Arc<str> = format!("{datacenter}-{number}").into();
        let quic = ([10, 0, 0, self.hosts.len() as u8 + 1], 7381).into();
        let rack = if self.layout.racks == 0 {
            number
        } else {
            1 + (number - 1) % self.layout.racks
        };
        let rack: Arc<str> = format!("rack{rack}").into();
        let instance = INSTANCE_OF_FIRST + self.hosts.len() as u128;
        let (node, granted, founding) = if let Some(&member) = self.hosts.keys().next() {
            let (token, secret) = (TOKEN.0, TokenSecret(TOKEN.1));
            let request = JoinRequest {
                token,
                secret,
                name,
                datacenter: Arc::clone(datacenter),
                rack,
                quic,
                instance,
            };
            let (node, topology) = self.join(member, request).await?;
            (node, Some(topology), None)
        } else {
            let spec = NodeSpec {
                name,
                datacenter: Arc::clone(datacenter),
                rack,
                quic,
                instance,
            };
            (NodeId(1), None, Some(founding(self.seed, spec)))
        };
        let skew = self.skew();
        let host = Host::new(
            node,
            Arc::clone(datacenter),
            granted,
            (self.chance.random(), SimClock::new(self.start, skew)),
        );
        self.hosts.insert(node, host);
        self.wake(node, founding).await?;
        Ok(node)
    }

    fn skew(&mut self) -> i64 {
        let skew = self.layout.skew.as_millis() as i64;
        self.chance.random_range(-skew..=skew)
    }

    fn random(&mut self) -> u64 {
        self.chance.random()
    }

    async fn join(
        &self,
        member: NodeId,
        request: JoinRequest,
    ) -> Result<(NodeId, Arc<Topology>), SimError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.network.join(member, request.clone()).await {
                Ok(grant) => {
                    let topology = wire::decode(&grant.topology)
                        .map_err(|error| SimError::Start(Arc::new(error.into())))?;
                    return Ok((grant.node, Arc::new(topology)));
                }
                Err(JoinRefusal::NotReady) if Instant::now() < deadline => sleep(LOOK_EVERY).await,
                Err(refusal) => return Err(refusal.into()),
            }
        }
    }

    async fn wake(&mut self, node: NodeId, founding: Option<Command>) -> Result<(), SimError> {
        let Some(starting) = self.start_process(node, founding) else {
            return Ok(());
        };
        match starting.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(SimError::Start(error)),
            // Only a crash aborts it, and nobody else crashes nodes meanwhile.
            Err(_aborted) => Ok(()),
        }
    }

    /// Starts the node's process, which may take its time, and may be crashed at any moment of it.
    fn start_process(
        &mut self,
        node: NodeId,
        founding: Option<Command>,
    ) -> Option<JoinHandle<Result<(), Arc<StartError>>>> {
        let host = self.hosts.get_mut(&node)?;
        let Layout {
            data,
            cores,
            partitions,
            heartbeat,
            queues,
            ..
        } = &self.layout;
        let setting = NodeSetting {
            data: data.clone(),
            queues: *queues,
            cores: *cores,
            partitions: *partitions,
            heartbeat: *heartbeat,
        };
        Some(host.wake(&self.network, &setting, self.chance.random(), founding))
    }

    /// All nodes, dead ones included, in ascending order.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.hosts.keys().copied().collect()
    }

    /// The nodes of one datacenter, in ascending order.
    pub fn nodes_in(&self, datacenter: &str) -> Vec<NodeId> {
        self.hosts
            .iter()
            .filter(|(_, host)| *host.datacenter == *datacenter)
            .map(|(&node, _)| node)
            .collect()
    }

    /// Whether the node runs.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.hosts.get(&node).is_some_and(Host::is_up)
    }

    /// The door to a node, if it runs.
    pub fn data(&self, node: NodeId) -> Option<Arc<dyn Data>> {
        self.hosts.get(&node)?.data()
    }

    /// A client of a node, at a level. While the node is dead the client is told so.
    pub fn client(&self, node: NodeId, level: Option<Consistency>) -> Client {
        let host = self.hosts.get(&node);
        let datacenter = host.map_or_else(|| "".into(), |host| Arc::clone(&host.datacenter));
        Client::new(host.and_then(Host::data), datacenter, level)
    }

    /// Cuts a datacenter off from all others, both ways.
    pub fn split(&mut self, datacenter: &str) {
        let inside = self.nodes_in(datacenter);
        let outside: Vec<NodeId> = self
            .nodes()
            .into_iter()
            .filter(|node| !inside.contains(node))
            .collect();
        self.network.cut(&inside, &outside);
        self.network.cut(&outside, &inside);
    }

    /// From now on nothing that `from` sends reaches `to`; the other way stays open.
    pub fn cut(&mut self, from: &[NodeId], to: &[NodeId]) {
        self.network.cut(from, to);
    }

    /// Takes all cuts away.
    pub fn heal(&mut self) {
        self.network.heal();
    }

    /// Kills a node: what its disk was not yet asked to keep is (mostly) lost.
    pub fn crash(&mut self, node: NodeId) {
        if let Some(host) = self.hosts.get_mut(&node) {
            host.crash(&self.network);
        }
    }

    /// Starts a dead node again, with what its disk has kept.
    ///
    /// # Errors
    /// [`SimError::Start`].
    pub async fn restart(&mut self, node: NodeId) -> Result<(), SimError> {
        if self.hosts.get(&node).is_some_and(Host::is_alive) {
            return Ok(());
        }
        self.wake(node, None).await
    }

    /// The cluster as a node sees it; `None` when the node is dead.
    pub async fn status(&self, node: NodeId) -> Option<Status> {
        self.data(node)?.status().await.ok()
    }

    /// Lets so much virtual time pass.
    pub async fn pass(&self, time: Duration) {
        sleep(time).await;
    }

    /// Waits until every node sees a converged cluster in which no replica keeps an event for
    /// another.
    ///
    /// # Errors
    /// [`SimError::Unsettled`] after two minutes.
    pub async fn settled(&self) -> Result<(), SimError> {
        let deadline = Instant::now() + PATIENCE;
        for node in self.nodes() {
            loop {
                let seen = self.status(node).await;
                if seen
                    .as_ref()
                    .is_some_and(|status| at_rest(status, self.hosts.len()))
                {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(SimError::Unsettled {
                        node,
                        seen: Seen(seen.map(Box::new)),
                    });
                }
                sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }
}

fn at_rest(status: &Status, nodes: usize) -> bool {
    let quiet = status
        .keyspaces
        .iter()
        .all(|keyspace| keyspace.recent == 0 && keyspace.residuals == 0);
    status.converged && quiet && status.nodes.len() == nodes && status.leader.is_some()
}

/// The command that makes a simulated cluster. Nobody checks certificates here, so the authority is
/// a text.
fn founding(seed: u64, node: NodeSpec) -> Command {
    let secret = Secret::new(TOKEN.1);
    Command::Found {
        cluster: ClusterId(u128::from(seed) + 1),
        authority: Secret::new("simulated"),
        token: NewToken {
            id: TokenId(TOKEN.0),
            secret,
            uses: None,
            expires_ms: None,
        },
        node,
        at_ms: START_UNIX_MILLIS,
    }
}
