//! Drills on bounds (what a request may cause, what is kept for others, what a full disk accepts)
//! and on things that must not be mistaken for one another.

use bytes::Bytes;
use quorate_control::topology::{KeyspaceId, Partition};
use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};
use quorate_dynamo::op::{
    KEY_BYTES_MAX, Mutation, Op, PartitionOp, Query, Reply, Request, RequestError,
};
use quorate_dynamo::protocol::{Config, Input, Message, Seen, Ticket};
use quorate_dynamo::replica::{Delta, Replica, Row, RowKey, RowKind};
use quorate_dynamo::{Consistency as C, Kept};
use quorate_gossip::wire;

use super::cores::{Cores, PLACE, beyond, secs, set};
use super::drill::{Drills, Verdict, holds};

pub(super) const DRILLS: Drills = &[
    ("outcome-unbounded", "outcome-too-large", outcome),
    ("key-in-every-row", "key-sent-more-than-once", key_once),
    ("flights-unweighed", "flights-too-heavy", flights),
    ("recent-bounded-by-partition", "recent-too-large", recent),
    ("tick-beyond-bound", "memory-unbounded", lost_events),
    ("remains-without-bound", "memory-unbounded", removed_rows),
    ("hints-wait-for-a-return", "hint-kept-for-ever", late_hint),
    ("former-lives-stay-apart", "counter-too-large", former_lives),
    ("late-is-behind", "late-refused-for-its-clock", late),
    (
        "full-disk-keeps-all",
        "full-disk-refuses-removals",
        removals,
    ),
    ("full-disk-takes-repairs", "full-disk-grows", growth),
    ("requests-under-client-keys", "retry-counted", own_key),
    ("clear-unseen", "came-back", clear_unseen),
    (
        "former-life-vouches",
        "vouched-by-a-former-life",
        former_life,
    ),
];

fn elements(count: usize) -> Vec<Bytes> {
    (0..count).map(|n| Bytes::from(n.to_string())).collect()
}

fn clear() -> Op {
    Op::Partition(Partition(0), PartitionOp::Clear)
}

fn incr() -> Op {
    Op::Mutate("c".into(), Mutation::Increment(1))
}

/// The rows in all writes under way.
fn written(net: &Cores) -> Vec<(RowKey, Row)> {
    let parts = net.queue.iter().filter_map(|letter| {
        if let Message::Write { delta, .. } = &letter.2 {
            Some(&delta.parts)
        } else {
            None
        }
    });
    parts
        .flatten()
        .flat_map(|part| part.rows.iter().cloned())
        .collect()
}

/// A request of a hundred kilobytes that would grow to hundreds of megabytes.
fn outcome() -> Verdict {
    let mut net = Cores::new(1, 1, |_| {});
    let key = Bytes::from(vec![b'k'; KEY_BYTES_MAX]);
    let refused = net.ask(1, Op::Mutate(key, Mutation::Add(elements(2100))), C::One);
    holds(
        matches!(refused, Some(Err(RequestError::TooLarge { .. }))),
        "it was accepted",
    )?;
    holds(net.rows(1) == 0, "it was applied in part")
}

/// The rows of a set under a long key must not each carry that key.
fn key_once() -> Verdict {
    let mut net = Cores::three();
    net.settle();
    net.submit(
        1,
        Op::Mutate(vec![b'k'; 10_000].into(), Mutation::Add(elements(100))),
        C::Quorum,
        None,
    );
    let bytes: Vec<usize> = net
        .queue
        .iter()
        .map(|letter| wire::encode(&letter.2).len())
        .collect();
    holds(
        !bytes.is_empty() && bytes.iter().all(|bytes| *bytes < 20_000),
        format!("{bytes:?} bytes"),
    )
}

/// Large values that nobody acknowledges.
fn flights() -> Verdict {
    let mut net = Cores::new(3, 3, |config| config.flight_bytes_max = 100_000);
    net.settle();
    net.cut(&[1], &[2, 3]);
    let value = "v".repeat(40_000);
    let tickets = ["a", "b", "c"].map(|key| net.submit(1, set(key, &value), C::Quorum, None));
    holds(net.reply(tickets[1]).is_none(), "two fit within the bound")?;
    holds(
        net.reply(tickets[2]) == Some(Err(RequestError::Overloaded)),
        "a third does not fit",
    )
}

