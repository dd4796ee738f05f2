//! Drills on replicas that are filled by a stream.

use std::time::Duration;

use quorate_crdt::NodeId;
use quorate_dynamo::Consistency as C;
use quorate_dynamo::op::{Query, Reply};
use quorate_dynamo::protocol::{Input, Message, Timer};

use super::cores::{Cores, Letter, Picks, secs};
use super::drill::{Drills, Verdict, holds};
use super::topology::topology;

pub(super) const DRILLS: Drills = &[
    ("chunk-of-any-stream", "late-chunk-ends-stream", late_chunk),
    ("pull-once", "stream-never-ends", lost_on_the_way),
    ("streams-all-at-once", "more-than-bound", many_at_once),
    (
        "fill-from-filled-only",
        "wait-for-each-other",
        wiped_together,
    ),
    (
        "adopt-last-context",
        "equal-contexts-differ",
        written_behind,
    ),
    ("mover-forgets-itself", "move-stalls", one_down),
    ("alone-is-everybody", "lost", only_one_wiped),
];

fn keys(net: &mut Cores, at: u64, count: u32, level: C) -> Verdict {
    (0..count).try_for_each(|n| {
        holds(
            net.set(at, &format!("k{n}"), "v", level),
            format!("write {n}"),
        )
    })
}

/// A partition moves. Its only replica loses its disk while the node it is moving to is away.
fn only_one_wiped() -> Verdict {
    let mut net = Cores::new(2, 1, |_| {});
    net.begin_move(&[1, 2]);
    holds(net.set(1, "k", "v", C::Quorum), "healthy")?;
    net.cut(&[1], &[2]);
    net.boot(1, true);
    net.sees(&[1], 2, false);
    net.run(secs(10));
    net.heal();
    net.sees(&[1], 2, true);
    holds(
        net.query(1, "k", Query::Get, C::One) != Some(Ok(Reply::Nil)),
        "it was read before it had what was acknowledged",
    )?;
    net.run(secs(5));
    holds(
        net.reads(1, "k", C::One, "v"),
        "what was acknowledged is lost",
    )
}

/// n3 is so far behind that it needs a stream; the third question or chunk is lost.
fn lost_on_the_way() -> Verdict {
    let picks: [Picks; 2] = [
        |message| matches!(message, Message::Pull { .. }),
        |message| matches!(message, Message::Chunk { .. }),
    ];
    for lost in picks {
        let mut net = Cores::new(3, 3, |config| {
            (config.recent.events_max, config.chunk_bytes) = (5, 600);
        });
        net.cut(&[3], &[1, 2]);
        keys(&mut net, 1, 50, C::Quorum)?;
        net.run(secs(2));
        net.heal();
        net.lose(3, lost);
        net.run(secs(10));
        holds(
            net.converged() && net.rows(3) == 50,
            format!("{} of 50 rows", net.rows(3)),
        )?;
    }
    Ok(())
}

/// n3 loses its disk with 32 partitions on it.
fn many_at_once() -> Verdict {
    let mut topology = topology(&[3], 3);
    for keyspace in topology.keyspaces.values_mut() {
        keyspace.placement = vec![keyspace.placement[0].clone(); 32];
    }
    let mut net = Cores::of(topology, |config| config.chunk_bytes = 600);
    keys(&mut net, 1, 320, C::All)?;
    net.run(secs(2));
    net.links.latency = |_, _| Duration::from_millis(150);
    net.boot(3, true);
    net.run(secs(10));
    let beyond = net.noted.beyond.take();
    beyond.map_or(Ok(()), |kept| Err(format!("{kept:?}")))
}

/// n4 is being filled, and the last piece of its stream is held back. Returns the source and the
/// piece.
fn held_back() -> Result<(Cores, u64, Letter), String> {
    let mut net = Cores::new(4, 3, |config| config.chunk_bytes = 600);
    net.queue.clear();
    keys(&mut net, 1, 30, C::All)?;
    net.run(secs(2));
    net.begin_move(&[1, 2, 4]);
    net.lose(
        1,
        |message| matches!(message, Message::Chunk { piece, .. } if piece.next.is_none()),
    );
    let letter = net.lost().ok_or("no last piece came")?;
    Ok((net, letter.0.0, letter))
}

/// A stream is abandoned, what it brought is overwritten, another stream begins; then the last
/// piece of the first arrives.
fn late_chunk() -> Verdict {
    let (mut net, source, letter) = held_back()?;
    (1..=3).for_each(|other| net.sees(&[4], other, false));
    net.input(4, Input::Timer(Timer::AntiEntropy));
    net.cut(&[1, 2, 3], &[4]);
    keys(&mut net, source, 30, C::Quorum)?;
    net.heal();
    (1..=3).for_each(|other| net.sees(&[4], other, true));
    net.input(4, Input::Timer(Timer::AntiEntropy));
    net.queue.clear();
    net.deliver(letter);
    let filling = net.summary(4).is_some_and(|summary| summary.filling);
    holds(
        filling,
        "it counts as filled by a stream that has brought nothing",
    )
}

/// Two or three of three nodes lose their disks at the same time.
fn wiped_together() -> Verdict {
    for wiped in [vec![2, 3], vec![1, 2, 3]] {
        let mut net = Cores::three();
        keys(&mut net, 1, 50, C::All)?;
        net.run(secs(3));
        for at in &wiped {
            net.boot(*at, true);
        }
        net.run(secs(5));
        let filling = wiped
            .iter()
            .filter(|at| net.summary(**at).is_some_and(|summary| summary.filling))
            .count();
        holds(
            filling == 0,
            format!("{filling} of {} still wait", wiped.len()),
        )?;
    }
    Ok(())
}

/// While the last piece is awaited, rows already streamed are overwritten, and the receiver does
/// not hear of it.
fn written_behind() -> Verdict {
    let (mut net, source, _) = held_back()?;
    net.cut(&[1, 2, 3], &[4]);
    keys(&mut net, source, 30, C::Quorum)?;
    net.heal();
    net.lose(1, |message| {
        matches!(message, Message::Repair { .. } | Message::Behind { .. })
    });
    let filling = |net: &Cores| net.summary(4).is_some_and(|summary| summary.filling);
    for _ in 0..100 {
        if filling(&net) {
            net.run(Duration::from_millis(50));
        }
    }
    let (there, here) = net
        .summary(source)
        .zip(net.summary(4))
        .ok_or("no replica")?;
    holds(
        there.context != here.context || there.digest == here.digest,
        "equal contexts, different rows",
    )
}

/// A partition moves while one of its old replicas is down.
fn one_down() -> Verdict {
    let mut net = Cores::new(4, 3, |_| {});
    holds(net.set(2, "a", "v", C::All), "healthy")?;
    net.run(secs(1));
    net.cut(&[1], &[2, 3, 4]);
    net.sees(&[2, 3, 4], 1, false);
    net.begin_move(&[2, 3, 4]);
    net.run(secs(10));
    let missing: Vec<u64> = [2, 3, 4]
        .into_iter()
        .filter(|at| !net.noted.reports.contains(&NodeId(*at)))
        .collect();
    holds(missing.is_empty(), format!("{missing:?} have not reported"))
}
