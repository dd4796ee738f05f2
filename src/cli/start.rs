//! `quorate start`: runs one node with its faces until it is told to stop.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::fail::Failure;
use super::globals::Globals;
use super::service::{self, Progress};
use super::{logs, output};
use crate::config::{Durability, Engine, LogConfig, NodeConfig, Sources};
use crate::faces::Gate;
use crate::faces::http::{self, HttpConfig};
use crate::faces::resp::{self, RespConfig};
use crate::limits::{self, Guests};
use crate::node::{Node, Options};
use crate::tls::TlsDoor;

pub(super) const EXAMPLES: &str = "\
Examples:
  quorate start                                           one node, data under the platform's data directory
  quorate start --found --node a --data-dir ./a           the first node of a cluster
  quorate start --node b --data-dir ./b --resp 127.0.0.1:0 --http 127.0.0.1:0 --quic 127.0.0.1:0 \\
                --join 127.0.0.1:7381 --token-file FILE   a second node on the same machine
  quorate start --node c --data-dir ./new-c --replace c --join 10.0.0.1:7381 --token-file FILE
                                                          a new node in the place of the dead node c
  quorate start --quic 0.0.0.0:7381 --advertise node-1.example.com:7381 …
                                                          reachable under a name
  QUORATE_PASSWORD=… quorate start --resp 0.0.0.0:7379 --tls-cert node.pem --tls-key node.key
                                                          open to other machines: needs TLS and a password or users

While the node loads its data, Redis clients are told LOADING and /healthz answers 200. Once it serves,
it prints one line on stdout:
  ready {\"node\",\"datacenter\",\"resp\",\"http\",\"quic\",\"etcd\",\"cluster\",\"join_token\"}
The join_token lets other nodes join for a day. It is there only when the node has just founded a
cluster; `quorate node token` makes others.

A directory that knows its node starts that node again, whatever --found and --join say. A node that
comes back looks for the others at the addresses after --join as well, so a cluster forms again even
if all its addresses have changed. A directory without a node is refused unless --found or --join is
given, except for a single node in the default directory.

Every flag is also a key of the file (data_dir) and an environment variable (QUORATE_DATA_DIR). Flags
override variables, and variables override the file.";

/// How often a starting node is polled for readiness.
const READY_POLL: Duration = Duration::from_millis(5);
/// How long a node that serves waits for the nodes that its keyspaces need, before it says what it
/// cannot do and prints its line nevertheless. Guess: nodes that are started together have met.
const READY_PATIENCE: Duration = Duration::from_secs(2);

/// The operator's settings for the node. Everything has a default.
#[derive(Debug, Args)]
pub(super) struct Start {
    /// TOML file with settings; may also be given as `QUORATE_CONFIG`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory for the node's data.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Name of the node, unique in the cluster [default: the host name].
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Its datacenter [default: dc1].
    #[arg(long, value_name = "DC")]
    datacenter: Option<String>,
    /// Its rack [default: r1].
    #[arg(long)]
    rack: Option<String>,
    /// Address to listen at for other nodes [default: 127.0.0.1:7381].
    #[arg(long, value_name = "ADDRESS")]
    quic: Option<String>,
    /// What other nodes dial, if it is not the address after --quic; a host name or an IP address.
    /// It is looked up whenever it is dialled.
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Address for etcd clients. This version does not serve them yet and says so.
    #[arg(long, value_name = "ADDRESS")]
    etcd: Option<String>,
    #[command(flatten)]
    entrance: Entrance,
    #[command(flatten)]
    door: Door,
    #[command(flatten)]
    tuning: Tuning,
}

/// How the node becomes a member of a cluster.
#[derive(Debug, Args)]
struct Entrance {
    /// Make a new cluster, if the data directory holds no node yet.
    #[arg(long)]
    found: bool,
    /// QUIC addresses of members of the cluster to join; one that answers is enough. A node that
    /// comes back looks for the others there too.
    #[arg(long, value_name = "HOST:PORT,…")]
    join: Option<String>,
    /// Join token of the cluster, from `quorate node token` or the `ready` line of its first start.
    /// Other users of this machine can see it; `QUORATE_TOKEN` and `--token-file` hide it.
    #[arg(long)]
    token: Option<String>,
    /// File that holds the join token. Only a node that has yet to join reads it.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<String>,
    /// Join in the place of a dead node of the same datacenter: it is removed as lost, and the new
    /// node is filled with what it held. Refused while any member reaches it.
    #[arg(long, value_name = "NAME")]
    replace: Option<String>,
    /// Join to vote only: the node holds no data, and leads only until another voter can. It makes
    /// two nodes with data three voters.
    #[arg(long)]
    witness: bool,
}

/// Who may come in as a client.
#[derive(Debug, Args)]
struct Door {
    /// PEM file with the authorities of clients: only who shows a certificate of theirs is let in.
    /// Needs --tls-cert and --tls-key.
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Let other machines reach the RESP and HTTP ports although there is no TLS, or nobody there
    /// must say who it is.
    #[arg(long)]
    insecure: bool,
    /// The most clients at a time, over both ports [default: as many as there are file descriptors
    /// for, at most 10000].
    #[arg(long, value_name = "N")]
    maxclients: Option<String>,
}

#[derive(Debug, Args)]
struct Tuning {
    /// Storage engine: fjall, sled or memory [default: fjall].
    #[arg(long)]
    storage: Option<String>,
    /// When a write is synced to disk: sync (before it is acknowledged), interval (regularly) or
    /// none (when the operating system does it) [default: sync].
    #[arg(long)]
    durability: Option<String>,
    /// Time between syncs with --durability interval [default: 1s].
    #[arg(long, value_name = "TIME")]
    durability_interval: Option<String>,
    /// How long a request that names no timeout may take [default: 5s].
    #[arg(long, value_name = "TIME")]
    request_timeout: Option<String>,
    /// A command of a Redis client that takes longer than this is kept in the slow log [default:
    /// 10ms].
    #[arg(long, value_name = "TIME")]
    slow_command: Option<String>,
    /// Partitions of the keyspace `default` and of new keyspaces that name no number: a power of
    /// two, up to 4096. Decided when the cluster is founded [default: 64].
    #[arg(long, value_name = "N")]
    partitions: Option<String>,
    /// What is logged to stderr: a level, or levels of modules such as quorate=info,quinn=warn
    /// [default: warn,quorate=info].
    #[arg(long, value_name = "LEVELS")]
    log: Option<String>,
    /// How the log looks: text, or json with one document per line [default: text].
    #[arg(long, value_name = "FORM")]
    log_format: Option<String>,
}

/// The line on stdout that says that the node serves. Its fields are stable, because scripts read
/// it.
#[derive(Serialize)]
struct Ready<'a> {
    node: &'a str,
    datacenter: &'a str,
    resp: SocketAddr,
    http: SocketAddr,
    quic: &'a str,
    etcd: Option<SocketAddr>,
    cluster: String,
    join_token: Option<&'a str>,
}

