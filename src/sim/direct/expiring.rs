//! Drills on expiry and wrong clocks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::store::{MemoryStore, Store};
use quorate_control::topology::{KeyspaceId, Topology};
use quorate_crdt::{Dot, Hlc, NodeId, Now, ReplicaId};
use quorate_dynamo::op::{Mutation, Op, Query, Reply, RequestError, SetExpiry};
use quorate_dynamo::protocol::{Config, Effect, Input, Message, Timer};
use quorate_dynamo::replica::{self, Delta, Part, Payload, Range, Row, RowKey, RowKind};
use quorate_dynamo::{Consistency as C, Dynamo, Seat};

use super::cores::{Cores, Letter, PLACE, secs, set};
use super::drill::{Drills, Verdict, holds};
use super::topology::topology;
use crate::sim::clock::START_UNIX_MILLIS;

pub(super) const DRILLS: Drills = &[
    (
        "expiry-outlives-set",
        "gone-though-set-anew",
        set_over_expiry,
    ),
    ("expiry-not-asked", "outlived-its-expiry", one_row),
    ("refuses-unseen", "refused-by-one-replica", refused_unseen),
    ("reap-by-own-clock", "removed-by-one-clock", two_clocks),
    ("lone-clock-removes-at-once", "removed-by-one-clock", alone),
    (
        "first-holder-has-a-veto",
        "expired-and-kept",
        one_clock_wrong,
    ),
    ("kept-unseen", "expiry-lost", keeps_unseen),
    ("added-to-expired", "count-lost", added_late),
    ("execution-denied", "denied-and-applied", added_twice),
    ("reap-without-a-look", "removed-though-extended", extended),
    (
        "reap-at-one",
        "removed-though-a-quorum-knows",
        extended_late,
    ),
    ("clock-never-falls-back", "stamped-in-the-future", restarted),
    ("drift-blocks-repair", "stays-different", from_the_future),
    (
        "stamps-before-asking",
        "wrong-start-wins",
        started_under_a_wrong_clock,
    ),
    (
        "every-clock-a-witness",
        "wrong-start-believed",
        one_other_knows,
    ),
    ("no-clock-check", "acknowledged-and-gone", behind),
    (
        "stamps-not-withdrawn",
        "failed-write-wins",
        failed_under_a_wrong_clock,
    ),
];

const HOUR: i64 = 3_600_000;
const LATER: u64 = START_UNIX_MILLIS + 3_600_000;

fn set_until(at: u64) -> Mutation {
    Mutation::Set {
        value: "v".into(),
        expiry: SetExpiry::At(START_UNIX_MILLIS + at),
    }
}

fn done(answer: Option<&Result<Reply, RequestError>>) -> Verdict {
    holds(answer.is_some_and(Result::is_ok), format!("{answer:?}"))
}

/// A SET without an expiry follows one with, at quorums that share only one replica.
fn set_over_expiry() -> Verdict {
    let mut net = Cores::three();
    net.cut(&[1], &[3]);
    done(net.mutate(1, "k", set_until(2_000), C::Quorum).as_ref())?;
    holds(net.set(3, "k", "new", C::Quorum), "two of three")?;
    net.heal();
    net.run(secs(6));
    holds(
        net.reads(2, "k", C::All, "new"),
        "the later SET had no expiry",
    )
}

/// Two of three know the expiry; the third is asked about one element.
fn one_row() -> Verdict {
    let mut net = Cores::three();
    let members: Vec<Bytes> = (0..100).map(|n| Bytes::from(format!("m{n}"))).collect();
    done(net.mutate(1, "s", Mutation::Add(members), C::All).as_ref())?;
    net.run(secs(2));
    net.cut(&[1], &[2, 3]);
    done(
        net.mutate(
            2,
            "s",
            Mutation::ExpireAt(START_UNIX_MILLIS + 4_000),
            C::Quorum,
        )
        .as_ref(),
    )?;
    net.heal();
    net.now = secs(5);
    let answer = net.query(1, "s", Query::Contains(vec!["m1".into()]), C::Quorum);
    holds(
        answer == Some(Ok(Reply::Integers(vec![0]))),
        format!("{answer:?}"),
    )
}

/// A key has changed its kind, but only two of three know.
fn refused_unseen() -> Verdict {
    let mut net = Cores::three();
    holds(net.set(1, "k", "text", C::All), "healthy")?;
    net.run(secs(1));
    net.cut(&[1], &[2, 3]);
    done(net.mutate(2, "k", Mutation::Delete, C::Quorum).as_ref())?;
    done(
        net.mutate(2, "k", Mutation::Add(vec!["a".into()]), C::Quorum)
            .as_ref(),
    )?;
    net.heal();
    done(
        net.mutate(1, "k", Mutation::Add(vec!["b".into()]), C::Quorum)
            .as_ref(),
    )
}

