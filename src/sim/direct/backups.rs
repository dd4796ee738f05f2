//! Drills on backups: what they hold, and what a restore changes.

use quorate_dynamo::Consistency as C;
use quorate_dynamo::op::{Mutation, Op, PartitionOp, Query, Reply};
use quorate_dynamo::protocol::Message;
use quorate_dynamo::saved::SavedKey;

use super::cores::{Cores, PLACE, secs};
use super::drill::{Drills, Verdict, holds};

pub(super) const DRILLS: Drills = &[
    ("saved-unseen", "backup-incomplete", saved_elsewhere),
    ("restore-adds-to-counters", "restore-doubles", doubled),
    ("restore-over-newer", "restore-sets-back", newer),
    ("restored-under-own-mark", "restored-twice", twice),
];

/// Everything in the partition, as one page through `at` at `QUORUM`.
fn saved(net: &mut Cores, at: u64) -> Result<Vec<SavedKey>, String> {
    let save = PartitionOp::Save {
        after: None,
        bytes: 1 << 20,
    };
    match net.ask(at, Op::Partition(PLACE.partition, save), C::Quorum) {
        Some(Ok(Reply::Page { keys, next: None })) => Ok(keys),
        other => Err(format!("{other:?}")),
    }
}

fn restoring(saved: &SavedKey) -> Op {
    let restore = Mutation::Restore {
        archive: 7,
        expiry: saved.expiry,
        rows: saved.rows.clone(),
    };
    Op::Mutate(saved.key.clone(), restore)
}

/// A key is acknowledged at `QUORUM` while n1 is cut off; the backup goes through n1.
fn saved_elsewhere() -> Verdict {
    let mut net = Cores::three();
    net.cut(&[1], &[2, 3]);
    holds(net.set(2, "k", "v", C::Quorum), "two of three")?;
    net.heal();
    let keys = saved(&mut net, 1)?;
    holds(keys.len() == 1, format!("{} keys", keys.len()))
}

/// A counter is restored over itself.
fn doubled() -> Verdict {
    let mut net = Cores::three();
    net.mutate(1, "c", Mutation::Increment(5), C::Quorum);
    for key in saved(&mut net, 2)? {
        let answer = net.ask(3, restoring(&key), C::Quorum);
        holds(answer == Some(Ok(Reply::Integer(0))), format!("{answer:?}"))?;
    }
    let now = net.query(1, "c", Query::Get, C::Quorum);
    holds(
        now == Some(Ok(Reply::Value("5".into()))),
        format!("{now:?}"),
    )
}

/// A value is overwritten between the backup and the restore.
fn newer() -> Verdict {
    let mut net = Cores::three();
    holds(net.set(1, "k", "old", C::Quorum), "healthy")?;
    let keys = saved(&mut net, 2)?;
    net.run(secs(1));
    holds(net.set(1, "k", "new", C::Quorum), "healthy")?;
    for key in keys {
        net.ask(3, restoring(&key), C::Quorum);
    }
    holds(net.reads(2, "k", C::Quorum, "new"), "set back")
}

/// n1 restores a counter and is cut off before anybody hears of it; n2 restores it again.
fn twice() -> Verdict {
    let mut net = Cores::three();
    net.mutate(1, "c", Mutation::Increment(5), C::Quorum);
    let keys = saved(&mut net, 2)?;
    let counter = keys.first().ok_or("nothing was saved")?;
    let mut other = Cores::three();
    let first = other.submit(1, restoring(counter), C::Quorum, None);
    while let Some(letter) = other.queue.pop_front() {
        if matches!(letter.2, Message::Write { .. }) {
            other.queue.clear();
        } else {
            other.deliver(letter);
        }
    }
    other.cut(&[1], &[2, 3]);
    holds(
        matches!(other.answer(first), Some(Err(_))),
        "nobody else has it",
    )?;
    let again = other.ask(2, restoring(counter), C::Quorum);
    holds(again == Some(Ok(Reply::Integer(1))), format!("{again:?}"))?;
    other.heal();
    other.run(secs(5));
    holds(other.reads(3, "c", C::All, "5"), "counted twice")
}
