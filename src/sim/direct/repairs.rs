//! Replicas that lag, and who helps them; requests that are handed on.

use std::time::Duration;

use bytes::Bytes;
use quorate_crdt::NodeId;
use quorate_dynamo::Consistency as C;
use quorate_dynamo::op::{Mutation, Op, Query, Reply};
use quorate_dynamo::protocol::{Config, Input, Message, RecentBounds};

use super::cores::{Cores, Letter, secs, set};
use super::{Drills, Verdict, holds};

pub(super) const DRILLS: Drills = &[
    ("forward-twice", "executed-twice", forwarded_twice),
    (
        "forward-of-a-stranger",
        "executed-twice",
        forwarded_before_its_removal,
    ),
    (
        "lost-forward-is-lost",
        "forward-never-executed",
        first_forward_lost,
    ),
    ("everybody-helps", "repaired-by-everybody", sent_once),
    (
        "asked-again-each-tick",
        "repaired-again-and-again",
        sent_once_from_afar,
    ),
    (
        "asked-before-overdue",
        "repaired-while-under-way",
        under_way,
    ),
    ("streamed-at-once", "streamed-in-vain", remembered_by_one),
    ("one-helper-for-ever", "nobody-else-is-asked", another_helps),
    ("bound-of-nothing", "never-told", smallest_bounds),
    ("silence-is-memory", "never-streamed", the_one_that_left),
    ("gone-here-is-gone", "came-back", removed_again),
    ("residuals-unsaid", "came-back", large_and_removed),
];

/// A write that was handed on arrives twice.
fn forwarded_twice() -> Verdict {
    let mut net = Cores::new(4, 3, |_| {});
    net.run(secs(2));
    let ticket = net.submit(
        4,
        Op::Mutate("c".into(), Mutation::Increment(1)),
        C::Quorum,
        None,
    );
    let at = net
        .queue
        .iter()
        .position(|(_, _, message)| matches!(message, Message::Forward { .. }));
    let forward = at
        .and_then(|at| net.queue.remove(at))
        .ok_or("it was not handed on")?;
    net.deliver(forward.clone());
    net.deliver(forward);
    holds(
        net.answer(ticket) == Some(Ok(Reply::Integer(1))),
        format!("{:?}", net.reply(ticket)),
    )?;
    net.run(secs(2));
    holds(net.reads(1, "c", C::All, "1"), "one request, one increment")
}

/// A write that a node handed on before it was removed arrives once more after that.
fn forwarded_before_its_removal() -> Verdict {
    let mut net = Cores::new(4, 3, |_| {});
    net.run(secs(2));
    let append = Op::Mutate("t".into(), Mutation::Append("x".into()));
    net.submit(4, append, C::Quorum, None);
    let at = net
        .queue
        .iter()
        .position(|(_, _, message)| matches!(message, Message::Forward { .. }));
    let forward = at
        .and_then(|at| net.queue.remove(at))
        .ok_or("it was not handed on")?;
    net.deliver(forward.clone());
    net.settle();
    net.set_topology(|topology| drop(topology.nodes.remove(&NodeId(4))));
    net.deliver(forward);
    net.run(secs(2));
    holds(net.reads(1, "t", C::All, "x"), "one request, one part")
}

/// The first write that a node hands on is lost once.
fn first_forward_lost() -> Verdict {
    let mut net = Cores::new(4, 3, |_| {});
    net.run(secs(2));
    net.lose(1, |message| matches!(message, Message::Forward { .. }));
    let answer = net.mutate(4, "c", Mutation::Increment(1), C::Quorum);
    holds(answer == Some(Ok(Reply::Integer(1))), format!("{answer:?}"))?;
    holds(net.reads(1, "c", C::All, "1"), "one request, one increment")
}

/// n5 has missed a hundred values; it is back, and nothing is delivered yet.
fn one_was_absent() -> Result<Cores, String> {
    let mut net = Cores::new(5, 5, |_| {});
    net.run(secs(3));
    net.cut(&[5], &[1, 2, 3, 4]);
    for n in 0..100 {
        holds(
            net.set(1 + n % 4, &format!("k{n}"), &"v".repeat(1_000), C::Quorum),
            "four of five",
        )?;
    }
    net.run(secs(3));
    net.heal();
    Ok(net)
}