/// Two clocks that have disagreed from the start.
fn two_clocks() -> Verdict {
    let mut net = Cores::new(2, 2, |_| {});
    net.skew.insert(NodeId(1), 24 * HOUR);
    net.boot(1, false);
    net.boot(2, false);
    net.run(secs(2));
    done(net.mutate(2, "k", set_until(3_600_000), C::One).as_ref())?;
    net.run(secs(5));
    holds(net.reads(2, "k", C::One, "v"), "an hour before it expires")
}

/// Two of three know that a key was extended; the third asks a quorum to remove it.
fn extended() -> Verdict {
    let mut net = Cores::three();
    done(net.mutate(1, "k", set_until(2_000), C::All).as_ref())?;
    net.run(Duration::from_millis(1_900));
    net.cut(&[1], &[2, 3]);
    done(
        net.mutate(3, "k", Mutation::ExpireAt(LATER), C::Quorum)
            .as_ref(),
    )?;
    net.heal();
    net.now += secs(5);
    done(
        net.mutate(1, "k", Mutation::Lapse { margin: 1_000 }, C::Quorum)
            .as_ref(),
    )?;
    holds(net.reads(1, "k", C::Quorum, "v"), "extended at a quorum")
}

/// An extension reaches n2 after n1 and n2 have agreed that the key has expired, but before the
/// removal, which must see it.
fn extended_late() -> Verdict {
    let mut net = Cores::three();
    done(net.mutate(1, "k", set_until(2_000), C::All).as_ref())?;
    net.run(Duration::from_millis(1_900));
    net.cut(&[1], &[2, 3]);
    net.submit(
        3,
        Op::Mutate("k".into(), Mutation::ExpireAt(LATER)),
        C::Quorum,
        None,
    );
    let (mut late, mut answers) = (Vec::new(), Vec::new());
    // n3 asks n1 in vain, then n2. After that n1 asks both others whether the key has expired.
    for (millis, at, timer) in [(1_960, 3, Timer::Sweep), (3_050, 1, Timer::Reap)] {
        net.settle();
        net.now = Duration::from_millis(millis);
        net.input(at, Input::Timer(timer));
        if timer == Timer::Reap {
            net.heal();
        }
        while let Some(letter) = net.queue.pop_front() {
            match &letter.2 {
                Message::Write { .. } if letter.1 == NodeId(2) => late.push(letter),
                Message::LapsedToo { .. } => answers.push(letter),
                Message::Write { .. } => {}
                _ if net.hears(&letter) => net.deliver(letter),
                _ => {}
            }
        }
    }
    holds(
        !late.is_empty() && !answers.is_empty(),
        format!("{} writes and {} answers", late.len(), answers.len()),
    )?;
    for letter in late.into_iter().chain(answers) {
        net.deliver(letter);
        net.settle();
    }
    net.run(secs(3));
    holds(
        net.reads(1, "k", C::Quorum, "v"),
        "two of three knew of the extension before the removal",
    )
}

/// A clock was a day ahead before a restart and is right after it.
fn restarted() -> Verdict {
    let (store, topology) = (MemoryStore::new(), Arc::new(topology(&[1], 1)));
    for (hours, key) in [(24_i64, "a"), (0, "b")] {
        write_at(&store, &topology, hours, key)?;
    }
    let replicas = replica::restore(&store, |_, _| true)
        .map_err(|error| error.to_string())?
        .0;
    let rows = replicas
        .values()
        .next()
        .and_then(|replica| replica.key(&"b".into()))
        .ok_or("no row")?;
    let row = rows.get(RowKind::String, &Bytes::new()).ok_or("no row")?;
    let stamp = row
        .iter()
        .filter_map(|(_, payload)| payload.stamp())
        .max()
        .ok_or("no stamp")?;
    holds(
        stamp.hlc.unix_millis() == START_UNIX_MILLIS,
        format!(
            "stamped {} ms ahead",
            stamp.hlc.unix_millis() - START_UNIX_MILLIS
        ),
    )
}

