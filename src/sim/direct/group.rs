//! A control group of a few nodes for drills: real groups in virtual time, over links that can be
//! cut.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use quorate_control::consensus::{
    Consensus, ConsensusConfig, ControlGroup, Group as Part, GroupId, Link, LinkError,
};
use quorate_control::state::{Command, NodeSpec, Response, TokenId};
use quorate_control::store::{Batch, Commit, Done, MemoryStore, Space, Store};
use quorate_control::topology::Epoch;
use quorate_crdt::NodeId;
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use super::sums::Sums;
use crate::sim::cluster::{TOKEN, founding, key_of};

/// The group of the sums.
const SUMMED: GroupId = GroupId(2);
/// Half a round trip, unless a drill says otherwise.
const HOP: Duration = Duration::from_millis(2);
/// How long a decision may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Who can be reached.
#[derive(Clone, Default)]
pub(super) struct Net(Arc<Mutex<Reach>>);

#[derive(Default)]
struct Reach {
    nodes: BTreeMap<NodeId, (Consensus, Part<Sums>)>,
    cut_off: BTreeSet<NodeId>,
    /// How long a message takes, if not [`HOP`].
    hop: Option<Duration>,
}

/// One node's way to the others.
struct Wire {
    me: NodeId,
    net: Net,
}

impl Net {
    fn reach(&self) -> MutexGuard<'_, Reach> {
        self.0
            .lock()
            .expect("invariant: no code panics while it holds the network")
    }

    fn hop(&self) -> Duration {
        self.reach().hop.unwrap_or(HOP)
    }

    fn way(&self, from: NodeId, to: NodeId) -> Option<Consensus> {
        let reach = self.reach();
        let open = !reach.cut_off.contains(&from) && !reach.cut_off.contains(&to);
        let node = reach.nodes.get(&to).filter(|_| open)?;
        Some(node.0.clone())
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Bytes, LinkError>> + Send>>;

impl Link for Net {
    fn round_trips(&self) -> Vec<(NodeId, Duration)> {
        Vec::new()
    }

    /// For a group of one: there is nobody else.
    fn call(&self, _: NodeId, _: Bytes, _: Duration) -> Answer {
        Box::pin(async { Err(LinkError::Unreachable) })
    }
}

impl Link for Wire {
    fn round_trips(&self) -> Vec<(NodeId, Duration)> {
        let hop = self.net.hop();
        let reach = self.net.reach();
        let others = reach.nodes.keys().filter(|&&node| node != self.me);
        let others = others.filter(|node| !reach.cut_off.contains(node));
        others.map(|&node| (node, hop * 2)).collect()
    }

    fn call(&self, to: NodeId, request: Bytes, within: Duration) -> Answer {
        let (net, me) = (self.net.clone(), self.me);
        let hop = net.hop();
        let exchange = async move {
            sleep(hop).await;
            let node = net.way(me, to).ok_or(LinkError::Unreachable)?;
            let answer = node.serve(me, request).await;
            sleep(hop).await;
            net.way(me, to).map(|_| answer).ok_or(LinkError::TimedOut)
        };
        Box::pin(async move {
            timeout(within, exchange)
                .await
                .unwrap_or(Err(LinkError::TimedOut))
        })
    }
}

/// A node of datacenter `dc1` whose store keeps what it has synchronised.
pub(super) fn spec(number: u64) -> NodeSpec {
    NodeSpec {
        name: format!("n{number}").into(),
        datacenter: "dc1".into(),
        rack: "rack1".into(),
        quic: "10.0.0.1:7381".into(),
        key: key_of(number as usize),
        durable: true,
        witness: false,
    }
}

/// The command that admits the node.
pub(super) fn admission(node: NodeSpec) -> Command {
    Command::Admit {
        token: TokenId(TOKEN),
        node,
        replaces: None,
        at_ms: 0,
    }
}

/// A disk that keeps everything at once.
struct AtOnce;

impl Commit for AtOnce {
    fn commit(&self, done: Done) {
        done(Ok(()));
    }

    fn commit_durably(&self, done: Done) {
        done(Ok(()));
    }
}

/// A running cluster of the topology group and a second one.
#[derive(Default)]
pub(super) struct Group {
    net: Net,
    disks: BTreeMap<u64, Arc<MemoryStore>>,
    /// Makes each start of a node another life.
    starts: u64,
}

/// Runs `drill` on a group of `nodes` nodes.
pub(super) fn with(
    nodes: u64,
    drill: impl AsyncFnOnce(Group) -> Result<(), String>,
) -> Result<(), String> {
    grown((1..=nodes).map(spec).collect(), drill)
}

/// Runs `drill` on two nodes and a witness, node 3.
pub(super) fn with_a_witness(
    drill: impl AsyncFnOnce(Group) -> Result<(), String>,
) -> Result<(), String> {
    let witness = NodeSpec {
        witness: true,
        ..spec(3)
    };
    grown(vec![spec(1), spec(2), witness], drill)
}

fn grown(
    nodes: Vec<NodeSpec>,
    drill: impl AsyncFnOnce(Group) -> Result<(), String>,
) -> Result<(), String> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut group = Group::default();
        for (number, node) in (1..).zip(nodes) {
            let here = group.open(number).await?;
            if number == 1 {
                let founded = here.found(founding(1, node)).await;
                founded.map_err(|error| error.to_string())?;
            } else {
                group.decide(1, admission(node)).await?;
            }
        }
        sleep(PATIENCE).await;
        drill(group).await
    })
}