/// How often a row was sent to n5.
fn sent_once() -> Verdict {
    let mut net = one_was_absent()?;
    net.repairs.rows = 0;
    net.run(secs(5));
    holds(net.rows(5) == 100, format!("{} of 100 rows", net.rows(5)))?;
    let sent = net.repairs.rows;
    holds(sent < 150, format!("{sent} rows were sent for 100"))
}

/// How often a row was sent to n5 when a round trip takes five ticks.
fn sent_once_from_afar() -> Verdict {
    let mut net = one_was_absent()?;
    net.links.latency = |_, _| Duration::from_millis(500);
    net.repairs.rows = 0;
    net.run(secs(15));
    holds(net.rows(5) == 100, format!("{} of 100 rows", net.rows(5)))?;
    let sent = net.repairs.rows;
    holds(sent < 150, format!("{sent} rows were sent for 100"))
}

/// n5 hears of what n1 writes long before it comes.
fn under_way() -> Verdict {
    let mut net = Cores::new(5, 5, |_| {});
    net.run(secs(3));
    net.links.latency = |a, b| {
        if a.0 + b.0 == 6 {
            Duration::from_millis(500)
        } else {
            Duration::ZERO
        }
    };
    for at in [1, 5] {
        net.input(
            at,
            Input::RoundTrip {
                node: NodeId(6 - at),
                rtt: secs(1),
            },
        );
    }
    for n in 0..50 {
        net.submit(1, set(&format!("k{n}"), "v"), C::Quorum, None);
        net.run(Duration::from_millis(70));
    }
    net.run(secs(5));
    let sent = net.repairs.rows;
    holds(
        net.rows(5) == 50 && sent == 0,
        format!("{} of 50 rows, {sent} sent again", net.rows(5)),
    )
}

/// n1 remembers nothing, n2 all that n3 lacks.
fn remembered_by_one() -> Verdict {
    let mut net = Cores::new(3, 3, |_| {});
    net.boot_with(
        1,
        false,
        Config {
            persist: false,
            recent: RecentBounds {
                events_max: 5,
                ..Config::default().recent
            },
            ..Config::default()
        },
    );
    net.run(secs(1));
    net.cut(&[3], &[1, 2]);
    net.sees(&[1, 2], 3, false);
    for n in 0..50 {
        holds(net.set(2, &format!("k{n}"), "v", C::Quorum), "two of three")?;
    }
    net.run(secs(2));
    net.heal();
    net.sees(&[1, 2], 3, true);
    net.run(secs(8));
    let streams = net
        .at
        .get(&NodeId(3))
        .map_or(0, |core| core.counters().streams);
    holds(
        net.rows(3) == 50 && streams == 0,
        format!("{} of 50 rows, {streams} streams", net.rows(3)),
    )
}

/// One of four helps, whichever.
fn another_helps() -> Verdict {
    for helps in 1..=4 {
        let mut net = one_was_absent()?;
        net.repairs.idle = (1..=4)
            .filter(|other| *other != helps)
            .map(NodeId)
            .collect();
        net.run(secs(8));
        holds(
            net.rows(5) == 100,
            format!("{} of 100 rows, while n{helps} alone helps", net.rows(5)),
        )?;
    }
    Ok(())
}

/// Every bound of what is sent at once is the smallest.
fn smallest_bounds() -> Verdict {
    let mut net = Cores::new(3, 3, |config| {
        (config.chunk_bytes, config.hint_bytes_max) = (1, 0)
    });
    net.cut(&[3], &[1, 2]);
    for n in 0..20 {
        holds(net.set(1, &format!("k{n}"), "v", C::Quorum), "two of three")?;
    }
    net.heal();
    net.run(secs(20));
    holds(net.rows(3) == 20, format!("{} of 20 rows", net.rows(3)))
}

