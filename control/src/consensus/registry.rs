//! This node's part in all groups: starting them, answering for them, founding, stopping.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use quorate_crdt::NodeId;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::attend::{FOUNDER, attend, initialize};
use super::codec::{decode, encode};
use super::config::{ConsensusConfig, Pace};
use super::details::GroupDetails;
use super::engine::{Engine, Purpose};
use super::error::{FoundError, OpenError};
use super::group::{Boxed, Group};
use super::hosted::{Host, Hosted};
use super::link::Link;
use super::lives::Lives;
use super::log::Disk;
use super::machine::{GroupId, Machine};
use super::members::{Attendance, reconcile};
use super::messages::{Reply, Request, ServeError};
use super::pace;
use super::peer::Peer;
use super::propose::{CommitTimes, Proposer};
use super::serve::Part;
use super::status::GroupStatus;
use crate::state::{Command, ControlState, Response};
use crate::store::{Commit, Store};
use crate::topology::{Timing, Topology};

/// The group that decides the topology.
pub type ControlGroup = Group<ControlState>;

/// This node's part in all groups of the cluster. Cheap to clone; all clones are the same. Needs a
/// tokio runtime with time.
#[derive(Clone)]
pub struct Consensus {
    inner: Arc<Inner>,
}

struct Inner {
    config: ConsensusConfig,
    disk: Disk,
    link: Arc<dyn Link>,
    lives: Arc<Lives>,
    topology: ControlGroup,
    /// How slow the groups must be at least.
    floor: watch::Receiver<Timing>,
    /// The node's part in each group, by which it answers.
    parts: watch::Sender<BTreeMap<GroupId, Part>>,
    tasks: watch::Sender<Vec<AbortHandle>>,
}

impl Inner {
    fn end_tasks(&self) {
        self.tasks.borrow().iter().for_each(AbortHandle::abort);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end_tasks();
    }
}

impl fmt::Debug for Consensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consensus")
            .field("topology", self.topology())
            .finish_non_exhaustive()
    }
}

/// What a node knows of one of its groups.
#[derive(Clone, Debug)]
pub struct GroupReport {
    /// The group.
    pub group: GroupId,
    /// Who leads and who votes.
    pub status: GroupStatus,
    /// The log and the other members.
    pub details: GroupDetails,
    /// The pace of heartbeats and elections.
    pub timing: Timing,
    /// How long decisions took.
    pub times: CommitTimes,
    /// How much there is of what in the state that this node has applied.
    pub figures: Vec<(&'static str, u64)>,
}

/// A group whose tasks do not run yet.
struct Prepared<M: Machine> {
    group: Group<M>,
    tasks: Vec<Boxed<'static, ()>>,
}

/// Makes this node's part in a group. `topology` is what the group's membership follows; `None` for
/// the group that decides it.
fn prepare<M: Machine>(
    config: &ConsensusConfig,
    disk: &Disk,
    lives: &Arc<Lives>,
    peer: Peer,
    floor: watch::Receiver<Timing>,
    topology: impl FnOnce(&Hosted<M>) -> watch::Receiver<Arc<Topology>>,
) -> Prepared<M> {
    let hosted = Arc::new(Hosted::<M>::new());
    let topology = topology(&hosted);
    let host: Arc<dyn Host> = Arc::clone(&hosted) as _;
    let engine = Engine::new(
        config.clone(),
        disk.clone(),
        host,
        Arc::clone(lives),
        topology.clone(),
        peer,
    );
    let engine = Arc::new(engine);
    let (proposer, proposing) = Proposer::new(Arc::clone(&engine), topology.clone());
    let attendance = Attendance::of(engine.group());
    let reconciling = reconcile(
        engine.running(),
        engine.group(),
        attendance,
        topology.clone(),
    );
    let mut tasks: Vec<Boxed<'static, ()>> = vec![
        Box::pin(engine.seeded(Purpose::Propose, proposing)),
        Box::pin(engine.seeded(Purpose::Reconcile, reconciling)),
        Box::pin(Arc::clone(&engine).follow_trust()),
        Box::pin(Arc::clone(&engine).keep_back()),
        Box::pin(Arc::clone(&engine).compare()),
    ];
    if config.pace == Pace::Agreed {
        let following = pace::follow(Arc::clone(&engine), topology.clone(), floor);
        tasks.push(Box::pin(engine.seeded(Purpose::Pace, following)));
    }
    if attendance == Attendance::Voters {
        let attending = attend(Arc::clone(&engine), topology.clone());
        tasks.push(Box::pin(engine.seeded(Purpose::Attend, attending)));
    }
    let part = Part {
        engine,
        proposer: Arc::new(proposer),
    };
    Prepared {
        group: Group {
            part,
            hosted,
            topology,
        },
        tasks,
    }
}