/// One replica is away for a long time.
fn recent() -> Verdict {
    let mut net = Cores::new(3, 3, |config| config.recent.bytes_max = 20_000);
    net.run(secs(1));
    net.cut(&[3], &[1, 2]);
    for n in 0..500 {
        holds(
            net.set(1, &format!("k{}", n % 50), "v", C::Quorum),
            "two of three",
        )?;
    }
    net.run(secs(1));
    let recent = net.summary(1).map_or(0, |summary| summary.recent);
    holds(
        recent <= 20_000 / 160,
        format!("{recent} events are remembered"),
    )?;
    net.heal();
    net.run(secs(5));
    holds(
        net.converged(),
        "events no longer remembered must arrive by a stream",
    )
}

fn bounded(beyond: Option<Kept>) -> Verdict {
    beyond.map_or(Ok(()), |kept| {
        Err(format!(
            "{} {}, but only {} are allowed",
            kept.held, kept.what, kept.max
        ))
    })
}

/// Events that only one node had seen are lost with its disk, and the others declare them seen.
fn lost_events() -> Verdict {
    let mut config = Config {
        persist: false,
        ..Config::default()
    };
    config.recent.events_max = 1;
    let mut net = Cores::new(3, 3, |of_all| of_all.clone_from(&config));
    net.cut(&[1], &[2, 3]);
    for n in 0..3 {
        holds(net.set(1, &format!("k{n}"), "v", C::One), "ONE is local")?;
    }
    net.queue.clear();
    net.heal();
    holds(net.set(1, "k0", "w", C::Quorum), "healthy")?;
    net.boot_with(1, true, config);
    net.run(secs(10));
    bounded(net.noted.beyond)
}

/// A client fills and deletes a set again and again, faster than its rows leave the disk.
fn removed_rows() -> Verdict {
    let mut net = Cores::new(1, 1, |config| {
        config.persist = true;
        config.removal.rows_at_once = 10;
        config.removal.waiting_max = 100;
    });
    for _ in 0..10 {
        net.mutate(1, "s", Mutation::Add(elements(50)), C::One);
        let removed = net.mutate(1, "s", Mutation::Delete, C::One);
        holds(
            removed == Some(Ok(Reply::Integer(1))),
            format!("DEL: {removed:?}"),
        )?;
        bounded(net.at.get(&NodeId(1)).and_then(beyond))?;
    }
    net.run(secs(5));
    let kept = net
        .at
        .get(&NodeId(1))
        .map_or_else(Vec::new, |core| core.kept(true));
    let stays = kept.into_iter().find(|kept| kept.passes && kept.held > 0);
    holds(stays.is_none(), format!("{stays:?} at rest"))
}

/// The coordinator considers a replica dead that the fallback can reach.
fn late_hint() -> Verdict {
    let mut net = Cores::new(4, 3, |_| {});
    net.run(secs(1));
    net.sees(&[1], 3, false);
    holds(net.set(1, "k", "v", C::Quorum), "two of three")?;
    net.run(secs(1));
    let kept = net
        .at
        .get(&NodeId(4))
        .map(quorate_dynamo::Dynamo::hint_bytes);
    holds(
        kept == Some(0),
        format!("{kept:?} bytes are kept for a node that is present"),
    )
}

/// In one life after another, a node counts increments with request ids.
fn former_lives() -> Verdict {
    let mut net = Cores::new(2, 2, |_| {});
    let mut entries = 0;
    for life in 0..6 {
        for n in 0..40 {
            let ticket = net.submit(1, incr(), C::Quorum, Some(&format!("{life}/{n}")));
            while let Some(letter) = net.queue.pop_front() {
                net.deliver(letter);
                entries = written(&net)
                    .iter()
                    .map(|(_, row)| row.iter().count())
                    .chain([entries])
                    .max()
                    .unwrap_or(0);
            }
            let count = life * 40 + n + 1;
            holds(
                net.reply(ticket) == Some(Ok(Reply::Integer(count))),
                format!("increment {count}: {:?}", net.reply(ticket)),
            )?;
        }
        net.run(secs(2));
        net.boot(1, true);
        net.run(secs(5));
    }
    holds(entries < 90, format!("{entries} entries in one row"))?;
    holds(net.reads(2, "c", C::All, "240"), "each counted once")
}

/// A write takes long to arrive, although no clock is off.
fn late() -> Verdict {
    let mut net = Cores::three();
    net.run(secs(2));
    net.cut(&[1], &[2, 3]);
    let ticket = Ticket(1_000_000);
    let (op, consistency) = (set("k", "v"), Some(C::Quorum));
    let request = Request {
        keyspace: KeyspaceId(0),
        op,
        consistency,
        timeout: secs(30),
        datacenter: "dc1".into(),
        id: None,
        claim: None,
    };
    net.input(1, Input::Request { ticket, request });
    net.run(secs(7));
    net.heal();
    net.run(secs(23));
    holds(
        matches!(net.reply(ticket.0), Some(Ok(_))),
        format!("{:?}", net.reply(ticket.0)),
    )
}

