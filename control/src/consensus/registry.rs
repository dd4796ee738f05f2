//! This node's part in all groups: starting them, answering for them, founding, stopping.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use openraft::raft::AppendEntriesRequest;
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
use super::messages::{Ask, Reply, Request, ServeError};
use super::pace;
use super::peer::{Peer, Peers};
use super::propose::{CommitTimes, Proposer};
use super::pulse::Pulse;
use super::serve::Part;
use super::status::GroupStatus;
use super::types::Types;
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
    pulse: Arc<Pulse>,
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

/// What the parts of one node in all groups have in common.
#[derive(Clone, Copy)]
struct Common<'a> {
    config: &'a ConsensusConfig,
    disk: &'a Disk,
    lives: &'a Arc<Lives>,
    pulse: &'a Arc<Pulse>,
    floor: &'a watch::Receiver<Timing>,
}

/// A group whose tasks do not run yet.
struct Prepared<M: Machine> {
    group: Group<M>,
    tasks: Vec<Boxed<'static, ()>>,
}

/// Makes this node's part in a group. `topology` is what the group's membership follows; `None` for
/// the group that decides it.
fn prepare<M: Machine>(
    common: Common<'_>,
    peer: Peer,
    topology: impl FnOnce(&Hosted<M>) -> watch::Receiver<Arc<Topology>>,
) -> Prepared<M> {
    let hosted = Arc::new(Hosted::<M>::new());
    let topology = topology(&hosted);
    let host: Arc<dyn Host> = Arc::clone(&hosted) as _;
    let Common {
        config,
        disk,
        lives,
        pulse,
        floor,
    } = common;
    let engine = Engine::new(
        config.clone(),
        disk.clone(),
        host,
        Arc::clone(lives),
        topology.clone(),
        Peers {
            peer,
            beats: pulse.beats(),
        },
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
        Box::pin(Arc::clone(pulse).follow(Arc::clone(&engine))),
    ];
    if config.pace == Pace::Agreed {
        let following = pace::follow(Arc::clone(&engine), topology.clone(), floor.clone());
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
        let (pulse, beating) = Pulse::new(peer.clone());
        let pulse = Arc::new(pulse);
        let common = Common {
            config: &config,
            disk: &disk,
            lives: &lives,
            pulse: &pulse,
            floor: &floor,
        };
        let Prepared { group, tasks } =
            prepare::<ControlState>(common, peer.clone(), Hosted::published);
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
        let mut more: Vec<Boxed<'static, ()>> = vec![Box::pin(telling), Box::pin(beating)];
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
                pulse,
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
        let common = Common {
            config: &inner.config,
            disk: &inner.disk,
            lives: &inner.lives,
            pulse: &inner.pulse,
            floor: &inner.floor,
        };
        let Prepared { group, tasks } = prepare::<M>(common, peer, |_| topology);
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
                Ok(Request::Group(id, ask)) => consensus.serve_group(from, id, ask).await,
                Ok(Request::Beats(beats)) => Ok(consensus.serve_beats(from, beats).await),
                Err(_codec) => Err(ServeError::Malformed),
            };
            encode(&reply.unwrap_or_else(Reply::Failed)).unwrap_or_default()
        })
    }

    async fn serve_group(&self, from: NodeId, id: GroupId, ask: Ask) -> Result<Reply, ServeError> {
        let part = self.inner.parts.borrow().get(&id).cloned();
        let part = part.ok_or(ServeError::Absent)?;
        let serving = part.serve(from, ask);
        part.engine.seeded(Purpose::Serve, serving).await
    }

    /// Lets each group answer its sign of life. None of them waits for another.
    async fn serve_beats(
        &self,
        from: NodeId,
        beats: Vec<(GroupId, AppendEntriesRequest<Types>)>,
    ) -> Reply {
        let serving = beats.into_iter().map(|(id, rpc)| {
            let consensus = self.clone();
            tokio::spawn(async move { consensus.serve_group(from, id, Ask::Append(rpc)).await })
        });
        let serving: Vec<_> = serving.collect();
        let mut replies = Vec::with_capacity(serving.len());
        for served in serving {
            let reply = served.await.unwrap_or(Err(ServeError::Stopping));
            replies.push(reply.unwrap_or_else(Reply::Failed));
        }
        Reply::Beats(replies)
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