impl Consensus {
    /// Continues from what the store holds with the group that decides the topology. With an empty
    /// store it waits to be founded, or to hear from a leader that has admitted this node.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        config: ConsensusConfig,
        store: Arc<dyn Store>,
        commit: Arc<dyn Commit>,
        link: Arc<dyn Link>,
    ) -> Boxed<'static, Result<Self, OpenError>> {
        Box::pin(Self::start(config, Disk { store, commit }, link))
    }

    async fn start(
        config: ConsensusConfig,
        disk: Disk,
        link: Arc<dyn Link>,
    ) -> Result<Self, OpenError> {
        config.validate()?;
        let lives = Lives::begin(disk.clone(), config.node, config.seed).await?;
        let lives = Arc::new(lives);
        let peer = peer(&config, &link, GroupId::TOPOLOGY);
        let (raise, floor) = watch::channel(config.first_timing());
        let Prepared { group, tasks } = prepare::<ControlState>(
            &config,
            &disk,
            &lives,
            peer.clone(),
            floor.clone(),
            Hosted::published,
        );
        let engine = &group.part.engine;
        engine.start().await?;
        let telling = Arc::clone(&lives).tell(engine.running(), peer);
        let measuring = pace::measure(
            Arc::clone(engine),
            Arc::clone(&group.part.proposer),
            Arc::clone(&link),
            group.topology.clone(),
            raise,
        );
        let mut more: Vec<Boxed<'static, ()>> = vec![Box::pin(telling)];
        if config.pace == Pace::Agreed {
            more.push(Box::pin(measuring));
        }
        let consensus = Self {
            inner: Arc::new(Inner {
                parts: watch::Sender::new(BTreeMap::from([(group.id(), group.part.clone())])),
                config,
                disk,
                link,
                lives,
                topology: group,
                floor,
                tasks: watch::Sender::new(Vec::new()),
            }),
        };
        consensus.run(tasks);
        consensus.run(more);
        Ok(consensus)
    }

    fn run(&self, tasks: Vec<Boxed<'static, ()>>) {
        let running = tasks
            .into_iter()
            .map(|task| tokio::spawn(task).abort_handle());
        self.inner.tasks.send_modify(|tasks| tasks.extend(running));
    }

    /// Takes part in another group, as long as the node votes in the topology group: nothing runs
    /// before, and nothing is kept afterwards. Proposals and queries find the group from any node.
    pub fn attend<M: Machine>(&self, id: GroupId) -> Group<M> {
        let inner = &self.inner;
        let topology = self.topology().published();
        let peer = peer(&inner.config, &inner.link, id);
        let Prepared { group, tasks } = prepare::<M>(
            &inner.config,
            &inner.disk,
            &inner.lives,
            peer,
            inner.floor.clone(),
            |_| topology,
        );
        let part = group.part.clone();
        inner
            .parts
            .send_modify(|parts| drop(parts.insert(id, part)));
        self.run(tasks);
        group
    }

    /// The group that decides the topology.
    pub fn topology(&self) -> &ControlGroup {
        &self.inner.topology
    }

    /// What this node knows of all its groups, in the order of their numbers.
    pub fn reports(&self) -> Vec<GroupReport> {
        let parts = self.inner.parts.borrow();
        let report = |(&group, part): (&GroupId, &Part)| GroupReport {
            group,
            status: part.engine.status(),
            details: part.engine.details(),
            timing: part.engine.timing(),
            times: part.proposer.times(),
            figures: part.engine.parts.host.figures(),
        };
        parts.iter().map(report).collect()
    }

    /// Makes a topology group of this node alone and founds the cluster in it. After a crash in
    /// between it may be called again. If the cluster has been founded already, the response is
    /// [`CommandRefusal::AlreadyFounded`](crate::state::CommandRefusal::AlreadyFounded).
    ///
    /// # Errors
    /// [`FoundError`].
    pub fn found(&self, command: Command) -> Boxed<'_, Result<Response, FoundError>> {
        Box::pin(async move {
            let node = self.topology().node();
            if node != FOUNDER {
                return Err(FoundError::NotFirst { node });
            }
            if let Some(raft) = self.topology().part.engine.raft() {
                initialize(&raft).await.map_err(FoundError::Engine)?;
            }
            let timeout = self.topology().part.engine.timing().election_max() * 20;
            Ok(self.topology().propose(&command, timeout).await?)
        })
    }

    /// Answers a request that `from` sent over its [`Link`](super::link::Link). Garbage gets an
    /// answer that says so.
    pub fn serve(&self, from: NodeId, request: Bytes) -> Boxed<'static, Bytes> {
        let consensus = self.clone();
        Box::pin(async move {
            let reply = match decode::<Request>(&request) {
                Ok(Request::Life { lives }) => consensus.hear_of_life(from, &lives).await,
                Ok(Request::Group(id, ask)) => {
                    let part = consensus.inner.parts.borrow().get(&id).cloned();
                    match part {
                        Some(part) => {
                            let serving = part.serve(from, ask);
                            part.engine.seeded(Purpose::Serve, serving).await
                        }
                        None => Err(ServeError::Absent),
                    }
                }
                Err(_codec) => Err(ServeError::Malformed),
            };
            encode(&reply.unwrap_or_else(Reply::Failed)).unwrap_or_default()
        })
    }

    async fn hear_of_life(&self, from: NodeId, lives: &[u64]) -> Result<Reply, ServeError> {
        let remembers = self.inner.lives.hear(from, lives).await;
        let remembers = remembers.map_err(|_disk| ServeError::Stopping)?;
        Ok(Reply::Life { remembers })
    }

    /// Stops this node's part in all groups. What was acknowledged is in the store; a proposal in
    /// flight may or may not be applied.
    pub fn shutdown(&self) -> Boxed<'_, ()> {
        self.inner.end_tasks();
        Box::pin(async {
            let parts = self.inner.parts.borrow().clone();
            for part in parts.values() {
                part.engine.stop().await;
            }
        })
    }
}

fn peer(config: &ConsensusConfig, link: &Arc<dyn Link>, group: GroupId) -> Peer {
    Peer {
        link: Arc::clone(link),
        me: config.node,
        target: config.node,
        group,
        retry: config.first_timing().heartbeat(),
    }
}