impl Start {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let sources = self.sources(globals);
        let LogConfig { filter, format } = LogConfig::load(&sources)?;
        logs::begin(filter, format);
        let config = NodeConfig::load(&sources)?;
        let (before, descriptors) = limits::raise_descriptors();
        // Before the node starts: a port that is in use must not leave a founded cluster behind.
        let resp = listen(config.listen.resp)?;
        let http = listen(config.listen.http)?;
        let (resp_address, http_address) = (resp.local_addr()?, http.local_addr()?);
        let tls = match &config.access.tls {
            None => None,
            Some(files) => Some(TlsDoor::open(files.clone())?),
        };
        let clients = limits::clients(config.access.clients_max);
        let door = FrontDoor {
            tls,
            // Shared, because both faces draw on the same file descriptors and processors.
            guests: Guests::new(clients),
            gate: Gate::new(config.access.password.clone()),
        };
        let threshold = Threshold::open(&resp, &http, &door)?;
        let node = Node::start(config.clone(), Options::default()).await;
        threshold.close().await;
        let node = node?;
        if let Err(failure) = check_who_may_come(&config, &node) {
            node.shutdown().await.map_err(Failure::Disk)?;
            return Err(failure);
        }
        say_how_many_clients(before, descriptors, clients);
        let faces = Faces::open(&node, &config, resp, http, door);
        let result = tokio::select! {
            result = faces.until_told(&node) => result,
            result = say_when_ready(&node, &config, resp_address, http_address) => match result {
                Ok(()) => faces.until_told(&node).await,
                Err(error) => Err(error.into()),
            },
        };
        service::tell(Progress::Stopping);
        faces.close().await;
        node.shutdown().await.map_err(Failure::Disk)?;
        result
    }

    fn sources(self, globals: &Globals) -> Sources {
        let (door, tuning) = (self.door, self.tuning);
        // A path that is not text is refused as one that does not exist.
        let path = |path: Option<PathBuf>| path.map(|path| path.to_string_lossy().into_owned());
        let flags = [
            ("data_dir", self.data_dir),
            ("node", self.node),
            ("datacenter", self.datacenter),
            ("rack", self.rack),
            ("resp", globals.resp.clone()),
            ("http", globals.http.clone()),
            ("quic", self.quic),
            ("advertise", self.advertise),
            ("found", self.entrance.found.then(|| "true".to_owned())),
            ("etcd", self.etcd),
            ("join", self.entrance.join),
            ("token", self.entrance.token),
            ("token_file", self.entrance.token_file),
            ("replace", self.entrance.replace),
            ("witness", self.entrance.witness.then(|| "true".to_owned())),
            ("password", globals.password.clone()),
            ("tls_cert", path(globals.tls_cert.clone())),
            ("tls_key", path(globals.tls_key.clone())),
            ("tls_client_ca", path(door.tls_client_ca)),
            ("insecure", door.insecure.then(|| "true".to_owned())),
            ("maxclients", door.maxclients),
            ("storage", tuning.storage),
            ("durability", tuning.durability),
            ("durability_interval", tuning.durability_interval),
            ("request_timeout", tuning.request_timeout),
            ("slow_command", tuning.slow_command),
            ("partitions", tuning.partitions),
            ("log", tuning.log),
            ("log_format", tuning.log_format),
        ];
        let given = flags
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect();
        Sources::of_process(self.config, given)
    }
}

