use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use quorate_control::store::{Batch, Commit, Done, MemoryStore, Space, Store, StoreError};
use quorate_control::topology::{ClusterId, Epoch, NodeInfo, Timing, Topology};
use quorate_crdt::NodeId;

use super::{Adopted, KEPT, Keeper, keep_granted};

/// A committer that synchronises when the test says so.
#[derive(Default)]
struct Held(Mutex<Vec<Done>>);

impl Held {
    fn let_go(&self, result: &Result<(), Arc<StoreError>>) -> usize {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap());
        let count = waiting.len();
        for done in waiting {
            done(result.clone());
        }
        count
    }
}

impl Commit for Held {
    fn commit(&self, _: Done) {
        panic!("a topology must be durable whatever the node's setting is");
    }

    fn commit_durably(&self, done: Done) {
        self.0.lock().unwrap().push(done);
    }
}

fn topology(cluster: u128, epoch: u64) -> Arc<Topology> {
    let info = NodeInfo {
        name: "a".into(),
        datacenter: "dc1".into(),
        rack: "r1".into(),
        quic: "127.0.0.1:7381".into(),
        key: quorate_crdt::PublicKey([0; 32]),
        next_key: None,
        voter: true,
        witness: false,
    };
    let nodes = [(NodeId(1), info)].into();
    Arc::new(Topology {
        cluster: ClusterId(cluster),
        epoch: Epoch(epoch),
        nodes,
        keyspaces: [].into(),
        users: [].into(),
        timing: Timing::default(),
    })
}

struct Disk {
    store: Arc<MemoryStore>,
    commit: Arc<Held>,
}

impl Disk {
    fn new() -> Self {
        Self {
            store: Arc::default(),
            commit: Arc::default(),
        }
    }

    fn open(&self) -> Result<Keeper, StoreError> {
        Keeper::open(Arc::clone(&self.store) as _, Arc::clone(&self.commit) as _)
    }

    /// Keeps a topology. The disk is synchronised as soon as somebody waits for it.
    fn keep(&self, keeper: &mut Keeper, decided: &Arc<Topology>) -> Option<Epoch> {
        let mut keeping = pin!(keeper.keep(decided));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            if let Poll::Ready(kept) = keeping.as_mut().poll(&mut context) {
                return kept.unwrap().map(|adopted| adopted.epoch);
            }
            self.commit.let_go(&Ok(()));
        }
        panic!("waits although all is durable");
    }
}

fn epoch(kept: Option<Adopted>) -> Option<u64> {
    kept.map(|adopted| adopted.epoch.0)
}

#[test]
fn a_topology_is_durable_before_anybody_can_act_on_it() {
    let disk = Disk::new();
    let mut keeper = disk.open().unwrap();
    let decided = topology(1, 5);
    let mut keeping = pin!(keeper.keep(&decided));
    let mut context = Context::from_waker(Waker::noop());
    assert!(
        keeping.as_mut().poll(&mut context).is_pending(),
        "handed out before the disk was synchronised"
    );
    assert!(
        disk.store.get(Space::Meta, KEPT).unwrap().is_some(),
        "written before it is synchronised"
    );
    assert_eq!(disk.commit.let_go(&Ok(())), 1);
    let Poll::Ready(Ok(Some(adopted))) = keeping.as_mut().poll(&mut context) else {
        panic!("not handed out although durable")
    };
    assert_eq!(adopted.epoch, Epoch(5));
}

#[test]
fn a_topology_that_could_not_be_made_durable_is_not_handed_out() {
    let disk = Disk::new();
    let mut keeper = disk.open().unwrap();
    let decided = topology(1, 5);
    let mut keeping = pin!(keeper.keep(&decided));
    let mut context = Context::from_waker(Waker::noop());
    assert!(keeping.as_mut().poll(&mut context).is_pending());
    disk.commit.let_go(&Err(Arc::new(StoreError::Stopped)));
    let Poll::Ready(Err(error)) = keeping.as_mut().poll(&mut context) else {
        panic!("handed out")
    };
    assert!(matches!(*error, StoreError::Stopped));
}

#[test]
fn a_restart_begins_with_the_newest_topology_and_never_adopts_an_older_one() {
    let disk = Disk::new();
    let mut keeper = disk.open().unwrap();
    assert_eq!(epoch(keeper.kept()), None);
    assert_eq!(disk.keep(&mut keeper, &topology(1, 5)), Some(Epoch(5)));
    assert_eq!(disk.keep(&mut keeper, &topology(1, 9)), Some(Epoch(9)));
    let mut keeper = disk.open().unwrap();
    assert_eq!(epoch(keeper.kept()), Some(9));
    // What a replay of the control group's log shows.
    for past in [1, 5, 9] {
        assert_eq!(disk.keep(&mut keeper, &topology(1, past)), None);
    }
    assert_eq!(disk.keep(&mut keeper, &topology(1, 10)), Some(Epoch(10)));
    assert_eq!(epoch(disk.open().unwrap().kept()), Some(10));
}

#[test]
fn a_topology_without_nodes_is_none() {
    let disk = Disk::new();
    let mut keeper = disk.open().unwrap();
    let mut empty = Topology::clone(&topology(0, 0));
    empty.nodes.clear();
    assert_eq!(disk.keep(&mut keeper, &Arc::new(empty)), None);
    assert_eq!(epoch(keeper.kept()), None);
}

#[test]
fn a_grant_is_kept_unless_a_newer_topology_of_its_cluster_is() {
    let disk = Disk::new();
    for (granted, kept) in [
        ((1, 7), (1, 7)),
        ((1, 4), (1, 7)),
        ((1, 8), (1, 8)),
        ((2, 3), (2, 3)),
    ] {
        keep_granted(&*disk.store, &topology(granted.0, granted.1)).unwrap();
        let found = disk.open().unwrap().kept().unwrap();
        assert_eq!((found.cluster.0, found.epoch.0), kept);
    }
}

#[test]
fn a_damaged_topology_stops_the_start() {
    let disk = Disk::new();
    keep_granted(&*disk.store, &topology(1, 7)).unwrap();
    let sound = disk.store.get(Space::Meta, KEPT).unwrap().unwrap();
    for at in 0..sound.len() {
        let mut bytes = sound.to_vec();
        bytes[at] ^= 0x10;
        let mut batch = Batch::default();
        batch.put(Space::Meta, KEPT, bytes);
        disk.store.apply(batch).unwrap();
        assert!(
            matches!(disk.open().map(|_| ()), Err(StoreError::Damaged { .. })),
            "byte {at}"
        );
    }
}
