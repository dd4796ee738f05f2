use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use quorate_control::store::{Batch, Commit, Space, Store, StoreError, StoreStats, Visitor};

use super::{Durability, GroupCommit};
use crate::store::Engine;

/// A disk whose synchronisations the test lets through one by one and can make fail.
struct SlowDisk {
    begun: Mutex<Sender<()>>,
    may_end: Mutex<Receiver<()>>,
    fails: AtomicBool,
    persists: AtomicU64,
}

impl Store for SlowDisk {
    fn get(&self, _: Space, _: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }
    fn scan(
        &self,
        _: Space,
        _: &[u8],
        _: Option<&[u8]>,
        _: &mut Visitor<'_>,
    ) -> Result<(), StoreError> {
        Ok(())
    }
    fn apply(&self, _: Batch) -> Result<(), StoreError> {
        Ok(())
    }
    fn persist(&self) -> Result<(), StoreError> {
        self.persists.fetch_add(1, Ordering::SeqCst);
        self.begun.lock().unwrap().send(()).ok();
        // A test that has dropped its end lets everything through.
        self.may_end.lock().unwrap().recv().ok();
        if self.fails.load(Ordering::SeqCst) {
            Err(StoreError::Full)
        } else {
            Ok(())
        }
    }
    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }
}

fn slow_disk() -> (Arc<SlowDisk>, Receiver<()>, Sender<()>) {
    let (begun, seen) = channel();
    let (pass, may_end) = channel();
    let disk = SlowDisk {
        begun: Mutex::new(begun),
        may_end: Mutex::new(may_end),
        fails: AtomicBool::new(false),
        persists: AtomicU64::new(0),
    };
    (Arc::new(disk), seen, pass)
}

type Answers = Receiver<(u32, Result<(), Arc<StoreError>>)>;

fn commit_numbered(group: &GroupCommit, numbers: std::ops::Range<u32>) -> Answers {
    let (sender, answers) = channel();
    for n in numbers {
        let sender = sender.clone();
        group.commit(Box::new(move |result| sender.send((n, result)).unwrap()));
    }
    answers
}

#[test]
fn all_that_wait_share_one_synchronisation_and_are_answered_in_order() {
    let (disk, begun, pass) = slow_disk();
    let group = GroupCommit::start(
        Arc::clone(&disk) as Arc<dyn Store>,
        Engine::Fjall,
        Durability::Sync,
    )
    .unwrap();
    let first = commit_numbered(&group, 0..1);
    begun.recv().unwrap();
    let rest = commit_numbered(&group, 1..100);
    assert!(
        first.try_recv().is_err(),
        "answered before its synchronisation ended"
    );
    pass.send(()).unwrap();
    assert!(matches!(first.recv().unwrap(), (0, Ok(()))));
    begun.recv().unwrap();
    assert!(
        rest.try_recv().is_err(),
        "answered by a synchronisation that began before the commit"
    );
    pass.send(()).unwrap();
    for n in 1..100 {
        let (answered, result) = rest.recv().unwrap();
        assert_eq!((answered, result.is_ok()), (n, true));
    }
    assert_eq!((group.counts().commits, group.counts().syncs), (100, 2));
    drop(pass);
    group.shutdown().unwrap();
}

#[test]
fn after_a_failed_synchronisation_nothing_is_acknowledged_and_none_is_tried_again() {
    for durability in [
        Durability::Sync,
        Durability::Interval(Duration::from_millis(1)),
    ] {
        let (disk, begun, pass) = slow_disk();
        disk.fails.store(true, Ordering::SeqCst);
        let group = GroupCommit::start(
            Arc::clone(&disk) as Arc<dyn Store>,
            Engine::Fjall,
            durability,
        )
        .unwrap();
        let first = commit_numbered(&group, 0..1);
        begun.recv().unwrap();
        pass.send(()).unwrap();
        let told = first.recv().unwrap().1;
        assert_eq!(told.is_err(), durability == Durability::Sync);
        while group.failure().is_none() {
            std::thread::yield_now();
        }
        disk.fails.store(false, Ordering::SeqCst);
        let (_, later) = commit_numbered(&group, 1..2).recv().unwrap();
        assert!(matches!(*later.unwrap_err(), StoreError::Full));
        assert!(
            matches!(*group.shutdown().unwrap_err(), StoreError::Full),
            "a stop after a failure must not look clean"
        );
        assert_eq!(disk.persists.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn without_durability_answers_come_at_once_and_the_end_makes_all_durable() {
    let (disk, _begun, pass) = slow_disk();
    let group = GroupCommit::start(
        Arc::clone(&disk) as Arc<dyn Store>,
        Engine::Fjall,
        Durability::None,
    )
    .unwrap();
    let answers = commit_numbered(&group, 0..3);
    assert_eq!(
        answers
            .try_iter()
            .map(|(n, result)| (n, result.is_ok()))
            .collect::<Vec<_>>(),
        [(0, true), (1, true), (2, true)]
    );
    assert_eq!(disk.persists.load(Ordering::SeqCst), 0);
    drop(pass);
    group.shutdown().unwrap();
    assert_eq!(disk.persists.load(Ordering::SeqCst), 1);
}

#[test]
fn an_interval_synchronises_after_commits_and_not_when_idle() {
    let (disk, begun, pass) = slow_disk();
    let group = GroupCommit::start(
        Arc::clone(&disk) as Arc<dyn Store>,
        Engine::Fjall,
        Durability::Interval(Duration::from_millis(1)),
    )
    .unwrap();
    for round in 1..4 {
        assert!(
            commit_numbered(&group, 0..1)
                .iter()
                .all(|(_, result)| result.is_ok())
        );
        begun.recv().unwrap();
        pass.send(()).unwrap();
        while group.counts().syncs < round {
            std::thread::yield_now();
        }
    }
    // Over twenty intervals a thread that synchronises without need is noticed.
    assert!(
        begun.recv_timeout(Duration::from_millis(20)).is_err(),
        "synchronised although nothing was committed"
    );
    drop(pass);
    group.shutdown().unwrap();
}

#[test]
fn commits_after_the_end_fail_and_those_before_are_answered() {
    let (disk, _begun, pass) = slow_disk();
    drop(pass);
    let group = GroupCommit::start(disk, Engine::Fjall, Durability::Sync).unwrap();
    let before = commit_numbered(&group, 0..50);
    group.shutdown().unwrap();
    assert_eq!(
        before
            .try_iter()
            .filter(|(_, result)| result.is_ok())
            .count(),
        50
    );
    let (_, after) = commit_numbered(&group, 50..51).recv().unwrap();
    assert!(matches!(*after.unwrap_err(), StoreError::Stopped));
    assert!(group.shutdown().is_err());
}

#[test]
fn what_the_cluster_relies_on_is_synchronised_at_every_durability() {
    for durability in [
        Durability::Sync,
        Durability::Interval(Duration::from_hours(1)),
        Durability::None,
    ] {
        let (disk, begun, pass) = slow_disk();
        let group = GroupCommit::start(
            Arc::clone(&disk) as Arc<dyn Store>,
            Engine::Fjall,
            durability,
        )
        .unwrap();
        let (sender, answers) = channel();
        group.commit_durably(Box::new(move |result| sender.send(result).unwrap()));
        begun.recv().unwrap();
        assert!(
            answers.try_recv().is_err(),
            "{durability:?}: told before the disk was synchronised"
        );
        pass.send(()).unwrap();
        assert!(answers.recv().unwrap().is_ok());
        drop(pass);
        group.shutdown().unwrap();
    }
}
