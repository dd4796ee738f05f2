//! A real node, on threads, a disk and a socket of its own. One process can run many of them; they
//! share nothing.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use quorate_control::consensus::ConsensusConfig;
use quorate_control::store::StoreError;
use quorate_control::topology::ClusterId;
use quorate_crdt::PublicKey;
use quorate_dynamo::protocol::Config;
use quorate_gossip::quic::{LinkShape, Profile, QuicConfig, QuicTransport, random_bytes};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

use super::boot::{Boot, Plug, ShardRun, Started};
use super::clock::{Clock, SystemClock};
use super::disk::{Disk, Gauge};
use super::doors::Doors;
use super::error::StartError;
use super::identity::{Founding, StartAs, advertised};
use super::keys::Keys;
use super::world::{Queues, Settings, World};
use crate::config::NodeConfig;
use crate::doors::{Admin, Data};

#[cfg(test)]
mod tests;

/// The most shards that a node runs by default. Guess: with more, the network thread is the
/// bottleneck.
const CORES_MAX: usize = 4;

/// What a program that starts nodes can choose in addition to their configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Wide-area behaviour on one machine, for demonstrations and tests.
    pub shape: Option<Arc<LinkShape>>,
    /// The network that connects the nodes.
    pub profile: Profile,
    /// Number of shards. `None` means one less than the machine has processors, from 1 to 4.
    pub cores: Option<u8>,
    /// Settings of the data plane. `persist` is ignored: the storage engine decides it.
    pub data: Config,
}

/// How the node's thread is to end.
enum Order {
    /// Finish what was begun and make it durable.
    Stop,
    /// End as a killed process does.
    Crash,
}

/// A running node. Dropping it is a crash: nothing is finished.
pub struct Node {
    up: Up,
    order: Option<oneshot::Sender<Order>>,
    thread: Option<JoinHandle<Result<(), Arc<StoreError>>>>,
    faces: Faces,
}

