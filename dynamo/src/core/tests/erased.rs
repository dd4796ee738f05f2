//! What an erased replica leaves on disk, and the replica that is created in its place later.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::store::{MemoryStore, Space, Store};
use quorate_control::topology::{Epoch, KeyspaceId, Partition, Phase, Placement, Topology};
use quorate_crdt::Now;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::net::{Net, START_UNIX_MILLIS, node, secs, topology};
use crate::consistency::Consistency as C;
use crate::fixture::records;
use crate::op::{Mutation, Op, PartitionOp, Reply, Request, RequestError};
use crate::protocol::{Config, Effect, Input, Ticket, Timer};
use crate::replica::{Range, Row, RowKey};
use crate::{Dynamo, Seat};

const AT: (KeyspaceId, Partition) = (KeyspaceId(0), Partition(0));

/// The live rows of a replica; `None` if there is no replica.
type Held = Option<Vec<(RowKey, Row)>>;

/// A single node that sometimes holds the partition and sometimes does not, and is killed now and
/// then.
struct Alone {
    core: Dynamo,
    store: MemoryStore,
    config: Config,
    topology: Topology,
    incarnation: u32,
    /// The last request, and its answer.
    ticket: u64,
    reply: Option<Result<Reply, RequestError>>,
    /// The content of the disk.
    saved: Held,
}

impl Alone {
    fn new(rows_at_once: usize) -> Self {
        let mut config = Config::default();
        config.removal.rows_at_once = rows_at_once;
        let core = Dynamo::new(config.clone(), Self::seat(1));
        let (store, topology) = (MemoryStore::new(), topology(&[1]));
        let mut alone = Self {
            core,
            store,
            config,
            topology,
            incarnation: 1,
            ticket: 0,
            reply: None,
            saved: None,
        };
        alone.show();
        alone
    }

    fn seat(incarnation: u32) -> Seat {
        let restarted = incarnation > 1;
        Seat {
            me: node(1),
            incarnation,
            core: 0,
            cores: 1,
            life: u64::from(incarnation),
            restarted,
        }
    }

    fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.core.handle(
            Now {
                monotonic: secs(1),
                unix_millis: START_UNIX_MILLIS,
            },
            input,
            &mut effects,
        );
        for effect in effects {
            match effect {
                Effect::NewLife => {
                    self.incarnation += 1;
                    self.input(Input::Incarnation(self.incarnation));
                }
                Effect::Reply { ticket, result } if ticket.0 == self.ticket => {
                    self.reply = Some(result.map(|answer| answer.reply));
                }
                _ => {}
            }
        }
    }

    fn show(&mut self) {
        self.input(Input::Topology(Arc::new(self.topology.clone())));
    }

    /// Drops the keyspace, or creates it again.
    fn toggle(&mut self) {
        self.topology.epoch.0 += 1;
        if self.topology.keyspaces.remove(&AT.0).is_none() {
            let mut keyspaces = topology(&[1]).keyspaces;
            for keyspace in keyspaces.values_mut() {
                keyspace.placement[0].epoch = self.topology.epoch;
            }
            self.topology.keyspaces = keyspaces;
        }
        self.show();
    }

    fn ask(&mut self, op: Op) -> Option<Result<Reply, RequestError>> {
        let (consistency, timeout) = (Some(C::One), secs(1));
        let request = Request {
            keyspace: AT.0,
            op,
            consistency,
            timeout,
            datacenter: "dc1".into(),
            id: None,
            claim: None,
        };
        self.ticket += 1;
        self.reply = None;
        self.input(Input::Request {
            ticket: Ticket(self.ticket),
            request,
        });
        self.reply.clone()
    }

    fn add(&mut self, members: usize) -> Option<Result<Reply, RequestError>> {
        let members = (0..members).map(|n| Bytes::from(n.to_string())).collect();
        self.ask(Op::Mutate("s".into(), Mutation::Add(members)))
    }

    fn held(&self) -> Held {
        self.core
            .replicas
            .get(&AT)
            .map(|replica| replica.delta(Range::ALL).parts.remove(0).rows)
    }

    fn save(&mut self) -> usize {
        let batch = self.core.drain();
        let changes = batch.changes.len();
        self.store.apply(batch).expect("memory");
        self.saved = self.held();
        changes
    }

    /// Kills the node and starts it again with what was on disk.
    fn crash(&mut self) {
        self.incarnation += 1;
        self.core = Dynamo::new(self.config.clone(), Self::seat(self.incarnation));
        self.core.restore(&self.store).expect("memory");
        self.show();
        let (held, saved) = (self.held(), self.saved.take());
        match (held, self.topology.keyspaces.is_empty()) {
            (None, _) => {}
            (Some(_), true) => panic!("not placed here"),
            // A newly created replica is empty.
            (Some(held), false) => assert_eq!(held, saved.unwrap_or_default()),
        }
        self.saved = None;
        self.save();
    }
}