/// Logs how many clients the file descriptors leave room for. Called once the node runs, so that a
/// node that cannot start reports only that.
fn say_how_many_clients(before: usize, descriptors: usize, clients: usize) {
    if descriptors > before {
        tracing::info!(
            before,
            descriptors,
            clients,
            "the limit of file descriptors was raised to the hard limit"
        );
    } else {
        tracing::info!(
            descriptors,
            clients,
            "clients get the file descriptors that the store and the network leave free"
        );
    }
}

/// What the configuration alone could not tell: whether the cluster has users. Says what
/// `--insecure` has opened.
fn check_who_may_come(config: &NodeConfig, node: &Node) -> Result<(), Failure> {
    let has_users = !node.data().topology().users.is_empty();
    let Some((key, address)) = config.exposed(has_users) else {
        return Ok(());
    };
    if !config.access.insecure {
        return Err(Failure::OpenToStrangers { key, address });
    }
    if has_users || config.access.asks_clients() {
        tracing::warn!(%address, "--insecure: passwords and data cross the network in the clear");
    } else {
        tracing::warn!(%address, "--insecure: whoever reaches this address may do everything");
    }
    Ok(())
}

/// What all faces of the node share, before it is up and after.
struct FrontDoor {
    tls: Option<Arc<TlsDoor>>,
    guests: Arc<Guests>,
    gate: Arc<Gate>,
}

fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    bound.map_err(|cause| Failure::Listen { address, cause })
}

/// Prints the `ready` line when the node serves. If it cannot meet the default levels of all
/// keyspaces a while later, the log says which and why; `/readyz` answers 503 until it can.
async fn say_when_ready(
    node: &Node,
    config: &NodeConfig,
    resp: SocketAddr,
    http: SocketAddr,
) -> io::Result<()> {
    let data = node.data();
    while !data.ready() {
        tokio::time::sleep(READY_POLL).await;
    }
    let since = Instant::now();
    while let Some(shortfall) = data.shortfall() {
        if since.elapsed() >= READY_PATIENCE {
            tracing::warn!(%shortfall, "this node serves, but not at every default level");
            break;
        }
        tokio::time::sleep(READY_POLL).await;
    }
    let ready = Ready {
        node: &config.node,
        datacenter: &config.datacenter,
        resp,
        http,
        quic: node.quic(),
        etcd: None,
        cluster: format!("{:032x}", data.topology().cluster.0),
        join_token: node.join_token(),
    };
    output::line(format_args!("ready {}", serde_json::to_string(&ready)?))?;
    service::tell(Progress::Ready);
    Ok(())
}

