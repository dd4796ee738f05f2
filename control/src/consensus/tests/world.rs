//! Nodes, links and disks that share one virtual clock.
#![expect(
    clippy::disallowed_types,
    reason = "a test's own bookkeeping; no protocol state is in it"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use quorate_crdt::{NodeId, PublicKey, Secret};
use tokio::time::{Instant, sleep};

use super::super::{
    Consensus, ConsensusConfig, ControlGroup, Group, GroupId, Link, LinkError, OpenError, Recovery,
};
use super::counter::Counter;
use super::{Command, Response, WAIT};
use crate::state::{NewToken, NodeSpec, TokenId};
use crate::store::{Batch, Commit, Done, MemoryStore, Space, Store};
use crate::topology::ClusterId;

/// The group of the counter.
const COUNTED: GroupId = GroupId(2);
/// Half a round trip, unless a test says otherwise.
const HOP: Duration = Duration::from_millis(2);

pub(super) struct World {
    seed: u64,
    /// Makes each start of a node another life.
    starts: u64,
    pub(super) snapshot_every: u64,
    /// The node that is to vote only, if there is one.
    pub(super) witness: Option<u64>,
    net: Arc<Mutex<Net>>,
    disks: BTreeMap<u64, (Arc<MemoryStore>, Arc<Committer>)>,
}

struct Net {
    began: Instant,
    nodes: BTreeMap<u64, (Consensus, Group<Counter>)>,
    isolated: BTreeSet<u64>,
    hop: Duration,
    trace: Vec<String>,
    last: Bytes,
}

struct Wire {
    me: u64,
    net: Arc<Mutex<Net>>,
}

impl Net {
    fn open(&self, from: u64, to: u64) -> bool {
        !self.isolated.contains(&from) && !self.isolated.contains(&to)
    }
}

impl Link for Wire {
    fn round_trips(&self) -> Vec<(NodeId, Duration)> {
        let net = self.net.lock().unwrap();
        let others = net.nodes.keys().filter(|&&node| net.open(self.me, node));
        let others = others.filter(|&&node| node != self.me);
        others.map(|&node| (NodeId(node), net.hop * 2)).collect()
    }

    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, LinkError>> + Send>> {
        let (net, from, to) = (Arc::clone(&self.net), self.me, to.0);
        let hop = net.lock().unwrap().hop;
        let exchange = async move {
            sleep(hop).await;
            let node = {
                let mut net = net.lock().unwrap();
                let line = format!(
                    "{:?} {from} -> {to} {:08x}",
                    net.began.elapsed(),
                    crc32fast::hash(&request)
                );
                net.trace.push(line);
                if !net.open(from, to) {
                    return Err(LinkError::Unreachable);
                }
                // After the version: a request of a group, the topology, an append.
                if from == 1 && request.get(1..4) == Some(&[0, 0, 0]) {
                    net.last = request.clone();
                }
                net.nodes.get(&to).ok_or(LinkError::Unreachable)?.0.clone()
            };
            let answer = node.serve(NodeId(from), request).await;
            sleep(hop).await;
            if net.lock().unwrap().open(from, to) {
                Ok(answer)
            } else {
                Err(LinkError::TimedOut)
            }
        };
        Box::pin(async move {
            tokio::time::timeout(timeout, exchange)
                .await
                .unwrap_or(Err(LinkError::TimedOut))
        })
    }
}

/// A disk whose synchronisation takes a millisecond, or for ever while it is held.
#[derive(Default)]
struct Committer {
    held: Mutex<Option<Vec<Done>>>,
}

impl Commit for Committer {
    fn commit(&self, done: Done) {
        match &mut *self.held.lock().unwrap() {
            Some(held) => held.push(done),
            None => drop(tokio::spawn(async move {
                sleep(Duration::from_millis(1)).await;
                done(Ok(()));
            })),
        }
    }

    fn commit_durably(&self, done: Done) {
        self.commit(done);
    }
}

/// Runs a scenario in a seeded runtime under a paused clock.
pub(super) fn run<T>(seed: u64, scenario: impl AsyncFnOnce(World) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()))
        .build()
        .unwrap();
    runtime.block_on(async {
        let net = Net {
            began: Instant::now(),
            nodes: BTreeMap::new(),
            isolated: BTreeSet::new(),
            hop: HOP,
            trace: vec![],
            last: Bytes::new(),
        };
        scenario(World {
            seed,
            starts: 0,
            snapshot_every: 1000,
            witness: None,
            net: Arc::new(Mutex::new(net)),
            disks: BTreeMap::new(),
        })
        .await
    })
}

