//! A real node: on its own threads, its own disk and its own socket. Many of them live in one
//! process without knowing each other.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use quorate_control::consensus::{ConsensusConfig, FoundError, OpenError};
use quorate_control::state::Command;
use quorate_control::store::StoreError;
use quorate_control::topology::ClusterId;
use quorate_crdt::NodeId;
use quorate_dynamo::protocol::Config;
use quorate_gossip::membership;
use quorate_gossip::quic::{
    BindError, ClusterAuthority, IdentityError, JoinError, LinkShape, Profile, QuicConfig,
    QuicTransport, random_bytes,
};
use quorate_gossip::token::TokenError;
use quorate_gossip::wire::WireError;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

use super::assembly::{NodeParts, ShardRun};
use super::clock::{Clock, SystemClock};
use super::disk::{Disk, Gauge};
use super::doors::Doors;
use super::embed::{Begun, Setting, Started};
use super::origin::{Origin, keep_identity};
use super::running::Running;
use super::watched::Queues;
use crate::config::NodeConfig;
use crate::doors::{Admin, Data};
use crate::store::DataDirError;

#[cfg(test)]
mod tests;

/// Most shards a node runs. Guess: beyond it the network thread is the bottleneck.
const CORES_MAX: usize = 4;

/// What a program that starts nodes may choose beside their configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Wide-area behaviour on one machine, for demonstrations and tests.
    pub shape: Option<Arc<LinkShape>>,
    /// What network the nodes are on.
    pub profile: Profile,
    /// Whether round trips are those of a continent or more: elections and failure detection then
    /// take longer. Alike on all nodes.
    pub wide_area: bool,
    /// How many shards; `None`: one less than the machine has processors, from 1 to 4.
    pub cores: Option<u8>,
    /// What an operator may turn in the data plane.
    pub data: Config,
}

