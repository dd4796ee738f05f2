use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use quorate_control::store::{Done, MemoryStore};
use quorate_control::topology::{
    ClusterId, Epoch, Keyspace, KeyspaceId, NodeInfo, Partition, Placement, Replication,
    SplitPolicy, Timing, Topology,
};
use quorate_dynamo::op::{Mutation, Op, Query, Reply, Request, SetExpiry};
use quorate_dynamo::protocol::{Attempt, Config, FlightId, Place, Refusal};
use quorate_dynamo::{Consistency, Seat};
use quorate_gossip::transport::{CallError, Later, Transport};
use quorate_gossip::wire;
use tokio::sync::mpsc;

use super::super::inbox::{Lane, Sight};
use super::super::meter::Meter;
use super::*;
use crate::doors::Room;

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

/// A network that accepts everything and delivers nothing.
#[derive(Default)]
struct Nowhere {
    /// What waits for each node.
    backlog: AtomicUsize,
    /// The frames of requests that it has accepted.
    taken: Mutex<Vec<Bytes>>,
}

impl Nowhere {
    /// The messages that it has accepted since the last call.
    fn messages(&self) -> Vec<Message> {
        let frames = std::mem::take(&mut *self.taken.lock().unwrap());
        let messages = |frame: &Bytes| wire::decode::<Vec<Message>>(frame).unwrap();
        frames.iter().flat_map(messages).collect()
    }
}

impl Transport for Nowhere {
    fn send(&self, _: NodeId, class: Class, frame: Bytes) -> bool {
        if class == Class::Data {
            self.taken.lock().unwrap().push(frame);
        }
        true
    }

    fn backlog(&self, _: NodeId, _: Class) -> usize {
        self.backlog.load(Ordering::Relaxed)
    }

    fn datagram(&self, _: NodeId, _: Bytes) {}

    fn call(&self, _: NodeId, _: Bytes, _: Duration) -> Later<Result<Bytes, CallError>> {
        Box::pin(std::future::pending())
    }

    fn set_peers(&self, _: BTreeMap<NodeId, Arc<str>>) {}

    fn met(&self) -> BTreeMap<NodeId, Arc<str>> {
        BTreeMap::new()
    }

    fn hear(&self, _: BTreeMap<NodeId, Arc<str>>) {}

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
        quic: "127.0.0.1:1".into(),
        key: quorate_crdt::PublicKey([0; 32]),
        next_key: None,
        voter: true,
        witness: false,
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
        split: SplitPolicy::default(),
        placement,
    };
    Topology {
        cluster: ClusterId(1),
        epoch: Epoch(1),
        nodes: (1..=nodes).map(|id| (NodeId(id), info(id))).collect(),
        keyspaces: [(KeyspaceId(0), keyspace)].into(),
        users: [].into(),
        timing: Timing::default(),
    }
}

struct Bench {
    shard: Shard,
    disk: Arc<Held>,
    network: Arc<Nowhere>,
}

type Told = oneshot::Receiver<Result<Answer, RequestError>>;

impl Bench {
    fn new(nodes: u64) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let disk = Arc::new(Held::default());
        let (reports, _) = mpsc::unbounded_channel();
        let network = Arc::new(Nowhere::default());
        let outbox = Outbox {
            transport: Arc::clone(&network) as _,
            reports,
            meter: Arc::new(Meter::new(None)),
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
        Self {
            shard,
            disk,
            network,
        }
    }

    fn ask(&mut self, op: Op, consistency: Consistency) -> Told {
        self.ask_into(op, consistency, None)
    }

    fn ask_into(&mut self, op: Op, consistency: Consistency, room: Option<&Arc<Room>>) -> Told {
        let request = request(op, consistency);
        let (reply, told) = oneshot::channel();
        let waiter = Waiter {
            reply,
            sample: self.shard.around.outbox.meter.sample(&request),
            room: room.cloned(),
            reads: !request.op.writes(),
        };
        let now = self.shard.around.clock.now();
        self.shard
            .work(now, Work::Request(Box::new(request), waiter));
        self.shard.commit().unwrap();
        told
    }

