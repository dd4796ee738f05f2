//! Drills on a second Raft group beside the one of the topology.

use std::time::Duration;

use quorate_control::consensus::{HandOverError, QueryError, ReadLevel};
use quorate_control::state::Command;
use quorate_crdt::NodeId;
use tokio::time::sleep;

use super::drill::{Drills, Verdict, holds};
use super::group::{self, Group, PATIENCE};
use super::sums::{Add, ODD, WRONG_ONCE};

pub(super) const DRILLS: Drills = &[
    ("groups-share-a-log", "groups-mixed-up", apart),
    ("reads-without-a-majority", "old-strong-read", cut_off),
    (
        "lease-without-bound",
        "old-lease-read",
        cut_off_with_a_lease,
    ),
    ("stale-without-bound", "older-than-asked", cut_off_for_long),
    ("reads-before-applying", "own-write-unseen", just_written),
    ("witness-stands", "witness-leads", leaders_change),
    (
        "witness-keeps-all-back",
        "nobody-leads",
        only_the_witness_has_it,
    ),
    ("different-goes-on", "states-differ", one_differs),
    ("hands-over-blindly", "leaderless-for-nothing", lagging),
    ("one-group-beats", "elections-for-nothing", beating),
    ("pace-unmeasured", "far-and-silent", apart_in_space),
    ("leaves-before-the-others-agree", "left-too-early", drained),
];

/// Adds a number through node `at`.
async fn add(group: &Group, at: u64, number: u64) -> Result<u64, String> {
    let added = group.sums(at)?.propose(&Add(number), PATIENCE).await;
    added.map_err(|error| error.to_string())
}

async fn sum(group: &Group, at: u64) -> Result<u64, String> {
    let sum = group
        .sums(at)?
        .query(&(), ReadLevel::Strong, PATIENCE)
        .await;
    sum.map_err(|error| error.to_string())
}

/// Two groups decide side by side, and both are there after a restart of all.
fn apart() -> Verdict {
    group::with(3, async |mut group| {
        let epoch = group.epoch(1)?;
        for number in 1..=10 {
            add(&group, 1 + number % 3, number).await?;
        }
        for node in 1..=3 {
            group.stop(node).await;
        }
        for node in 1..=3 {
            group.open(node).await?;
        }
        let sum = sum(&group, 2).await?;
        holds(sum == 55, format!("the sum is {sum}, not 55"))?;
        let now = group.epoch(1)?;
        holds(
            now == epoch,
            format!("the topology is of {now:?}, not {epoch:?}"),
        )
    })
}

/// While nothing happens, no group elects another leader.
fn beating() -> Verdict {
    group::with(3, async |group| {
        let term = group.sums(2)?.status().term;
        sleep(PATIENCE).await;
        let now = group.sums(2)?.status().term;
        holds(
            now == term,
            format!("term {term} of an idle group has become {now}"),
        )
    })
}

/// Nodes that are moved far apart go on deciding, at another pace.
fn apart_in_space() -> Verdict {
    group::with(3, async |group| {
        add(&group, 1, 1).await?;
        group.move_apart(Duration::from_millis(150));
        sleep(PATIENCE * 3).await;
        let sum = add(&group, 2, 1).await?;
        holds(sum == 2, format!("the sum is {sum}, not 2"))
    })
}

/// The leadership is not handed to a voter that lacks entries: nothing could be decided meanwhile.
fn lagging() -> Verdict {
    group::with(3, async |group| {
        let leader = group.sums(1)?.leader().ok_or("there is no leader")?;
        let heir = NodeId(1 + leader.0 % 3);
        group.cut_off(heir.0);
        add(&group, leader.0, 1).await?;
        let sums = group.sums(leader.0)?;
        let refused = sums.hand_over(Some(heir), PATIENCE / 10).await;
        let behind = matches!(refused, Err(HandOverError::Behind { .. }));
        holds(
            behind,
            format!("the hand-over to a voter that lacks entries: {refused:?}"),
        )?;
        add(&group, leader.0, 1).await.map(drop)
    })
}

/// What a leader that was cut off answers at this level once others have decided.
fn after_cutting_off(level: ReadLevel) -> Verdict {
    group::with(3, async |group| {
        add(&group, 1, 1).await?;
        let leader = group.sums(1)?.leader().ok_or("there is no leader")?;
        let other = if leader == NodeId(1) { 2 } else { 1 };
        group.cut_off(leader.0);
        add(&group, other, 1).await?;
        let old = group.sums(leader.0)?;
        let read = old.query(&(), level, PATIENCE / 10).await;
        holds(
            read != Ok(1),
            format!("a leader that was cut off answers a read at {level:?} with what was replaced"),
        )
    })
}