impl Group {
    /// Starts a node on its disk, which is empty at first.
    pub(super) async fn open(&mut self, number: u64) -> Result<Consensus, String> {
        let node = NodeId(number);
        let link = Wire {
            me: node,
            net: self.net.clone(),
        };
        self.starts += 1;
        let config = ConsensusConfig::new(node, self.starts);
        let disk = self.disk(number);
        let opened = Consensus::open(config, disk, Arc::new(AtOnce), Arc::new(link)).await;
        let opened = opened.map_err(|error| error.to_string())?;
        let sums = opened.attend(SUMMED);
        self.net.reach().nodes.insert(node, (opened.clone(), sums));
        Ok(opened)
    }

    /// The disk of a node.
    pub(super) fn disk(&mut self, number: u64) -> Arc<MemoryStore> {
        Arc::clone(self.disks.entry(number).or_default())
    }

    /// A copy of a node's disk.
    pub(super) fn backup(&mut self, number: u64) -> Result<MemoryStore, String> {
        let (disk, copy) = (self.disk(number), MemoryStore::new());
        for space in Space::ALL {
            let mut batch = Batch::default();
            let copied = disk.scan(space, &[], None, &mut |key, value| {
                batch.put(space, key.to_vec(), value.to_vec());
                ControlFlow::Continue(())
            });
            let copied = copied.and_then(|()| copy.apply(batch));
            copied.map_err(|error| error.to_string())?;
        }
        Ok(copy)
    }

    /// Puts a copy in place of the disk of a stopped node.
    pub(super) fn restore(&mut self, number: u64, copy: MemoryStore) {
        self.disks.insert(number, Arc::new(copy));
    }

    /// Stops a node; its disk stays.
    pub(super) async fn stop(&self, number: u64) {
        let stopped = self.net.reach().nodes.remove(&NodeId(number));
        if let Some((stopped, _)) = stopped {
            stopped.shutdown().await;
        }
    }

    /// The epoch of the topology that node `at` has applied.
    pub(super) fn epoch(&self, at: u64) -> Result<Epoch, String> {
        let group = self.at(at).ok_or("no such node")?;
        Ok(group.read(|state| state.topology().epoch))
    }

    /// The leader as node `at` sees it, once there was time for an election.
    pub(super) async fn leader(&self, at: u64) -> Option<NodeId> {
        sleep(PATIENCE).await;
        self.at(at)?.leader()
    }

    fn at(&self, number: u64) -> Option<ControlGroup> {
        let reach = self.net.reach();
        let (node, _) = reach.nodes.get(&NodeId(number))?;
        Some(node.topology().clone())
    }

    /// Node `at`'s part in the second group.
    pub(super) fn sums(&self, at: u64) -> Result<Part<Sums>, String> {
        let reach = self.net.reach();
        let node = reach.nodes.get(&NodeId(at)).ok_or("no such node")?;
        Ok(node.1.clone())
    }

    /// Has the group decide, through node `at`.
    pub(super) async fn decide(&self, at: u64, command: Command) -> Result<Response, String> {
        let group = self.at(at).ok_or("no such node")?;
        let decided = group.propose(&command, PATIENCE).await;
        decided.map_err(|error| error.to_string())
    }

    /// Cuts a node off, for good or until [`heal`](Self::heal).
    pub(super) fn cut_off(&self, node: u64) {
        self.net.reach().cut_off.insert(NodeId(node));
    }

    /// Lets a message take this long from now on.
    pub(super) fn move_apart(&self, hop: Duration) {
        self.net.reach().hop = Some(hop);
    }

    /// Everybody reaches everybody again.
    pub(super) fn heal(&self) {
        self.net.reach().cut_off.clear();
    }

    /// The voters as node `at` sees them, once there was time for every change that can be made.
    pub(super) async fn voters(&self, at: u64) -> Vec<u64> {
        sleep(PATIENCE).await;
        let voters = self.at(at).map(|group| group.status().voters);
        voters.into_iter().flatten().map(|voter| voter.0).collect()
    }
}
