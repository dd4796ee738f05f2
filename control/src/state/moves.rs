//! How partitions move between nodes: `stable → Copying → Switching → stable`.
//!
//! # Why a write quorum meets every later read quorum
//!
//! Call the old set R and the new one T. A replica refuses requests that carry an older placement
//! epoch than it knows ("fences" them).
//!
//! 1. *Writes before the move* were acknowledged in R alone. A member of T reports `Copying` done
//!    only when it has all that a majority of R in each datacenter (every live member, for levels
//!    below that) had *after* these knew the epoch of the move. A quorum of R that acknowledged a
//!    write shares a node with that majority, and the node did so before it fenced, so the member
//!    of T has the write. The move goes on only when all of T have reported: then any reader of T
//!    finds it.
//! 2. *Writes during the move* are acknowledged in R and in T, so it does not matter which of the
//!    two a reader asks.
//! 3. *Writes after the move* are acknowledged in T alone. That is allowed only when nobody can
//!    read R any more: every member of R that is not being removed, and at least a majority of R in
//!    every datacenter, has reported that it fences the epochs that read R.
//!
//! *Overlapping changes.* While `Copying`, T has never been read, so T may be replaced by another
//! set (with a new epoch and nobody `done`) or dropped: R has all writes. While `Switching`, T is
//! being read: the move is first completed, and the next begins from T. *Lost nodes* are struck
//! from both sets: that gives up one copy of n, and a majority of the n - 1 others still meets
//! every majority of the n. Losing more copies at once than a quorum can spare loses data in any
//! system.

use std::collections::{BTreeMap, BTreeSet};

use quorate_crdt::NodeId;

use super::{ControlState, Refusal, Response};
use crate::placement::place;
use crate::quorum::majority;
use crate::topology::{
    Datacenter, Epoch, KeyspaceId, Partition, Phase, Placement, Topology, Transition,
};

impl ControlState {
    /// The nodes whose reports this partition's move still waits for; empty when it does not move
    /// (or does not exist).
    pub fn awaited(&self, keyspace: KeyspaceId, partition: Partition) -> Vec<NodeId> {
        let placement = self
            .topology
            .keyspaces
            .get(&keyspace)
            .and_then(|keyspace| keyspace.placement(partition));
        placement.map_or_else(Vec::new, |placement| {
            awaited(placement, &self.topology, &self.leaving)
        })
    }

    pub(super) fn report_move(
        &mut self,
        epoch: Epoch,
        (node, keyspace): (NodeId, KeyspaceId),
        partitions: &[Partition],
        of: Epoch,
    ) -> Result<Response, Refusal> {
        self.known(node)?;
        self.keyspace(keyspace)?;
        for &partition in partitions {
            let marked = self.change(keyspace, partition, |placement| mark(placement, node, of));
            if marked && self.advance(epoch, keyspace, partition) {
                self.retarget(epoch, keyspace, partition);
            }
        }
        self.dismiss_leavers();
        Ok(Response::Done)
    }

    /// Applies `edit` to the placement, if there is one; answers what it answers.
    fn change(
        &mut self,
        keyspace: KeyspaceId,
        partition: Partition,
        edit: impl FnOnce(&mut Placement) -> bool,
    ) -> bool {
        let keyspace = self.topology_mut().keyspaces.get_mut(&keyspace);
        keyspace
            .and_then(|keyspace| keyspace.placement.get_mut(usize::from(partition.0)))
            .is_some_and(edit)
    }

    /// Enters the next phase if nothing is waited for. Answers whether the placement has become
    /// stable.
    fn advance(&mut self, epoch: Epoch, keyspace: KeyspaceId, partition: Partition) -> bool {
        self.awaited(keyspace, partition).is_empty()
            && self.change(keyspace, partition, |placement| step(placement, epoch))
    }

    pub(super) fn retarget_all(&mut self, epoch: Epoch) {
        let keyspaces: Vec<_> = self.topology.keyspaces.keys().copied().collect();
        for keyspace in keyspaces {
            self.retarget_keyspace(epoch, keyspace);
        }
    }

