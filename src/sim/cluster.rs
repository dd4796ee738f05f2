//! A running cluster in virtual time, and what a scenario can do to it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quorate_control::state::{Command, NewToken, NodeSpec, TokenId};
use quorate_control::topology::{ClusterId, DEFAULT_PARTITIONS, Topology};
use quorate_crdt::{NodeId, PublicKey, Secret};
use quorate_dynamo::Consistency;
use quorate_gossip::transport::{Expected, JoinRefusal, JoinRequest};
use quorate_gossip::wire;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::{Builder, RngSeed};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::client::Client;
use super::clock::{START_UNIX_MILLIS, SimClock};
use super::host::{Host, NodeSetting};
use super::layout::Layout;
use super::network::Network;
use super::trace::Trace;
use crate::doors::{Data, Status};
use crate::node::StartError;

/// How long a cluster may take to form or to settle. Waiting costs nothing in virtual time; a
/// cluster that needs longer will never get there.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often a condition is checked.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The token with which all nodes of a simulation join.
pub(super) const TOKEN: u64 = 1;

/// The key of the `number`th machine, counted from 0. Nobody signs with it: the simulated network
/// believes what it is told.
pub(super) fn key_of(number: usize) -> PublicKey {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    PublicKey(key)
}

/// Why a simulation could not continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The Tokio runtime could not be built.
    #[error("the runtime could not be built")]
    Runtime(#[from] std::io::Error),
    /// A node failed to start.
    #[error(transparent)]
    Start(Arc<StartError>),
    /// A node was refused admission.
    #[error("a node was refused admission")]
    Join(#[from] JoinRefusal),
    /// The cluster was still not at rest after two minutes of virtual time.
    #[error("node {node} does not see the cluster at rest; it sees:\n{seen}")]
    Unsettled {
        /// The first node that does not see it at rest.
        node: NodeId,
        /// What that node sees.
        seen: Seen,
    },
}

/// A node's view of its cluster, for an error message. `None` when the node is dead. Unlike the
/// `Seen` of `dynamo`, it is about the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen(pub Option<Box<Status>>);

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(status) => status.fmt(f),
            None => f.write_str("nothing, because it is dead"),
        }
    }
}

/// A node that was admitted.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) node: NodeId,
    pub(super) key: PublicKey,
    pub(super) datacenter: Arc<str>,
    /// Where other nodes reach it.
    pub(super) address: Arc<str>,
    /// The topology that it was given.
    pub(super) topology: Arc<Topology>,
}

/// A cluster running in virtual time.
#[derive(Debug)]
pub struct Simulation {
    seed: u64,
    pub(super) start: Instant,
    pub(super) layout: Layout,
    pub(super) network: Network,
    pub(super) hosts: BTreeMap<NodeId, Host>,
    chance: StdRng,
    /// Nodes that asked to join while the simulation was running.
    pub(super) invited: Vec<JoinHandle<Option<Admitted>>>,
    /// How many nodes have asked to join so far. Each gets a name of its own from it.
    pub(super) newcomers: usize,
}

