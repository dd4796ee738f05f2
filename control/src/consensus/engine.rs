//! One group's engine on this node. It runs while the node has a part in the group, and can be
//! started anew.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use openraft::RaftMetrics;
use openraft::async_runtime::watch::WatchReceiver;
use quorate_crdt::NodeId;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

use super::apply::{Applied, Parts, Raft, StateMachine};
use super::config::ConsensusConfig;
use super::error::OpenError;
use super::fresh::Freshness;
use super::hosted::Host;
use super::lives::Lives;
use super::log::{Disk, Log};
use super::machine::GroupId;
use super::peer::{Peer, Peers};
use super::types::{Runtime, Types};
use crate::planted::WITNESS_STANDS;
use crate::state::LogIndex;
use crate::topology::{Timing, Topology};

/// One group's engine.
pub(super) struct Engine {
    pub(super) config: ConsensusConfig,
    pub(super) parts: Parts,
    pub(super) lives: Arc<Lives>,
    /// What the topology group has decided.
    pub(super) topology: watch::Receiver<Arc<Topology>>,
    /// The ways to the other nodes of the group.
    peers: Peers,
    running: watch::Sender<Option<Raft>>,
    /// Whoever leads, as far as this node knows without a part in the group.
    pub(super) hint: watch::Sender<Option<NodeId>>,
    /// How complete this node's state is known to be.
    pub(super) fresh: Freshness,
    /// When a leader last sent something.
    pub(super) heard: watch::Sender<Instant>,
    /// Where this node's state differs from that of the others: then it does not run again.
    pub(super) differs: watch::Sender<Option<LogIndex>>,
    timing: watch::Sender<Timing>,
    /// How often one of the voters was asked because nobody was known to lead.
    asked: AtomicUsize,
    /// Held while the engine is started or stopped.
    orders: Mutex<()>,
    /// Held by the state machine that is being fed.
    turn: Arc<Mutex<()>>,
}

impl Engine {
    /// An engine that does not run yet.
    pub(super) fn new(
        config: ConsensusConfig,
        disk: Disk,
        host: Arc<dyn Host>,
        lives: Arc<Lives>,
        topology: watch::Receiver<Arc<Topology>>,
        peers: Peers,
    ) -> Self {
        let log = Log {
            disk,
            group: peers.peer.group,
        };
        Self {
            timing: watch::Sender::new(config.first_timing()),
            parts: Parts {
                log,
                host,
                applied: Arc::new(watch::Sender::new(Applied::default())),
                marks: Arc::default(),
                writing: Arc::default(),
            },
            config,
            lives,
            topology,
            peers,
            running: watch::Sender::new(None),
            hint: watch::Sender::new(None),
            fresh: Freshness::default(),
            differs: watch::Sender::new(None),
            heard: watch::Sender::new(Instant::now()),
            asked: AtomicUsize::new(0),
            orders: Mutex::default(),
            turn: Arc::default(),
        }
    }

    pub(super) fn group(&self) -> GroupId {
        self.peers.peer.group
    }

    pub(super) fn me(&self) -> NodeId {
        self.config.node
    }

    pub(super) fn peer(&self, target: NodeId) -> Peer {
        Peer {
            target,
            retry: self.timing().heartbeat(),
            ..self.peers.peer.clone()
        }
    }

    /// The pace at which it runs.
    pub(super) fn timing(&self) -> Timing {
        *self.timing.borrow()
    }

    /// How long after a majority has answered a leader may serve reads without asking again: a
    /// tenth less than the time for which those that have answered elect nobody else. So clocks may
    /// differ in rate by a tenth. It does not grow with the pace: while that changes, and where a
    /// node is farther from others than the rest, some run at a faster one than the leader.
    pub(super) fn lease(&self) -> Duration {
        self.config.first_timing().election_max() / 10 * 9
    }

    /// Goes on at another pace. A leader first hands the leadership to a voter that has all
    /// entries, so that nobody has to wait for an election.
    pub(super) async fn change_pace(&self, timing: Timing) {
        let _alone = self.orders.lock().await;
        self.timing.send_replace(timing);
        if self.raft().is_none() {
            return;
        }
        self.step_aside().await;
        self.stop_now().await;
        if let Err(error) = self.start_now().await {
            let group = self.group();
            tracing::error!(%group, %error, "a consensus engine did not start again; the node has no part in the group until it is restarted");
        }
    }