    /// A turn with these works; whether some are left, and the answers to forwards that left.
    fn turn(&mut self, works: impl IntoIterator<Item = Work>) -> (bool, usize) {
        let more = self
            .shard
            .turn(&mut works.into_iter(), &AtomicUsize::new(0));
        self.shard.commit().unwrap();
        self.disk.sync();
        let messages = self.network.messages();
        let is_answer = |message: &&Message| matches!(message, Message::Forwarded { .. });
        (more, messages.iter().filter(is_answer).count())
    }
}

fn request(op: Op, consistency: Consistency) -> Request {
    Request {
        keyspace: KeyspaceId(0),
        op,
        consistency: Some(consistency),
        timeout: Duration::from_millis(200),
        datacenter: "dc1".into(),
        id: None,
        claim: None,
    }
}

/// Reads of `k` at `ONE` that node 2 hands on, under these numbers.
fn reads(numbers: std::ops::Range<u64>, attempt: Attempt) -> Work {
    let read = |number| Message::Forward {
        id: FlightId {
            core: 0,
            life: 7,
            number,
        },
        place: Place {
            keyspace: KeyspaceId(0),
            partition: Partition(0),
            epoch: Epoch(1),
        },
        request: Box::new(request(members(), Consistency::One)),
        unix_millis: 1_800_000_000_000,
        attempt,
    };
    Work::Messages(NodeId(2), numbers.map(read).collect(), 0)
}