/// Removals go through a node whose disk is full.
fn removals() -> Verdict {
    let mut net = Cores::three();
    holds(
        net.set(1, "a", "v", C::All) && net.set(1, "b", "v", C::All),
        "healthy",
    )?;
    net.input(2, Input::DiskFull(true));
    let deleted = net.mutate(2, "a", Mutation::Delete, C::Quorum);
    holds(
        deleted == Some(Ok(Reply::Integer(1))),
        format!("DEL: {deleted:?}"),
    )?;
    let cleared = net.ask(2, clear(), C::All);
    holds(
        cleared == Some(Ok(Reply::Done)) && net.rows(2) == 0,
        format!("FLUSHDB: {cleared:?}"),
    )?;
    holds(
        !net.set(2, "a", "v", C::Quorum),
        "a write that needs space must be refused",
    )
}

/// Writes that a node with a full disk refuses reach it by repair.
fn growth() -> Verdict {
    let mut net = Cores::three();
    net.run(secs(1));
    net.input(2, Input::DiskFull(true));
    for n in 0..10 {
        holds(
            net.set(1, &format!("k{n}"), "v", C::Quorum),
            "two of three have room",
        )?;
    }
    net.run(secs(5));
    holds(
        net.rows(2) == 0,
        format!("{} rows on a full disk", net.rows(2)),
    )?;
    net.input(2, Input::DiskFull(false));
    net.run(secs(5));
    holds(net.converged(), "there is room again")
}

/// A client uses a key under which nodes remember requests.
fn own_key() -> Verdict {
    let mut net = Cores::three();
    net.settle();
    let ticket = net.submit(1, incr(), C::Quorum, Some("a"));
    let mut own = None;
    while let Some(letter) = net.queue.pop_front() {
        net.deliver(letter);
        own = written(&net)
            .into_iter()
            .find(|(name, _)| name.kind == RowKind::Request)
            .map(|(name, _)| name.key)
            .or(own);
    }
    holds(net.answer(ticket) == Some(Ok(Reply::Integer(1))), "healthy")?;
    let Some(own) = own else {
        return Err("the request is not remembered".to_owned());
    };
    for op in [
        Op::Mutate(own.clone(), Mutation::Increment(5)),
        Op::Query(own, Query::Get),
    ] {
        holds(
            net.ask(2, op, C::Quorum) == Some(Err(RequestError::ReservedKey)),
            "it was taken for a client's key",
        )?;
    }
    let again = net.submit(3, incr(), C::Quorum, Some("a"));
    holds(
        net.answer(again) == Some(Ok(Reply::Integer(1))),
        "the request was forgotten",
    )
}

/// `FLUSHDB` through a replica that has seen nothing.
fn clear_unseen() -> Verdict {
    let mut net = Cores::three();
    net.cut(&[3], &[1, 2]);
    for n in 0..20 {
        holds(net.set(1, &format!("k{n}"), "v", C::Quorum), "two of three")?;
    }
    net.queue.clear();
    net.heal();
    holds(
        net.ask(3, clear(), C::Quorum) == Some(Ok(Reply::Done)),
        "healthy",
    )?;
    let left = net.query(1, "k7", Query::Get, C::Quorum);
    holds(
        left == Some(Ok(Reply::Nil)),
        format!("{left:?} after FLUSHDB"),
    )
}

/// A delta from a life that has ended arrives late.
fn former_life() -> Verdict {
    let (old, new) = (ReplicaId::new(NodeId(2), 1), ReplicaId::new(NodeId(2), 2));
    let context: CausalContext = [Dot::new(old, 1)].into_iter().collect();
    let mut replica = Replica::new(ReplicaId::new(NodeId(1), 1));
    let (digest, filling, partial, exact) = (0, false, false, true);
    replica.hear(
        NodeId(2),
        &Seen {
            place: PLACE,
            replica: new,
            context: CausalContext::new(),
            beyond: CausalContext::new(),
            digest,
            filling,
            partial,
            exact,
            waking: false,
            former: CausalContext::new(),
            to: Some(ReplicaId::new(NodeId(1), 1)),
            fencing: None,
        },
    );
    replica.overheard(
        NodeId(2),
        &Delta {
            replica: old,
            context,
            ..Delta::default()
        },
    );
    holds(
        !replica.knows(NodeId(2), Dot::new(old, 1)),
        "the new life has not said that it knows the event",
    )
}
