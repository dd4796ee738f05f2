//! Drills on requests under way: which answer counts for which question.

use std::time::Duration;

use quorate_control::topology::{KeyspaceId, Partition};
use quorate_crdt::{Dot, NodeId, ReplicaId};
use quorate_dynamo::Consistency as C;
use quorate_dynamo::op::{Mutation, Op, Query, Receipt, Reply, RequestError, SetExpiry};
use quorate_dynamo::protocol::{Config, Input, Message, Ticket, Timer};

use super::cores::{Cores, Letter, secs, set};
use super::drill::{Drills, Verdict, holds};
use super::topology::topology;

pub(super) const DRILLS: Drills = &[
    (
        "flight-id-without-life",
        "counts-a-former-life",
        former_life,
    ),
    ("ack-of-anyone", "counts-who-was-not-asked", not_asked),
    ("rewrite-counts-unsent", "counts-who-was-not-sent", rewrite),
    (
        "answer-lost-when-keyspace-gone",
        "never-answered",
        keyspace_gone,
    ),
    ("refused-is-failed", "fails-by-one-refusal", one_refusal),
    ("every-waiter-looked-at", "waits-slow-writes-down", waits),
    (
        "answered-writes-hold-flights",
        "refused-as-overloaded",
        answered,
    ),
    (
        "repair-counts-one-set",
        "read-sees-less-later",
        read_during_move,
    ),
    ("read-quorum-of-one", "read-of-one", quorum_read),
    (
        "same-of-an-earlier-round",
        "counts-an-earlier-question",
        earlier_question,
    ),
    ("later-overtakes", "out-of-order", pipeline),
    ("hedge-ignores-distance", "sent-twice", far_away),
    ("forwarded-read-again", "answered-twice", asked_again),
];

/// Many clients wait for something that nobody will ever have. A write that none of them waits for
/// costs none of them a look.
fn waits() -> Verdict {
    let mut net = Cores::three();
    net.settle();
    for number in 1..=100 {
        let receipt = Receipt {
            keyspace: KeyspaceId(0),
            partition: Partition(0),
            dot: Dot::new(ReplicaId::new(NodeId(1), 77), number),
        };
        let wait = Input::Wait {
            ticket: Ticket(10_000 + number),
            receipts: vec![receipt],
            replicas: 2,
            timeout: secs(60),
        };
        net.input(1, wait);
    }
    net.settle();
    let looked = |net: &Cores| {
        let core = net.at.get(&NodeId(1));
        core.map_or(0, |core| core.counters().waits_looked_at)
    };
    let before = looked(&net);
    let written = net.mutate(1, "k", Mutation::Increment(1), C::Quorum);
    holds(matches!(written, Some(Ok(_))), "it is written")?;
    let looks = looked(&net) - before;
    holds(
        looks < 100,
        format!("one write looks {looks} times at who waits"),
    )
}

/// Acknowledgements of a write arrive after its coordinator has begun a new life.
fn former_life() -> Verdict {
    let mut net = Cores::three();
    net.settle();
    net.submit(1, set("k", "old"), C::All, None);
    for letter in [net.held_back(2), net.held_back(3)].concat() {
        net.deliver(letter);
    }
    let late = net.held_back(1);
    net.boot(1, false);
    net.settle();
    net.cut(&[1], &[2, 3]);
    let ticket = net.submit(1, set("k", "new"), C::Quorum, None);
    for letter in late {
        net.deliver(letter);
    }
    holds(
        net.reply(ticket).is_none(),
        "acknowledged although nobody else has it",
    )
}

/// A node acknowledges a write that it was not sent.
fn not_asked() -> Verdict {
    let mut net = Cores::three();
    net.sees(&[1], 2, false);
    net.settle();
    let ticket = net.submit(1, set("k", "v"), C::Quorum, None);
    let id = net.queue.iter().find_map(|(_, to, message)| match message {
        Message::Write { id, .. } if *to == NodeId(3) => Some(*id),
        _ => None,
    });
    let id = id.ok_or("no write is under way")?;
    net.queue.clear();
    let message = Message::Written {
        id,
        replica: ReplicaId::new(NodeId(2), 1),
    };
    net.deliver((NodeId(2), NodeId(1), message));
    holds(
        net.reply(ticket).is_none(),
        "acknowledged by a node that has nothing",
    )
}

/// The topology changes during a write that was not sent to a node considered dead.
fn rewrite() -> Verdict {
    let mut net = Cores::three();
    net.sees(&[1], 2, false);
    net.cut(&[1], &[2, 3]);
    let ticket = net.submit(1, set("k", "v"), C::Quorum, None);
    net.settle();
    net.sees(&[1], 2, true);
    net.settle();
    net.set_placement(|_| {});
    holds(
        net.reply(ticket).is_none(),
        "acknowledged although only one replica has it",
    )?;
    net.heal();
    net.run(Duration::from_millis(400));
    holds(
        matches!(net.reply(ticket), Some(Ok(_))),
        "not sent again under the new placement",
    )
}

/// A keyspace is dropped during a write.
fn keyspace_gone() -> Verdict {
    let mut net = Cores::three();
    net.cut(&[1], &[2, 3]);
    let ticket = net.submit(1, set("k", "v"), C::Quorum, None);
    net.set_topology(|topology| topology.keyspaces.clear());
    net.run(secs(1));
    holds(
        net.reply(ticket) == Some(Err(RequestError::KeyspaceDropped)),
        format!("{:?}", net.reply(ticket)),
    )
}