/// A leader that is cut off must not answer strong reads once others may decide.
fn cut_off() -> Verdict {
    after_cutting_off(ReadLevel::Strong)
}

/// Its lease runs out before others may decide.
fn cut_off_with_a_lease() -> Verdict {
    after_cutting_off(ReadLevel::Lease)
}

/// A follower that is cut off must not answer once it cannot show any more how old its answer is.
fn cut_off_for_long() -> Verdict {
    group::with(3, async |group| {
        let (leader, follower) = leader_and_follower(&group)?;
        add(&group, leader, 1).await?;
        let within = Some(PATIENCE / 2);
        let level = ReadLevel::Stale { within };
        let here = group.sums(follower)?;
        let fresh = here.query(&(), level, PATIENCE).await;
        holds(
            fresh == Ok(1),
            format!("a read within the bound: {fresh:?}"),
        )?;
        group.cut_off(follower);
        add(&group, leader, 1).await?;
        sleep(PATIENCE).await;
        let read = here.query(&(), level, PATIENCE).await;
        holds(
            matches!(read, Err(QueryError::TooStale { .. })),
            format!(
                "{PATIENCE:?} after it was cut off, a follower says within {within:?}: {read:?}"
            ),
        )
    })
}

/// A follower knows what was acknowledged before it was asked, even if it was cut off meanwhile.
fn just_written() -> Verdict {
    group::with(3, async |group| {
        let (leader, follower) = leader_and_follower(&group)?;
        for sum in 1..=20 {
            group.cut_off(follower);
            add(&group, leader, 1).await?;
            group.heal();
            let read = self::sum(&group, follower).await?;
            holds(
                read == sum,
                format!("the sum was {sum} before the follower was asked, and it says {read}"),
            )?;
        }
        Ok(())
    })
}

fn leader_and_follower(group: &Group) -> Result<(u64, u64), String> {
    let leader = group.sums(1)?.leader().ok_or("there is no leader")?;
    Ok((leader.0, 1 + leader.0 % 3))
}

/// A node that is to leave a group stays until the others can go on without it.
fn drained() -> Verdict {
    group::with(4, async |group| {
        add(&group, 1, 1).await?;
        // Node 4 is to vote in place of node 3, but does not answer.
        group.cut_off(4);
        let node = NodeId(3);
        let drain = Command::DrainNode {
            node,
            drained: true,
        };
        group.decide(1, drain).await?;
        sleep(PATIENCE).await;
        group.cut_off(2);
        sleep(PATIENCE).await;
        let sum = add(&group, 1, 1).await?;
        holds(sum == 2, format!("the sum is {sum}, not 2"))
    })
}

/// A witness leaves the lead to others, whoever has led before.
fn leaders_change() -> Verdict {
    group::with_a_witness(async |group| {
        for _ in 0..6 {
            let leader = group.sums(1)?.leader().ok_or("there is no leader")?;
            holds(leader != NodeId(3), "the witness leads")?;
            group.cut_off(leader.0);
            add(&group, 3 - leader.0, 1).await?;
            group.heal();
            sleep(PATIENCE).await;
        }
        Ok(())
    })
}

/// What the witness alone has is not lost, and keeps nobody from leading.
fn only_the_witness_has_it() -> Verdict {
    group::with_a_witness(async |group| {
        let leader = group.sums(3)?.leader().ok_or("there is no leader")?;
        let other = 3 - leader.0;
        group.cut_off(other);
        add(&group, leader.0, 7).await?;
        group.heal();
        group.cut_off(leader.0);
        let sum = add(&group, other, 1).await?;
        holds(sum == 8, format!("the sum is {sum}, not 8"))
    })
}

/// A replica that has added wrongly stops, and the others go on.
fn one_differs() -> Verdict {
    group::with(3, async |group| {
        ODD.set(true);
        add(&group, 1, WRONG_ONCE).await?;
        for _ in 0..1000 {
            add(&group, 1, 1).await?;
        }
        sleep(PATIENCE).await;
        let differing = (1..=3).filter(|&node| {
            let sums = group.sums(node);
            sums.is_ok_and(|sums| sums.status().differs.is_some())
        });
        let stopped = differing.count();
        holds(
            stopped == 1,
            format!("one replica differs, and {stopped} have stopped"),
        )?;
        add(&group, 1, 1).await.map(drop)
    })
}