/// One life of a node whose clock is off by `hours`. A key is set in it.
fn write_at(store: &MemoryStore, topology: &Arc<Topology>, hours: i64, key: &str) -> Verdict {
    let now = Now {
        monotonic: secs(1),
        unix_millis: START_UNIX_MILLIS.saturating_add_signed(hours * HOUR),
    };
    let seat = Seat {
        me: NodeId(1),
        incarnation: 1,
        life: hours.unsigned_abs(),
        core: 0,
        cores: 1,
        restarted: hours == 0,
    };
    let mut core = Dynamo::new(Config::default(), seat);
    core.restore(store).map_err(|error| error.to_string())?;
    let mut effects = Vec::new();
    core.handle(now, Input::Topology(Arc::clone(topology)), &mut effects);
    let request = quorate_dynamo::op::Request {
        keyspace: KeyspaceId(0),
        op: set(key, "v"),
        consistency: Some(C::One),
        timeout: secs(1),
        datacenter: "dc1".into(),
        id: None,
        claim: None,
    };
    core.handle(
        now,
        Input::Request {
            ticket: quorate_dynamo::protocol::Ticket(1),
            request,
        },
        &mut effects,
    );
    holds(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Reply { result: Ok(_), .. })),
        "not acknowledged",
    )?;
    store.apply(core.drain()).map_err(|error| error.to_string())
}

/// One replica receives rows with stamps a day ahead.
fn from_the_future() -> Verdict {
    let mut net = Cores::three();
    net.run(secs(2));
    let hlc = Hlc::from_parts(START_UNIX_MILLIS + 86_400_000, 0).ok_or("out of range")?;
    let dot = Dot::new(ReplicaId::new(NodeId(9), 1), 1);
    let mut row = Row::new();
    row.insert(
        dot,
        Payload::Register {
            hlc,
            value: "poison".into(),
            expires: None,
        },
    );
    let part = Part {
        range: Range::ALL,
        rows: vec![(RowKey::string("k".into()), row)],
        settled: vec![dot],
    };
    let delta = Delta {
        parts: vec![part],
        ..Delta::default()
    };
    net.deliver((
        NodeId(3),
        NodeId(1),
        Message::Repair {
            place: PLACE,
            delta,
            answers: None,
        },
    ));
    net.run(secs(5));
    holds(
        net.converged() && (1..=3).all(|at| net.reads(at, "k", C::One, "poison")),
        "one replica has what the others lack",
    )
}

/// A node starts with a clock two hours behind and sets a key for an hour.
fn behind() -> Verdict {
    let mut net = Cores::three();
    net.run(secs(2));
    net.skew.insert(NodeId(2), -2 * HOUR);
    let expiry = SetExpiry::At(LATER - 7_200_000);
    let answer = net.mutate(
        2,
        "k",
        Mutation::Set {
            value: "v".into(),
            expiry,
        },
        C::Quorum,
    );
    holds(
        matches!(answer, Some(Err(RequestError::Clock { .. }))),
        format!("{answer:?}"),
    )
}

/// A node starts with a clock an hour ahead and immediately receives a SET; another node receives
/// one later.
fn started_under_a_wrong_clock() -> Verdict {
    let mut net = Cores::three();
    net.run(secs(2));
    net.skew.insert(NodeId(1), HOUR);
    net.boot(1, false);
    // There is no connection yet.
    net.queue.clear();
    let acknowledged = net.set(1, "k", "wrong", C::One);
    net.cut(&[1], &[2, 3]);
    holds(net.set(2, "k", "right", C::Quorum), "two of three")?;
    net.heal();
    holds(
        !acknowledged || net.reads(3, "k", C::All, "right"),
        "a write stamped an hour ahead wins over a later write",
    )
}

/// One of two nodes starts with a clock an hour ahead.
fn one_other_knows() -> Verdict {
    let mut net = Cores::new(2, 2, |_| {});
    net.run(secs(2));
    net.skew.insert(NodeId(1), HOUR);
    net.boot(1, false);
    net.run(secs(5));
    let answer = net.ask(1, set("k", "wrong"), C::One);
    holds(
        matches!(answer, Some(Err(RequestError::Clock { offset_ms: HOUR }))),
        format!("{answer:?}"),
    )?;
    holds(
        net.set(2, "k", "right", C::All),
        "the other's clock had been confirmed",
    )
}

/// A SET fails under a wrong clock; a later one succeeds under a right clock.
fn failed_under_a_wrong_clock() -> Verdict {
    let mut net = Cores::three();
    net.run(secs(2));
    net.skew.insert(NodeId(1), HOUR);
    net.cut(&[1], &[2, 3]);
    net.boot(1, false);
    net.run(secs(4));
    net.heal();
    holds(!net.set(1, "k", "bad", C::Quorum), "the others refuse")?;
    net.cut(&[1], &[2, 3]);
    holds(net.set(2, "k", "good", C::Quorum), "two of three")?;
    net.heal();
    net.skew.clear();
    holds(net.set(2, "j", "good", C::All), "all are back")?;
    net.run(secs(5));
    holds(
        (1..=3).all(|at| net.reads(at, "k", C::All, "good")),
        "a failed write has replaced one acknowledged later",
    )
}