fn spec(node: u64) -> NodeSpec {
    let datacenter = ["a", "b", "c"][node as usize % 3];
    NodeSpec {
        name: format!("n{node}").into(),
        datacenter: datacenter.into(),
        rack: "r".into(),
        quic: "127.0.0.1:1000".into(),
        key: PublicKey([node as u8; 32]),
        durable: true,
        witness: false,
    }
}

pub(super) fn found() -> Command {
    let token = NewToken {
        id: TokenId(1),
        verifier: Secret::new("open"),
        uses: None,
        expires_ms: None,
    };
    Command::Found {
        cluster: ClusterId(7),
        token,
        node: spec(1),
        partitions: 64,
        at_ms: 0,
    }
}

pub(super) fn admit(node: u64) -> Command {
    Command::Admit {
        token: TokenId(1),
        node: spec(node),
        replaces: None,
        at_ms: 0,
    }
}

/// The same as a witness.
fn admit_witness(node: u64) -> Command {
    Command::Admit {
        token: TokenId(1),
        node: NodeSpec {
            witness: true,
            ..spec(node)
        },
        replaces: None,
        at_ms: 0,
    }
}

impl World {
    pub(super) async fn try_open(&mut self, node: u64) -> Result<Consensus, OpenError> {
        let (store, committer) = self.disks.entry(node).or_default().clone();
        self.starts += 1;
        let config = ConsensusConfig {
            snapshot_every: self.snapshot_every,
            keep: self.snapshot_every / 4,
            ..ConsensusConfig::new(NodeId(node), self.seed + self.starts)
        };
        let link = Arc::new(Wire {
            me: node,
            net: Arc::clone(&self.net),
        });
        Consensus::open(config, store, committer, link).await
    }

    pub(super) async fn open(&mut self, node: u64) -> ControlGroup {
        let opened = self.try_open(node).await.unwrap();
        let group = opened.topology().clone();
        let counter = opened.attend(COUNTED);
        self.net
            .lock()
            .unwrap()
            .nodes
            .insert(node, (opened, counter));
        group
    }

    /// Stops a node; its disk stays.
    pub(super) async fn crash(&mut self, node: u64) {
        let (stopped, _) = self.net.lock().unwrap().nodes.remove(&node).unwrap();
        stopped.shutdown().await;
    }

    /// What a recovery of the stopped node would do.
    pub(super) fn recovery(&self, node: u64, kept: &[u64]) -> Recovery {
        let kept = kept.iter().copied().map(NodeId).collect();
        let store = Arc::clone(&self.disks[&node].0);
        Recovery::plan(store, NodeId(node), &kept).unwrap()
    }

    /// A copy of a node's disk.
    pub(super) fn backup(&self, node: u64) -> Arc<MemoryStore> {
        let copy = MemoryStore::new();
        for space in Space::ALL {
            let mut batch = Batch::default();
            let store = &self.disks[&node].0;
            let scanned = store.scan(space, &[], None, &mut |key, value| {
                batch.put(space, key.to_vec(), value.to_vec());
                std::ops::ControlFlow::Continue(())
            });
            scanned.and_then(|()| copy.apply(batch)).unwrap();
        }
        Arc::new(copy)
    }

    /// Puts a copy in place of the disk of a stopped node.
    pub(super) fn restore(&mut self, node: u64, copy: Arc<MemoryStore>) {
        self.disks.insert(node, (copy, Arc::default()));
    }

    /// Founds the cluster or goes on from what there is, until it has nodes 1 to `nodes` and
    /// everybody knows.
    pub(super) async fn grow(&mut self, nodes: u64) {
        for node in 1..=nodes {
            if self.net.lock().unwrap().nodes.contains_key(&node) {
                continue;
            }
            self.open(node).await;
            let admission = if self.witness == Some(node) {
                admit_witness(node)
            } else {
                admit(node)
            };
            let admitted = if node == 1 {
                self.node(1).found(found()).await.unwrap()
            } else {
                self.group(1).propose(&admission, WAIT).await.unwrap()
            };
            assert_eq!(admitted, Response::Admitted { node: NodeId(node) });
        }
        self.until("all are in", |world| {
            let topology = Arc::clone(&world.group(1).published().borrow());
            let voters: Vec<_> = topology.voters().collect();
            world.groups().count() as u64 == nodes
                && world.groups().all(|(_, group)| {
                    let status = group.status();
                    *group.published().borrow() == topology
                        && topology.nodes.len() as u64 == nodes
                        && status.voters == voters
                        && !status.joint
                })
        })
        .await;
    }