    /// Who leaves or is lost may have been the last one waited for, so every move is looked at too.
    pub(super) fn retarget_keyspace(&mut self, epoch: Epoch, keyspace: KeyspaceId) {
        let count = self
            .topology
            .keyspaces
            .get(&keyspace)
            .map_or(0, |keyspace| keyspace.placement.len());
        for partition in (0u16..).map(Partition).take(count) {
            self.retarget(epoch, keyspace, partition);
            if self.advance(epoch, keyspace, partition) {
                self.retarget(epoch, keyspace, partition);
            }
        }
    }

    /// Lets the partition go where it belongs now.
    fn retarget(&mut self, epoch: Epoch, keyspace: KeyspaceId, partition: Partition) {
        let Some(replication) = self
            .topology
            .keyspaces
            .get(&keyspace)
            .map(|keyspace| &keyspace.replication)
        else {
            return;
        };
        let target = place(self.staying(), replication, keyspace, partition);
        let current = self
            .topology
            .keyspaces
            .get(&keyspace)
            .and_then(|keyspace| keyspace.placement(partition));
        if let Some(aimed) = current.and_then(|placement| aim(placement, &target, epoch)) {
            self.replace(keyspace, partition, aimed);
        }
    }

    fn replace(&mut self, keyspace: KeyspaceId, partition: Partition, with: Placement) {
        self.change(keyspace, partition, |placement| {
            *placement = with;
            true
        });
    }

    /// Strikes a node whose disk is gone from every set.
    pub(super) fn strip(&mut self, epoch: Epoch, node: NodeId) {
        for placement in self
            .placements_mut()
            .filter(|placement| placement.holds(node))
        {
            strip(placement, node, epoch);
        }
        // A set that lost its only member starts again, empty, where the partition belongs.
        let keyspaces: Vec<_> = self.topology.keyspaces.keys().copied().collect();
        for keyspace in keyspaces {
            self.refill(epoch, keyspace);
        }
    }

    fn refill(&mut self, epoch: Epoch, keyspace: KeyspaceId) {
        let Some(held) = self.topology.keyspaces.get(&keyspace) else {
            return;
        };
        let empty: Vec<_> = held
            .partitions()
            .filter(|(_, placement)| placement.replicas.is_empty())
            .map(|(partition, _)| partition)
            .collect();
        for partition in empty {
            let Some(held) = self.topology.keyspaces.get(&keyspace) else {
                return;
            };
            let fresh = Placement::stable(
                epoch,
                place(self.staying(), &held.replication, keyspace, partition),
            );
            self.replace(keyspace, partition, fresh);
        }
    }
}

/// Notes a report, if it is one that the placement waits for.
fn mark(placement: &mut Placement, node: NodeId, of: Epoch) -> bool {
    let due = placement.epoch == of && placement.holds(node);
    match &mut placement.transition {
        Some(transition) if due => transition.done.insert(node),
        _ => false,
    }
}

fn awaited(placement: &Placement, topology: &Topology, leaving: &BTreeSet<NodeId>) -> Vec<NodeId> {
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
                    !leaving.contains(node)
                        || home.is_some_and(|datacenter| open.contains(datacenter))
                })
                .collect()
        }
    }
}

/// Datacenters in which no majority of the old set has reported yet: there even a leaving node is
/// waited for.
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

/// The next phase. Answers whether the placement has become stable by it.
fn step(placement: &mut Placement, epoch: Epoch) -> bool {
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

/// The placement on its way to `target`; `None` if it is already, or has to finish another move
/// first. Only the sets count, not the order in them: an order alone is not worth a move.
fn aim(placement: &Placement, target: &[NodeId], epoch: Epoch) -> Option<Placement> {
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

/// Strikes a lost node. When a whole set is lost with it, the other one is all there is; both lost
/// leaves `replicas` empty.
fn strip(placement: &mut Placement, node: NodeId, epoch: Epoch) {
    placement.epoch = epoch;
    placement.replicas.retain(|&other| other != node);
    if let Some(transition) = &mut placement.transition {
        transition.to.retain(|&other| other != node);
        // Reports were made for an epoch that is over: they are asked for again.
        transition.done.clear();
        if transition.to.is_empty() {
            placement.transition = None;
        } else if placement.replicas.is_empty() {
            placement.replicas = std::mem::take(&mut transition.to);
            placement.transition = None;
        }
    }
}
