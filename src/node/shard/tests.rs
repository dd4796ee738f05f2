use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use bytes::Bytes;
use quorate_control::store::{Done, MemoryStore};
use quorate_control::topology::{
    ClusterId, Epoch, Keyspace, KeyspaceId, NodeInfo, Placement, Replication, Topology,
};
use quorate_dynamo::op::{Mutation, Op, Query, Reply, SetExpiry};
use quorate_dynamo::protocol::{Config, Refusal};
use quorate_dynamo::{Consistency, Seat};
use quorate_gossip::transport::{CallError, Later, Transport};

use super::super::meter::Meter;
use super::*;

/// The time of the test.
struct Virtual(Instant);

impl Clock for Virtual {
    fn now(&self) -> Now {
        Now {
            monotonic: self.0.elapsed(),
            unix_millis: 1_800_000_000_000,
        }
    }
}

/// A disk that answers when it is told to.
#[derive(Default)]
struct Held(Mutex<Vec<Done>>);

impl Held {
    fn sync(&self) {
        for done in std::mem::take(&mut *self.0.lock().unwrap()) {
            done(Ok(()));
        }
    }
}

impl Commit for Held {
    fn commit(&self, done: Done) {
        self.0.lock().unwrap().push(done);
    }

    fn commit_durably(&self, done: Done) {
        self.commit(done);
    }
}

/// A network that takes everything and brings nothing.
struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _: NodeId, _: quorate_gossip::transport::Class, _: Bytes) -> bool {
        true
    }

    fn datagram(&self, _: NodeId, _: Bytes) {}

    fn call(&self, _: NodeId, _: Bytes, _: Duration) -> Later<Result<Bytes, CallError>> {
        Box::pin(std::future::pending())
    }

    fn set_peers(&self, _: BTreeMap<NodeId, SocketAddr>) {}

    fn rtt(&self, _: NodeId) -> Option<Duration> {
        None
    }

    fn connected(&self, _: NodeId) -> bool {
        true
    }
}

fn topology(nodes: u64) -> Topology {
    let info = |id: u64| NodeInfo {
        name: format!("n{id}").into(),
        datacenter: "dc1".into(),
        rack: "r1".into(),
        quic: ([127, 0, 0, 1], 1).into(),
        voter: true,
    };
    let placement = vec![Placement::stable(
        Epoch(1),
        (1..=nodes).map(NodeId).collect(),
    )];
    let keyspace = Keyspace {
        name: "default".into(),
        replication: Replication::Auto,
        read: "ONE".into(),
        write: "ONE".into(),
        placement,
    };
    Topology {
        cluster: ClusterId(1),
        epoch: Epoch(1),
        nodes: (1..=nodes).map(|id| (NodeId(id), info(id))).collect(),
        keyspaces: [(KeyspaceId(0), keyspace)].into(),
    }
}

struct Bench {
    shard: Shard,
    disk: Arc<Held>,
}

type Told = oneshot::Receiver<Result<Answer, RequestError>>;

impl Bench {
    fn new(nodes: u64) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let disk = Arc::new(Held::default());
        let (reports, _) = mpsc::unbounded_channel();
        let outbox = Outbox {
            transport: Arc::new(Nowhere),
            reports,
            meter: Arc::new(Meter::new()),
        };
        let (_, lives) = Lives::begin(Arc::clone(&store), 1, 0).unwrap();
        let seat = Seat {
            me: NodeId(1),
            incarnation: 1,
            core: 0,
            cores: 1,
            life: 1,
            restarted: false,
        };
        let mut dynamo = Dynamo::new(Config::default(), seat);
        let clock = Arc::new(Virtual(Instant::now()));
        let mut effects = Vec::new();
        dynamo.handle(
            clock.now(),
            Input::Topology(Arc::new(topology(nodes))),
            &mut effects,
        );
        store.apply(dynamo.drain()).unwrap();
        let failure = Failure::new(None);
        let commit = Arc::clone(&disk) as _;
        let queues = Queues {
            message_bytes_max: 4096,
            ..Queues::default()
        };
        let around = Surroundings {
            clock,
            store,
            commit,
            lives: Arc::new(lives),
            outbox,
            failure,
            queues,
            watched: None,
        };
        // Its timers are armed with the next turn.
        let mut shard = Shard::new(dynamo, around);
        shard.effects = effects;
        Self { shard, disk }
    }

    fn ask(&mut self, op: Op, consistency: Consistency) -> Told {
        let request = Request {
            keyspace: KeyspaceId(0),
            op,
            consistency: Some(consistency),
            timeout: Duration::from_millis(200),
            datacenter: "dc1".into(),
            id: None,
        };
        let (reply, told) = oneshot::channel();
        let waiter = Waiter {
            reply,
            sample: Sample::of(&request),
        };
        let now = self.shard.around.clock.now();
        self.shard
            .work(now, Work::Request(Box::new(request), waiter));
        self.shard.commit().unwrap();
        told
    }
}

fn set() -> Op {
    Op::Mutate(
        "k".into(),
        Mutation::Set {
            value: "v".into(),
            expiry: SetExpiry::Clear,
        },
    )
}

fn get() -> Op {
    Op::Query("k".into(), Query::Get)
}