/// The durability that clients really get: sled's flush does not sync, and memory keeps nothing.
fn kept(config: &NodeConfig) -> Option<Durability> {
    match config.storage {
        Engine::Fjall => Some(config.durability),
        Engine::Sled => Some(Durability::None),
        Engine::Memory => None,
    }
}

/// What clients meet who come before the node is up. It runs beside the node's own thread, which is
/// busy loading.
struct Threshold {
    stop: watch::Sender<bool>,
    faces: JoinSet<()>,
}

impl Threshold {
    fn open(resp: &TcpListener, http: &TcpListener, door: &FrontDoor) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut faces = JoinSet::new();
        let again =
            |listener: &TcpListener| tokio::net::TcpListener::from_std(listener.try_clone()?);
        faces.spawn(resp::serve_loading(
            again(resp)?,
            Arc::clone(&door.guests),
            door.tls.clone(),
            stopped.clone(),
        ));
        faces.spawn(http::serve_loading(
            again(http)?,
            Arc::clone(&door.guests),
            door.tls.clone(),
            told(stopped),
        ));
        Ok(Self { stop, faces })
    }

    async fn close(mut self) {
        self.stop.send_replace(true);
        while self.faces.join_next().await.is_some() {}
    }
}

/// Waits for the order to stop. A dropped sender means the same.
async fn told(mut stopped: watch::Receiver<bool>) {
    drop(stopped.wait_for(|stop| *stop).await);
}

/// The RESP and HTTP servers of one node. They run on its thread for faces, apart from its network.
struct Faces {
    tls: Option<Arc<TlsDoor>>,
    stop: watch::Sender<bool>,
    resp: JoinHandle<io::Result<()>>,
    http: JoinHandle<io::Result<()>>,
}

impl Faces {
    fn open(
        node: &Node,
        config: &NodeConfig,
        resp: TcpListener,
        http: TcpListener,
        door: FrontDoor,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let FrontDoor { tls, guests, gate } = door;
        let resp_config = RespConfig {
            guests: Arc::clone(&guests),
            gate: Arc::clone(&gate),
            tls: tls.clone(),
            timeout: config.request_timeout,
            durability: kept(config),
            slow: config.slow_command,
            ..RespConfig::default()
        };
        let http_config = HttpConfig {
            gate,
            tls: tls.clone(),
            timeout: config.request_timeout,
            guests,
            head: http::HEAD_TIME,
        };
        let (data, admin) = (node.data(), node.admin());
        let resp_data = Arc::clone(&data);
        let http_stopped = told(stopped.clone());
        let resp = node.runtime().spawn(async move {
            let listener = tokio::net::TcpListener::from_std(resp)?;
            resp::serve(listener, resp_data, resp_config, stopped).await
        });
        let http = node.runtime().spawn(async move {
            let listener = tokio::net::TcpListener::from_std(http)?;
            http::serve(listener, data, admin, http_config, http_stopped).await;
            Ok(())
        });
        Self {
            tls,
            stop,
            resp,
            http,
        }
    }

    /// Waits until a signal comes or the node ends by itself. SIGHUP ends nothing: the files of TLS
    /// are read again.
    async fn until_told(&self, node: &Node) -> Result<(), Failure> {
        let (mut interrupt, mut terminate, mut hangup) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        );
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                _ = hangup.recv() => self.reload(),
                error = node.failed() => return Err(Failure::Disk(error)),
            }
        }
    }

    fn reload(&self) {
        let Some(tls) = &self.tls else {
            return tracing::info!("SIGHUP: there are no files of TLS to read again");
        };
        match tls.reload() {
            Ok(()) => tracing::info!("SIGHUP: new connections use the certificate as it is now"),
            Err(error) => {
                tracing::error!(%error, "SIGHUP: the certificate before stays in use");
            }
        }
    }

    async fn close(self) {
        self.stop.send_replace(true);
        for (name, face) in [("RESP", self.resp), ("HTTP", self.http)] {
            match face.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the {name} face ended with an error"),
                Err(error) => tracing::warn!(%error, "the {name} face ended"),
            }
        }
    }
}