fn members() -> Op {
    Op::Query("k".into(), Query::Members)
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
    // A write that needs a stamp waits for the time, and the question for the time waits for the
    // disk.
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

/// Effects that wait for the disk take memory until it answers.
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

/// Ten short questions in one frame, each of which is answered with a megabyte.
#[tokio::test]
async fn a_turn_ends_when_what_it_brings_about_is_enough() {
    let mut bench = Bench::new(3);
    let queues = &mut bench.shard.around.queues;
    (queues.message_bytes_max, queues.turn_bytes_max) = (usize::MAX, 3_500_000);
    drop(bench.ask(add_long(1_000_000), Consistency::One));
    assert_eq!(bench.turn([]), (false, 0));
    assert_eq!(bench.turn([reads(1..11, Attempt::First)]), (true, 4));
    assert_eq!(
        bench.turn([]),
        (true, 4),
        "the rest of the frame is read on"
    );
    assert_eq!(bench.turn([]), (false, 2));
}

#[tokio::test]
async fn long_messages_have_frames_of_their_own_and_short_ones_share_them() {
    let long = |bytes: usize| Message::Forwarded {
        id: FlightId {
            core: 0,
            life: 7,
            number: 1,
        },
        result: Ok(Answer {
            reply: Reply::Value(vec![b'v'; bytes].into()),
            receipt: None,
        }),
    };
    let messages = [10, 20, 3_000_000, 2_000_000, 30, 40, 600_000].map(long);
    let mut release = Release::default();
    let (to, purpose) = (NodeId(2), messages[0].purpose());
    assert_eq!(release.add_frames(to, purpose, &messages, 2_500_000), 0);
    let network = Arc::new(Nowhere::default());
    let bench = Bench::new(1);
    let outbox = Outbox {
        transport: Arc::clone(&network) as _,
        ..bench.shard.around.outbox
    };
    outbox.release(release);
    let lengths = |frame: &Bytes| {
        let messages = wire::decode::<Vec<Message>>(frame).unwrap();
        messages.iter().map(length).collect::<Vec<_>>()
    };
    let frames: Vec<_> = network.taken.lock().unwrap().iter().map(lengths).collect();
    let (two, six) = (vec![30, 40, 600_000], vec![2_000_000]);
    assert_eq!(frames, [vec![10, 20], vec![0], six, two], "one is too long");
}

fn length(message: &Message) -> usize {
    match message {
        Message::Forwarded {
            result: Ok(answer), ..
        } => answer.reply.weight(),
        _ => 0,
    }
}

/// Node 2 asks, and for a while its connection carries nothing away.
#[tokio::test(start_paused = true)]
async fn questions_wait_while_their_asker_has_too_much_to_take() {
    let mut bench = Bench::new(3);
    bench.shard.around.queues.peer_bytes_max = 10_000;
    drop(bench.ask(add_long(100), Consistency::One));
    bench.turn([]);
    bench.network.backlog.store(10_001, Ordering::Relaxed);
    let written = Work::Messages(
        NodeId(2),
        vec![Message::Clock {
            id: FlightId {
                core: 0,
                life: 7,
                number: 99,
            },
        }],
        0,
    );
    let works = [reads(1..4, Attempt::First), written];
    let more = bench
        .shard
        .turn(&mut works.into_iter(), &AtomicUsize::new(0));
    bench.shard.commit().unwrap();
    bench.disk.sync();
    let messages = bench.network.messages();
    assert!(
        !more && matches!(messages[..], [Message::Time { .. }]),
        "others pass"
    );
    bench.network.backlog.store(10_000, Ordering::Relaxed);
    assert_eq!(bench.turn([]), (false, 3), "they go on by themselves");
    // The line is bounded, and a read is refused beyond the bound.
    bench.network.backlog.store(10_001, Ordering::Relaxed);
    let (_, refused) = bench.turn([reads(10..1010, Attempt::First)]);
    assert!((900..1000).contains(&refused), "{refused}");
    bench.network.backlog.store(0, Ordering::Relaxed);
    assert_eq!(bench.turn([]), (false, 1000 - refused));
    // A question for which nobody waits any more is dropped.
    bench.network.backlog.store(10_001, Ordering::Relaxed);
    bench.turn([reads(2000..2001, Attempt::First)]);
    tokio::time::advance(Duration::from_millis(200)).await;
    bench.network.backlog.store(0, Ordering::Relaxed);
    assert_eq!(bench.turn([]), (false, 0));
}

#[tokio::test]
async fn a_read_is_not_executed_again_while_its_answer_may_be_on_its_way() {
    let mut bench = Bench::new(3);
    drop(bench.ask(add_long(100), Consistency::One));
    bench.turn([]);
    let again = Attempt::Again { life: Some(1) };
    bench
        .network
        .backlog
        .store(ALONE_BYTES + 1, Ordering::Relaxed);
    assert_eq!(bench.turn([reads(1..2, Attempt::First)]), (false, 1));
    assert_eq!(bench.turn([reads(1..2, again)]), (false, 0));
    bench.network.backlog.store(0, Ordering::Relaxed);
    assert_eq!(bench.turn([reads(1..2, again)]), (false, 1), "it was lost");
}

#[tokio::test]
async fn a_read_whose_answer_finds_no_room_is_refused() {
    let mut bench = Bench::new(1);
    drop(bench.ask(add_long(Room::BYTES / 8), Consistency::One));
    bench.disk.sync();
    let room = Room::new(&Arc::default());
    let mut told = |room| {
        let mut told = bench.ask_into(members(), Consistency::One, room);
        told.try_recv().unwrap()
    };
    let answered = (0..10).filter(|_| told(Some(&room)).is_ok()).count();
    assert_eq!(answered, 7);
    assert_eq!(told(Some(&room)), Err(RequestError::Overloaded));
    assert!(told(None).is_ok(), "one that is asked for alone");
}

/// Panics at the third call.
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

/// Each planted bug of a shard makes one of the tests above fail.
#[cfg(feature = "planted-bugs")]
#[test]
fn the_planted_bugs_of_a_shard_are_noticed() {
    use crate::planted::{FRAMES_WAIT_WITHOUT_BOUND, OVERSIZE_QUESTION_FORGOTTEN};
    let noticed_by: [(_, fn()); 6] = [
        (
            &TURN_WITHOUT_BOUND,
            a_turn_ends_when_what_it_brings_about_is_enough,
        ),
        (
            &ANSWERS_PILE_UP,
            questions_wait_while_their_asker_has_too_much_to_take,
        ),
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