    /// Waits until the condition holds; fails after a minute of virtual time.
    pub(super) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !condition(self) {
            let status: Vec<_> = self.groups().map(|(_, group)| group.status()).collect();
            assert!(
                Instant::now() < deadline,
                "never came true: {what}: {status:#?}"
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) fn node(&self, node: u64) -> Consensus {
        self.net.lock().unwrap().nodes[&node].0.clone()
    }

    pub(super) fn group(&self, node: u64) -> ControlGroup {
        self.node(node).topology().clone()
    }

    pub(super) fn counter(&self, node: u64) -> Group<Counter> {
        self.net.lock().unwrap().nodes[&node].1.clone()
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = (u64, ControlGroup)> + use<> {
        let nodes = self.net.lock().unwrap().nodes.clone().into_iter();
        nodes.map(|(number, (node, _))| (number, node.topology().clone()))
    }

    pub(super) fn counters(&self) -> impl Iterator<Item = (u64, Group<Counter>)> + use<> {
        let nodes = self.net.lock().unwrap().nodes.clone().into_iter();
        nodes.map(|(number, (_, counter))| (number, counter))
    }

    /// How many calls a node has made to another.
    pub(super) fn calls(&self, from: u64, to: u64) -> usize {
        let call = format!(" {from} -> {to} ");
        let net = self.net.lock().unwrap();
        net.trace.iter().filter(|line| line.contains(&call)).count()
    }

    pub(super) fn isolate(&self, node: u64) {
        self.net.lock().unwrap().isolated.insert(node);
    }

    /// Lets a message take this long from now on.
    pub(super) fn set_hop(&self, hop: Duration) {
        self.net.lock().unwrap().hop = hop;
    }

    pub(super) fn heal(&self) {
        self.net.lock().unwrap().isolated.clear();
    }

    pub(super) fn trace(&self) -> Vec<String> {
        self.net.lock().unwrap().trace.clone()
    }

    /// The last log replication that node 1 sent.
    pub(super) fn last_request(&self) -> Bytes {
        self.net.lock().unwrap().last.clone()
    }

    pub(super) fn has_entry(&self, node: u64, index: u64) -> bool {
        let entry = self.disks[&node].0.get(Space::Control, &entry_key(index));
        entry.unwrap().is_some()
    }

    /// How many records of its own group the counter has on the node's disk, apart from the vote.
    pub(super) fn counted_records(&self, node: u64) -> usize {
        let mut records = 0;
        let group = [b'g', 0, 2];
        let count = &mut |key: &[u8], _: &[u8]| {
            records += usize::from(key != [b'g', 0, 2, b'v']);
            std::ops::ControlFlow::Continue(())
        };
        let end = [b'g', 0, 3];
        let scanned = self.disks[&node]
            .0
            .scan(Space::Control, &group, Some(&end), count);
        scanned.unwrap();
        records
    }

    /// Flips one bit in the first log entry.
    pub(super) fn damage(&self, node: u64) {
        let key = entry_key(1);
        let store = &self.disks[&node].0;
        let mut record = store.get(Space::Control, &key).unwrap().unwrap().to_vec();
        *record.last_mut().unwrap() ^= 1;
        let mut batch = Batch::default();
        batch.put(Space::Control, key, record);
        store.apply(batch).unwrap();
    }

    /// Lets no synchronisation end, or all that were held.
    pub(super) fn hold_commits(&self, hold: bool) {
        for (_, committer) in self.disks.values() {
            let waiting =
                std::mem::replace(&mut *committer.held.lock().unwrap(), hold.then(Vec::new));
            waiting.into_iter().flatten().for_each(|done| done(Ok(())));
        }
    }
}

/// The key of an entry in the log of the topology group.
fn entry_key(index: u64) -> Vec<u8> {
    [&b"g\0\0e"[..], &index.to_be_bytes()].concat()
}
