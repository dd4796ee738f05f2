//! Drills on changes of the control group's voters while nodes are dead, or lost for good.

use std::collections::BTreeSet;

use quorate_control::consensus::Recovery;
use quorate_control::state::Command;
use quorate_crdt::NodeId;

use super::drill::{Drills, Verdict, holds};
use super::group::{self, Group, admission, spec};

pub(super) const DRILLS: Drills = &[
    ("silent-voter", "silent-node-votes", silent),
    ("latecomer-keeps-the-gone", "gone-node-votes", gone),
    ("silent-majority", "voters-stuck", majority),
    ("recovers-in-place", "lost-voters-decide", recovered),
    ("old-disk-votes", "forgotten-vote", restored),
];

/// Removes a node that is gone for good.
async fn lose(group: &Group, at: u64, node: u64) -> Verdict {
    let node = NodeId(node);
    let lost = Command::RemoveNode { node, lost: true };
    group.decide(at, lost).await.map(drop)
}

/// Node 4 is cut off when node 3, a voter, is removed: node 4 would be next.
async fn with_a_silent_newcomer(group: &Group) -> Result<Vec<u64>, String> {
    group.cut_off(4);
    let before = group.voters(1).await;
    holds(before == [1, 2, 3], format!("the voters are {before:?}"))?;
    lose(group, 1, 3).await?;
    Ok(group.voters(1).await)
}

/// A node that does not answer must not become a voter; it does once it answers.
fn silent() -> Verdict {
    group::with(4, async |group| {
        let voters = with_a_silent_newcomer(&group).await?;
        holds(
            !voters.contains(&4),
            format!("a node that is cut off is among the voters {voters:?}"),
        )?;
        group.heal();
        let voters = group.voters(1).await;
        holds(voters == [1, 2, 4], format!("the voters are {voters:?}"))
    })
}

/// A node that has left must not be needed for decisions, however long a newcomer takes.
fn gone() -> Verdict {
    group::with(4, async |group| {
        let voters = with_a_silent_newcomer(&group).await?;
        holds(
            !voters.contains(&3),
            format!("a node that has left is among the voters {voters:?}"),
        )
    })
}

/// Of the two nodes that stay one is dead. It must not be made the only voter, and it can be
/// removed in the end.
fn majority() -> Verdict {
    group::with(3, async |group| {
        group.cut_off(1);
        group.voters(2).await;
        let node = NodeId(3);
        let leaves = Command::RemoveNode { node, lost: false };
        group.decide(2, leaves).await?;
        group.voters(2).await;
        lose(&group, 2, 1).await?;
        let voters = group.voters(2).await;
        holds(voters == [2], format!("the voters are {voters:?}"))
    })
}

/// No decision that the lost voters made without the survivor is newer than its recovery.
fn recovered() -> Verdict {
    group::with(3, async |mut group| {
        group.cut_off(1);
        let before = group.voters(2).await;
        holds(before == [1, 2, 3], format!("the voters are {before:?}"))?;
        for number in 4..=9 {
            group.decide(2, admission(spec(number))).await?;
        }
        let theirs = group.epoch(2)?;
        for node in 1..=3 {
            group.stop(node).await;
        }
        let planned = Recovery::plan(group.disk(1), NodeId(1), &BTreeSet::new());
        let carried_out = planned.and_then(Recovery::carry_out);
        carried_out.map_err(|error| error.to_string())?;
        group.open(1).await?;
        let voters = group.voters(1).await;
        holds(voters == [1], format!("the voters are {voters:?}"))?;
        let ours = group.epoch(1)?;
        holds(
            ours > theirs,
            format!("the recovery is of {ours:?}, a decision of the lost ones of {theirs:?}"),
        )
    })
}

/// A node on an older copy of its disk gives nobody its vote, and does not stand for election.
fn restored() -> Verdict {
    group::with(3, async |mut group| {
        group.stop(2).await;
        let backup = group.backup(2)?;
        group.open(2).await?;
        holds(group.leader(2).await.is_some(), "there is no leader")?;
        group.stop(2).await;
        group.restore(2, backup);
        group.open(2).await?;
        holds(group.leader(2).await.is_some(), "there is no leader")?;
        group.stop(1).await;
        let led = group.leader(2).await.or(group.leader(3).await);
        holds(
            led.is_none_or(|leader| leader == NodeId(1)),
            format!("{led:?} leads by a vote that may have been given before"),
        )
    })
}