/// The only node restarts with a clock two hours ahead, which is corrected soon after.
fn alone() -> Verdict {
    let mut net = Cores::new(1, 1, |config| config.persist = true);
    net.run(secs(1));
    done(net.mutate(1, "k", set_until(3_600_000), C::One).as_ref())?;
    let disk = net.disk(1)?;
    net.skew.insert(NodeId(1), 2 * HOUR);
    net.start_on(1, &disk)?;
    net.run(secs(20));
    net.skew.clear();
    net.run(secs(5));
    holds(
        net.reads(1, "k", C::One, "v"),
        "removed by a clock that was wrong for a moment",
    )
}

/// Keys expire while the clock of the first holder is an hour behind.
fn one_clock_wrong() -> Verdict {
    let mut net = Cores::three();
    net.run(secs(2));
    for n in 0..5 {
        done(
            net.mutate(2, &format!("k{n}"), set_until(10_000), C::All)
                .as_ref(),
        )?;
    }
    net.skew.insert(NodeId(1), -HOUR);
    net.run(secs(60));
    holds(
        net.rows(2) == 0,
        format!("{} of 5 expired keys are still there", net.rows(2)),
    )
}

/// n1 has missed that a key got an expiry, and sets it again with `KEEPTTL`.
fn keeps_unseen() -> Verdict {
    let mut net = Cores::three();
    holds(net.set(1, "k", "v", C::All), "healthy")?;
    net.run(secs(1));
    net.cut(&[1], &[2, 3]);
    done(
        net.mutate(2, "k", Mutation::ExpireAt(LATER), C::Quorum)
            .as_ref(),
    )?;
    net.queue.clear();
    net.heal();
    done(
        net.mutate(
            1,
            "k",
            Mutation::Set {
                value: "w".into(),
                expiry: SetExpiry::Keep,
            },
            C::Quorum,
        )
        .as_ref(),
    )?;
    net.run(secs(2));
    let expiry = net.query(3, "k", Query::Expiry, C::All);
    holds(
        expiry == Some(Ok(Reply::Expiry(quorate_dynamo::op::Expiry::At(LATER)))),
        format!("{expiry:?}"),
    )
}

/// n2 and n3 know that a key has expired; n1, which holds it as well, does not.
fn expired_unseen() -> Result<Cores, String> {
    let mut net = Cores::three();
    holds(net.set(1, "k", "5", C::All), "healthy")?;
    net.cut(&[1], &[2, 3]);
    done(
        net.mutate(
            2,
            "k",
            Mutation::ExpireAt(START_UNIX_MILLIS + 1_500),
            C::Quorum,
        )
        .as_ref(),
    )?;
    net.queue.clear();
    net.now = Duration::from_millis(1_700);
    net.heal();
    Ok(net)
}

/// n1 has missed that a key got an expiry, and increments it after that has passed.
fn added_late() -> Verdict {
    let mut net = expired_unseen()?;
    let counted = net.mutate(1, "k", Mutation::Increment(1), C::Quorum);
    holds(
        counted == Some(Ok(Reply::Integer(1))),
        format!("{counted:?}"),
    )?;
    net.run(secs(10));
    holds(
        net.reads(3, "k", C::All, "1"),
        "an acknowledged increment is gone",
    )
}

/// n1 counts, hears that the key has expired, counts once more, and loses sight of the others.
fn added_twice() -> Verdict {
    let mut net = expired_unseen()?;
    let counts = Op::Mutate("k".into(), Mutation::Increment(1));
    let ticket = net.submit(1, counts, C::Quorum, None);
    let looks = |net: &Cores| {
        let read = |letter: &Letter| matches!(letter.2, Message::Read { .. });
        net.queue.iter().any(read)
    };
    while !looks(&net) {
        let letter = net.queue.pop_front().ok_or("it never looks at the key")?;
        net.deliver(letter);
    }
    net.queue.clear();
    net.cut(&[1], &[2, 3]);
    let counted = net.answer(ticket);
    let denied = matches!(&counted, Some(Err(error)) if !error.may_be_applied());
    holds(!denied, format!("n1 has counted, and says {counted:?}"))
}