#[tokio::test]
async fn nothing_is_told_before_it_is_durable() {
    let mut bench = Bench::new(1);
    let mut written = bench.ask(set(), Consistency::One);
    let mut read = bench.ask(get(), Consistency::One);
    assert!(written.try_recv().is_err(), "the write is not durable");
    assert!(
        read.try_recv().is_err(),
        "what the read shows is not durable"
    );
    bench.disk.sync();
    assert_eq!(written.try_recv().unwrap().unwrap().reply, Reply::Done);
    assert_eq!(
        read.try_recv().unwrap().unwrap().reply,
        Reply::Value("v".into())
    );
    let mut read = bench.ask(get(), Consistency::One);
    assert!(read.try_recv().is_ok(), "all that it shows is durable");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_this_disk_blames_no_other_node_and_is_told_in_time() {
    let mut bench = Bench::new(3);
    let mut counted = bench.ask(
        Op::Mutate("c".into(), Mutation::Increment(1)),
        Consistency::Quorum,
    );
    // What must be stamped waits for the time, and the question for that waits for the disk.
    let mut written = bench.ask(set(), Consistency::Quorum);
    for _ in 0..100 {
        tokio::time::advance(Duration::from_millis(10)).await;
        let works: [Work; 0] = [];
        bench
            .shard
            .turn(&mut works.into_iter(), &AtomicUsize::new(0));
        bench.shard.commit().unwrap();
    }
    let outcome = counted.try_recv().unwrap();
    assert!(
        matches!(
            outcome,
            Err(RequestError::DiskSlow {
                millis: 190..,
                may_be_applied: true
            })
        ),
        "{outcome:?}"
    );
    let outcome = written.try_recv().unwrap();
    assert!(
        matches!(
            outcome,
            Err(RequestError::DiskSlow {
                millis: 190..,
                may_be_applied: false
            })
        ),
        "{outcome:?}"
    );
}

/// Adds to a set, which needs no clock.
fn add_long(bytes: usize) -> Op {
    Op::Mutate("k".into(), Mutation::Add(vec![vec![b'v'; bytes].into()]))
}

#[tokio::test]
async fn a_write_that_is_too_long_to_be_sent_fails_at_once() {
    let mut bench = Bench::new(3);
    let mut written = bench.ask(add_long(5000), Consistency::Quorum);
    let works: [Work; 0] = [];
    bench
        .shard
        .turn(&mut works.into_iter(), &AtomicUsize::new(0));
    bench.shard.commit().unwrap();
    bench.disk.sync();
    let outcome = written.try_recv().expect("long before its deadline");
    let Err(RequestError::Refused {
        refused,
        may_be_applied: true,
        ..
    }) = outcome
    else {
        panic!("{outcome:?}")
    };
    assert!(
        matches!(
            refused[..],
            [
                (NodeId(2), Refusal::TooLong { bytes: 5000.. }),
                (NodeId(3), Refusal::TooLong { .. })
            ]
        ),
        "{refused:?}"
    );
}

/// What leaves when the disk has answered takes memory until then.
#[tokio::test]
async fn what_waits_for_the_disk_is_bounded() {
    let mut bench = Bench::new(3);
    bench.shard.around.queues.message_bytes_max = usize::MAX;
    let mut last = bench.ask(add_long(4_000_000), Consistency::One);
    for _ in 0..20 {
        last = bench.ask(add_long(4_000_000), Consistency::One);
    }
    assert_eq!(
        last.try_recv().unwrap(),
        Err(RequestError::Overloaded),
        "it would have waited behind 64 MiB"
    );
    bench.disk.sync();
    last = bench.ask(add_long(4_000_000), Consistency::One);
    bench.disk.sync();
    assert!(last.try_recv().unwrap().is_ok(), "the disk has answered");
}

/// Panics at the third look.
struct Broken(AtomicUsize);

impl Clock for Broken {
    fn now(&self) -> Now {
        assert!(
            self.0.fetch_add(1, Ordering::Relaxed) < 3,
            "a panic of the test"
        );
        Now {
            monotonic: Duration::ZERO,
            unix_millis: 0,
        }
    }
}

#[tokio::test]
async fn a_shard_that_panics_ends_the_node() {
    let Bench { mut shard, .. } = Bench::new(1);
    shard.around.clock = Arc::new(Broken(AtomicUsize::new(0)));
    let failure = shard.around.failure.clone();
    let (lane, inbox) = Lane::new(Queues::default().inbox_bytes_max);
    let running = tokio::spawn(shard.run(inbox));
    for _ in 0..8 {
        lane.push_surely(Work::Sight(Sight::DiskFull(false))).await;
        tokio::task::yield_now().await;
    }
    assert!(running.await.is_err(), "it panicked");
    assert!(matches!(
        failure.borrow().as_deref(),
        Some(StoreError::Panicked)
    ));
}

/// The rules of a shard, broken, are noticed by the tests above.
#[cfg(feature = "planted-bugs")]
#[test]
fn the_planted_bugs_of_a_shard_are_noticed() {
    use crate::planted::{FRAMES_WAIT_WITHOUT_BOUND, OVERSIZE_QUESTION_FORGOTTEN};
    let noticed_by: [(_, fn()); 4] = [
        (&ACK_BEFORE_COMMIT, nothing_is_told_before_it_is_durable),
        (
            &OVERSIZE_QUESTION_FORGOTTEN,
            a_write_that_is_too_long_to_be_sent_fails_at_once,
        ),
        (
            &FRAMES_WAIT_WITHOUT_BOUND,
            what_waits_for_the_disk_is_bounded,
        ),
        (&PANIC_UNNOTICED, a_shard_that_panics_ends_the_node),
    ];
    for (bug, test) in noticed_by {
        quorate_crdt::planted::plant(Some(bug));
        let outcome = std::panic::catch_unwind(test);
        quorate_crdt::planted::plant(None);
        assert!(outcome.is_err(), "nothing noticed {}", bug.name);
    }
}