/// Starts a fresh cluster of `layout` and runs `scenario` on it. Everything that happens follows
/// from `seed`, `layout` and `scenario`.
///
/// # Errors
/// [`SimError`] when the cluster does not form.
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
        // Round robin, so that the first voters are in different datacenters.
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

    /// Starts one more node. The first node founds the cluster; the others join through it.
    async fn add(&mut self, datacenter: &Arc<str>, number: usize) -> Result<NodeId, SimError> {
        let name: Arc<str> = format!("{datacenter}-{number}").into();
        let quic: Arc<str> = format!("10.0.0.{}:7381", self.hosts.len() + 1).into();
        let rack = if self.layout.racks == 0 {
            number
        } else {
            1 + (number - 1) % self.layout.racks
        };
        let rack: Arc<str> = format!("rack{rack}").into();
        let key = key_of(self.hosts.len());
        let (node, granted, founding) = if let Some(&member) = self.hosts.keys().next() {
            let request = JoinRequest {
                token: TOKEN,
                name,
                datacenter: Arc::clone(datacenter),
                rack,
                quic: Arc::clone(&quic),
                durable: true,
                witness: false,
                replaces: None,
                expects: Expected::default(),
            };
            let (node, topology) = self.join(member, key, request).await?;
            (node, Some(topology), None)
        } else {
            let spec = NodeSpec {
                name,
                datacenter: Arc::clone(datacenter),
                rack,
                quic: Arc::clone(&quic),
                key,
                durable: true,
                witness: false,
            };
            (NodeId(1), None, Some(founding(self.seed, spec)))
        };
        let skew = self.skew();
        let host = Host::new(
            node,
            key,
            Arc::clone(datacenter),
            quic,
            granted,
            self.chance.random(),
            SimClock::new(self.start, skew),
        );
        self.hosts.insert(node, host);
        self.wake(node, founding).await?;
        Ok(node)
    }

    pub(super) fn skew(&mut self) -> i64 {
        let skew = self.layout.skew.as_millis() as i64;
        self.chance.random_range(-skew..=skew)
    }

    pub(super) fn random(&mut self) -> u64 {
        self.chance.random()
    }

    async fn join(
        &self,
        member: NodeId,
        key: PublicKey,
        request: JoinRequest,
    ) -> Result<(NodeId, Arc<Topology>), SimError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.network.join(member, key, request.clone()).await {
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
            // Only a crash aborts it, and nothing else crashes nodes meanwhile.
            Err(_aborted) => Ok(()),
        }
    }

    /// Starts the node's process. Startup takes time, and a crash can hit at any moment of it.
    pub(super) fn start_process(
        &mut self,
        node: NodeId,
        founding: Option<Command>,
    ) -> Option<JoinHandle<Result<(), Arc<StartError>>>> {
        let host = self.hosts.get_mut(&node)?;
        let Layout {
            data,
            cores,
            heartbeat,
            queues,
            ..
        } = &self.layout;
        let setting = NodeSetting {
            data: data.clone(),
            queues: *queues,
            cores: *cores,
            heartbeat: *heartbeat,
        };
        Some(host.wake(&self.network, &setting, self.chance.random(), founding))
    }

    /// All nodes in ascending order, including dead ones.
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

    /// Whether the node is serving.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.hosts.get(&node).is_some_and(Host::is_up)
    }

    /// The door to a node, if it is serving.
    pub fn data(&self, node: NodeId) -> Option<Arc<dyn Data>> {
        self.hosts.get(&node)?.data()
    }

    /// A client that talks to `node` at `level`. A client created while the node is dead gets an
    /// error for every request.
    pub fn client(&self, node: NodeId, level: Option<Consistency>) -> Client {
        let host = self.hosts.get(&node);
        let datacenter = host.map_or_else(|| "".into(), |host| Arc::clone(&host.datacenter));
        Client::new(host.and_then(Host::data), datacenter, level)
    }

    /// Cuts a datacenter off from all others, in both directions.
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

    /// Blocks everything that `from` sends to `to`. The other direction stays open.
    pub fn cut(&mut self, from: &[NodeId], to: &[NodeId]) {
        self.network.cut(from, to);
    }

    /// Removes all cuts.
    pub fn heal(&mut self) {
        self.network.heal();
    }

    /// Kills a node. Writes that its disk had not yet been asked to keep are (mostly) lost.
    pub fn crash(&mut self, node: NodeId) {
        if let Some(host) = self.hosts.get_mut(&node) {
            host.crash(&self.network);
        }
    }

    /// Starts a dead node again with what its disk kept.
    ///
    /// # Errors
    /// [`SimError::Start`].
    pub async fn restart(&mut self, node: NodeId) -> Result<(), SimError> {
        if self.hosts.get(&node).is_some_and(Host::is_alive) {
            return Ok(());
        }
        self.wake(node, None).await
    }

    /// The cluster as a node sees it, or `None` when the node is dead.
    pub async fn status(&self, node: NodeId) -> Option<Status> {
        self.data(node)?.status().await.ok()
    }

    /// Lets `time` pass in virtual time.
    pub async fn pass(&self, time: Duration) {
        sleep(time).await;
    }

    /// Waits until every node sees a converged cluster in which no replica still keeps an event for
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

/// The command that founds a simulated cluster. Nobody checks signatures here, so nothing could be
/// verified with its token.
pub(super) fn founding(seed: u64, node: NodeSpec) -> Command {
    Command::Found {
        cluster: ClusterId(u128::from(seed) + 1),
        token: NewToken {
            id: TokenId(TOKEN),
            verifier: Secret::default(),
            uses: None,
            expires_ms: None,
        },
        node,
        partitions: DEFAULT_PARTITIONS,
        at_ms: START_UNIX_MILLIS,
    }
}
