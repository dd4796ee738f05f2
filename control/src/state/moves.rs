//! How one partition moves between nodes: `stable → Copying → Switching → stable`. Pure functions
//! on a [`Placement`].
//!
//! # Why a write quorum meets every later read quorum
//!
//! Call the old set R and the new set T. A replica that knows the epoch of a placement refuses
//! requests that carry an older one: it *fences* them.
//!
//! 1. *Writes before the move* were acknowledged in R alone. A member of T reports `Copying` done
//!    only when it has everything that a majority of R in each datacenter had *after* that majority
//!    knew the epoch of the move (for levels below a majority: everything that every live member of
//!    R had). A quorum of R that acknowledged a write shares a node with that majority, and this
//!    node took the write before it fenced, so the member of T has the write. The move goes on only
//!    when all of T have reported, so any reader of T finds the write.
//! 2. *Writes during the move* are acknowledged in both R and T, so a reader may ask either.
//! 3. *Writes after the move* are acknowledged in T alone. That is safe only once nobody can read
//!    R: every member of R that is neither being removed nor drained, and at least a majority of R
//!    in every datacenter, has reported that it fences the epochs at which R was read.
//!
//! *Overlapping changes.* While `Copying`, T has never been read and R has every write, so T may be
//! dropped or replaced by another set (under a new epoch, with nobody `done`). While `Switching`, T
//! is being read, so that move is completed first and the next one starts from T.
//!
//! *Lost nodes* are struck from both sets. That gives up one copy of n, and a majority of the other
//! n - 1 still meets every majority of the n. Losing more copies at once than a quorum can spare
//! loses data in any system.

use std::collections::{BTreeMap, BTreeSet};

use quorate_crdt::NodeId;

use crate::quorum::majority;
use crate::topology::{Datacenter, Epoch, Phase, Placement, Topology, Transition};

/// Records that `node` has done what the placement of epoch `of` asked of it. Returns whether the
/// placement was waiting for this report.
pub(super) fn mark(placement: &mut Placement, node: NodeId, of: Epoch) -> bool {
    let due = placement.epoch == of && placement.holds(node);
    match &mut placement.transition {
        Some(transition) if due => transition.done.insert(node),
        _ => false,
    }
}

/// The nodes whose reports the current phase still waits for; empty when the partition is stable.
/// `withdrawn` nodes hold nothing in the end.
pub(super) fn awaited(
    placement: &Placement,
    topology: &Topology,
    withdrawn: impl Fn(NodeId) -> bool,
) -> Vec<NodeId> {
    let Some(transition) = &placement.transition else {
        return Vec::new();
    };
    let silent = |node: &NodeId| !transition.done.contains(node);
    match transition.phase {
        Phase::Copying => transition.to.iter().copied().filter(silent).collect(),
        Phase::Switching => {
            let open = unfenced(placement, transition, topology);
            placement
                .replicas
                .iter()
                .copied()
                .filter(silent)
                .filter(|node| {
                    let home = topology.datacenter_of(*node);
                    !withdrawn(*node) || home.is_some_and(|datacenter| open.contains(datacenter))
                })
                .collect()
        }
    }
}

/// The datacenters where no majority of the old set has reported yet. There the move waits even for
/// a node that is being removed or drained.
fn unfenced<'a>(
    placement: &Placement,
    transition: &Transition,
    topology: &'a Topology,
) -> BTreeSet<&'a Datacenter> {
    let mut tallies: BTreeMap<&Datacenter, (usize, usize)> = BTreeMap::new();
    for &node in &placement.replicas {
        if let Some(datacenter) = topology.datacenter_of(node) {
            let (members, fenced) = tallies.entry(datacenter).or_default();
            *members += 1;
            *fenced += usize::from(transition.done.contains(&node));
        }
    }
    tallies
        .into_iter()
        .filter(|&(_, (members, fenced))| fenced < majority(members))
        .map(|(datacenter, _)| datacenter)
        .collect()
}

/// Enters the next phase. Returns whether the placement is stable now.
pub(super) fn step(placement: &mut Placement, epoch: Epoch) -> bool {
    let Some(transition) = &mut placement.transition else {
        return false;
    };
    let stable = transition.phase == Phase::Switching;
    if stable {
        placement.replicas = std::mem::take(&mut transition.to);
        placement.transition = None;
    } else {
        transition.phase = Phase::Switching;
        transition.done.clear();
    }
    placement.epoch = epoch;
    stable
}

/// The placement on its way to `target`. `None` if it is going there already, or has to finish
/// another move first. Only the sets are compared, not their order: order alone is not worth a
/// move.
pub(super) fn aim(placement: &Placement, target: &[NodeId], epoch: Epoch) -> Option<Placement> {
    let goal = match &placement.transition {
        Some(transition) if transition.phase == Phase::Switching => return None,
        Some(transition) => &transition.to,
        None => &placement.replicas,
    };
    if same_set(goal, target) {
        return None;
    }
    let replicas = placement.replicas.clone();
    let away = !same_set(&replicas, target);
    let transition = away.then(|| Transition {
        to: target.to_vec(),
        phase: Phase::Copying,
        done: BTreeSet::new(),
    });
    Some(Placement {
        epoch,
        replicas,
        transition,
    })
}

fn same_set(a: &[NodeId], b: &[NodeId]) -> bool {
    a.len() == b.len() && a.iter().all(|node| b.contains(node))
}

/// Strikes a lost node from both sets. If one set becomes empty, the other is all that is left. If
/// both do, `replicas` stays empty.
pub(super) fn strip(placement: &mut Placement, node: NodeId, epoch: Epoch) {
    placement.epoch = epoch;
    placement.replicas.retain(|&other| other != node);
    if let Some(transition) = &mut placement.transition {
        transition.to.retain(|&other| other != node);
        // Reports belong to the epoch that has just ended, so they are asked for again.
        transition.done.clear();
        if transition.to.is_empty() {
            placement.transition = None;
        } else if placement.replicas.is_empty() {
            placement.replicas = std::mem::take(&mut transition.to);
            placement.transition = None;
        }
    }
}