/// One of three disks is full.
fn one_refusal() -> Verdict {
    let mut net = Cores::three();
    net.settle();
    net.input(2, Input::DiskFull(true));
    holds(
        net.set(1, "k", "v", C::Quorum),
        "refused although two replicas have room",
    )
}

/// While one replica is silent, as many writes are answered as may be in flight.
fn answered() -> Verdict {
    let mut net = Cores::new(3, 3, |config: &mut Config| config.flights_max = 200);
    net.settle();
    net.cut(&[3], &[1, 2]);
    for n in 0..200 {
        holds(
            net.set(1, &format!("k{n}"), "v", C::Quorum),
            format!("write {n}"),
        )?;
    }
    holds(
        net.reads(1, "k0", C::One, "v"),
        "everything has been answered long ago",
    )
}

/// A read during a move returns what the old replicas have; then the move ends.
fn read_during_move() -> Verdict {
    let mut net = Cores::new(5, 3, |_| {});
    holds(net.set(1, "a", "v", C::Quorum), "healthy")?;
    net.begin_move(&[3, 4, 5]);
    net.run(secs(5));
    net.cut(&[1, 2], &[3, 4, 5]);
    net.set(1, "k", "v", C::Quorum);
    net.queue.clear();
    net.heal();
    holds(net.reads(1, "k", C::Quorum, "v"), "two of three have it")?;
    net.queue.clear();
    net.switch(false);
    net.switch(true);
    net.queue.clear();
    holds(
        [3, 4, 5]
            .into_iter()
            .all(|at| net.reads(at, "k", C::Quorum, "v")),
        "a later read sees less",
    )
}

/// What two of three have is read through the third.
fn quorum_read() -> Verdict {
    let mut net = Cores::three();
    net.cut(&[3], &[1, 2]);
    holds(net.set(1, "k", "v", C::Quorum), "two of three")?;
    net.queue.clear();
    net.heal();
    holds(net.reads(3, "k", C::Quorum, "v"), "a quorum has it")
}

/// A node answers "I have nothing either", but by the time that arrives the asking node has
/// something.
fn earlier_question() -> Verdict {
    let mut net = Cores::three();
    net.settle();
    let ticket = net.submit(1, Op::Query("k".into(), Query::Get), C::Quorum, None);
    for letter in net.held_back(2) {
        net.deliver(letter);
    }
    let late = net.held_back(1);
    net.cut(&[1], &[2, 3]);
    holds(net.set(1, "k", "v", C::One), "local")?;
    net.set_placement(|_| {});
    for letter in late {
        net.deliver(letter);
    }
    holds(net.reply(ticket).is_none(), "answered by one replica")
}

/// Sent at once: a write that must first look at what others have, one that need not, and a read.
fn pipeline() -> Verdict {
    let mut net = Cores::three();
    net.run(secs(1));
    let looks = Op::Mutate(
        "k".into(),
        Mutation::Set {
            value: "first".into(),
            expiry: SetExpiry::Keep,
        },
    );
    let tickets = [looks, set("k", "second"), Op::Query("k".into(), Query::Get)]
        .map(|op| net.submit(1, op, C::Quorum, None));
    let answers = tickets.map(|ticket| net.answer(ticket));
    holds(
        answers[2] == Some(Ok(Reply::Value("second".into()))),
        format!("{answers:?}"),
    )?;
    holds(
        net.reads(2, "k", C::Quorum, "second"),
        "the first write was applied last",
    )
}

/// Writes across a wide area, counted over two round trips.
fn far_away() -> Verdict {
    let mut net = Cores::of(topology(&[1, 1, 1], 3), |_| {});
    for (node, rtt) in [(2, 80), (3, 160)] {
        net.input(
            1,
            Input::RoundTrip {
                node: NodeId(node),
                rtt: Duration::from_millis(rtt),
            },
        );
    }
    net.settle();
    net.submit(1, set("k", "v"), C::Quorum, None);
    for hundredths in 1..32 {
        net.now = Duration::from_millis(hundredths * 10);
        net.input(1, Input::Timer(Timer::Sweep));
    }
    let sent = net
        .queue
        .iter()
        .filter(|(_, _, message)| matches!(message, Message::Write { .. }))
        .count();
    holds(sent == 2, format!("{sent} writes to two nodes"))
}

/// A read is forwarded, its answer is late, and it is forwarded again.
fn asked_again() -> Verdict {
    let mut net = Cores::new(4, 3, |_| {});
    net.run(secs(2));
    holds(net.set(1, "k", "v", C::All), "healthy")?;
    let ticket = net.submit(4, Op::Query("k".into(), Query::Get), C::Quorum, None);
    let is_forward = |letter: &&Letter| matches!(letter.2, Message::Forward { .. });
    let forward = net.queue.iter().find(is_forward).cloned();
    let forward = forward.ok_or("it is not forwarded")?;
    net.queue.clear();
    let to = forward.1.0;
    let others: Vec<u64> = (1..=3).filter(|other| *other != to).collect();
    net.cut(&[to], &others);
    net.lose(2, |message| matches!(message, Message::Forwarded { .. }));
    for _ in 0..3 {
        net.deliver(forward.clone());
        net.settle();
    }
    net.heal();
    holds(
        net.answer(ticket) == Some(Ok(Reply::Value("v".into()))),
        "healed",
    )?;
    net.run(secs(1));
    holds(net.lost().is_none(), "there was a second answer")
}