/// Writes, removes, erases, creates anew, and kills at any moment.
fn play(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut alone = Alone::new(rng.random_range(0..4));
    for step in 0..rng.random_range(10..60) {
        let before = alone.held();
        match rng.random_range(0..10) {
            0..=1 => drop(alone.add(rng.random_range(0..150))),
            2..=3 => drop(alone.ask(Op::Mutate(
                Bytes::from(format!("k{}", rng.random_range(0..5))),
                Mutation::Increment(1),
            ))),
            4 => drop(alone.ask(Op::Mutate("s".into(), Mutation::Delete))),
            5 => drop(alone.ask(Op::Partition(AT.1, PartitionOp::Clear))),
            6..=7 => alone.toggle(),
            _ => alone.input(Input::Timer(Timer::Remains)),
        }
        if before.is_none() {
            assert!(
                alone.held().is_none_or(|held| held.is_empty()),
                "seed {seed}, step {step}: a new replica is empty"
            );
        }
        if rng.random_bool(0.6) {
            alone.save();
        }
        if rng.random_bool(0.2) {
            alone.crash();
        }
    }
    for _ in 0..2_000 {
        alone.input(Input::Timer(Timer::Remains));
    }
    assert_eq!(
        alone.held().is_some(),
        !alone.topology.keyspaces.is_empty(),
        "seed {seed}: it is made in the end"
    );
    alone.save();
    alone.crash();
    let (rows, recent, is) = alone.core.replicas.get(&AT).map_or((0, 0, false), |held| {
        (held.row_count(), held.recent_count(), true)
    });
    assert_eq!(
        records(&alone.store, Space::Rows, b"") as u64,
        rows,
        "seed {seed}"
    );
    assert_eq!(
        records(&alone.store, Space::Recent, b""),
        recent,
        "seed {seed}"
    );
    let known = &alone.core.places.known;
    let remembered = known.closed.len() + usize::from(known.placed.is_some());
    assert_eq!(
        records(&alone.store, Space::Causal, b""),
        usize::from(is) + remembered,
        "seed {seed}"
    );
}

#[test]
fn a_crash_at_any_moment_of_an_erasure_brings_nothing_back_and_loses_nothing_later() {
    (0..600).for_each(play);
}

#[test]
fn no_replica_is_made_over_what_is_left_of_the_former() {
    let mut alone = Alone::new(10);
    assert!(matches!(alone.add(300), Some(Ok(_))));
    alone.save();
    alone.toggle();
    assert!(alone.save() < 10, "the decision alone");
    alone.toggle();
    alone.save();
    assert_eq!(
        (alone.held(), records(&alone.store, Space::Rows, b"")),
        (None, 300)
    );
    assert_eq!(alone.add(3), Some(Err(RequestError::Moving)));
    alone.crash();
    assert_eq!(
        (alone.held(), alone.add(3)),
        (None, Some(Err(RequestError::Moving))),
        "nor after a start"
    );
    for _ in 0..10 {
        alone.input(Input::Timer(Timer::Remains));
        assert!(alone.save() < 110, "a few at a time");
    }
    assert!(matches!(alone.add(3), Some(Ok(_))));
    alone.save();
    alone.crash();
    assert_eq!(alone.held().map(|rows| rows.len()), Some(3));
}

const MANY: usize = 3_000;

