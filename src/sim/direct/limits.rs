//! Drills on requests with ids, and on values, sums and names at their limits.

use bytes::Bytes;
use quorate_control::store::Space;
use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};
use quorate_dynamo::Consistency as C;
use quorate_dynamo::op::{
    KEY_BYTES_MAX, Mutation, Op, PartitionOp, Query, Reply, RequestError, SIBLINGS_MAX,
    TOKEN_BYTES_MAX, VALUE_BYTES_MAX,
};
use quorate_dynamo::protocol::Message;
use quorate_gossip::quic::carry;
use quorate_gossip::wire::FRAME_BYTES_MAX;

use super::cores::{Cores, PLACE, secs};
use super::drill::{Drills, Verdict, holds};

pub(super) const DRILLS: Drills = &[
    ("request-id-forgotten", "retry-counted", retried),
    ("token-unbounded", "token-read", token),
    ("twins-count-twice", "twins-counted", twins),
    ("remembered-by-wall-clock", "forgotten-first", behind),
    ("share-overflow", "refused-by-a-share", shares),
    ("append-unbounded", "value-too-long", append),
    ("token-unseen", "covered-and-back", covered),
    ("siblings-unbounded", "siblings-too-many", siblings),
    ("long-store-keys", "store-key-too-long", long_name),
    ("hints-uncounted", "hints-too-large", hints),
    ("ranges-fit-a-frame", "large-key-not-read", large_key),
    ("parts-mixed-up", "message-torn", long_message),
    ("page-splits-mark", "scan-without-end", scanned),
];

/// A partition is scanned key by key; two of its keys have one mark.
fn scanned() -> Verdict {
    let mut net = Cores::new(1, 1, |_| {});
    let keys = ["k503221", "k2406207", "a", "b"];
    for key in keys {
        holds(net.set(1, key, "v", C::One), "healthy")?;
    }
    let (mut from, mut seen) = (Some(0), 0);
    for _ in 0..keys.len() {
        let Some(mark) = from else { break };
        let scan = Op::Partition(
            PLACE.partition,
            PartitionOp::Scan {
                from: mark,
                count: 1,
            },
        );
        let ticket = net.submit(1, scan, C::One, None);
        let Some(Ok(Reply::Keys { keys, next })) = net.answer(ticket) else {
            return holds(false, "a scan is answered");
        };
        (from, seen) = (next, seen + keys.len());
    }
    holds(
        from.is_none() && seen == keys.len(),
        format!("{seen} of {} keys, then {from:?}", keys.len()),
    )
}

/// A message longer than a frame travels between two short ones on one stream.
fn long_message() -> Verdict {
    let messages = [10, FRAME_BYTES_MAX + 1, 10]
        .map(|bytes| Bytes::from((0..bytes).map(|n| n as u8).collect::<Vec<_>>()));
    let arrived = carry(messages.clone());
    holds(
        arrived == messages,
        format!(
            "{:?} bytes arrived",
            arrived.iter().map(Bytes::len).collect::<Vec<_>>()
        ),
    )
}

/// A node with a slow clock executes an increment with a request id, and is asked again after
/// thousands of others.
fn behind() -> Verdict {
    let mut net = Cores::new(1, 1, |_| {});
    let fill = |net: &mut Cores, names: std::ops::Range<u32>| {
        for n in names {
            let ticket = net.submit(1, incr(), C::One, Some(&format!("{n}")));
            net.answer(ticket);
        }
    };
    fill(&mut net, 0..20_000);
    net.skew.insert(NodeId(1), -7_200_000);
    let ticket = net.submit(1, incr(), C::One, Some("behind"));
    let first = net.reply(ticket);
    net.skew.clear();
    fill(&mut net, 20_000..26_000);
    let ticket = net.submit(1, incr(), C::One, Some("behind"));
    holds(
        first.is_some() && net.reply(ticket) == first,
        format!("{first:?}, then {:?}", net.reply(ticket)),
    )
}

fn incr() -> Op {
    Op::Mutate("c".into(), Mutation::Increment(1))
}