    /// Hands the leadership on, if this node leads and somebody can take it. Otherwise an election
    /// follows.
    async fn step_aside(&self) {
        let Some(raft) = self.raft() else { return };
        let Some(heir) = self.heir(&raft.metrics().borrow_watched()) else {
            return;
        };
        if raft.trigger().transfer_leader(heir).await.is_err() {
            return;
        }
        let mut metrics = raft.metrics();
        let handed_on = async {
            loop {
                let leads = metrics.borrow_watched().state.is_leader();
                if !leads || metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        // Too late is no harm: then an election follows.
        drop(timeout(self.timing().election_max(), handed_on).await);
    }

    /// The engine, while it runs.
    pub(super) fn raft(&self) -> Option<Raft> {
        self.running.borrow().clone()
    }

    pub(super) fn running(&self) -> watch::Receiver<Option<Raft>> {
        self.running.subscribe()
    }

    /// The leader, as far as this node knows. A leader that was cut off may still believe that it
    /// leads.
    pub(super) fn leader(&self) -> Option<NodeId> {
        let known = self
            .raft()
            .and_then(|raft| raft.metrics().borrow_watched().current_leader);
        known.or(*self.hint.borrow())
    }

    /// One of the voters other than this node, another one each time.
    pub(super) fn any_voter(&self, topology: &Topology) -> Option<NodeId> {
        let voters = topology.voters().filter(|&voter| voter != self.me());
        let voters: Vec<NodeId> = voters.collect();
        let turn = self.asked.fetch_add(1, Ordering::Relaxed);
        voters.get(turn.checked_rem(voters.len())?).copied()
    }

    /// Goes on from what the store holds. With an empty store it waits to be founded, or to hear
    /// from a leader that has given this node a part.
    ///
    /// # Errors
    /// [`OpenError`]; then it does not run.
    pub(super) async fn start(&self) -> Result<(), OpenError> {
        let _alone = self.orders.lock().await;
        if self.raft().is_some() || self.differs.borrow().is_some() {
            return Ok(());
        }
        self.start_now().await
    }

    async fn start_now(&self) -> Result<(), OpenError> {
        self.parts.log.check()?;
        let failed = |error| OpenError::Engine(Box::new(error));
        let config = self.config.engine(self.timing()).validate();
        let config = config.map_err(|error| OpenError::Engine(Box::new(error)))?;
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let machine = StateMachine::new(self.parts.clone(), turn);
        let peers = Peers {
            peer: self.peer(self.me()),
            beats: self.peers.beats.clone(),
        };
        let starting = Raft::new(
            self.me(),
            Arc::new(config),
            peers,
            self.parts.log.clone(),
            machine,
        );
        let raft = self
            .seeded(Purpose::Engine, starting)
            .await
            .map_err(failed)?;
        raft.runtime_config().elect(self.may_stand());
        self.running.send_replace(Some(raft));
        Ok(())
    }

    /// Stops the engine. What was acknowledged is in the store; a proposal in flight may or may not
    /// be applied.
    pub(super) async fn stop(&self) {
        let _alone = self.orders.lock().await;
        self.stop_now().await;
    }

    async fn stop_now(&self) {
        let stopped = self.running.send_replace(None);
        if let Some(raft) = stopped
            && let Err(error) = raft.shutdown().await
        {
            let group = self.group();
            tracing::warn!(%group, %error, "a consensus engine did not stop cleanly");
        }
    }

    /// Forgets what the group has decided, durably, while the engine does not run. The vote stays.
    pub(super) async fn erase(&self) -> std::io::Result<()> {
        let _turn = self.turn.lock().await;
        self.parts.log.erase().await?;
        self.parts.host.reset();
        self.parts.applied.send_replace(Applied::default());
        Ok(())
    }

    /// Lets the engine stand for election while the node's directory is trusted.
    pub(super) async fn follow_trust(self: Arc<Self>) {
        let mut standings = self.lives.standings();
        while standings.changed().await.is_ok() {
            standings.mark_unchanged();
            if let Some(raft) = self.raft() {
                raft.runtime_config().elect(self.may_stand());
            }
        }
    }

    /// Whether the node is there to vote only.
    pub(super) fn is_witness(&self, node: NodeId) -> bool {
        let topology = self.topology.borrow();
        topology.nodes.get(&node).is_some_and(|info| info.witness) && !WITNESS_STANDS.is_planted()
    }

    /// Whether the engine may stand for election whenever it hears from no leader.
    fn may_stand(&self) -> bool {
        self.lives.may_vote() && !self.is_witness(self.me())
    }

    /// The voter to lead next if this node, which leads, stops: one that has all entries and is
    /// there for more than voting.
    pub(super) fn heir(&self, metrics: &RaftMetrics<Types>) -> Option<NodeId> {
        let progress = metrics
            .replication
            .as_ref()
            .filter(|_| metrics.state.is_leader())?;
        let last = metrics.last_log_index?;
        let has_all = |node: &NodeId| {
            let matched = progress.get(node).and_then(Option::as_ref);
            matched.is_some_and(|matched| matched.index >= last)
        };
        let mut voters = metrics.membership_config.membership().voter_ids();
        voters.find(|node| *node != metrics.id && has_all(node) && !self.is_witness(*node))
    }

    /// Runs a future with its own sequence of random numbers, which openraft takes from its task.
    pub(super) fn seeded<F: Future>(
        &self,
        purpose: Purpose,
        future: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let purpose = u64::from(self.group().0) << 8 | purpose as u64;
        let seed = self.config.seed ^ self.config.node.0.rotate_left(32) ^ purpose.rotate_left(48);
        Runtime::scope(seed, future)
    }
}

/// What a task of a group is for. Each purpose draws from its own sequence of random numbers.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Engine = 0,
    Reconcile = 1,
    Serve = 2,
    Attend = 3,
    Propose = 4,
    Pace = 5,
}