/// A partition leaves a node of four and comes back before its rows have left the disk there.
#[test]
fn a_partition_comes_back_when_its_former_rows_are_gone() {
    let mut net = Net::three_of(4);
    net.config.persist = true;
    net.config.removal.rows_at_once = 20;
    net.boot_all();
    let disk = MemoryStore::new();
    let save = |net: &mut Net| {
        let batch = net.cores.get_mut(&node(1)).expect("a node").drain();
        let changes = batch.changes.len();
        disk.apply(batch).expect("memory");
        changes
    };
    for part in 0..30 {
        let elements = (0..MANY / 30)
            .map(|n| Bytes::from((part * MANY + n).to_string()))
            .collect();
        net.mutate(1, "s", Mutation::Add(elements), C::All)
            .expect("healthy");
    }
    net.run(secs(2));
    save(&mut net);
    let ended = |placement: &mut Placement, to: &[u64]| {
        *placement = Placement::stable(placement.epoch, to.iter().map(|n| node(*n)).collect());
    };
    let go = |net: &mut Net, to: &[u64]| {
        net.begin_move(to);
        net.run(secs(3));
        net.set_placement(|placement| {
            placement.transition.as_mut().expect("moving").phase = Phase::Switching;
        });
        net.run(secs(3));
        net.set_placement(|placement| ended(placement, to));
    };
    go(&mut net, &[2, 3, 4]);
    for _ in 0..100 {
        net.settle();
        let before = net.cores[&node(1)].summaries().len();
        assert!(save(&mut net) < 500, "the decision alone, or a few rows");
        if before == 0 {
            break;
        }
        net.run(Duration::from_millis(10));
    }
    assert!(
        net.cores[&node(1)].summaries().is_empty() && records(&disk, Space::Rows, b"") > MANY / 2,
        "{}",
        records(&disk, Space::Rows, b"")
    );
    net.begin_move(&[1, 2, 3]);
    net.settle();
    assert!(
        net.cores[&node(1)].summaries().is_empty(),
        "not before the former rows are gone"
    );
    net.set(1, "meanwhile", "v", C::Quorum)
        .expect("the others are enough");
    assert_eq!(net.get(1, "meanwhile", C::Quorum), Ok(Some("v".into())));
    for _ in 0..300 {
        net.run(Duration::from_millis(10));
        save(&mut net);
    }
    assert_eq!(
        (net.summary(1).rows, net.summary(1).filling),
        (MANY as u64 + 1, false)
    );
    go(&mut net, &[1, 2, 3]);
    net.run(secs(3));
    save(&mut net);
    assert_eq!(records(&disk, Space::Rows, b""), MANY + 1);
    net.start_on(node(1), &disk);
    net.run(secs(3));
    assert_eq!(
        (net.summary(1).rows, net.summary(1).digest),
        (MANY as u64 + 1, net.summary(2).digest)
    );
}

#[test]
fn a_dropped_keyspace_leaves_the_disk_in_small_batches() {
    let mut net = Net::new(&[1]);
    net.config.persist = true;
    net.boot_all();
    let disk = MemoryStore::new();
    for n in 0..5_000 {
        net.set(1, &format!("k{n}"), "v", C::One).expect("healthy");
    }
    let save = |net: &mut Net| {
        let batch = net.cores.get_mut(&node(1)).expect("a node").drain();
        let changes = batch.changes.len();
        disk.apply(batch).expect("memory");
        changes
    };
    save(&mut net);
    net.set_topology(|topology| {
        topology.keyspaces.clear();
        topology.epoch = Epoch(topology.epoch.0 + 1);
    });
    assert!(save(&mut net) < 10, "the decision alone");
    assert_eq!(records(&disk, Space::Rows, b""), 5_000);
    net.run(Duration::from_millis(10));
    net.start_on(node(1), &disk);
    for _ in 0..12 {
        net.run(Duration::from_millis(10));
        // The timer of the previous life fires too.
        assert!(save(&mut net) <= 2_010);
    }
    assert_eq!(
        (
            records(&disk, Space::Rows, b""),
            records(&disk, Space::Recent, b"")
        ),
        (0, 0)
    );
    let kept = net.cores[&node(1)].kept(true);
    assert!(
        kept.iter().all(|kept| !kept.passes || kept.held == 0),
        "{kept:?}"
    );
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_of_erasures_are_noticed() {
    use crate::planted::MADE_OVER_REMAINS;
    super::noticed(&[
        (
            &MADE_OVER_REMAINS,
            a_crash_at_any_moment_of_an_erasure_brings_nothing_back_and_loses_nothing_later,
        ),
        (
            &MADE_OVER_REMAINS,
            no_replica_is_made_over_what_is_left_of_the_former,
        ),
        (
            &MADE_OVER_REMAINS,
            a_partition_comes_back_when_its_former_rows_are_gone,
        ),
    ]);
}