/// An increment is repeated with its request id through another node.
fn retried() -> Verdict {
    let mut net = Cores::three();
    for (at, id, expected) in [(1, "a", 1), (2, "b", 2), (3, "a", 1)] {
        let ticket = net.submit(at, incr(), C::Quorum, Some(id));
        let answer = net.answer(ticket);
        holds(
            answer == Some(Ok(Reply::Integer(expected))),
            format!("{id} through n{at}: {answer:?}"),
        )?;
    }
    holds(
        net.reads(1, "c", C::Quorum, "2"),
        "two names, two increments",
    )
}

/// A node executes an increment and is then cut off; the request is repeated elsewhere.
fn twins() -> Verdict {
    let mut net = Cores::three();
    let ticket = net.submit(1, incr(), C::Quorum, Some("a"));
    while let Some(letter) = net.queue.pop_front() {
        if matches!(letter.2, Message::Write { .. }) {
            net.queue.clear();
        } else {
            net.deliver(letter);
        }
    }
    net.cut(&[1], &[2, 3]);
    holds(
        matches!(net.answer(ticket), Some(Err(_))),
        "nobody else has it",
    )?;
    let again = net.submit(2, incr(), C::Quorum, Some("a"));
    holds(
        net.answer(again) == Some(Ok(Reply::Integer(1))),
        "n2 and n3 do not know of the first attempt",
    )?;
    net.heal();
    net.run(secs(5));
    holds(net.reads(3, "c", C::All, "1"), "one name, one increment")
}

/// What one replica adds to a counter exceeds 64 bits, but the sum does not.
fn shares() -> Verdict {
    let mut net = Cores::three();
    holds(
        net.set(1, "up", &i64::MIN.to_string(), C::Quorum),
        "healthy",
    )?;
    for (by, sum) in [(i64::MAX, -1), (1, 0), (i64::MAX, i64::MAX)] {
        let answer = net.mutate(1, "up", Mutation::Increment(by), C::Quorum);
        holds(
            answer == Some(Ok(Reply::Integer(sum))),
            format!("{by}: {answer:?}"),
        )?;
    }
    let beyond = net.mutate(1, "up", Mutation::Increment(1), C::Quorum);
    holds(
        beyond == Some(Err(RequestError::Overflow)),
        format!("{beyond:?}"),
    )
}

/// A value grows by appends up to its limit.
fn append() -> Verdict {
    let mut net = Cores::new(1, 1, |_| {});
    let bytes = VALUE_BYTES_MAX / 4 + 1;
    let part = Bytes::from(vec![b'x'; bytes]);
    for _ in 1..=3 {
        let appended = net.mutate(1, "big", Mutation::Append(part.clone()), C::One);
        holds(matches!(appended, Some(Ok(_))), "within the bound")?;
    }
    let refused = net.mutate(1, "big", Mutation::Append(part.clone()), C::One);
    holds(
        matches!(refused, Some(Err(RequestError::TooLarge { .. }))),
        "a value longer than the limit was accepted",
    )?;
    let length = net.query(1, "big", Query::Length, C::One);
    let Some(Ok(Reply::Integer(length))) = length else {
        return Err(format!("{length:?}"));
    };
    holds(
        length.unsigned_abs() == 3 * bytes as u64,
        format!("{length} bytes"),
    )
}

/// A token that is longer than any that a read gives is not even read: it is well formed, and a
/// node that reads it says that it has not seen what the token covers.
fn token() -> Verdict {
    let mut net = Cores::new(1, 1, |_| {});
    let seen: CausalContext = (1..)
        .step_by(2)
        .take(TOKEN_BYTES_MAX)
        .map(|counter| Dot::new(ReplicaId::new(NodeId(9), 1), counter))
        .collect();
    let mut token = vec![1];
    token.extend(postcard::to_stdvec(&seen).map_err(|error| error.to_string())?);
    let mutation = Mutation::SetWith {
        value: "v".into(),
        token: token.into(),
    };
    let refused = net.mutate(1, "k", mutation, C::One);
    holds(
        refused == Some(Err(RequestError::BadToken)),
        format!("{refused:?}"),
    )
}

