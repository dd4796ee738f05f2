//! What a replica remembers, and what the others remember of it.

use std::time::Duration;

use quorate_crdt::NodeId;
use quorate_dynamo::Consistency as C;
use quorate_dynamo::op::Query;
use quorate_dynamo::protocol::Message;

use super::cores::{Cores, secs};
use super::{Drills, Verdict, holds};

pub(super) const DRILLS: Drills = &[
    (
        "first-kept-over-filling",
        "majority-without-memory",
        refilled,
    ),
    ("former-lives-forgotten", "older-disk-read", told_by_another),
    ("lost-memory-awaited", "filled-again", lost_with_its_disk),
    ("wakes-at-once", "older-disk-read", asked_at_once),
    ("old-disk-overlooked", "older-disk-read", told_by_itself),
];

/// A partition moves from n1, n2, n3 to n2, n3, n4. A write of n1 and n2 was lost at n2 with its
/// disk, and came back from n1, which is gone.
fn refilled() -> Verdict {
    let mut net = Cores::new(4, 3, |_| {});
    holds(net.set(1, "before", "v", C::All), "healthy")?;
    net.run(secs(2));
    net.cut(&[1], &[3, 4]);
    net.sees(&[3, 4], 1, false);
    holds(net.set(1, "w", "v", C::Quorum), "n1 and n2")?;
    net.queue.clear();
    net.boot(2, true);
    net.begin_move(&[2, 3, 4]);
    net.settle();
    net.cut(&[2], &[3, 4]);
    net.lose(1, |message| matches!(message, Message::Seen(all) if all.iter().any(|seen| seen.replica.node == NodeId(2) && !seen.filling)));
    let (from, _, word) = net.lost().ok_or("n2 is not filled")?;
    net.cut(&[1], &[2]);
    for at in [3, 4] {
        net.deliver((from, NodeId(at), word.clone()));
        net.sees(&[at], 2, false);
    }
    net.run(secs(5));
    let n4 = net.summary(4).ok_or("no replica")?;
    holds(
        n4.rows == 2 || n4.filling,
        "filled without what a majority had acknowledged",
    )
}

/// n3 is cut off, `through` has written what n1 and n2 acknowledged, and n2 starts again on its
/// disk of before that.
fn older_disk(through: u64) -> Result<Cores, String> {
    let mut net = Cores::new(3, 3, |config| config.persist = true);
    holds(net.set(2, "before", "v", C::All), "healthy")?;
    net.run(secs(2));
    let disk = net.disk(2)?;
    net.cut(&[3], &[1, 2]);
    holds(net.set(through, "w", "v", C::Quorum), "two of three")?;
    net.queue.clear();
    net.start_on(2, &disk)?;
    Ok(net)
}

/// n1 was told that n2 had an event, which is nowhere any more since n2's disk was lost.
fn lost_with_its_disk() -> Verdict {
    let mut net = Cores::new(3, 3, |config| config.persist = true);
    holds(net.set(2, "before", "v", C::All), "healthy")?;
    net.run(secs(2));
    let disk = net.disk(2)?;
    net.cut(&[2], &[1, 3]);
    holds(net.set(2, "lost", "v", C::One), "n2 alone")?;
    net.lose(1, |message| matches!(message, Message::Seen(all) if all.iter().any(|seen| seen.replica.node == NodeId(2))));
    let (from, _, word) = net.lost().ok_or("n2 does not report")?;
    net.deliver((from, NodeId(1), word));
    net.queue.clear();
    net.start_on(2, &disk)?;
    net.heal();
    net.run(secs(3));
    net.lose(1, |message| matches!(message, Message::Former { .. }));
    holds(net.set(2, "k", "v", C::All), "healthy")?;
    holds(
        net.lost().is_none(),
        "told once more of what is nowhere, and filled again",
    )
}

/// n1, the only one that has the write, goes. Nobody may say then that there is none.
fn left_alone(mut net: Cores) -> Verdict {
    net.queue.clear();
    net.heal();
    net.cut(&[1], &[2, 3]);
    net.sees(&[2, 3], 1, false);
    net.run(secs(3));
    let answers = [2, 3].map(|at| net.query(at, "w", Query::Get, C::Quorum));
    holds(
        answers.iter().all(|answer| !matches!(answer, Some(Ok(_)))),
        format!("{answers:?}"),
    )
}

/// n3 asks n2 before n2 has heard anything.
fn asked_at_once() -> Verdict {
    let mut net = older_disk(1)?;
    net.heal();
    net.cut(&[1], &[3]);
    net.sees(&[3], 1, false);
    let answer = net.query(3, "w", Query::Get, C::Quorum);
    holds(!matches!(answer, Some(Ok(_))), format!("{answer:?}"))
}

fn told_by_another() -> Verdict {
    let mut net = older_disk(1)?;
    net.run(Duration::from_millis(50));
    left_alone(net)
}

fn told_by_itself() -> Verdict {
    let mut net = older_disk(2)?;
    net.cut(&[1], &[2]);
    net.lose(1, |message| matches!(message, Message::Seen(all) if all.iter().any(|seen| seen.replica.node == NodeId(1))));
    let (from, _, word) = net.lost().ok_or("n1 does not speak")?;
    net.deliver((from, NodeId(2), word));
    left_alone(net)
}