/// The thread for the faces of a node. It ends with the node's own thread.
///
/// Faces have it to themselves: a client that reads a set of a million members must not keep the
/// node from sending a heartbeat.
struct Faces {
    runtime: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Faces {
    /// Starts the thread, which ends when the sender of `alive` is dropped.
    fn start(alive: oneshot::Receiver<()>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let body = move || {
            // Nothing is ever sent.
            drop(runtime.block_on(alive));
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("faces".to_owned());
        Ok(Self {
            runtime: handle,
            thread: Some(thread.spawn(body)?),
        })
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("node", &self.up.doors.node())
            .field("quic", &self.up.quic)
            .finish_non_exhaustive()
    }
}

/// What the node's thread hands to the outside when the node is up.
struct Up {
    doors: Arc<Doors>,
    quic: Arc<str>,
    cluster: ClusterId,
    join_token: Option<String>,
}

/// What the node's thread keeps while the node is up.
struct Launched {
    started: Started,
    transport: Arc<QuicTransport>,
    disk: Disk,
    shards: Vec<JoinHandle<()>>,
    /// Ends the shards at once when it is dropped.
    alive: watch::Sender<()>,
}

impl Node {
    /// Starts a node and waits until it can serve. If its data directory knows who it is, it comes
    /// back as that node. Otherwise it joins a cluster or founds one, as the configuration says.
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
        let (alive, watched) = oneshot::channel::<()>();
        let faces = Faces::start(watched).map_err(StartError::Threads)?;
        let body = move || match runtime.block_on(launch(&config, options)) {
            Ok((up, launched)) => {
                // Dropped when this thread ends, for whatever reason.
                let _alive = alive;
                let result = runtime.block_on(async move {
                    match up_sender.send(Ok(up)) {
                        Ok(()) => live(launched, ordered).await,
                        // Nobody waits for the node any more.
                        Err(_) => Ok(()),
                    }
                });
                runtime.shutdown_background();
                result
            }
            Err(error) => {
                // First the tasks end, so that nothing holds the data directory when the caller
                // tries again.
                runtime.shutdown_background();
                drop(up_sender.send(Err(error)));
                Ok(())
            }
        };
        let thread = std::thread::Builder::new()
            .name("node".to_owned())
            .spawn(body)
            .map_err(StartError::Threads)?;
        let up = up.await.map_err(|_ended| StartError::Ended)??;
        Ok(Self {
            up,
            order: Some(order),
            thread: Some(thread),
            faces,
        })
    }

    /// Where other nodes reach it, `host:port`: what the configuration says, or else the address
    /// that it listens at, with the port that was chosen.
    pub fn quic(&self) -> &str {
        &self.up.quic
    }

    /// The cluster it is a member of.
    pub fn cluster(&self) -> ClusterId {
        self.up.cluster
    }

    /// The token with which other nodes can join for a day, if this start has founded the cluster.
    /// It is not told again: [`Admin::create_token`] makes others.
    pub fn join_token(&self) -> Option<&str> {
        self.up.join_token.as_deref()
    }

    /// The door for reads and writes.
    pub fn data(&self) -> Arc<dyn Data> {
        Arc::clone(&self.up.doors) as Arc<dyn Data>
    }

    /// The door for the administration of the cluster.
    pub fn admin(&self) -> Arc<dyn Admin> {
        Arc::clone(&self.up.doors) as Arc<dyn Admin>
    }

    /// The runtime of the thread for faces. They spawn their tasks there, so that they end with the
    /// node and never hold up its network.
    pub fn runtime(&self) -> &Handle {
        &self.faces.runtime
    }

    /// Waits until the node stops by itself, and says why. It stops by itself only if its disk has
    /// failed.
    pub async fn failed(&self) -> Arc<StoreError> {
        self.up.doors.shared.failed().await
    }

    /// Finishes what was begun, makes everything durable, and ends all threads.
    ///
    /// # Errors
    /// The failure of the disk. What was not durable before may be lost.
    pub async fn shutdown(mut self) -> Result<(), Arc<StoreError>> {
        self.end(Order::Stop).await
    }

    /// Ends as if the process had been killed: nothing is finished, and nothing is flushed beyond
    /// what was promised.
    pub async fn crash(mut self) {
        // A crash has nothing to say.
        drop(self.end(Order::Crash).await);
    }

    async fn end(&mut self, order: Order) -> Result<(), Arc<StoreError>> {
        if let Some(sender) = self.order.take() {
            // A thread that does not listen has ended by itself; its result tells why.
            drop(sender.send(order));
        }
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let faces = self.faces.thread.take();
        let joined = tokio::task::spawn_blocking(move || {
            let result = thread.join();
            // A panic of a face was reported on stderr.
            faces.map(JoinHandle::join);
            result
        });
        match joined.await {
            Ok(Ok(result)) => result,
            // A panic of the node's thread was reported on stderr.
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }
}

/// Keeps the node up until it is ordered to end or its disk fails.
async fn live(
    launched: Launched,
    ordered: oneshot::Receiver<Order>,
) -> Result<(), Arc<StoreError>> {
    let Launched {
        started,
        transport,
        disk,
        shards,
        alive,
    } = launched;
    let shared = Arc::clone(started.shared());
    let order = tokio::select! {
        order = ordered => order.unwrap_or(Order::Crash),
        error = shared.failed() => return Err(error),
    };
    if let Order::Crash = order {
        return Ok(());
    }
    shared.stop_shards().await;
    drop(started);
    shared.control.consensus().shutdown().await;
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

/// Starts the node that the data directory and the configuration describe.
async fn launch(config: &NodeConfig, options: Options) -> Result<(Up, Launched), StartError> {
    let disk = Disk::open(config)?;
    let start = StartAs::decide(config, &disk).await?;
    say_who(config, &start);
    let (mut boot, transport) = boot(config, options, &disk, &start).await?;
    disk.keep_address(transport.local_addr().map_err(StartError::Port)?)?;
    let quic = boot.address();
    if let Some(founding) = &start.founding {
        let key = start.identity.keys().public();
        found(config, &disk, founding, key, &mut boot).await?;
        Founding::finish(config, &disk, &start.identity, &boot.decided())?;
    }
    let (alive, watching) = watch::channel(());
    let shards = spawn_shards(boot.take_shards(), &watching)?;
    let started = boot.run().await?;
    started.shared().meet_others().await;
    let launched = Launched {
        started,
        transport,
        disk,
        shards,
        alive,
    };
    let up = Up {
        doors: launched.started.doors(),
        quic,
        cluster: launched.started.shared().hub.topology().cluster,
        join_token: start.founding.as_ref().map(Founding::token),
    };
    Ok((up, launched))
}

/// Logs as whom the node starts.
fn say_who(config: &NodeConfig, start: &StartAs) {
    let what = match (&start.founding, start.restarted) {
        (Some(_), _) => "founds a cluster",
        (None, true) => "comes back to its cluster",
        (None, false) => "was admitted to a cluster",
    };
    tracing::info!(
        node = config.node,
        datacenter = config.datacenter,
        rack = config.rack,
        version = env!("CARGO_PKG_VERSION"),
        "this node {what}"
    );
}

/// Boots a node over QUIC.
async fn boot(
    config: &NodeConfig,
    options: Options,
    disk: &Disk,
    start: &StartAs,
) -> Result<(Boot, Arc<QuicTransport>), StartError> {
    let seed = u64::from_le_bytes(random_bytes()?);
    let node = start.identity.node();
    let keeps_data = config.storage.keeps_data();
    let world = World {
        clock: Arc::new(SystemClock::start()),
        store: Arc::clone(&disk.store),
        commit: Arc::clone(&disk.commit) as _,
        gauge: Arc::new(Gauge {
            dir: keeps_data.then(|| Arc::clone(&disk.dir)),
            commit: Arc::clone(&disk.commit),
        }),
        onlooker: None,
        seed,
    };
    let settings = Settings {
        node,
        restarted: start.restarted,
        cores: options.cores.unwrap_or_else(default_cores),
        queues: Queues::default(),
        data: Config {
            persist: keeps_data,
            ..options.data
        },
        consensus: ConsensusConfig::new(node, seed),
        gossip: None,
    };
    let listen = QuicConfig {
        listen: start.listen,
        identity: start.identity.clone(),
        shape: options.shape,
        profile: options.profile,
    };
    let mut bound = None;
    let boot = Boot::new(settings, world, |inbound| {
        let transport = QuicTransport::bind(listen, inbound)?;
        bound = Some(Arc::clone(&transport));
        transport.ask_at(seeds(config));
        let listens = transport.local_addr().map_err(StartError::Port)?;
        let shown = start.identity.keys().clone();
        let keys = Keys::open(Arc::clone(&disk.dir), Arc::clone(&transport), shown)?;
        Ok(Plug {
            transport,
            address: advertised(config, listens),
            keys: Some(Arc::new(keys)),
        })
    })
    .await?;
    let transport = bound.expect("invariant: a node boots only with its transport");
    Ok((boot, transport))
}

/// Founds the cluster, once what was drawn for it is durable.
async fn found(
    config: &NodeConfig,
    disk: &Disk,
    founding: &Founding,
    key: PublicKey,
    boot: &mut Boot,
) -> Result<(), StartError> {
    founding.keep(disk)?;
    let at_ms = SystemClock::start().now().unix_millis;
    boot.found(founding.command(config, key, boot.address(), at_ms))
        .await
}

/// Where members may be that the topology has another address for.
fn seeds(config: &NodeConfig) -> Vec<Arc<str>> {
    let members = config.join.iter().flat_map(|join| &join.addresses);
    members.map(|address| address.as_str().into()).collect()
}

fn default_cores() -> u8 {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    processors.saturating_sub(1).clamp(1, CORES_MAX) as u8
}

/// Runs every shard on a thread of its own until it ends by itself or the sender of `alive` is
/// dropped.
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