/// One old token after another, none of which covers the values set so far.
fn siblings() -> Verdict {
    let mut net = Cores::new(1, 1, |_| {});
    let with = |n: usize| Mutation::SetWith {
        value: n.to_string().into(),
        token: Bytes::new(),
    };
    for n in 0..SIBLINGS_MAX {
        holds(
            matches!(net.mutate(1, "k", with(n), C::One), Some(Ok(_))),
            format!("value {n}"),
        )?;
    }
    let refused = net.mutate(1, "k", with(SIBLINGS_MAX), C::One);
    holds(
        matches!(refused, Some(Err(RequestError::Siblings { .. }))),
        format!("{refused:?}"),
    )
}

/// A token covers what two of three have, then what only one has; the write goes through a node
/// that has neither.
fn covered() -> Verdict {
    for (level, may_apply) in [(C::Quorum, true), (C::One, false)] {
        let mut net = Cores::three();
        net.cut(&[3], if level == C::One { &[1, 2] } else { &[1] });
        holds(net.set(1, "k", "old", level), "healthy")?;
        let Some(Ok(Reply::Siblings { token, .. })) = net.query(1, "k", Query::Siblings, level)
        else {
            return Err("no token".into());
        };
        net.cut(&[1], &[2, 3]);
        net.queue.clear();
        let over = net.mutate(
            3,
            "k",
            Mutation::SetWith {
                value: "new".into(),
                token,
            },
            level,
        );
        holds(
            matches!(over, Some(Ok(_))) || !may_apply,
            format!("{over:?}"),
        )?;
        net.heal();
        net.run(secs(5));
        let shown = net.query(3, "k", Query::Siblings, C::All);
        let one = matches!(&shown, Some(Ok(Reply::Siblings { values, .. })) if values.len() == 1);
        holds(one, format!("{level}: {over:?}, and in the end {shown:?}"))?;
    }
    Ok(())
}

/// The longest name that is accepted reaches the disk under a key that every engine takes.
fn long_name() -> Verdict {
    let mut net = Cores::new(1, 1, |config| config.persist = true);
    let answer = net.ask(
        1,
        Op::Mutate(vec![b'k'; KEY_BYTES_MAX].into(), Mutation::Increment(1)),
        C::One,
    );
    holds(matches!(answer, Some(Ok(_))), format!("{answer:?}"))?;
    let batch = net
        .at
        .get_mut(&NodeId(1))
        .map(quorate_dynamo::Dynamo::drain)
        .unwrap_or_default();
    let rows = batch
        .changes
        .iter()
        .filter(|change| matches!(change, quorate_control::store::Change::Put(Space::Rows, ..)))
        .count();
    holds(rows > 0, "nothing was written")?;
    batch.check().map_err(|error| error.to_string())
}

/// Fifty large values for a node that is away.
fn hints() -> Verdict {
    let mut net = Cores::new(5, 3, |config| config.hint_bytes_max = 100_000);
    net.run(secs(1));
    net.cut(&[3], &[1, 2, 4, 5]);
    net.sees(&[1, 2, 4, 5], 3, false);
    let value = "v".repeat(5_000);
    for n in 0..50 {
        holds(
            net.set(1, &format!("k{n}"), &value, C::Quorum),
            "two of three",
        )?;
    }
    let kept: u64 = net.at.values().map(|core| core.counters().hints.kept).sum();
    holds(
        kept > 0 && kept * 5_000 <= 100_000,
        format!("{kept} hints of 5,000 bytes within 100,000"),
    )
}

/// n3 has missed a hash of 30 MB and is asked for it.
fn large_key() -> Verdict {
    let mut net = Cores::three();
    net.cut(&[3], &[1, 2]);
    let value = Bytes::from(vec![b'v'; 1 << 20]);
    for part in 0..30 {
        let fields = vec![(part.to_string().into(), value.clone())];
        holds(
            matches!(
                net.mutate(1, "h", Mutation::SetFields(fields), C::Quorum),
                Some(Ok(_))
            ),
            "two of three",
        )?;
    }
    net.queue.clear();
    net.heal();
    let answer = net.query(3, "h", Query::Entries, C::Quorum);
    let entries = if let Some(Ok(Reply::Pairs(pairs))) = &answer {
        pairs.len()
    } else {
        0
    };
    holds(entries == 30, format!("{entries} of 30 fields"))
}
