//! The nodes of a demo: real nodes in this process, each with its own directory, QUIC socket and
//! Redis port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_gossip::quic::{JoinError, Profile};
use quorate_gossip::transport::JoinRefusal;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::board::{Board, Health, Seat};
use super::error::DemoError;
use super::plan::Plan;
use super::wan::{self, Wan};
use crate::config::{
    Access, Durability, Engine, Join, Listen, NodeConfig, SLOW_COMMAND, Secret, TokenSource,
};
use crate::faces::resp::{self, RespConfig};
use crate::node::{Node, Options, StartError};

/// Partitions of the keyspace: few, because all nodes of the demo share a few cores.
const PARTITIONS: u16 = 16;
/// Request timeout: longer than the longest round trip, short enough to watch a request fail.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a node retries its start. The usual reason is that the control group is busy and
/// cannot admit it yet.
const START_ATTEMPTS: u32 = 20;
const START_PAUSE: Duration = Duration::from_millis(200);

/// All nodes of the demo.
pub(super) struct Cluster {
    members: Vec<Member>,
    pub(super) wan: Wan,
    board: Arc<Board>,
    /// Nodes that are starting. Kept here so that they are stopped even when the start is given up.
    joining: JoinSet<(usize, Result<Running, DemoError>)>,
    /// Removed with everything in it when the cluster is dropped.
    home: TempDir,
}

struct Member {
    config: NodeConfig,
    running: Option<Running>,
}

struct Running {
    node: Node,
    stop: watch::Sender<bool>,
    face: JoinHandle<io::Result<()>>,
}

impl Cluster {
    /// Chooses addresses and directories. Nothing runs yet.
    pub(super) fn plan(plan: Plan, board: &Arc<Board>) -> Result<Self, DemoError> {
        let home = tempfile::Builder::new().prefix("quorate-demo-").tempdir()?;
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        // All sockets are held until all addresses are known, so that no two are the same.
        let sockets: Vec<UdpSocket> = (0..plan.all_nodes())
            .map(|_| UdpSocket::bind(any))
            .collect::<io::Result<_>>()?;
        let faces: Vec<TcpListener> = (0..plan.all_nodes())
            .map(|_| TcpListener::bind(any))
            .collect::<io::Result<_>>()?;
        let (mut members, mut seats, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (socket, face)) in sockets.iter().zip(&faces).enumerate() {
            let (site, number) = (index / plan.nodes, index % plan.nodes + 1);
            let (quic, resp) = (socket.local_addr()?, face.local_addr()?);
            let config = config(
                home.path(),
                site,
                number,
                Listen {
                    resp,
                    http: any,
                    quic,
                    advertise: None,
                },
            );
            let config = NodeConfig {
                found: index == 0,
                ..config
            };
            seats.push(Seat {
                name: config.node.clone(),
                site,
                resp,
                health: Health::Starting,
                view: None,
                door: None,
            });
            ends.push((site, quic));
            members.push(Member {
                config,
                running: None,
            });
        }
        board.change(|picture| picture.seats = seats);
        Ok(Self {
            members,
            wan: Wan::new(ends),
            board: Arc::clone(board),
            joining: JoinSet::new(),
            home,
        })
    }

    /// Starts the first node, which founds the cluster, and then all others, which join it.
    pub(super) async fn start(&mut self) -> Result<(), DemoError> {
        self.start_one(0).await?;
        let founder = self.members[0]
            .running
            .as_ref()
            .map(|running| &running.node);
        let entrance = founder.and_then(|node| {
            Some(Join {
                addresses: vec![node.quic().to_owned()],
                token: Some(TokenSource::Given(Secret::new(node.join_token()?))),
                replace: None,
                witness: false,
            })
        });
        for (index, member) in self.members.iter().enumerate().skip(1) {
            let config = NodeConfig {
                join: entrance.clone(),
                ..member.config.clone()
            };
            let options = self.options();
            self.joining
                .spawn(async move { (index, launch(config, options).await) });
        }
        self.all_started().await
    }

    /// Starts a node from what is in its directory.
    pub(super) async fn start_one(&mut self, index: usize) -> Result<(), DemoError> {
        let (config, options) = (self.members[index].config.clone(), self.options());
        self.joining
            .spawn(async move { (index, launch(config, options).await) });
        self.all_started().await
    }

    async fn all_started(&mut self) -> Result<(), DemoError> {
        while let Some(joined) = self.joining.join_next().await {
            let (index, running) = joined.map_err(|_panicked| DemoError::Stopped)?;
            self.settle(index, running?);
        }
        Ok(())
    }

    /// Ends a node as if its process had been killed.
    pub(super) async fn crash(&mut self, index: usize) {
        self.board.seat(index, |seat| {
            seat.health = Health::Crashed;
            seat.door = None;
            seat.view = None;
        });
        let Some(Running { node, stop, face }) = self.members[index].running.take() else {
            return;
        };
        face.abort();
        node.crash().await;
        drop(stop);
    }

    /// Ends all nodes and removes their directories. Nothing they hold is flushed, because nobody
    /// will read it.
    pub(super) async fn end(mut self) -> Result<(), DemoError> {
        while let Some(joined) = self.joining.join_next().await {
            if let Ok((index, Ok(running))) = joined {
                self.settle(index, running);
            }
        }
        for index in 0..self.members.len() {
            self.crash(index).await;
        }
        self.home.close()?;
        Ok(())
    }

    fn settle(&mut self, index: usize, running: Running) {
        let door = running.node.data();
        self.members[index].running = Some(running);
        self.board.seat(index, |seat| {
            seat.health = Health::Up;
            seat.door = Some(door);
        });
    }

    fn options(&self) -> Options {
        Options {
            shape: Some(self.wan.shape()),
            profile: Profile::Wan,
            cores: Some(1),
            ..Options::default()
        }
    }
}

fn config(home: &Path, site: usize, number: usize, listen: Listen) -> NodeConfig {
    let node = format!("{}-{number}", wan::name(site));
    NodeConfig {
        data_dir: home.join(&node),
        node,
        datacenter: wan::name(site).to_owned(),
        rack: format!("r{number}"),
        listen,
        found: false,
        join: None,
        storage: Engine::Fjall,
        durability: Durability::Sync,
        access: Access::default(),
        request_timeout: REQUEST_TIMEOUT,
        slow_command: SLOW_COMMAND,
        partitions: Some(PARTITIONS),
    }
}

/// Starts a node and its Redis port.
async fn launch(config: NodeConfig, options: Options) -> Result<Running, DemoError> {
    let address = config.listen.resp;
    let listener = TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))?;
    let failed = |source| DemoError::Start {
        node: config.node.clone(),
        source,
    };
    let mut attempts = 0;
    let node = loop {
        match Node::start(config.clone(), options.clone()).await {
            Ok(node) => break node,
            // A killed node releases its socket only when the last of its tasks has noticed.
            Err(
                StartError::Join(JoinError::Refused(JoinRefusal::NotReady)) | StartError::Bind(_),
            ) if attempts < START_ATTEMPTS => {
                attempts += 1;
            }
            Err(error) => return Err(failed(error)),
        }
        tokio::time::sleep(START_PAUSE).await;
    };
    let (stop, stopped) = watch::channel(false);
    let data = node.data();
    let face = node.runtime().spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        resp::serve(
            listener,
            data,
            RespConfig {
                timeout: REQUEST_TIMEOUT,
                ..RespConfig::default()
            },
            stopped,
        )
        .await
    });
    Ok(Running { node, stop, face })
}