/// A node that did not start. Unless the variant says otherwise it has left nothing behind that
/// would stop a second try.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The data was written by a version of the program that writes it in another form. Nothing of
    /// it was read or changed.
    #[error(
        "the data is in form {}, this program reads form {supported}: start the version that wrote it, or let the node join anew with an empty directory",
        .found.map_or_else(|| "0 (unnumbered)".to_owned(), |found| found.to_string())
    )]
    Format {
        /// The form, if it is said.
        found: Option<u16>,
        /// What this program reads.
        supported: u16,
    },
    /// The configuration means another node, or another place, than the data directory.
    #[error(
        "the data directory belongs to a node whose {what} is {kept}; the configuration says {configured}"
    )]
    Misplaced {
        /// What differs.
        what: &'static str,
        /// In the directory.
        kept: Box<str>,
        /// In the configuration.
        configured: Box<str>,
    },
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node's or the cluster's keys cannot be made or read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The join token is none.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The address to join at stands for none.
    #[error("the address to join at cannot be resolved")]
    NoAddress,
    /// The cluster did not admit the node.
    #[error("the node could not join")]
    Join(#[from] JoinError),
    /// The topology in a grant cannot be read: another version of the program wrote it.
    #[error("the cluster's topology cannot be read")]
    Topology(#[from] WireError),
    /// The operating system gives no port.
    #[error("no port to listen at")]
    Port(#[source] io::Error),
    /// The node cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The control group did not start.
    #[error(transparent)]
    Control(#[from] OpenError),
    /// The cluster was not founded. A data directory that was empty must be emptied before the next
    /// try.
    #[error("the cluster could not be founded")]
    Found(#[from] FoundError),
    /// The operating system gives no thread or runtime.
    #[error("the node's threads could not be started")]
    Threads(#[source] io::Error),
    /// The disk failed while the node started.
    #[error(transparent)]
    Failed(Arc<StoreError>),
    /// The node's thread ended before the node was up.
    #[error("the node ended while it started")]
    Ended,
}

/// How a node's thread is told to end.
enum Order {
    /// Finish what was begun and make it durable.
    Stop,
    /// End as a killed process does.
    Crash,
}

/// A running node. Dropping it is a crash: nothing is finished.
pub struct Node {
    doors: Arc<Doors>,
    quic: SocketAddr,
    cluster: ClusterId,
    join_token: Option<String>,
    runtime: Handle,
    order: Option<oneshot::Sender<Order>>,
    thread: Option<JoinHandle<Result<(), Arc<StoreError>>>>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("node", &self.doors.node())
            .field("quic", &self.quic)
            .finish_non_exhaustive()
    }
}

/// What the node's thread hands out when the node is up.
struct Up {
    doors: Arc<Doors>,
    quic: SocketAddr,
    cluster: ClusterId,
    join_token: Option<String>,
}

/// What the node's thread keeps.
struct Launched {
    up: Up,
    started: Started,
    transport: Arc<QuicTransport>,
    disk: Disk,
    shards: Vec<JoinHandle<()>>,
    /// Ends the shards at once when it is dropped.
    alive: watch::Sender<()>,
}

impl Node {
    /// Starts a node and waits until it can serve: it founds a cluster, joins one, or goes on as
    /// the node its directory says.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: NodeConfig, options: Options) -> Result<Self, StartError> {
        let (up_sender, up) = oneshot::channel();
        let (order, ordered) = oneshot::channel();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let handle = runtime.handle().clone();
        let body = move || {
            let result = runtime.block_on(live(config, options, up_sender, ordered));
            runtime.shutdown_background();
            result
        };
        let thread = std::thread::Builder::new()
            .name("node".to_owned())
            .spawn(body)
            .map_err(StartError::Threads)?;
        let Up {
            doors,
            quic,
            cluster,
            join_token,
        } = up.await.map_err(|_ended| StartError::Ended)??;
        Ok(Self {
            doors,
            quic,
            cluster,
            join_token,
            runtime: handle,
            order: Some(order),
            thread: Some(thread),
        })
    }

    /// Where other nodes reach it; with the port that was chosen.
    pub fn quic(&self) -> SocketAddr {
        self.quic
    }

    /// The cluster it is a member of.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// A token with which nodes may join; `None` when all that the cluster has made are spent.
    pub fn join_token(&self) -> Option<&str> {
        self.join_token.as_deref()
    }

    /// The door to its data.
    pub fn data(&self) -> Arc<dyn Data> {
        Arc::clone(&self.doors) as Arc<dyn Data>
    }

    /// The door to the cluster's administration.
    pub fn admin(&self) -> Arc<dyn Admin> {
        Arc::clone(&self.doors) as Arc<dyn Admin>
    }

    /// The runtime of the node's own thread, for its faces: what they spawn there ends with the
    /// node.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Waits until the node stops by itself, which it does only when its disk has failed, and says
    /// why.
    pub async fn failed(&self) -> Arc<StoreError> {
        self.doors.running.failed().await
    }

    /// Finishes what was begun, makes all durable, and ends all threads.
    ///
    /// # Errors
    /// What the disk said; what was not durable before may be lost.
    pub async fn shutdown(mut self) -> Result<(), Arc<StoreError>> {
        self.end(Order::Stop).await
    }

    /// Ends as if the process had been killed: nothing is finished, nothing is flushed that was not
    /// promised.
    pub async fn crash(mut self) {
        // A crash has nothing to say.
        drop(self.end(Order::Crash).await);
    }

    async fn end(&mut self, order: Order) -> Result<(), Arc<StoreError>> {
        if let Some(sender) = self.order.take() {
            // The thread has ended by itself if it does not listen; its result tells why.
            drop(sender.send(order));
        }
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        match joined {
            Ok(Ok(result)) => result,
            // A panic of the node's thread was reported on stderr.
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }
}

/// The node's thread.
async fn live(
    config: NodeConfig,
    options: Options,
    up: oneshot::Sender<Result<Up, StartError>>,
    ordered: oneshot::Receiver<Order>,
) -> Result<(), Arc<StoreError>> {
    let launched = match launch(&config, options).await {
        Ok(launched) => launched,
        Err(error) => {
            drop(up.send(Err(error)));
            return Ok(());
        }
    };
    let Launched {
        up: handed,
        started,
        transport,
        disk,
        shards,
        alive,
    } = launched;
    let Started { running, tasks, .. } = started;
    if up.send(Ok(handed)).is_err() {
        return Ok(());
    }
    let order = tokio::select! {
        order = ordered => order.unwrap_or(Order::Crash),
        error = running.failed() => return Err(error),
    };
    if let Order::Crash = order {
        return Ok(());
    }
    running.stop_shards().await;
    drop(tasks);
    running.control.group().shutdown().await;
    transport.shutdown().await;
    drop(alive);
    for shard in shards {
        // A shard that panicked has said so on stderr.
        if shard.join().is_err() {
            return Ok(());
        }
    }
    disk.commit.shutdown()
}

async fn launch(config: &NodeConfig, options: Options) -> Result<Launched, StartError> {
    let disk = Disk::open(config)?;
    let origin = Origin::find(config, &disk).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let seed = u64::from_le_bytes(random_bytes()?);
    let node = origin.identity.node();
    let parts = NodeParts {
        node,
        datacenter: config.datacenter.as_str().into(),
        restarted: origin.restarted,
        cores: options.cores.unwrap_or_else(default_cores),
        config: Config {
            persist: disk.dir.is_some(),
            ..options.data
        },
        clock: Arc::clone(&clock),
        store: Arc::clone(&disk.store),
        commit: Arc::clone(&disk.commit) as _,
        queues: Queues::default(),
        onlooker: None,
        seed,
    };
    let setting = Setting {
        consensus: consensus(node, seed, options.wide_area),
        gossip: if options.wide_area {
            membership::Config::wan()
        } else {
            membership::Config::lan()
        },
        gauge: Arc::new(Gauge {
            dir: disk.dir.clone(),
            commit: Arc::clone(&disk.commit),
        }),
        partitions: config.partitions,
    };
    let listen = QuicConfig {
        listen: origin.listen,
        identity: origin.identity.clone(),
        shape: options.shape,
        profile: options.profile,
    };
    let mut bound = None;
    let mut begun = Begun::new(parts, setting, |inbound| {
        let transport = QuicTransport::bind(listen, inbound)?;
        bound = Some(Arc::clone(&transport));
        Ok(transport)
    })
    .await?;
    let transport = bound.expect("invariant: a node has begun only with its transport");
    let quic = transport.local_addr().map_err(StartError::Port)?;
    disk.keep_address(quic)?;
    if let Some(founding) = &origin.founding {
        begun.found(founding.command(config, quic)).await?;
        keep_identity(config, &disk, &origin.identity)?;
    }
    let (alive, watching) = watch::channel(());
    let shards = spawn_shards(begun.take_shards(), &watching)?;
    let started = begun.run().await?;
    tokio::spawn(announce(Arc::clone(&started.running), quic));
    started.running.meet_others().await;
    let up = hand_out(&started, quic);
    Ok(Launched {
        up,
        started,
        transport,
        disk,
        shards,
        alive,
    })
}

fn hand_out(started: &Started, quic: SocketAddr) -> Up {
    let running = &started.running;
    let authority = running
        .control
        .authority()
        .and_then(|secret| ClusterAuthority::from_secret(&secret).ok());
    let now = running.parts.clock.now().unix_millis;
    let token = authority.and_then(|authority| running.control.token(authority.fingerprint(), now));
    let cluster = running.hub.topology().cluster;
    Up {
        doors: started.doors(),
        quic,
        cluster,
        join_token: token.map(|token| token.to_string()),
    }
}

/// Tells the cluster where the node listens now, if it has another address on record.
async fn announce(running: Arc<Running>, quic: SocketAddr) {
    let node = running.parts.node;
    let known = || {
        running
            .hub
            .topology()
            .nodes
            .get(&node)
            .map(|info| info.quic)
    };
    while known() != Some(quic) {
        if let Err(error) = running
            .control
            .propose(Command::MoveNode { node, quic })
            .await
        {
            tracing::debug!(%error, "the node's new address was not taken; it will be proposed again");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Election timeouts must be several round trips, and a heartbeat longer than one: the group gives
/// up an append that has not been answered within three quarters of a heartbeat, so that to a node
/// farther away than that nothing would ever be replicated.
fn consensus(node: NodeId, seed: u64, wide_area: bool) -> ConsensusConfig {
    let near = ConsensusConfig::new(node, seed);
    if !wide_area {
        return near;
    }
    let millis = Duration::from_millis;
    ConsensusConfig {
        heartbeat: millis(600),
        election_min: millis(1800),
        election_max: millis(3600),
        ..near
    }
}

fn default_cores() -> u8 {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    processors.saturating_sub(1).clamp(1, CORES_MAX) as u8
}

/// Gives every shard its own thread, until it ends by itself or `alive` is gone.
fn spawn_shards(
    shards: Vec<ShardRun>,
    alive: &watch::Receiver<()>,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let spawn = |(core, shard): (usize, ShardRun)| {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let mut alive = alive.clone();
        let body = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = shard => {}
                    _ = alive.changed() => {}
                }
            });
        };
        std::thread::Builder::new()
            .name(format!("shard-{core}"))
            .spawn(body)
    };
    shards
        .into_iter()
        .enumerate()
        .map(spawn)
        .collect::<io::Result<_>>()
        .map_err(StartError::Threads)
}