/// n3 hears of a write from n1 alone, which then leaves; nobody remembers it event by event.
fn the_one_that_left() -> Verdict {
    let mut net = Cores::new(4, 3, |config| config.recent.bytes_max = 0);
    net.run(secs(1));
    let apart = |net: &mut Cores, up: bool| {
        net.sees(&[1, 2, 4], 3, up);
        for other in [1, 2, 4] {
            net.sees(&[3], other, up);
        }
    };
    net.cut(&[3], &[1, 2, 4]);
    apart(&mut net, false);
    holds(net.set(1, "k", "v", C::Quorum), "two of three")?;
    net.run(secs(1));
    net.begin_move(&[2, 3, 4]);
    net.run(secs(2));
    // n1 is heard before it is gone.
    net.heal();
    apart(&mut net, true);
    let told = |letter: &&Letter| {
        letter.0 == NodeId(1) && letter.1 == NodeId(3) && matches!(letter.2, Message::Seen(_))
    };
    let seen = net
        .queue
        .iter()
        .find(told)
        .cloned()
        .ok_or("n1 does not tell n3 what it has")?;
    net.queue.clear();
    net.cut(&[3], &[1, 2, 4]);
    net.deliver(seen);
    net.queue.clear();
    apart(&mut net, false);
    net.switch(false);
    net.run(secs(2));
    net.switch(true);
    net.run(secs(2));
    holds(net.summary(1).is_none(), "n1 has left")?;
    net.heal();
    apart(&mut net, true);
    net.run(secs(20));
    holds(net.rows(3) == 1, "n3 still lacks what n2 and n4 have")
}

/// A request of n`at` of which nobody else gets what it writes.
fn applied_alone(net: &mut Cores, at: u64, op: Op, id: Option<&str>) {
    net.submit(at, op, C::Quorum, id);
    while let Some(letter) = net.queue.pop_front() {
        if matches!(letter.2, Message::Write { .. }) {
            net.queue.clear();
        } else {
            net.deliver(letter);
        }
    }
}

/// A removal that only the executing node knows of is asked for again; then that node is gone.
fn removed_again() -> Verdict {
    let mut net = Cores::three();
    holds(net.set(1, "k", "v", C::All), "healthy")?;
    net.run(secs(2));
    applied_alone(&mut net, 1, Op::Mutate("k".into(), Mutation::Delete), None);
    let again = net.mutate(1, "k", Mutation::Delete, C::Quorum);
    holds(matches!(again, Some(Ok(_))), format!("{again:?}"))?;
    net.cut(&[1], &[2, 3]);
    let read = net.query(2, "k", Query::Get, C::Quorum);
    holds(
        read == Some(Ok(Reply::Nil)),
        format!("{read:?} after an acknowledged removal"),
    )
}

/// n2 knows of the removal of one of many elements from a second try.
fn large_and_removed() -> Verdict {
    let mut net = Cores::three();
    let elements: Vec<Bytes> = (0..3000)
        .map(|n| Bytes::from(format!("element-{n:06}")))
        .collect();
    holds(
        matches!(
            net.mutate(1, "s", Mutation::Add(elements.clone()), C::All),
            Some(Ok(_))
        ),
        "healthy",
    )?;
    net.run(secs(2));
    let removal = || Op::Mutate("s".into(), Mutation::Remove(vec![elements[7].clone()]));
    applied_alone(&mut net, 3, removal(), Some("n"));
    net.input(
        3,
        Input::RoundTrip {
            node: NodeId(2),
            rtt: Duration::from_millis(1),
        },
    );
    net.cut(&[3], &[1]);
    let ticket = net.submit(3, removal(), C::Quorum, Some("n"));
    holds(matches!(net.answer(ticket), Some(Ok(_))), "n3 and n2")?;
    net.cut(&[3], &[2]);
    let read = net.query(1, "s", Query::Members, C::Quorum);
    let Some(Ok(Reply::List(members))) = read else {
        return Err(format!("{read:?}"));
    };
    holds(
        !members.contains(&elements[7]),
        "an element is there whose removal was acknowledged",
    )
}
